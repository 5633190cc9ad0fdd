"""A classifier's config survives the disk, changes its digest exactly when answers change, and refuses nonsense."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from backend.errors import BadWeights
from backend.vision.network_config import CLASSES, MARKS, ClassifierConfig

CHECKSUM = "ab" * 32


def test_survives_the_disk(tmp_path: Path) -> None:
    config = ClassifierConfig(
        sha256=CHECKSUM, classes=MARKS, temperature=1.5, thresholds=(0.1, 0.2, 0.3), provenance={"source": "here"}
    )
    config.write(tmp_path / "classifier.json")
    assert ClassifierConfig.read(tmp_path / "classifier.json") == config


def test_only_the_checksum_is_needed(tmp_path: Path) -> None:
    (tmp_path / "classifier.json").write_text(json.dumps({"sha256": CHECKSUM}))
    assert ClassifierConfig.read(tmp_path / "classifier.json") == ClassifierConfig(sha256=CHECKSUM, classes=CLASSES)


@pytest.mark.parametrize(
    ("change", "changes"),
    [
        # Other weights.
        ({"sha256": "cd" * 32}, True),
        # Other meaning of the outputs.
        ({"classes": MARKS}, True),
        # Other calibration.
        ({"temperature": 1.1}, True),
        # Other thresholds.
        ({"thresholds": (0.0, 0.0, 0.6)}, True),
        # Another story about the same weights.
        ({"provenance": {"note": "none"}}, False),
    ],
)
def test_digest_changes_exactly_when_answers_do(change: dict[str, Any], changes: bool) -> None:
    config = ClassifierConfig(sha256=CHECKSUM)
    assert (dataclasses.replace(config, **change).digest != config.digest) is changes


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        # Cut off.
        ('{"sha256": "', "does not describe a classifier"),
        # Not an object.
        ("[]", "not a JSON object"),
        # No checksum.
        ("{}", "sha256"),
        ('{"sha256": "xyz"}', "64 hexadecimal"),
        # Classes in another order would swap labels in silence.
        (json.dumps({"sha256": CHECKSUM, "classes": ["stamp", "signature", "thumb"]}), "classes are"),
        (json.dumps({"sha256": CHECKSUM, "temperature": 0}), "temperature is 0"),
        (json.dumps({"sha256": CHECKSUM, "temperature": "warm"}), "does not describe"),
        (json.dumps({"sha256": CHECKSUM, "thresholds": [0.5]}), "one probability for each"),
        (json.dumps({"sha256": CHECKSUM, "preprocessing": "imagenet"}), "only 'rgb-resize-unit'"),
        # Written by a later version that means more than this one understands.
        (json.dumps({"sha256": CHECKSUM, "tiles": 4}), r"unknown fields \['tiles'\]"),
    ],
)
def test_refuses_what_it_cannot_serve(text: str, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "classifier.json"
    path.write_text(text)
    with pytest.raises(BadWeights, match=reason) as caught:
        ClassifierConfig.read(path)
    assert str(path) in str(caught.value)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadWeights, match=r"classifier\.json cannot be read: No such file"):
        ClassifierConfig.read(tmp_path / "classifier.json")
