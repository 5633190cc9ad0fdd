"""Ledgers with samples in them: one document each, on whichever side its name puts it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from backend.corrections.crop_store import CropStore, cut
from backend.corrections.database import default_url, open_database, writing
from backend.corrections.outcomes import Outcome
from backend.corrections.samples import Sample, replace_samples
from backend.corrections.service import Store
from backend.vision.network_config import CLASSES

__all__ = ["KINDS", "Kind", "open_ledger", "teach"]

Kind = tuple[str, str | None, Outcome]
KINDS: tuple[Kind, ...] = (
    ("signature", None, Outcome.ACCEPTED),
    ("stamp", "signature", Outcome.RELABELLED),
    ("none", "stamp", Outcome.REJECTED),
    ("thumb", None, Outcome.MISSED),
    ("stamp", None, Outcome.MOVED),
)
SIZE = (300, 200)
BOX = (100.0, 60.0, 180.0, 110.0)


def open_ledger(data_dir: Path) -> Store:
    data_dir.mkdir(parents=True, exist_ok=True)
    return Store(
        engine=open_database(default_url(data_dir)),
        crops=CropStore(str(data_dir)),
        spool=data_dir / "spool",
        lookalikes=data_dir / "lookalikes",
    )


def teach(store: Store, documents: int, *, kinds: Sequence[Kind] = KINDS, first: int = 0, weak: bool = False) -> None:
    """One sample a document, of the kinds in turn; each class has its own shade."""
    with writing(store.engine) as connection:
        for number in range(first, first + documents):
            label, wrong, outcome = kinds[number % len(kinds)]
            one = _sample(number, label, wrong, outcome, weak=weak)
            store.crops.put(one.crop)
            replace_samples(connection, annotation=one.annotation, task=one.task, samples=[one])


def _sample(number: int, label: str, wrong: str | None, outcome: Outcome, *, weak: bool) -> Sample:
    rng = np.random.default_rng(number)
    width, height = SIZE
    pixels = rng.integers(200, 256, (height, width, 3), dtype=np.uint8)
    pixels[60:110, 100:180] = rng.integers(0, 40, (50, 80, 3), dtype=np.uint8) + np.uint8(40 * CLASSES.index(label))
    name = hashlib.sha256(f"contract {number}".encode()).hexdigest()
    return Sample(
        id=f"{number}-a",
        annotation=number,
        task=number,
        project=1,
        page=0,
        region="a",
        outcome=outcome,
        label=label,
        wrong=wrong,
        weak=weak,
        probabilities=None,
        version=None,
        box=BOX,
        page_size=SIZE,
        page_sha256=name,
        page_phash=name[16:32],
        crop=cut(pixels, BOX),
        document=name,
        annotator=1,
        lead_time=1.0,
        shown=None,
        annotated=float(number),
    )
