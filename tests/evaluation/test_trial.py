"""A whole trial with real pipelines: counted, raced, judged."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from backend.corrections.crop_store import fingerprint
from backend.evaluation.study import fingerprints
from backend.evaluation.trial import ATTEMPTS_FILE, HardExample, note_attempt, right_now, trial
from backend.evaluation.truth import Truth, read_coco
from backend.geometry import as_boxes
from backend.models.serving import build_pipeline
from backend.pages.source import from_path
from backend.settings import Settings
from backend.vision.network_config import CLASSES
from backend.vision.pipeline import Pipeline
from backend.vision.weights import BUNDLED, Weights


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data", model_threads=1)


@pytest.fixture
def bundled(settings: Settings) -> Pipeline:
    return build_pipeline(Weights.open(BUNDLED, name="bundled"), settings)


def test_a_timid_model_does_not_replace_the_bundled_one(drawn: Path, settings: Settings, bundled: Pipeline) -> None:
    """The same weights that show only what is all but certain; it was tried before, and it saw a gold document."""
    timid = build_pipeline(Weights.open(BUNDLED, name="timid"), dataclasses.replace(settings, confidence=0.9999))
    known = read_coco(drawn / "annotations.json", drawn)
    gold = Truth(pages=known.pages[:3], sha256=known.sha256)
    pages = fingerprints(gold, settings)
    note_attempt(settings.data_dir, gold="before a page was added", pages=pages[1:], challenger=timid.version)
    verdict = trial(bundled, timid, gold, trained_on=gold.documents[:1], hard=[], settings=settings)
    assert not verdict.promoted
    assert (verdict.champion, verdict.challenger) == (bundled.version, timid.version)
    assert (verdict.gold, verdict.documents, verdict.attempts) == (gold.sha256, 3, 2)
    failed = {check.name for check in verdict.checks if not check.passed}
    assert {"documents unseen", "macro F1 gain"} <= failed
    lines = (settings.data_dir / ATTEMPTS_FILE).read_text().splitlines()
    assert [json.loads(line)["challenger"] for line in lines] == [timid.version] * 2


def test_a_document_is_known_by_the_pixels_of_a_page(drawn: Path, settings: Settings, bundled: Pipeline) -> None:
    gold = read_coco(drawn / "annotations.json", drawn)
    seen = next(from_path(gold.pages[1].path, settings)).pixels
    verdict = trial(bundled, bundled, gold, trained_on=[fingerprint(seen)], hard=[], settings=settings)
    assert f"it was trained on 1 of the 5 gold documents: {gold.documents[1]}" in verdict.reasons


def test_an_example_is_right_when_the_likeliest_class_is_the_annotators(bundled: Pipeline) -> None:
    pixels, box = np.full((60, 80, 3), 255, np.uint8), as_boxes([10, 10, 70, 50])
    likeliest = CLASSES[int(bundled.classifier.classify(pixels, box).probabilities[0].argmax())]
    examples = [HardExample(pixels=pixels, box=box, label=label) for label in CLASSES]
    assert right_now(bundled.classifier, examples) == [label == likeliest for label in CLASSES]
