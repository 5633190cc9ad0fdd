"""A candidate with a detector: its word is weighed anew, and the bars are those of what both say together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.models import resnet18

from backend.nets.config import CLASSES, ClassifierConfig, sha256_of
from backend.nets.detector import DetectorConfig, Fusion
from backend.nets.weights import CONFIG_FILE, WEIGHTS_FILE, Weights
from backend.serving import build_pipeline
from backend.settings import Settings
from backend.training.export import export_classifier
from backend.training.pagestore import PageStore
from backend.training.recipe import Corrections
from backend.training.retraining import candidate
from backend.training.retraining.candidate import add_detector, read_base
from tests.nets.detectors import random_network, write_detector


def classifier(folder: Path, *, pool: int = 2) -> Weights:
    folder.mkdir()
    torch.manual_seed(1)
    export_classifier(resnet18(num_classes=len(CLASSES)), folder / WEIGHTS_FILE, half=True, pool=pool)
    ClassifierConfig(sha256=sha256_of(folder / WEIGHTS_FILE), thresholds=(0.9, 0.9, 0.9)).write(folder / CONFIG_FILE)
    return Weights.open(folder, name="made")


@pytest.mark.parametrize("pool", [1, 2])
def test_what_the_weights_average_over_is_read_from_them(pool: int, tmp_path: Path) -> None:
    weights = classifier(tmp_path / "made", pool=pool)
    base = read_base(weights)
    assert (base.pool, base.path) == (pool, weights.path)
    assert base.name == f"made@{weights.config.sha256[:12]}"


def test_a_detector_comes_along_with_its_weight_and_with_bars_for_both(
    tmp_path: Path, drawn: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = classifier(tmp_path / "made")
    write_detector(random_network(), tmp_path / "parent", least_heat=0.3)
    judged: list[np.ndarray] = []

    def bars(said: np.ndarray, truth: np.ndarray, *, precision: float, least: int) -> tuple[float, ...]:
        judged.extend((said, truth))
        assert (precision, least) == (0.9, 20)
        return 0.1, 0.2, 0.3

    monkeypatch.setattr(candidate, "thresholds", bars)
    add_detector(
        weights.folder, tmp_path / "parent", PageStore(drawn / "pages"), kind="both", plan=Corrections(), threads=1
    )
    assert DetectorConfig.read(weights.folder / "detector.json").fusion != Fusion()
    assert ClassifierConfig.read(weights.folder / CONFIG_FILE).thresholds == (0.1, 0.2, 0.3)
    said, truth = judged
    assert len(said) == len(truth) > 0
    np.testing.assert_allclose(said.sum(axis=1), 1)
    pipeline = build_pipeline(
        Weights.open(weights.folder, name="made"), Settings(data_dir=tmp_path, detector="both", model_threads=1)
    )
    assert pipeline.detector.fusion == DetectorConfig.read(weights.folder / "detector.json").fusion


def test_rules_alone_need_no_detector(tmp_path: Path, drawn: Path) -> None:
    weights = classifier(tmp_path / "made")
    before = sorted(path.name for path in weights.folder.iterdir())
    pages = PageStore(drawn / "pages")
    add_detector(weights.folder, tmp_path, pages, kind="colour", plan=Corrections(), threads=1)
    assert sorted(path.name for path in weights.folder.iterdir()) == before
    assert ClassifierConfig.read(weights.folder / CONFIG_FILE).thresholds == (0.9, 0.9, 0.9)
