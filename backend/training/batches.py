"""Crops in memory, drawn in the recipe's shares and augmented; each epoch depends on the seed and its number alone."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Protocol, TypeVar

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from backend.errors import TrainingError
from backend.training.augment import Augmentation, augment, centre, square
from backend.training.classifier_recipe import Corrections
from backend.training.crops import Crop
from backend.vision.network_config import CLASSES, NONE

__all__ = [
    "CORRECTED",
    "HARD",
    "CropArrays",
    "Crops",
    "epoch_order",
    "loaded",
    "part_of_batches",
    "plain_batches",
    "pooled_order",
    "training_batches",
]

CORRECTED = "corrected"
"""Domain of annotators' samples."""
HARD = "hard"
"""Origin of those whose mark was shown under another name, or where nothing is."""
_PLAIN_BATCH = 128
T = TypeVar("T")


class Crops(Protocol):
    """Where crops come from; `backend.training.crops.CropFolder` is one."""

    @property
    def folder(self) -> Path: ...

    def read(self) -> list[Crop]:
        """The index, always in the same order."""
        ...

    def image(self, crop: Crop) -> NDArray[np.uint8]:
        """The (h, w, 3) RGB pixels of a crop, its margin included."""
        ...


@dataclass(frozen=True, eq=False)
class CropArrays:
    """Crops of one split as arrays.

    Attributes:
        pixels: (N, side, side, 3) uint8, margins included.
        labels: (N,) indices into `CLASSES`.
        crops: Their index lines.
        size: Side of the box within `pixels`.
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    crops: tuple[Crop, ...]
    size: int

    @classmethod
    def load(cls, store: Crops, split: str, size: int, *, most: int | None = None) -> CropArrays:
        """Reads the crops of a split at one size; of a domain with more than `most`, as many, evenly spaced.

        Raises:
            TrainingError: The store has none.
        """
        crops = tuple(crop for crop in store.read() if crop.split == split)
        crops = crops if most is None else tuple(_thinned(crops, most))
        if not crops:
            raise TrainingError(f"{store.folder} has no {split} crops: harvest some first")
        return cls(
            pixels=np.stack([square(store.image(crop), size) for crop in crops]),
            labels=np.array([CLASSES.index(crop.label) for crop in crops]),
            crops=crops,
            size=size,
        )

    def __len__(self) -> int:
        return len(self.labels)


def _thinned(crops: Sequence[Crop], most: int) -> Iterator[Crop]:
    """At most `most` crops of each domain, evenly spaced in their order."""
    for domain in sorted({crop.domain for crop in crops}):
        members = [crop for crop in crops if crop.domain == domain]
        step = max(1.0, len(members) / most)
        yield from (members[int(place * step)] for place in range(min(most, len(members))))


def epoch_order(
    groups: Sequence[str], shares: Mapping[str, float], *, samples: int, seed: Sequence[int]
) -> NDArray[np.intp]:
    """Which crops an epoch shows, in order, (samples,): each group has its share, and shows each crop before any twice.

    Raises:
        ValueError: No crop belongs to a group of `shares`.
    """
    rng = np.random.default_rng([*seed, 0])
    members = {name: np.flatnonzero(np.array(groups) == name) for name in shares}
    present = {name: shares[name] for name in shares if len(members[name])}
    if not present:
        raise ValueError(f"none of the groups {sorted(set(groups))} has a share in {sorted(shares)}")
    bounds = np.round(np.cumsum(list(present.values())) / sum(present.values()) * samples).astype(int)
    counts = np.diff(bounds, prepend=0)
    chosen = [
        np.concatenate(
            [rng.permutation(members[name]) for _ in range(-(-count // len(members[name])))] or [members[name][:0]]
        )
        for name, count in zip(present, counts, strict=True)
    ]
    return np.asarray(
        rng.permutation(np.concatenate([part[:count] for part, count in zip(chosen, counts, strict=True)]))
    )


def pooled_order(
    rest: NDArray[np.intp], crops: Sequence[Crop], plan: Corrections, *, batch: int, seed: Sequence[int]
) -> NDArray[np.intp]:
    """Adds annotators' samples to an epoch, in whole batches, none with more hard examples than its share.

    Hard examples come back in rounds, each of them once a round, and end early where the share is used up.

    Args:
        rest: What else the epoch shows, indices into `crops`.
        crops: All crops of the training side.
        plan: How often each is shown.
        batch: Crops of a batch.
        seed: Names the epoch.
    """
    rng = np.random.default_rng([*seed, 2])
    samples = [place for place, crop in enumerate(crops) if crop.domain == CORRECTED]
    hard = np.array([place for place in samples if crops[place].origin == HARD], np.intp)
    seen = np.array([place for place in samples if crops[place].origin != HARD], np.intp)
    often = np.array([plan.factors.get(crops[place].label, 1.0) for place in seen])
    times = np.floor(often + rng.random(len(seen))).astype(int)
    others = rng.permutation(np.concatenate([rest, np.repeat(seen, times)]))
    rounds = round(plan.hard_factor * plan.hard_times)
    wanted = np.concatenate([hard[:0], *(rng.permutation(hard) for _ in range(rounds))])
    most = math.floor(plan.hard_share * batch)
    steps = min(math.ceil((len(others) + len(wanted)) / batch), math.ceil(len(others) / (batch - most)))
    shown = wanted[: steps * most]
    bounds = np.arange(steps + 1) * len(shown) // max(steps, 1)
    filled = np.resize(others, steps * batch - len(shown))
    return np.concatenate(
        [hard[:0]]
        + [
            rng.permutation(np.concatenate([shown[low:high], filled[step * batch - low : (step + 1) * batch - high]]))
            for step, (low, high) in enumerate(pairwise(bounds))
        ]
    )


class _Epoch(Dataset[tuple[torch.Tensor, int]]):
    """The augmented crops of one epoch, by position; any process gives the same for the same position."""

    def __init__(
        self,
        memory: CropArrays,
        order: NDArray[np.intp],
        positions: NDArray[np.intp],
        strength: Augmentation,
        seed: Sequence[int],
    ) -> None:
        self._memory, self._order, self._strength, self._seed = memory, order, strength, seed
        self._positions = positions
        self._plain = np.flatnonzero(memory.labels == NONE)
        marks = np.unique(memory.labels[memory.labels != NONE])
        self._others = {
            int(label): np.flatnonzero((memory.labels != NONE) & (memory.labels != label)) for label in marks
        }

    def __len__(self) -> int:
        return len(self._positions)

    def __getitem__(self, place: int) -> tuple[torch.Tensor, int]:
        position = int(self._positions[place])
        memory, index = self._memory, self._order[position]
        rng = np.random.default_rng([*self._seed, 1, position])
        label = int(memory.labels[index])
        overlay = memory.pixels[rng.choice(self._plain)] if len(self._plain) else None
        changed = augment(
            memory.pixels[index],
            CLASSES[label],
            size=memory.size,
            strength=self._strength,
            rng=rng,
            overlay=overlay,
            other=self._other(label, rng),
        )
        return torch.from_numpy(changed), label

    def _other(self, label: int, rng: np.random.Generator) -> NDArray[np.uint8] | None:
        """A mark of another class, as often as marks are printed over; never for a crop that shows none."""
        # Nothing is drawn by chance where there is no such thing to decide: older recipes stay what they were.
        others = self._others.get(label, ())
        if not self._strength.overlap or not len(others) or rng.random() >= self._strength.overlap:
            return None
        return np.asarray(self._memory.pixels[rng.choice(others)], np.uint8)


def training_batches(
    memory: CropArrays,
    order: NDArray[np.intp],
    *,
    batch: int,
    strength: Augmentation,
    seed: Sequence[int],
    workers: int,
    part: tuple[int, int] = (0, 1),
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Batches of pixels (B, 3, size, size) in [0, 1] and labels (B,); the rest that fills no batch is left out.

    Args:
        memory: The crops.
        order: See `epoch_order`.
        batch: Crops of a batch.
        strength: Of the augmentation.
        seed: Names the epoch.
        workers: Processes that augment; 0 does it in this one.
        part: Which part of each batch is given, and how many there are; a crop is changed alike in whichever it is.
    """
    shown = _Epoch(memory, order, part_of_batches(len(order), batch=batch, part=part), strength, seed)
    for pixels, labels in loaded(shown, batch // part[1], workers=workers):
        yield _unit(pixels), labels


def part_of_batches(count: int, *, batch: int, part: tuple[int, int]) -> NDArray[np.intp]:
    """Which of an epoch's positions belong to a process, in order; the rest that fills no batch is left out.

    Args:
        count: Positions of the epoch.
        batch: Of a step, in all processes.
        part: Which process it is, and how many there are.
    """
    first, parts = part
    return np.arange(count // batch * batch).reshape(-1, batch)[:, first::parts].ravel()


def loaded(shown: Dataset[T], batch: int, *, workers: int) -> DataLoader[T]:
    """Batches of what an epoch shows, in order; `workers` processes prepare them, 0 does it in this one."""
    cv2.setNumThreads(0)  # the workers are forked, which OpenCV's own threads would not survive
    return DataLoader(
        shown,
        batch,
        num_workers=workers,
        drop_last=True,
        multiprocessing_context="fork" if workers else None,
    )


def plain_batches(memory: CropArrays) -> Iterator[torch.Tensor]:
    """All crops unchanged, in order, as batches of pixels (B, 3, size, size) in [0, 1]."""
    for start in range(0, len(memory), _PLAIN_BATCH):
        boxes = [centre(crop, memory.size) for crop in memory.pixels[start : start + _PLAIN_BATCH]]
        yield _unit(torch.from_numpy(np.stack(boxes)))


def _unit(pixels: torch.Tensor) -> torch.Tensor:
    """(B, H, W, 3) uint8 as (B, 3, H, W) float32 in [0, 1]; the memory stays channels-last, which convolves fastest."""
    return pixels.permute(0, 3, 1, 2).float().div(255)
