"""A process holds the verdicts that can decide something, and decides as if it held all."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from sqlalchemy import Engine, delete, event, select

from backend.corrections.database import insert_into, writing
from backend.corrections.held_verdicts import HeldVerdicts, next_revision, note_changed
from backend.corrections.likeness import Look, decoded, encoded, likeness
from backend.corrections.recall import MOST_COMPARED, unit
from backend.corrections.tables import memory, remembered_crop

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


def put(engine: Engine, *rows: dict[str, Any], gone: Sequence[str] = ()) -> None:
    """Puts rows in the place of those of their samples, and takes others away, as the memory does."""
    names = [*gone, *(one["sample"] for one in rows)]
    with writing(engine) as connection:
        revision = next_revision(connection, network=NETWORK)
        theirs = memory.c.sample.in_(names), memory.c.network == NETWORK
        before = connection.execute(select(memory.c.crop_sha256).where(*theirs)).scalars().all()
        connection.execute(delete(memory).where(*theirs))
        if rows:
            connection.execute(insert_into(memory, engine), list(rows))
        crops = [*before, *(one["crop_sha256"] for one in rows)]
        note_changed(connection, crops, network=NETWORK, revision=revision)


def held(engine: Engine) -> HeldVerdicts:
    return HeldVerdicts(engine, network=NETWORK, distance=DISTANCE)


def names(verdicts: HeldVerdicts) -> list[str]:
    return sorted(voter.sample for voters in verdicts.known.voters for voter in voters)


def test_where_nothing_was_corrected_nothing_is_held(engine: Engine) -> None:
    put(engine, *(row(f"{number}-r", embedding(number), acts=False) for number in range(1, 40)))
    verdicts = held(engine)
    verdicts.load()
    assert names(verdicts) == []


def test_what_is_near_to_a_correction_is_held_also_one_that_comes_later(engine: Engine) -> None:
    # A crop reaches 28.4 degrees to either side.
    put(engine, row("1-r", embedding(50), acts=False), row("2-r", embedding(62), acts=False))
    put(engine, row("3-r", embedding(0), acts=True))
    verdicts = held(engine)
    verdicts.load()
    assert names(verdicts) == ["1-r", "3-r"]

    put(engine, row("4-r", embedding(80), acts=True))
    verdicts.load()
    assert names(verdicts) == ["1-r", "2-r", "3-r", "4-r"]

    put(engine, gone=["4-r"])
    verdicts.load()
    assert names(verdicts) == ["1-r", "3-r"], "what is near to nothing any more goes, too"


@pytest.mark.parametrize("change", ["label", "weak", "gone"])
def test_what_changes_in_the_table_changes_what_is_held(engine: Engine, change: str) -> None:
    first = row("1-r", embedding(20), acts=False)
    put(engine, first, row("2-r", embedding(0), acts=True))
    verdicts = held(engine)
    verdicts.load()
    changes = {"label": [first | {"label": "thumb"}], "weak": [first | {"weak": True}]}
    put(engine, *changes.get(change, []), gone=["1-r"] if change == "gone" else [])
    verdicts.load()
    found = {one.sample: (one.label, one.weak) for voters in verdicts.known.voters for one in voters}
    assert found.get("1-r") == {"label": ("thumb", False), "weak": ("stamp", True), "gone": None}[change]

    put(engine, gone=["2-r"])
    verdicts.load()
    assert names(verdicts) == []


def test_a_thousand_samples_of_one_crop_are_held_once(engine: Engine) -> None:
    crop = {"crop_sha256": "c" * 64}
    put(engine, *(row(f"{number}-r", embedding(0), acts=number < 500) | crop for number in range(1000)))
    verdicts = held(engine)
    verdicts.load()
    assert verdicts.known.crops == ("c" * 64,)
    assert verdicts.known.embeddings.shape == (1, 512)
    assert len(names(verdicts)) == 2 * MOST_COMPARED


def test_what_did_not_change_is_not_read_again(engine: Engine) -> None:
    put(engine, *(row(f"{number}-r", embedding(number), acts=number == 1) for number in range(1, 20)))
    verdicts = held(engine)
    verdicts.load()
    read: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda _c, _k, statement, *_: read.append(statement))
    verdicts.load()
    assert len([one for one in read if "remembered_crop" in one]) == 1
    assert not any("embedding" in one for one in read)

    put(engine, row("1-r", embedding(1), acts=True, label="thumb"))
    taken: list[int] = []
    event.listen(engine, "before_cursor_execute", lambda _c, _k, statement, *_: taken.append("label" in statement))
    verdicts.load()
    assert sum(taken) == 2, "the crop's samples of either kind, and of no other crop"


def test_two_processes_that_write_at_once_miss_nothing_of_each_other(engine: Engine) -> None:
    rows = [row(f"{number}-r", embedding(0.1 * number), acts=True) for number in range(1, 41)]
    verdicts = held(engine)
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(put, engine, one) for one in rows]:
            verdicts.load()
            done.result()
    verdicts.load()
    assert names(verdicts) == sorted(one["sample"] for one in rows)


def test_of_a_ledger_that_was_restored_nothing_else_is_held(engine: Engine) -> None:
    put(engine, row("1-r", embedding(0), acts=True))
    put(engine, row("2-r", embedding(5), acts=True))
    verdicts = held(engine)
    verdicts.load()
    with writing(engine) as connection:
        connection.execute(delete(memory).where(memory.c.sample == "2-r"))
        connection.execute(delete(remembered_crop).where(remembered_crop.c.revision == 2))
    verdicts.load()
    assert names(verdicts) == ["1-r"]


@cache
def is_same(picture: bytes, look: int) -> bool:
    return likeness(decoded(picture, LOOKS[look].box), LOOKS[look]).same


def plainly(rows: Sequence[dict[str, Any]], asked: NDArray[np.float32], look: int) -> tuple[str, str] | None:
    """The rule in its simplest form, over every row: whose verdict it is, and which."""
    where = unit(np.array([np.frombuffer(one["embedding"], "<f2") for one in rows], np.float32))
    distances = 1 - where @ unit(asked[None])[0]
    near = sorted((round(float(far), 4), one["sample"], one) for far, one in zip(distances, rows, strict=True))
    near = [(far, name, one) for far, name, one in near if far <= DISTANCE]

    def heard(*, acts: bool) -> list[dict[str, Any]]:
        nearest = [one for _, _, one in near if one["acts"] is acts][:6]
        return [one for one in nearest if is_same(one["picture"], look)]

    votes: dict[str, dict[str, float]] = {}
    for one in heard(acts=True) + heard(acts=False):
        given = votes.setdefault(one["label"], {})
        annotation = one["sample"].split("-")[0]
        given[annotation] = max(given.get(annotation, 0), 0.5 if one["weak"] else 1)
    sums = sorted((sum(given.values()), label) for label, given in votes.items())
    if not sums or (len(sums) > 1 and sums[-1][0] == sums[-2][0]):
        return None
    return next(((one["sample"], one["label"]) for one in heard(acts=True) if one["label"] == sums[-1][1]), None)


@pytest.mark.parametrize("seed", range(2))
def test_it_decides_as_if_every_sample_were_looked_at_whatever_comes_and_goes(engine: Engine, seed: int) -> None:
    numbers = np.random.default_rng(seed)
    # Crops of which some lie at the very same place, so that names decide.
    places = [(float(numbers.choice([0, 10, 20, 60, 70])), int(numbers.integers(1, 3))) for _ in range(12)]
    rows: dict[str, dict[str, Any]] = {}
    verdicts, said = held(engine), 0
    for _ in range(8):
        new = []
        for _ in range(int(numbers.integers(1, 12))):
            name = f"{numbers.integers(1, 40)}-{numbers.integers(1, 4)}"
            crop = int(numbers.integers(len(places)))
            label = str(numbers.choice(["stamp", "stamp", "thumb", "signature"]))
            made = row(name, embedding(*places[crop]), acts=numbers.random() < 0.4, label=label, look=crop % 5 == 0)
            new.append(made | {"crop_sha256": f"{crop:064}", "weak": bool(numbers.random() < 0.4)})
        new = list({one["sample"]: one for one in new}.values())
        gone = [name for name in rows if numbers.random() < 0.1]
        put(engine, *new, gone=gone)
        rows = {name: one for name, one in rows.items() if name not in gone} | {one["sample"]: one for one in new}
        verdicts.load()
        asked = np.stack([embedding(angle, other) for angle in (2, 33, 66) for other in (1, 2)])
        expected = [plainly(list(rows.values()), one, place % 2) for place, one in enumerate(asked)]
        found = verdicts.known.recall(asked, lambda place: LOOKS[place % 2], distance=DISTANCE)
        assert [one and (one.sample, one.label) for one in found] == expected
        said += sum(one is not None for one in expected)
    assert said > 5
    later = held(engine)
    later.load()
    assert (later.known.crops, later.known.voters) == (verdicts.known.crops, verdicts.known.voters)
