"""The fusion is fitted: it finds the weights that made the data, and the detector's config then holds them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from backend.pages.page import Page
from backend.training.fusion import fit_fusion, fitted
from backend.training.pagestore import LabelledPage, PageStore
from backend.vision.classifier import load_classifier
from backend.vision.engine import DetectorConfig, Fusion
from backend.vision.network_config import CLASSES, MARKS
from backend.vision.pipeline import Pipeline, fuse
from backend.vision.weights import DETECTOR_CONFIG_FILE, Weights
from tests.models.detectors import ink_detector, open_detector
from tests.models.tiny import says

MARK, BLOT = (0, 255, 255), (150, 255, 255)
"""Two strengths of cyan ink: the detector's heat is 1 and .4."""


def drawn(fusion: Fusion, count: int) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.intp]]:
    """What both said about `count` boxes, and truths that follow their fusion."""
    rng = np.random.default_rng(7)
    probabilities = rng.dirichlet(np.ones(len(CLASSES)), count)
    heat = rng.uniform(0.03, 0.97, (count, len(MARKS)))
    both = fuse(probabilities, heat, fusion)
    truth = (rng.random((count, 1)) > both.cumsum(axis=1)).sum(axis=1)
    return np.log(probabilities), np.log(heat / (1 - heat)), np.minimum(truth, len(CLASSES) - 1)


@pytest.mark.parametrize(
    "fusion",
    [
        Fusion(classified=1.0, seen=0.5, biases=(0.0, 0.0, 0.0)),
        Fusion(classified=0.6, seen=1.2, biases=(0.5, -0.5, 1.0)),
        # The detector knows nothing.
        Fusion(classified=1.3, seen=0.0, biases=(0.2, 0.2, 0.2)),
    ],
)
def test_the_weights_that_made_the_data_are_found(fusion: Fusion) -> None:
    found = fitted(*drawn(fusion, 8000))
    expected = [fusion.classified, fusion.seen, *fusion.biases]
    np.testing.assert_allclose([found.classified, found.seen, *found.biases], expected, atol=0.12)


def test_few_data_stay_near_what_was_fitted_before_and_many_do_not() -> None:
    before = Fusion(classified=0.3, seen=2.0, biases=(1.0, 1.0, 1.0))
    truth = Fusion(classified=1.0, seen=0.5, biases=(0.0, 0.0, 0.0))
    few, many = (fitted(*drawn(truth, count), prior=before) for count in (40, 20_000))
    assert abs(few.seen - before.seen) < 0.5
    assert abs(many.seen - truth.seen) < 0.2
    assert abs(few.classified - fitted(*drawn(truth, 40)).classified) > 0.2, "data alone would say otherwise"


def test_a_bias_alone_is_fitted_and_all_else_stays() -> None:
    before, truth = Fusion(classified=0.4, seen=1.5), Fusion(classified=0.4, seen=1.5, biases=(1.0, -1.0, 2.0))
    found = fitted(*drawn(truth, 8000), prior=before, biases_of=[2])
    assert (found.classified, found.seen, *found.biases[:2]) == (0.4, 1.5, 0.0, 0.0)
    assert 1 < found.biases[2] < 3
    both = fitted(*drawn(truth, 8000), prior=before, biases_of=[0, 1, 2])
    np.testing.assert_allclose(both.biases, truth.biases, atol=0.2)
    assert (both.classified, both.seen) == (0.4, 1.5)


def test_the_same_data_gives_the_same_fusion() -> None:
    data = drawn(Fusion(seen=0.5), 500)
    assert fitted(*data) == fitted(*data)


def test_the_fusion_is_written_to_the_config_and_serves(tmp_path: Path) -> None:
    """The classifier calls all a stamp; the detector's heat tells the signatures from blots."""
    folder, store = tmp_path / "weights", PageStore(tmp_path / "pages")
    says("stamp", folder)
    before = ink_detector(folder, [[20.0] * 4] * 3, provenance={"source": "here"})
    for place in range(3):
        pixels = np.full((585, 413, 3), 255, np.uint8)
        pixels[240:248, 160:168] = MARK
        pixels[80:88, 80:88] = pixels[400:408, 160 + 40 * place : 168 + 40 * place] = BLOT
        page = LabelledPage(
            name=str(place),
            document=str(place),
            split="validation",
            domain="drawn",
            source="drawn",
            licence="MIT",
            dpi=50,
            boxes=((144.0, 224.0, 184.0, 264.0),),
            labels=("signature",),
            complete=MARKS,
        )
        store.add(page, pixels)
    fusion = fit_fusion(folder, store, store.read(), threads=1)
    assert fusion.seen > 0
    written = DetectorConfig.read(folder / DETECTOR_CONFIG_FILE)
    assert written == dataclasses.replace(before, fusion=fusion)
    classifier = load_classifier(Weights.open(folder, name="bundled", gate_folder=folder), threads=1)
    marks = Pipeline(open_detector(folder), classifier).marks(Page(pixels=pixels, reference="drawn", dpi=50))
    assert marks.names == ["signature"]
    np.testing.assert_allclose(marks.boxes, [[144, 224, 184, 264]], atol=1)
