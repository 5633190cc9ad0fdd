"""Publishes a finished run of either network: weights that serve, their config, the record, the model card."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch

from backend.files import write_private
from backend.models.publishing import add_documents
from backend.training.training_loop import RunProgress
from backend.training.training_record import seconds_of, write_record
from backend.vision.network_config import sha256_of
from backend.vision.weights import in_floating_point

__all__ = ["EarlierNetwork", "Publication", "PublishedWeights", "blended", "publish_run", "told_blend"]

M = TypeVar("M")
"""What is measured on one set of gold documents."""


@dataclass(frozen=True, kw_only=True)
class PublishedWeights:
    """Weights that were written, as the card names them.

    Attributes:
        folder: Where they are, their config beside them.
        megabytes: Size of the weights file.
        sha256: Its checksum.
        minutes: How long all epochs took together.
    """

    folder: Path
    megabytes: float
    sha256: str
    minutes: float


def blended(
    base: Mapping[str, torch.Tensor], trained: Mapping[str, torch.Tensor], part: float
) -> dict[str, torch.Tensor]:
    """Weights on the way from `base` to `trained`, of which they have that part; counters are those of the latter."""
    return {
        name: torch.lerp(base[name], tensor, part) if tensor.is_floating_point() else tensor
        for name, tensor in trained.items()
    }


def told_blend(part: float) -> str:
    """What a card says of blended weights, after its last sentence; nothing where all of them is what came out."""
    return "" if part == 1 else f" {part:.0%} of the weights is what came out, and the rest what went in."


@dataclass(frozen=True, kw_only=True, eq=False)
class EarlierNetwork:
    """The network that a training went on from.

    Attributes:
        weights: Its state dict.
        record: What the record of its own training says.
    """

    weights: Mapping[str, torch.Tensor]
    record: Mapping[str, Any]


class Publication(ABC, Generic[M]):
    """What differs from one network to another.

    Attributes:
        weights_file: Name of the ONNX file.
        record_file: Name of the record of the run.
        card_file: Name of the model card.
        limits: The last part of the card.
        progress: What the training gave.
    """

    weights_file: str
    record_file: str
    card_file: str
    limits: str
    progress: RunProgress

    @abstractmethod
    def documents(self) -> Iterable[str]:
        """The documents that trained and tuned the network."""

    @abstractmethod
    def write(self, out: Path) -> None:
        """Writes the weights and their config to a folder."""

    @abstractmethod
    def measure(self, out: Path) -> dict[str, M]:
        """What the weights in a folder score on gold documents, by the sets' titles."""

    @abstractmethod
    def as_json(self, found: M) -> Any:
        """The figures of one set, for the record."""

    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """What the record says before time and figures: the recipe, the data, the versions of packages."""

    @abstractmethod
    def head(self, written: PublishedWeights) -> list[str]:
        """The parts of the card before the figures."""

    @abstractmethod
    def table(self, title: str, found: M) -> str:
        """The figures of one set, for the card."""


def publish_run(work: Publication[M], out: Path) -> dict[str, M]:
    """Writes weights, config, record and card to `out`; gives what was measured, by the sets' titles.

    The documents that trained and tuned the network are added to `documents.txt`, for the gate to ask. Everything is
    measured on the file that is written, run by the engine that serves.

    Args:
        work: The network's own part.
        out: Made when missing.
    """
    out.mkdir(parents=True, exist_ok=True)
    add_documents(out, work.documents())
    work.write(out)
    # Of weights of whole numbers that were here before: nothing that is new was made from it.
    if (old := in_floating_point(out, work.weights_file)) != out / work.weights_file:
        old.unlink()
    measured = work.measure(out)
    seconds = seconds_of(work.progress)
    write_record(
        out / work.record_file,
        work.progress,
        **work.facts(),
        seconds=round(seconds),
        measured={title: work.as_json(found) for title, found in measured.items()},
    )
    write_private(out / work.card_file, _card(work, out, measured, seconds=seconds))
    return measured


def _card(work: Publication[M], out: Path, measured: Mapping[str, M], *, seconds: float) -> str:
    """The model card as Markdown."""
    weights = out / work.weights_file
    written = PublishedWeights(
        folder=out, megabytes=weights.stat().st_size / 1e6, sha256=sha256_of(weights), minutes=seconds / 60
    )
    tables = [work.table(title, found) for title, found in measured.items()]
    return "\n".join([*work.head(written), *tables]) + work.limits
