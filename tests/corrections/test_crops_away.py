"""Crops that cannot be read: nothing else waits for them, and they are learnt from as soon as they are back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sqlalchemy import Engine

from backend.corrections.crop_store import CropStore
from backend.corrections.journal import Journal
from backend.corrections.memory import Memory
from backend.corrections.worker import Worker
from backend.errors import LedgerError
from tests.corrections import annotating
from tests.corrections.annotating import drawn, saved, send

A, B = (10.0, 10.0, 110.0, 110.0), (200.0, 300.0, 300.0, 360.0)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class SilentStore(CropStore):
    """An object store that says nothing for a minute, and then fails."""

    def __init__(self, url: str, clock: Clock) -> None:
        super().__init__(url)
        self.clock = clock
        self.asked = 0
        self.is_back = False

    def get(self, key: str) -> NDArray[np.uint8]:
        if self.is_back:
            return super().get(key)
        self.asked += 1
        self.clock.now += 60
        raise LedgerError(f"crop {key[:12]} cannot be read: no answer")


def taught(engine: Engine, crops: CropStore) -> None:
    """Two samples of one page."""
    worker = Worker(engine=engine, journal=Journal(engine), crops=crops, page_of=annotating.page_of)
    send(worker.journal, saved(1, task=7, at=950, result=[drawn("a", "stamp", A), drawn("b", "thumb", B)]))
    worker.work()


def memory_of(engine: Engine, crops: CropStore, clock: Clock) -> Memory:
    return Memory(
        engine,
        crops,
        embed=lambda _, boxes: np.ones((len(boxes), 512), np.float32),
        network="network-1",
        distance=0.1,
        ticks=clock,
    )


def test_a_crop_that_is_gone_keeps_nothing_else_from_being_learnt_and_is_learnt_once_it_is_back(
    engine: Engine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    crops, clock = CropStore(str(tmp_path)), Clock()
    taught(engine, crops)
    file = min(tmp_path.rglob("*.png"))
    file.rename(tmp_path / "away")
    memory = memory_of(engine, crops, clock)
    assert memory.refresh() == 1
    assert memory.refresh() == 0
    clock.now += 1000
    assert memory.refresh() == 0
    assert len([record for record in caplog.records if "is not remembered" in record.message]) == 1

    (tmp_path / "away").rename(file)
    clock.now += 1000
    assert memory.refresh() == 1


def test_a_store_that_is_silent_is_left_alone_for_a_while(engine: Engine, tmp_path: Path) -> None:
    clock = Clock()
    store = SilentStore(str(tmp_path), clock)
    taught(engine, store)
    memory = memory_of(engine, store, clock)
    assert memory.refresh() == 0
    assert store.asked == 1, "each call takes a minute, in which no correction becomes a sample"
    assert memory.resting >= 60

    store.is_back = True
    clock.now += 1000
    assert memory.refresh() == 2
