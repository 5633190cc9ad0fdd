"""A whole trial with real pipelines: counted, raced, judged; and how attempts are counted."""

from __future__ import annotations

import dataclasses
import json
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from backend.corrections.crop_store import fingerprint
from backend.errors import EvaluationError
from backend.evaluation.study import fingerprints, race
from backend.evaluation.trial import ATTEMPTS_FILE, HardExample, alike, note_attempt, raced, right_now, trial
from backend.evaluation.truth import Truth, read_coco
from backend.geometry import as_boxes
from backend.models.serving import build_pipeline
from backend.pages.page import Page
from backend.pages.source import from_path
from backend.settings import Settings
from backend.vision.network_config import CLASSES
from backend.vision.pipeline import Marks, Pipeline
from backend.vision.weights import CONFIG_FILE, FLOAT_WEIGHTS_FILE, WEIGHTS_FILE, Weights
from tests.evaluation.pages import page_hash
from tests.models.tiny import says


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """With the detector that looks soonest."""
    return Settings(data_dir=tmp_path / "data", model_threads=1, detector="colour")


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Weights:
    """They call whatever is found a stamp, at once: no promise here is about which marks are found."""
    return Weights.open(says("stamp", tmp_path_factory.mktemp("hasty")), name="hasty")


@pytest.fixture
def serving(hasty: Weights, settings: Settings) -> Pipeline:
    return build_pipeline(hasty, settings)


def test_a_timid_model_does_not_replace_the_one_that_serves(
    drawn: Path, settings: Settings, hasty: Weights, serving: Pipeline
) -> None:
    """The same weights that show only what is all but certain; it was tried before, and it saw a gold document."""
    timid = build_pipeline(dataclasses.replace(hasty, name="timid"), dataclasses.replace(settings, confidence=0.9999))
    known = read_coco(drawn / "annotations.json", drawn)
    gold = Truth(pages=known.pages[:3], sha256=known.sha256)
    pages = fingerprints(gold, settings)
    note_attempt(settings.data_dir, gold="before a page was added", pages=pages[1:], challenger=timid.version)
    verdict = trial(serving, timid, gold, trained_on=gold.documents[:1], hard=[], settings=settings)
    assert not verdict.promoted
    assert (verdict.champion, verdict.challenger) == (serving.version, timid.version)
    assert (verdict.gold, verdict.documents, verdict.attempts) == (gold.sha256, 3, 2)
    failed = {check.name for check in verdict.checks if not check.passed}
    assert {"documents unseen", "macro F1 gain"} <= failed
    [gain] = [check.figure for check in verdict.checks if check.name == "macro F1 gain"]
    assert gain is not None
    assert gain < 0, "the one that serves has some stamp right"
    lines = (settings.data_dir / ATTEMPTS_FILE).read_text().splitlines()
    assert [json.loads(line)["challenger"] for line in lines] == [timid.version] * 2


def test_a_document_is_known_by_the_pixels_of_a_page(drawn: Path, settings: Settings, serving: Pipeline) -> None:
    known = read_coco(drawn / "annotations.json", drawn)
    gold = Truth(pages=known.pages[:2], sha256=known.sha256)
    seen = next(from_path(gold.pages[1].path, settings)).pixels
    verdict = trial(serving, serving, gold, trained_on=[fingerprint(seen)], hard=[], settings=settings)
    assert f"it was trained on 1 of the 2 gold documents: {gold.documents[1]}" in verdict.reasons


def test_an_example_is_right_when_the_likeliest_class_is_the_annotators(serving: Pipeline) -> None:
    pixels, box = np.full((60, 80, 3), 255, np.uint8), as_boxes([10, 10, 70, 50])
    likeliest = CLASSES[int(serving.classifier.classify(pixels, box).probabilities[0].argmax())]
    examples = [HardExample(pixels=pixels, box=box, label=label) for label in CLASSES]
    assert right_now(serving.classifier, examples) == [label == likeliest for label in CLASSES]


class Timed(Pipeline):
    """Knows how long its longest look took, in seconds."""

    longest = 0.0

    def marks(self, page: Page, *, confidence: float | None = None) -> Marks:
        began = time.perf_counter()
        found = super().marks(page, confidence=confidence)
        self.longest = max(self.longest, time.perf_counter() - began)
        return found


class Laborious(Pipeline):
    """Takes twice as long as any look of another one so far, however busy the machine is; at least half a second."""

    def __init__(self, other: Timed) -> None:
        super().__init__(other.detector, other.classifier, other.config)
        self._other = other

    def marks(self, page: Page, *, confidence: float | None = None) -> Marks:
        until = time.perf_counter() + max(2 * self._other.longest, 0.5)
        found = super().marks(page, confidence=confidence)
        time.sleep(max(until - time.perf_counter(), 0.0))
        return found


def test_few_pages_are_raced_over_again_where_the_challenger_seems_slower(
    drawn: Path, settings: Settings, serving: Pipeline
) -> None:
    known = read_coco(drawn / "annotations.json", drawn)
    gold = Truth(pages=known.pages[:1], sha256=known.sha256)
    swift = Timed(serving.detector, serving.classifier, serving.config)
    laborious = Laborious(swift)
    before, after = raced(swift, laborious, gold, settings, races=3)
    assert before.milliseconds.shape == after.milliseconds.shape == (1, 3), "three races, as many as asked for"
    assert np.isfinite(after.milliseconds).all()
    assert len(before.shown) == len(after.shown) == 1
    faster, _ = raced(laborious, swift, gold, settings, races=3)
    assert faster.milliseconds.shape == (1, 1)


class Counted(Pipeline):
    """Counts its looks at pages."""

    looks = 0

    def marks(self, page: Page, *, confidence: float | None = None) -> Marks:
        self.looks += 1
        return super().marks(page, confidence=confidence)


@pytest.mark.parametrize(("twice", "looks"), [(True, 1 + 2 * 2), (False, 1 + 2)])
def test_where_speed_is_no_question_each_looks_at_a_page_once(
    drawn: Path, settings: Settings, serving: Pipeline, twice: bool, looks: int
) -> None:
    """The first page is looked at once more, by both: the first look sets up a network's memory."""
    known = read_coco(drawn / "annotations.json", drawn)
    gold = Truth(pages=known.pages[:2], sha256=known.sha256)
    one, other = (Counted(serving.detector, serving.classifier, serving.config) for _ in range(2))
    runs = race(one, other, gold, settings, twice=twice)
    assert (one.looks, other.looks) == (looks, looks)
    assert [len(run.shown) for run in runs] == [2, 2]
    assert all(np.isfinite(run.milliseconds).all() for run in runs)


def test_whole_numbers_are_raced_beside_floating_point_as_what_they_were_made_of(
    drawn: Path, settings: Settings, hasty: Weights, tmp_path: Path
) -> None:
    """The file in whole numbers says `thumb` here, so that one sees which of the two is looked through."""
    folder = says("thumb", tmp_path / "champion")
    shutil.copyfile(hasty.folder / WEIGHTS_FILE, folder / FLOAT_WEIGHTS_FILE)
    champion = Weights.open(folder, name="whole numbers")
    assert alike(champion, champion, settings) is None
    assert alike(hasty, champion, settings) is None, "what the challenger gains by them is its own"
    paced = alike(champion, hasty, settings)
    assert paced is not None
    example = HardExample(pixels=np.full((60, 90, 3), 255, np.uint8), box=as_boxes([5, 5, 85, 55]), label="stamp")
    assert right_now(paced.classifier, [example]) == [True]
    assert right_now(build_pipeline(champion, settings).classifier, [example]) == [False]
    known = read_coco(drawn / "annotations.json", drawn)
    gold = Truth(pages=known.pages[:1], sha256=known.sha256)
    pair = build_pipeline(champion, settings), build_pipeline(hasty, settings)
    verdict = trial(*pair, gold, paced=paced, trained_on=(), hard=[], settings=settings)
    assert "with the champion in floating point, as this one is" in str(verdict)
    assert "in floating point" not in str(trial(*pair, gold, trained_on=(), hard=[], settings=settings))
    assert json.loads((folder / CONFIG_FILE).read_text())["sha256"] == champion.config.sha256, "its own files stay"


@pytest.mark.parametrize(
    ("before", "now", "counts"),
    [
        # The same pages, one of them boxed anew.
        (range(10), range(10), True),
        # The set has grown by a page, by nearly as many as there were, by as many.
        (range(10), range(11), True),
        (range(10), range(19), True),
        (range(10), range(20), False),
        # A part of them.
        (range(10), range(7, 10), True),
        # Others, but for a few.
        (range(10), range(6, 16), False),
    ],
)
def test_an_attempt_on_most_of_todays_pages_counts(
    before: Sequence[int], now: Sequence[int], counts: bool, tmp_path: Path
) -> None:
    note_attempt(tmp_path, gold="then", pages=[page_hash(page) for page in before], challenger="one")
    attempts = note_attempt(tmp_path, gold="now", pages=[page_hash(page) for page in now], challenger="two")
    assert attempts == 1 + counts


def test_attempts_on_the_same_gold_pages_are_counted(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    assert note_attempt(folder, gold="a", pages=[page_hash(1)], challenger="one") == 1
    assert note_attempt(folder, gold="b", pages=[page_hash(2)], challenger="one") == 1
    assert note_attempt(folder, gold="a", pages=[page_hash(1)], challenger="two") == 2
    lines = [json.loads(line) for line in (folder / ATTEMPTS_FILE).read_text().splitlines()]
    assert [(line["gold"], line["challenger"]) for line in lines] == [("a", "one"), ("b", "one"), ("a", "two")]


def test_a_damaged_count_is_said_and_not_passed_over(tmp_path: Path) -> None:
    (tmp_path / ATTEMPTS_FILE).write_text('{"gold": "a"}\nnot json\n')
    with pytest.raises(EvaluationError, match="line 2, is no attempt"):
        note_attempt(tmp_path, gold="a", pages=[], challenger="one")


def test_what_a_full_disk_left_of_a_line_is_no_attempt(tmp_path: Path) -> None:
    file = tmp_path / ATTEMPTS_FILE
    file.write_text('{"gold": "a"}\n{"gold": "a", "chal')
    assert note_attempt(tmp_path, gold="a", pages=[], challenger="one") == 2
    assert [json.loads(line)["gold"] for line in file.read_text().splitlines()] == ["a", "a"]


def test_attempts_of_before_pages_were_noted_count_for_the_same_set(tmp_path: Path) -> None:
    (tmp_path / ATTEMPTS_FILE).write_text('{"gold": "a", "challenger": "one", "when": "2026-11-22"}\n')
    assert note_attempt(tmp_path, gold="a", pages=[page_hash(1)], challenger="two") == 2


def test_an_attempt_that_cannot_be_counted_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EvaluationError, match="attempts have to be counted"):
        note_attempt(tmp_path / "file", gold="a", pages=[], challenger="one")
