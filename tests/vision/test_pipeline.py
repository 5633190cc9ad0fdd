"""Candidates become marks: background gone, one box for one mark, a version that changes exactly when answers do."""

from __future__ import annotations

import dataclasses
import itertools
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from backend.geometry import Boxes, as_boxes
from backend.pages.page import Page
from backend.vision.candidates import Candidates
from backend.vision.classifier import Classification
from backend.vision.colour_detector import ColourDetector
from backend.vision.engine import Fusion
from backend.vision.finders import BothDetectors
from backend.vision.ink import DetectionConfig
from backend.vision.network_config import CLASSES, MARKS
from backend.vision.network_detector import ModelDetector
from backend.vision.pipeline import Marks, Pipeline, PipelineConfig, Rejected, select
from backend.vision.regions import WEIGHTS
from tests.models.detectors import ink_detector, open_detector

DETECTION = DetectionConfig()
SELECTION = PipelineConfig()
BAR = 0.35
"""The operator's. What the program's own is decides nothing here."""
WHOLE = (100, 100, 300, 200)
Row = tuple[tuple[float, float, float, float], str, float]


class Answers:
    """A classifier that gives every box the same probabilities."""

    def __init__(self, probabilities: tuple[float, ...], *, version: str = "weights-1") -> None:
        self.version = version
        self.thresholds = (0.0, 0.0, 0.0)
        self._probabilities = probabilities

    def classify(self, pixels: NDArray[np.uint8], boxes: Boxes) -> Classification:
        del pixels
        rows = np.tile(np.array(self._probabilities, dtype=np.float64), (len(boxes), 1))
        return Classification(rows, np.zeros((len(boxes), 512), np.float32))


def classified(rows: list[Row]) -> tuple[Candidates, Classification]:
    """Candidates whose named class has the given probability, and the others share the rest."""
    probabilities = np.zeros((len(rows), len(CLASSES)))
    for row, (_, name, score) in zip(probabilities, rows, strict=True):
        row[:] = (1 - score) / 3
        row[CLASSES.index(name)] = score
    boxes = as_boxes([box for box, _, _ in rows])
    candidates = Candidates(boxes, np.ones(len(rows)), np.zeros((len(rows), len(MARKS))))
    return candidates, Classification(probabilities, np.zeros((len(rows), 512), np.float32))


def judge(rows: list[Row], *, confidence: float = BAR) -> Marks:
    pipeline = Pipeline(ColourDetector(), Answers((1, 0, 0, 0)))
    return pipeline.judge(*classified(rows), confidence=confidence)


def outlines(marks: Marks) -> list[tuple[str, tuple[float, ...]]]:
    return [(name, tuple(map(float, box))) for name, box in zip(marks.names, marks.boxes, strict=True)]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        # Nothing found.
        ([], []),
        # One mark, one box.
        ([(WHOLE, "stamp", 0.9)], [0]),
        # Background, however sure, is no mark.
        ([(WHOLE, "none", 0.99)], []),
        # A mark below the bar stays out.
        ([(WHOLE, "stamp", 0.34)], []),
        # The same mark proposed twice, a few pixels apart.
        ([(WHOLE, "stamp", 0.9), ((104, 100, 304, 203), "stamp", 0.95)], [1]),
        # A fragment inside the whole signature goes, though it scores a little higher.
        ([(WHOLE, "signature", 0.95), ((110, 120, 170, 180), "signature", 0.97)], [0]),
        # Two fragments, too.
        (
            [
                ((110, 120, 170, 180), "signature", 0.9),
                (WHOLE, "signature", 0.93),
                ((220, 120, 290, 180), "signature", 0.92),
            ],
            [1],
        ),
        # A box around two signatures, which the classifier doubts, loses to both.
        (
            [
                ((100, 100, 500, 200), "signature", 0.55),
                ((100, 100, 280, 200), "signature", 0.98),
                ((320, 100, 500, 200), "signature", 0.98),
            ],
            [1, 2],
        ),
        # A signature on a stamp is two marks, also when one lies within the other.
        ([((90, 50, 310, 260), "stamp", 0.9), (WHOLE, "signature", 0.8)], [0, 1]),
        # The same pixels cannot be two things: the surer name wins.
        ([(WHOLE, "stamp", 0.6), ((101, 100, 300, 201), "thumb", 0.9)], [1]),
        # A fragment that is called something else is not what kills the whole.
        ([(WHOLE, "stamp", 0.9), ((110, 120, 200, 180), "signature", 0.34)], [0]),
        # Neighbours that only touch.
        ([(WHOLE, "stamp", 0.9), ((300, 100, 500, 200), "stamp", 0.8)], [0, 1]),
    ],
)
def test_one_box_for_one_mark(rows: list[Row], expected: list[int]) -> None:
    assert outlines(judge(rows)) == [(rows[place][1], rows[place][0]) for place in expected]


def test_selection_does_not_depend_on_the_order_of_candidates() -> None:
    rows: list[Row] = [
        (WHOLE, "signature", 0.93),
        ((110, 120, 170, 180), "signature", 0.9),
        ((90, 50, 310, 260), "stamp", 0.88),
        ((600, 100, 700, 200), "thumb", 0.7),
    ]
    expected = outlines(judge(rows))
    assert len(expected) == 3
    for order in itertools.permutations(rows):
        assert outlines(judge(list(order))) == expected


def test_best_first() -> None:
    marks = judge([((0, 0, 50, 50), "thumb", 0.6), ((100, 0, 150, 50), "stamp", 0.9)])
    assert marks.names == ["stamp", "thumb"]
    assert list(marks.scores) == sorted(marks.scores, reverse=True)


def test_a_label_config_can_move_the_bar() -> None:
    rows: list[Row] = [(WHOLE, "stamp", 0.6)]
    assert len(judge(rows, confidence=0.55)) == 1
    assert len(judge(rows, confidence=0.65)) == 0


@pytest.mark.parametrize(("confidence", "shown"), [(0.05, 1), (0.14, 1), (0.16, 0), (0.5, 0)])
def test_the_score_alone_decides_however_likely_it_is_that_there_is_none(confidence: float, shown: int) -> None:
    assert len(judge([(WHOLE, "none", 0.55)], confidence=confidence)) == shown


def test_a_models_own_threshold_stands_beside_the_operators() -> None:
    candidates, found = classified([(WHOLE, "stamp", 0.6), ((400, 100, 500, 200), "thumb", 0.6)])
    kept = select(candidates.boxes, found.probabilities, np.array([0.5, 0.7, 0.5]), SELECTION)
    assert list(kept) == [1]


@pytest.mark.parametrize(
    ("rows", "certainty"),
    [
        # Nothing to doubt.
        ([], 1.0),
        # The least sure of the marks.
        ([(WHOLE, "stamp", 0.9), ((500, 100, 600, 200), "thumb", 0.7)], 0.7),
        # A rejected candidate that was nearly a mark makes the page worth a look.
        ([((500, 100, 600, 200), "none", 0.55)], 0.55),
        # What a mark explains is not in doubt.
        ([(WHOLE, "signature", 0.95), ((110, 120, 170, 180), "none", 0.5)], 0.95),
    ],
)
def test_certainty_is_of_the_most_doubtful_candidate(rows: list[Row], certainty: float) -> None:
    assert judge(rows).certainty == pytest.approx(certainty)


@pytest.mark.parametrize(
    ("rows", "nearest"),
    [
        # Nothing was looked at.
        ([], None),
        # Something became a mark.
        ([(WHOLE, "stamp", 0.9), ((400, 100, 500, 200), "thumb", 0.3)], None),
        # The best of those below the bar.
        (
            [(WHOLE, "stamp", 0.3), ((400, 100, 500, 200), "thumb", 0.33)],
            Rejected(name="thumb", score=0.33, bar=BAR, none=(1 - 0.33) / 3),
        ),
        # Background is measured by the mark that it could have been.
        ([(WHOLE, "none", 0.94)], Rejected(name="signature", score=0.02, bar=BAR, none=0.94)),
    ],
)
def test_a_page_without_marks_says_what_came_nearest(rows: list[Row], nearest: Rejected | None) -> None:
    marks = judge(rows)
    assert marks.candidates == len(rows)
    if nearest is None:
        assert marks.nearest is None
    else:
        assert marks.nearest is not None
        assert marks.nearest.name == nearest.name
        found = (marks.nearest.score, marks.nearest.bar, marks.nearest.none)
        assert found == pytest.approx((nearest.score, nearest.bar, nearest.none))


def stamped_page() -> Page:
    """A white page with one blue ring, 2 cm wide at 300 dpi."""
    pixels = np.full((1200, 1000, 3), 255, np.uint8)
    y, x = np.mgrid[0:1200, 0:1000]
    distance = np.hypot(x - 500, y - 600)
    pixels[(distance < 120) & (distance > 90)] = (40, 60, 190)
    return Page(pixels=pixels, reference="drawn", dpi=300)


def test_a_page_comes_out_with_its_mark_boxed() -> None:
    pipeline = Pipeline(ColourDetector(), Answers((0.05, 0.9, 0.05, 0.0)))
    marks = pipeline.marks(stamped_page())
    assert marks.names == ["stamp"]
    assert marks.version == pipeline.version
    np.testing.assert_allclose(marks.boxes, [[380, 480, 621, 721]], atol=6)


def test_a_blank_page_has_no_marks() -> None:
    page = Page(pixels=np.full((1200, 1000, 3), 255, np.uint8), reference="blank", dpi=300)
    marks = Pipeline(ColourDetector(), Answers((0.05, 0.9, 0.05, 0.0))).marks(page)
    assert len(marks) == 0
    assert marks.probabilities.shape == (0, 4)
    assert marks.certainty == 1


def version(
    *,
    weights: str = "weights-1",
    detection: DetectionConfig = DETECTION,
    config: PipelineConfig = SELECTION,
) -> str:
    return Pipeline(ColourDetector(detection), Answers((1, 0, 0, 0), version=weights), config).version


def test_version_is_short_and_stable() -> None:
    assert version() == version()
    assert version().startswith("weights-1.ink-")
    assert len(version()) == len("weights-1.ink-") + 8


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(PipelineConfig)])
def test_version_changes_with_every_number_of_the_selection(name: str) -> None:
    changed = dataclasses.replace(SELECTION, **{name: getattr(SELECTION, name) + 0.01})
    assert version(config=changed) != version()


@pytest.mark.parametrize("field", dataclasses.fields(DetectionConfig), ids=lambda field: field.name)
def test_version_changes_with_every_number_of_the_detector(field: dataclasses.Field[object]) -> None:
    value = getattr(DETECTION, field.name)
    other: Any = (*value, 99.0) if isinstance(value, tuple) else value + 1
    assert version(detection=dataclasses.replace(DETECTION, **{field.name: other})) != version()


@pytest.mark.parametrize("name", WEIGHTS)
def test_version_changes_with_every_weight_of_the_ranking(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = version()
    monkeypatch.setitem(WEIGHTS, name, WEIGHTS[name] + 0.001)
    assert version() != before


def test_version_changes_with_the_weights() -> None:
    assert version(weights="weights-2") != version()


TRUSTING = Fusion(seen=1.0)
"""The detector's word counts as much as the classifier's."""


def sees_ink(folder: Path, *, fusion: Fusion = TRUSTING, **facts: Any) -> ModelDetector:
    """A network's detector that takes cyan ink for a signature, and boxes 20 pixels to each side at 50 dpi."""
    ink_detector(folder, [[20.0] * 4] * 3, fusion=fusion, **facts)
    return open_detector(folder)


def test_what_the_detector_saw_is_weighed_in(tmp_path: Path) -> None:
    pipeline = Pipeline(sees_ink(tmp_path), Answers((1, 0, 0, 0)))
    candidates, found = classified([(WHOLE, "none", 0.6)])
    assert len(pipeline.judge(candidates, found)) == 0, "nobody has seen anything"
    hot = dataclasses.replace(candidates, heat=np.array([[0.0, 0.9, 0.0]]))
    marks = pipeline.judge(hot, found)
    assert marks.names == ["stamp"]
    # Odds of heat are 9 for the stamp, 3 / 97 for the others; the classifier says .4 / 3 for each mark, and .6.
    other = 0.4 / 3 * 3 / 97
    expected = np.array([other, 0.4 / 3 * 9, other, 0.6])
    np.testing.assert_allclose(marks.probabilities[0], expected / expected.sum(), atol=1e-6)
    assert marks.certainty == pytest.approx(marks.scores[0])


def test_what_a_correction_settles_is_not_overruled_by_heat(tmp_path: Path) -> None:
    pipeline = Pipeline(sees_ink(tmp_path), Answers((1, 0, 0, 0)))
    rows: list[Row] = [(WHOLE, "none", 0.6), ((400, 100, 500, 200), "none", 0.6)]
    candidates, found = classified(rows)
    hot = dataclasses.replace(candidates, heat=np.array([[0.0, 0.95, 0.0]] * 2))
    assert len(pipeline.judge(hot, found)) == 2
    settled = dataclasses.replace(found, recalled=("said no", None), settled=(True, False))
    marks = pipeline.judge(hot, settled)
    assert outlines(marks) == [("stamp", rows[1][0])]
    assert marks.recalled == (None,)


@pytest.mark.parametrize("confidence", [0.01, 0.0])
def test_what_a_correction_rejects_passes_no_threshold(confidence: float) -> None:
    candidates, found = classified([(WHOLE, "none", 0.95), ((400, 100, 600, 200), "none", 0.95)])
    assert len(judge([(WHOLE, "none", 0.95)], confidence=confidence)) == 1, "the network's own opinion is no verdict"
    settled = dataclasses.replace(found, recalled=("said no", None), settled=(True, False))
    marks = Pipeline(ColourDetector(), Answers((1, 0, 0, 0))).judge(candidates, settled, confidence=confidence)
    assert outlines(marks) == [("signature", (400.0, 100.0, 600.0, 200.0))]


def test_a_correction_that_names_a_mark_keeps_its_probabilities_where_the_detector_is_cold(tmp_path: Path) -> None:
    pipeline = Pipeline(sees_ink(tmp_path), Answers((1, 0, 0, 0)))
    candidates, found = classified([(WHOLE, "thumb", 0.8)])
    assert len(pipeline.judge(candidates, found, confidence=BAR)) == 0
    settled = dataclasses.replace(found, recalled=("said thumb",), settled=(True,))
    marks = pipeline.judge(candidates, settled, confidence=BAR)
    np.testing.assert_array_equal(marks.probabilities, found.probabilities)
    assert marks.recalled == ("said thumb",)


def test_a_page_goes_through_a_network_that_detects(tmp_path: Path) -> None:
    pixels = np.full((585, 413, 3), 255, np.uint8)
    pixels[240:248, 160:168] = (0, 255, 255)
    pipeline = Pipeline(sees_ink(tmp_path), Answers((0.2, 0.2, 0.1, 0.5)))
    marks = pipeline.marks(Page(pixels=pixels, reference="drawn", dpi=50))
    assert marks.names == ["signature"]
    np.testing.assert_allclose(marks.boxes, [[144, 224, 184, 264]], atol=1)


def test_version_names_the_detector_and_changes_with_its_weights_numbers_and_fusion(tmp_path: Path) -> None:
    answers = Answers((1, 0, 0, 0))

    def version_of(name: str, **facts: Any) -> str:
        return Pipeline(sees_ink(tmp_path / name, **facts), answers).version

    versions = [
        version_of("one"),
        version_of("two", least_heat=0.2),
        version_of("three", fusion=Fusion(seen=0.9)),
        Pipeline(BothDetectors(sees_ink(tmp_path / "four"), ColourDetector()), answers).version,
        version(),
    ]
    assert len(set(versions)) == len(versions)
    assert version_of("one") == versions[0]
    assert [one.rpartition("-")[0].removeprefix("weights-1.") for one in versions] == [
        "model",
        "model",
        "model",
        "model+ink",
        "ink",
    ]


def test_serving_never_imports_torch() -> None:
    """A serving process starts in a second and stays small; only training and conversion know torch."""
    root = Path(__file__).parents[2]
    program = (
        "import sys, backend.cli, backend.commands.serve, backend.commands.predict, backend.models.serving;"
        "import onnxruntime;"
        "sys.exit(any(name in sys.modules for name in ('torch', 'torchvision', 'onnx')))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=root, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
