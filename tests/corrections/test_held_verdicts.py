"""A process holds the verdicts that can decide something, and decides as if it held all."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from sqlalchemy import Engine, delete, update

from backend.corrections.database import insert_into, writing
from backend.corrections.held_verdicts import HeldVerdicts
from backend.corrections.likeness import Look, encoded
from backend.corrections.recall import Remembered, unit
from backend.corrections.tables import memory

NETWORK, DISTANCE = "colour-1", 0.12


def looks() -> list[Look]:
    """Two pictures that are not alike."""
    found = []
    for seed in (1, 2):
        noise = np.random.default_rng(seed).integers(0, 256, (24, 24), np.uint8)
        ink = np.asarray(cv2.resize(noise, (120, 120), interpolation=cv2.INTER_CUBIC), np.uint8)
        found.append(Look(ink, (10.0, 10.0, 110.0, 110.0)))
    return found


LOOKS = looks()


def embedding(angle: float, other: int = 1) -> NDArray[np.float32]:
    """At so many degrees from the first axis, towards another one."""
    vector = np.zeros(512, np.float32)
    vector[0], vector[other] = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    return vector


def row(name: str, where: NDArray[np.float32], *, acts: bool, label: str = "stamp", look: int = 0) -> dict[str, Any]:
    return {
        "sample": name,
        "network": NETWORK,
        "label": label,
        "crop_sha256": name.encode().hex().ljust(64, "0"),
        "acts": acts,
        "embedding": where.astype("<f2").tobytes(),
        "picture": encoded(LOOKS[look]),
        "place": list(LOOKS[look].box),
        "weak": False,
    }


def put(engine: Engine, *rows: dict[str, Any]) -> None:
    with writing(engine) as connection:
        connection.execute(insert_into(memory, engine), list(rows))


def held(engine: Engine) -> HeldVerdicts:
    return HeldVerdicts(engine, network=NETWORK, distance=DISTANCE)


def test_where_nothing_was_corrected_nothing_is_held(engine: Engine) -> None:
    put(engine, *(row(f"{number}-r", embedding(number), acts=False) for number in range(1, 40)))
    verdicts = held(engine)
    verdicts.load()
    assert verdicts.known.samples == ()


def test_what_is_near_to_a_correction_is_held_also_one_that_comes_later(engine: Engine) -> None:
    # A crop reaches 28.4 degrees to either side.
    put(engine, row("1-r", embedding(50), acts=False), row("2-r", embedding(62), acts=False))
    put(engine, row("3-r", embedding(0), acts=True))
    verdicts = held(engine)
    verdicts.load()
    assert verdicts.known.samples == ("1-r", "3-r")

    put(engine, row("4-r", embedding(80), acts=True))
    verdicts.load()
    assert verdicts.known.samples == ("1-r", "2-r", "3-r", "4-r")


@pytest.mark.parametrize("change", ["label", "weak", "gone"])
def test_what_changes_in_the_table_changes_what_is_held(engine: Engine, change: str) -> None:
    put(engine, row("1-r", embedding(20), acts=False), row("2-r", embedding(0), acts=True))
    verdicts = held(engine)
    verdicts.load()
    mine = memory.c.sample == "1-r"
    changes = {"label": update(memory).values(label="thumb"), "weak": update(memory).values(weak=True)}
    with writing(engine) as connection:
        connection.execute(changes.get(change, delete(memory)).where(mine))
    verdicts.load()
    known = verdicts.known
    found = dict(zip(known.samples, zip(known.labels, known.weak, strict=True), strict=True))
    assert found.get("1-r") == {"label": ("thumb", False), "weak": ("stamp", True), "gone": None}[change]

    with writing(engine) as connection:
        connection.execute(delete(memory).where(memory.c.acts))
    verdicts.load()
    assert verdicts.known.samples == ()


def test_it_decides_as_if_all_were_held(engine: Engine) -> None:
    numbers = np.random.default_rng(3)
    rows = []
    for number in range(60):
        where = embedding(float(numbers.uniform(0, 180)), int(numbers.integers(1, 4)))
        label = str(numbers.choice(["stamp", "signature"]))
        rows.append(row(f"{number}-r", where, acts=number % 8 == 0, label=label, look=int(number % 5 == 0)))
    put(engine, *rows)
    verdicts = held(engine)
    verdicts.load()
    everything = Remembered(
        samples=tuple(one["sample"] for one in rows),
        labels=tuple(one["label"] for one in rows),
        crops=tuple(one["crop_sha256"] for one in rows),
        acts=tuple(one["acts"] for one in rows),
        weak=tuple(one["weak"] for one in rows),
        embeddings=unit(np.array([np.frombuffer(one["embedding"], "<f2") for one in rows], np.float32)),
        looks=lambda place: LOOKS[int(place % 5 == 0)],
    )
    asked = np.stack([embedding(angle, other) for angle in range(0, 180, 15) for other in (1, 2, 3)])

    found = verdicts.known.recall(asked, lambda place: LOOKS[place % 2], distance=DISTANCE)

    assert 5 < len(verdicts.known.samples) < 60
    assert found == everything.recall(asked, lambda place: LOOKS[place % 2], distance=DISTANCE)
    assert sum(one is not None for one in found) > 3
