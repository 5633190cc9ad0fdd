"""What stands beside a weights file: its classes, input, calibration, thresholds, checksum and origin, as JSON."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from backend.errors import BadWeights
from backend.files import write_private

__all__ = ["CLASSES", "INPUT_SIZE", "MARKS", "NONE", "PREPROCESSING", "ClassifierConfig", "check_sha256", "sha256_of"]

CLASSES = ("signature", "stamp", "thumb", "none")
"""The order of the classifier's outputs; the original checkpoint has the first three."""
MARKS = CLASSES[:3]
NONE = CLASSES.index("none")
INPUT_SIZE = 224
PREPROCESSING = "rgb-resize-unit"
"""As on the original model card: RGB, 224 x 224 (Pillow bilinear, antialiased), scaled to [0, 1], not normalised."""

_CHECKSUM = re.compile(r"[0-9a-f]{64}")
_BLOCK = 1 << 20


@dataclass(frozen=True, kw_only=True)
class ClassifierConfig:
    """What a classifier's weights file promises.

    Attributes:
        sha256: Checksum of the weights file.
        classes: What its outputs mean: `CLASSES`, or without the last.
        preprocessing: Name of the way crops become its input; only `PREPROCESSING` is known.
        temperature: Logits are divided by it before the softmax (Guo et al., 2017, arXiv:1706.04599).
        thresholds: Lowest probability at which each of `MARKS` counts; CONFIDENCE has to be reached as well.
        provenance: Where the weights come from, in words: source, revision, licence, data, figures.
    """

    sha256: str
    classes: tuple[str, ...] = CLASSES
    preprocessing: str = PREPROCESSING
    temperature: float = 1.0
    thresholds: tuple[float, ...] = (0.0, 0.0, 0.0)
    provenance: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_sha256(self.sha256)
        if self.classes not in (CLASSES, MARKS):
            raise BadWeights(f"classes are {list(self.classes)}: expected {list(CLASSES)} or {list(MARKS)}")
        if self.preprocessing != PREPROCESSING:
            raise BadWeights(f"preprocessing is {self.preprocessing!r}: only {PREPROCESSING!r} is known")
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise BadWeights(f"temperature is {self.temperature}: it must be above 0")
        if len(self.thresholds) != len(MARKS) or not all(0 <= value <= 1 for value in self.thresholds):
            raise BadWeights(
                f"thresholds are {list(self.thresholds)}: expected one probability for each of {list(MARKS)}"
            )

    @property
    def knows_none(self) -> bool:
        """Whether it can say that a candidate is no mark at all."""
        return len(self.classes) == len(CLASSES)

    @property
    def digest(self) -> str:
        """Eight hexadecimal digits that change exactly when the weights, their reading or their thresholds do."""
        facts = dataclasses.asdict(self)
        del facts["provenance"]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:8]

    @classmethod
    def read(cls, path: Path) -> ClassifierConfig:
        """Reads the JSON file that `write` made.

        Raises:
            BadWeights: The file is missing, is no JSON, or a field is missing, unknown or out of range.
        """
        try:
            facts = json.loads(path.read_text(encoding="utf-8"))
            return cls._from_facts(facts)
        except OSError as error:
            raise BadWeights(f"{path} cannot be read: {error.strerror}") from error
        except (ValueError, TypeError) as error:
            raise BadWeights(f"{path} does not describe a classifier: {error}") from error
        except BadWeights as error:
            raise BadWeights(f"{path}: {error}") from error

    @classmethod
    def _from_facts(cls, facts: object) -> ClassifierConfig:
        if not isinstance(facts, dict):
            raise BadWeights("not a JSON object")
        known = {row.name for row in dataclasses.fields(cls)}
        if unknown := sorted(set(facts) - known):
            raise BadWeights(f"unknown fields {unknown}")
        provenance = facts.get("provenance", {})
        return cls(
            **facts
            | {
                "classes": tuple(facts.get("classes", CLASSES)),
                "temperature": float(facts.get("temperature", 1.0)),
                "thresholds": tuple(float(value) for value in facts.get("thresholds", (0.0,) * len(MARKS))),
                "provenance": {str(name): str(value) for name, value in dict(provenance).items()},
            }
        )

    def write(self, path: Path) -> None:
        """Writes the config as JSON."""
        write_private(path, json.dumps(dataclasses.asdict(self), indent=2) + "\n")


def check_sha256(checksum: object) -> None:
    """Refuses what is no checksum, in a config that names its weights by one.

    Raises:
        BadWeights: It is not 64 hexadecimal digits.
    """
    if not (isinstance(checksum, str) and _CHECKSUM.fullmatch(checksum)):
        raise BadWeights("sha256 is not 64 hexadecimal digits")


def sha256_of(path: Path) -> str:
    """Checksum of a file, as 64 hexadecimal digits.

    Raises:
        BadWeights: The file cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    except OSError as error:
        raise BadWeights(f"{path} cannot be read: {error.strerror}") from error
    return digest.hexdigest()
