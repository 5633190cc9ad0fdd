"""kill -9 at every step of publishing, promoting and rolling back: no half model, no half move, and no lock stays."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from backend.models.promotion import Models
from backend.models.published import Facts, Registry
from backend.vision.weights import Weights
from tests.forked import copy, kill_at_its_step, load
from tests.models.conftest import Publish
from tests.models.stopping import PROMOTING, PUBLISHING, ROLLING_BACK, act
from tests.models.tiny import says

load("tests.models.stopping", "onnxruntime")


@pytest.mark.parametrize("step", PUBLISHING)
def test_killed_while_publishing_leaves_a_whole_model_or_none(
    step: str, models: Models, published: Publish, tmp_path: Path
) -> None:
    folder = tmp_path / "models"
    serving = published("stamp")
    models.promote(serving, why="a test", by="tests", force=True)
    candidate = says("thumb", tmp_path / "new")
    kill_at_its_step(act, "publish", str(candidate), folder, step)
    registry = Registry(folder)
    assert registry.active() == serving
    for name in registry.names():
        Weights.open(registry.folder_of(name), name=name)
    complete = step in ("under its name, not durable", "published, not in the history")
    assert len(registry.names()) == (2 if complete else 1)
    assert sorted(model.name for model in models.all()) == registry.names()

    record = models.publish(candidate, Facts(source="training"))
    left = [path.name for path in folder.iterdir() if path.is_dir() and not re.match(r"\d{4}-", path.name)]
    assert left == [], "what the dead one left is cleared away"
    assert record.name.endswith("-2") is complete
    assert record.name in registry.names()


@pytest.mark.parametrize("step", PROMOTING)
def test_killed_while_promoting_the_old_model_is_active_or_the_new_one(
    step: str, folder: Path, models: Models, published: Publish
) -> None:
    old, new = published("stamp"), published("thumb")
    models.promote(old, why="a test", by="tests", force=True)
    kill_at_its_step(act, "promote", new, folder, step)
    moved = step == "pointer moved, not durable"
    registry = Registry(folder)
    assert registry.active() == (new if moved else old)
    assert registry.folder_of(new if moved else old)
    assert models.get(new).status == ("promoted" if moved else "candidate")

    # The next one who moves does not wait for the dead one's lock, and goes back to where it really was.
    assert models.rollback(why="a test", by="tests").model == (old if moved else None)
    models.promote(new, why="a test", by="tests", force=True)
    assert registry.active() == new


@pytest.mark.parametrize("step", ROLLING_BACK)
def test_killed_while_rolling_back(step: str, folder: Path, models: Models, published: Publish) -> None:
    old, new = published("stamp"), published("thumb")
    models.promote(old, why="a test", by="tests", force=True)
    models.promote(new, why="a test", by="tests", force=True)
    kill_at_its_step(act, "rollback", "", folder, step)
    moved = step == "pointer moved, not durable"
    assert Registry(folder).active() == (old if moved else new)
    assert models.rollback(why="a test", by="tests").model == (None if moved else old)


def promote_often(folder: Path, name: str) -> None:
    models = Models(folder)
    for _ in range(20):
        models.promote(name, why=name, by="tests", force=True)


def test_two_promoters_at_once_never_interleave(folder: Path, models: Models, published: Publish) -> None:
    names = [published("stamp"), published("thumb")]
    both = [copy(promote_often, folder, name) for name in names]
    for process in both:
        process.start()
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [0, 0]
    moves = [event for event in models.events() if event.what == "promoted"]
    assert len(moves) == 40
    assert [move.before for move in moves] == [None, *(move.model for move in moves[:-1])], "each saw the one before"
    assert Registry(folder).active() == moves[-1].model
