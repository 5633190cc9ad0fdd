"""A candidate with a detector: its word is weighed anew, and the bars are those of what both say together."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torchvision.models import resnet18

from backend.models.publishing import DOCUMENTS_FILE, documents_of
from backend.models.serving import build_pipeline
from backend.settings import Settings
from backend.training.classifier_loop import BEST_FILE, ClassifierProgress, Epoch
from backend.training.classifier_recipe import Corrections, Recipe, Stage
from backend.training.export import export_classifier
from backend.training.pagestore import PageStore
from backend.training.retraining.base_weights import read_base
from backend.training.retraining.candidate import _said_together, add_detector, thresholds, write_candidate
from backend.vision.engine import DetectorConfig, Fusion
from backend.vision.network_config import CLASSES, MARKS, ClassifierConfig, sha256_of
from backend.vision.weights import CONFIG_FILE, WEIGHTS_FILE, Weights
from tests.models.detectors import random_network, write_detector
from tests.training.retraining.ledger import open_ledger, teach
from tests.training.retraining.test_resume import material

PLAN = Corrections()


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


def test_a_detector_comes_along_with_its_weight_and_with_bars_for_both(tmp_path: Path, drawn: Path) -> None:
    weights = classifier(tmp_path / "made")
    write_detector(random_network(), tmp_path / "parent", least_heat=0.3)
    (tmp_path / "parent" / DOCUMENTS_FILE).write_text("a lease\n")
    pages, plan = PageStore(drawn / "pages"), Corrections(precision=0.2, least_positives=1)
    add_detector(
        weights.folder,
        tmp_path / "parent",
        pages,
        serving=weights,
        kind="both",
        confidence=0.25,
        plan=plan,
        threads=1,
    )
    fusion = DetectorConfig.read(weights.folder / "detector.json").fusion
    assert fusion != Fusion()
    pipeline = build_pipeline(
        Weights.open(weights.folder, name="made"), Settings(data_dir=tmp_path, detector="both", model_threads=1)
    )
    assert pipeline.detector.fusion == fusion
    # The bars are those of what both say together of the candidates on validation pages.
    made = Weights.open(weights.folder, name="made")
    judges = [page for page in pages.read() if page.split == "validation"]
    said, truth = _said_together(made, pages, judges, kind="both", threads=1)
    assert len(said) == len(truth) > 0
    marks = Counter(CLASSES.index(label) for page in judges for label in page.labels)
    assert all((truth == place).sum() <= marks[place] for place in range(len(MARKS))), "each mark counts once"
    np.testing.assert_allclose(said.sum(axis=1), 1)
    bars = thresholds(said, truth, precision=0.2, least=1)
    assert bars != (0.9, 0.9, 0.9)
    np.testing.assert_allclose(ClassifierConfig.read(weights.folder / CONFIG_FILE).thresholds, bars)
    assert documents_of(weights.folder) == {"a lease"}, "what the detector learnt from is named with it"


def test_the_documents_that_it_learnt_from_are_beside_it(tmp_path: Path, drawn: Path) -> None:
    store = open_ledger(tmp_path / "data")
    teach(store, 12)
    store.engine.dispose()
    stuff = material(tmp_path / "data", drawn)
    torch.manual_seed(1)
    run = tmp_path / "run"
    run.mkdir()
    save_file(resnet18(num_classes=len(CLASSES)).state_dict(), run / BEST_FILE)
    recipe = Recipe(
        base="tiny", pool=4, samples=32, stages=(Stage(size=56, epochs=1, learning_rate=1e-3),), corrections=PLAN
    )
    line = Epoch(stage=0, epoch=0, loss=1.0, score=0.5, by_domain={"drawn": 0.5}, seconds=1.0)
    progress = ClassifierProgress(recipe=recipe.digest, stage=1, history=(line,))
    write_candidate(run, progress, recipe, stuff, tmp_path / "out", plan=PLAN)
    assert documents_of(tmp_path / "out") == stuff.seen()


def test_rules_alone_need_no_detector(tmp_path: Path, drawn: Path) -> None:
    weights = classifier(tmp_path / "made")
    before = sorted(path.name for path in weights.folder.iterdir())
    pages = PageStore(drawn / "pages")
    add_detector(
        weights.folder,
        tmp_path,
        pages,
        serving=weights,
        kind="colour",
        confidence=0.25,
        plan=Corrections(),
        threads=1,
    )
    assert sorted(path.name for path in weights.folder.iterdir()) == before
    assert ClassifierConfig.read(weights.folder / CONFIG_FILE).thresholds == (0.9, 0.9, 0.9)
