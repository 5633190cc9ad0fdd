"""A memory of an archive's size: nothing of it fails or stands still because there is much."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Engine, event, func, insert, select

from backend.corrections.crop_store import CropStore
from backend.corrections.database import writing
from backend.corrections.memory import Memory
from backend.corrections.service import Feedback, Store
from backend.corrections.tables import memory as table
from backend.geometry import Boxes
from backend.vision.classifier import Classification


class Network:
    version = "network-1"
    thresholds = (0.0, 0.0, 0.0)

    def classify(self, pixels: NDArray[np.uint8], boxes: Boxes) -> Classification:
        raise AssertionError("nothing is there to look at")


class Nowhere:
    """Nothing in Label Studio is asked for."""

    def pages(self, project: str) -> Any:
        raise AssertionError(project)

    def studio(self, project: str) -> Any:
        raise AssertionError(project)


def feedback_of(engine: Engine, folder: Path, *, ticks: Callable[[], float]) -> Feedback:
    """The parts of a server process; its threads do not run."""
    store = Store(engine=engine, crops=CropStore(str(folder)), spool=folder / "spool", lookalikes=folder / "lookalikes")
    return Feedback(store, Nowhere(), recall_distance=0.1, ticks=ticks)


def test_what_is_gone_is_forgotten_however_much_it_is(engine: Engine, tmp_path: Path) -> None:
    """A statement of SQLite has 32,766 values at most; a project that is deleted may have more samples."""
    one = {"network": "network-1", "label": "stamp", "crop_sha256": "c" * 64, "acts": False, "embedding": b""}
    with writing(engine) as connection:
        connection.execute(insert(table), [{"sample": f"{number}-a", **one} for number in range(33_000)])
    memory = Memory(
        engine,
        CropStore(str(tmp_path)),
        embed=lambda pixels, boxes: Network().classify(pixels, boxes).embeddings,
        network="network-1",
        distance=0.1,
    )
    assert memory.refresh() == 33_000
    assert memory.refresh() == 0
    with engine.connect() as connection:
        assert connection.execute(select(func.count()).select_from(table)).scalar() == 0


def test_the_longer_it_takes_to_compare_all_samples_the_more_rarely_that_is_done(
    engine: Engine, tmp_path: Path
) -> None:
    ticks = count()
    feedback = feedback_of(engine, tmp_path, ticks=lambda: float(next(ticks)))
    compared: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda _c, _k, statement, *_: compared.append(statement))
    feedback.recalling(Network())
    for _ in range(60):
        feedback._looked = -math.inf  # as after each annotation
        feedback._remember()
    # Comparing takes two ticks, so that twenty pass without.
    assert 2 <= sum("LEFT OUTER JOIN memory" in one for one in compared) <= 4
