"""kill -9 at every step of an import, and the same command again: each document is in the project exactly once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from backend.commands.import_documents.importing import FileState
from backend.labelstudio.projects import label_config
from tests.commands.import_documents.loopback import Loopback
from tests.commands.import_documents.papers import pdf
from tests.commands.import_documents.stopping import STEPS, importer_of, run
from tests.forked import kill_at_its_step, load
from tests.patience import SECONDS

load("tests.commands.import_documents.stopping")
NAMES = ["a.pdf", "b.pdf", "c.pdf"]


@pytest.fixture
def project(studio: Loopback, tmp_path: Path) -> int:
    (tmp_path / "in").mkdir()
    for number, name in enumerate(NAMES, start=1):
        (tmp_path / "in" / name).write_bytes(pdf(number, number + 3))
    return studio.add_project(label_config(paged=True))


Kill = Callable[..., None]


@pytest.fixture
def killed(studio: Loopback, project: int, tmp_path: Path) -> Kill:
    """Lets a process import, and kills it when it, or the server, has reached a step."""

    def kill(step: str = "", reached: threading.Event | None = None) -> None:
        kill_at_its_step(run, studio.url, project, tmp_path, step, reached=reached)

    return kill


def again(studio: Loopback, project: int, folder: Path, *, settle: float = 0.5) -> list[FileState]:
    files = sorted((folder / "in").iterdir())
    return [outcome.state for outcome in importer_of(studio.url, project, folder, settle=settle).run(files)]


@pytest.mark.parametrize("step", STEPS)
def test_each_document_is_in_once(step: str, killed: Kill, studio: Loopback, project: int, tmp_path: Path) -> None:
    killed(step)
    before = studio.documents()
    assert again(studio, project, tmp_path) == [
        FileState.KNOWN if name in before else FileState.IMPORTED for name in NAMES
    ], "what was in is not imported, and what was not is"
    assert sorted(studio.documents()) == NAMES
    assert again(studio, project, tmp_path) == [FileState.KNOWN] * 3


def test_tasks_that_come_after_the_kill_are_waited_for(
    killed: Kill, studio: Loopback, project: int, tmp_path: Path
) -> None:
    """Label Studio is creating them while their asker dies, and while the next run looks for them."""
    asked, go_on, created = threading.Event(), threading.Event(), threading.Event()

    def slow(tasks: list[Any]) -> None:
        if tasks[0]["data"]["document"] == "b.pdf" and not asked.is_set():
            asked.set()
            assert go_on.wait(SECONDS)

    def done(tasks: list[Any]) -> None:
        if tasks[0]["data"]["document"] == "b.pdf":
            created.set()

    studio.before_commit, studio.after_commit = slow, done
    killed(reached=asked)
    assert studio.documents() == ["a.pdf"]
    threading.Timer(1.0, go_on.set).start()
    assert again(studio, project, tmp_path, settle=SECONDS) == [FileState.KNOWN, FileState.KNOWN, FileState.IMPORTED]
    assert created.wait(SECONDS)
    assert sorted(studio.documents()) == NAMES
