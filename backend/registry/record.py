"""What is known of a published model, as JSON beside its weights: how it was made, what it does, what the gate said."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from backend.errors import RegistryError
from backend.nets.registry import RECORD_FILE

__all__ = ["BESIDE", "Facts", "Record", "Verdict"]

BESIDE = "beside"
"""Figure of a verdict: the published model that the gate saw the candidate beside; None for unpublished weights."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the gate said of a candidate.

    Attributes:
        passed: Whether it may be promoted.
        reasons: Why not, or what speaks for it; one sentence each.
        figures: What that rests on, as JSON.
    """

    passed: bool
    reasons: tuple[str, ...] = ()
    figures: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> Verdict:
        """Reads what `dataclasses.asdict` made.

        Raises:
            KeyError: A field is missing.
        """
        return cls(passed=bool(facts["passed"]), reasons=tuple(facts["reasons"]), figures=dict(facts["figures"]))


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What whoever made a model says of it.

    Attributes:
        source: Where it is from: `training`, or `huggingface:<repository>@<commit>`.
        parent: Name of the model that it was trained from or judged against; None where there was none.
        recipe: The recipe it was made by, as JSON.
        seed: Of the random numbers.
        versions: Packages and their versions.
        dataset: Hash of the data it was trained on.
        seconds: How long that took.
        metrics: Figures by what they were measured on; `closed_set` and `end_to_end` in the shape of `evaluate`'s JSON.
        verdict: The gate's, where it was asked before the model was published.
    """

    source: str
    parent: str | None = None
    recipe: Mapping[str, Any] = field(default_factory=dict)
    seed: int | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    dataset: str | None = None
    seconds: float | None = None
    metrics: Mapping[str, Any] = field(default_factory=dict)
    verdict: Verdict | None = None


@dataclass(frozen=True, kw_only=True)
class Record(Facts):
    """A published model, as `record.json` tells of it; never changed after.

    Attributes:
        name: The model's name.
        published: When, in ISO 8601, UTC.
        files: Each file of the folder, besides the record itself, and its SHA-256.
    """

    name: str
    published: str
    files: Mapping[str, str]

    @classmethod
    def of(cls, facts: Facts, *, name: str, published: str, files: Mapping[str, str]) -> Record:
        """The record of a model of which `facts` are known."""
        known = {row.name: getattr(facts, row.name) for row in dataclasses.fields(Facts)}
        return cls(**known, name=name, published=published, files=files)

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Reads the record of a model's folder.

        Raises:
            RegistryError: It cannot be read, or is no record.
        """
        path = folder / RECORD_FILE
        try:
            facts = json.loads(path.read_text(encoding="utf-8"))
            verdict = facts.pop("verdict")
            return cls(**facts, verdict=verdict and Verdict.from_json(verdict))
        except OSError as error:
            raise RegistryError(f"{path} cannot be read: {error.strerror}") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise RegistryError(f"{path} is no record of a model: {error}") from error

    def as_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    def text(self) -> str:
        """The record as it is written.

        Raises:
            RegistryError: It holds what JSON cannot say, such as a figure that is not a number.
        """
        try:
            return json.dumps(self.as_json(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        except (TypeError, ValueError) as error:
            raise RegistryError(f"the record of {self.name} cannot be written as JSON: {error}") from error
