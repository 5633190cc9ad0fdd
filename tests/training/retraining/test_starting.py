"""When a training starts by itself: for a reason, once, in a process of its own; and what is told of it meanwhile."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from backend.corrections.journal import Journal
from backend.corrections.service import Feedback
from backend.errors import TrainingError
from backend.models.promotion import Models
from backend.server.status_pages import feedback_pages
from backend.settings import Settings
from backend.training.retraining.starting import (
    PRIVATE,
    REST_SECONDS,
    START_TRAINING,
    Pressed,
    Situation,
    Starter,
    Training,
    count_hard,
    decide,
    folder_of,
    hold_training,
    is_running,
    last_training,
    note,
)
from tests.corrections.test_service import Told
from tests.patience import SECONDS, eventually
from tests.training.retraining.ledger import KINDS, open_ledger, teach

YEAR = 365 * 86_400.0
LAST = Training(began=1000.0, why="by hand", hard=7, ended=1500.0, result="refused", asked=3)
OLDER = dataclasses.replace(LAST, asked=None)
AHEAD = dataclasses.replace(LAST, began=1000.0 + YEAR)
LATER = 1000.0 + REST_SECONDS


@pytest.mark.parametrize(
    ("changes", "every", "why"),
    [
        # Nothing has happened yet.
        ({"last": None, "hard": 0}, 100, None),
        # Enough from the beginning; one too few; the setting turned off.
        ({"last": None, "hard": 100}, 100, "100 new hard examples"),
        ({"last": None, "hard": 99}, 100, None),
        ({"last": None, "hard": 500}, 0, None),
        # Only what is new since the last one counts.
        ({"hard": 106}, 100, None),
        ({"hard": 107}, 100, "100 new hard examples"),
        # Somebody pressed the button: before the last training, while it ran, when there had been none.
        ({"asked": Pressed(number=3, received=900.0)}, 100, None),
        ({"asked": Pressed(number=4, received=1200.0)}, 100, START_TRAINING),
        ({"asked": Pressed(number=4, received=5.0), "last": None}, 0, START_TRAINING),
        # An older program noted the last training, and not what had asked for it.
        ({"asked": Pressed(number=3, received=900.0), "last": OLDER}, 100, None),
        ({"asked": Pressed(number=3, received=1200.0), "last": OLDER}, 100, START_TRAINING),
        # The clock was a year ahead: when the button was pressed; when the last training began.
        ({"asked": Pressed(number=3, received=1000.0 + YEAR)}, 100, None),
        ({"asked": Pressed(number=4, received=1200.0), "last": AHEAD}, 100, START_TRAINING),
        ({"hard": 107, "last": AHEAD}, 100, "100 new hard examples"),
        # It runs; or it began a moment ago, and a project asks on every submission.
        ({"asked": Pressed(number=4, received=1200.0), "running": True}, 100, None),
        ({"asked": Pressed(number=4, received=1200.0), "now": LATER - 1}, 100, None),
        # Cut off by a kill: once more, not for ever.
        ({"last": dataclasses.replace(LAST, ended=None)}, 100, "the last training was cut off"),
        ({"last": dataclasses.replace(LAST, ended=None, why="the last training was cut off")}, 100, None),
        # Told to stop, or Label Studio was away: for as long as that is so.
        (
            {
                "last": dataclasses.replace(
                    LAST, ended=None, why="the last training was cut off", reason="it was told to stop"
                )
            },
            100,
            "the last training was cut off",
        ),
    ],
)
def test_a_training_starts_for_a_reason(changes: dict[str, object], every: int, why: str | None) -> None:
    usual = Situation(now=LATER, running=False, last=LAST, asked=None, hard=7)
    assert decide(dataclasses.replace(usual, **changes), every=every) == why


class Sleepers:
    """Starts processes that do nothing but hold what they were given, until they are stopped."""

    def __init__(self) -> None:
        self.started: list[subprocess.Popen[bytes]] = []
        self.commands: list[Sequence[str]] = []

    def __call__(
        self, command: Sequence[str], settings: Settings, handle: int, output: Path
    ) -> subprocess.Popen[bytes]:
        self.commands.append(command)
        sleeper = [sys.executable, "-c", "import time; time.sleep(600)"]
        self.started.append(subprocess.Popen(sleeper, pass_fds=(handle,)))
        return self.started[-1]

    def kill(self) -> None:
        for process in self.started:
            process.kill()
            process.wait()


def test_many_that_look_at_once_start_one_and_a_kill_frees_the_place(tmp_path: Path) -> None:
    store, sleepers = open_ledger(tmp_path), Sleepers()
    teach(store, 3, kinds=[KINDS[1]])
    settings = Settings(data_dir=tmp_path, retrain_after=3)
    starters = [Starter(settings, store.engine, spawn=sleepers) for _ in range(8)]
    try:
        with ThreadPoolExecutor(8) as threads:
            started = list(threads.map(Starter.look, starters))
        assert sum(started) == len(sleepers.started) == 1
        assert is_running(folder_of(tmp_path))
        assert starters[0].status()["running"] is True
        assert starters[0].status()["new_hard_examples"] == 0
        with pytest.raises(TrainingError, match="another training runs since"):
            _train_by_hand(settings)
    finally:
        sleepers.kill()
    assert not is_running(folder_of(tmp_path))
    assert starters[0].status()["result"] == "cut off"
    store.engine.dispose()


def test_how_far_a_training_is_reads_on_the_terminal_as_on_the_status_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from backend.training.retraining.session import telling

    telling(LAST, tmp_path)("classifier: epoch 2 of 5, 3 min left at most")
    last = last_training(tmp_path)
    assert last is not None
    assert last.doing == "classifier: epoch 2 of 5, 3 min left at most"
    assert capsys.readouterr().out.endswith(" classifier: epoch 2 of 5, 3 min left at most\n")


def _train_by_hand(settings: Settings) -> None:
    from backend.training.retraining.session import _held

    _held(None, folder_of(settings.data_dir))


def test_those_who_look_do_not_keep_a_training_from_starting(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    assert not is_running(folder)
    handle = hold_training(folder)
    assert handle is not None
    assert is_running(folder)
    assert hold_training(folder) is None
    os.close(handle)
    assert not is_running(folder)


def test_how_far_it_is_is_told_while_it_runs(tmp_path: Path) -> None:
    store, folder = open_ledger(tmp_path), folder_of(tmp_path)
    starter = Starter(Settings(data_dir=tmp_path), store.engine)
    pages = Flask("pages")
    state = {"model_version": "x", "model_state": "ready"}
    pages.register_blueprint(feedback_pages(store.engine, state=lambda: state, training=starter.status))
    handle = hold_training(folder)
    assert handle is not None
    note(folder, Training(began=5.0, why="by hand", doing="detector: epoch 2 of 6, 3 min left at most"))
    told = pages.test_client().get("/status", headers={"Accept": "text/html"}).text
    assert "(by hand): <b>detector: epoch 2 of 6, 3 min left at most</b>." in told
    os.close(handle)
    assert starter.status()["doing"] == ""
    store.engine.dispose()


def test_what_was_noted_is_read_again_and_a_broken_note_is_named(tmp_path: Path) -> None:
    assert last_training(tmp_path) is None
    note(tmp_path, LAST)
    assert last_training(tmp_path) == LAST
    (tmp_path / "state.json").write_text("{}")
    with pytest.raises(TrainingError, match=r"state\.json cannot be read"):
        last_training(tmp_path)


@pytest.mark.usefixtures("without_torch")
def test_without_torch_it_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store, sleepers = open_ledger(tmp_path), Sleepers()
    teach(store, 2, kinds=[KINDS[2]])
    starter = Starter(Settings(data_dir=tmp_path, retrain_after=1), store.engine, spawn=sleepers)
    assert not any(starter.look() for _ in range(3))
    assert [record.getMessage().partition(",")[0] for record in caplog.records] == ["a training was due"]
    assert "`train` extra" in starter.status()["unable"]
    assert not sleepers.started
    store.engine.dispose()


def test_pages_that_a_killed_training_left_are_removed_by_who_looks(tmp_path: Path) -> None:
    """A container that is stopped kills its training, and may not train again."""
    store, folder = open_ledger(tmp_path), folder_of(tmp_path)
    page = folder / PRIVATE / "annotated" / "page.png"
    page.parent.mkdir(parents=True)
    page.write_bytes(b"confidential")
    starter = Starter(Settings(data_dir=tmp_path), store.engine)
    handle = hold_training(folder)
    assert handle is not None
    assert not starter.look()
    assert page.exists(), "they are those of a training that runs"
    os.close(handle)
    assert not starter.look()
    assert not (folder / PRIVATE).exists()
    store.engine.dispose()


def test_weak_rejections_and_contradictions_are_not_counted(tmp_path: Path) -> None:
    store = open_ledger(tmp_path)
    teach(store, 5)
    teach(store, 1, kinds=[KINDS[2]], first=50, weak=True)
    assert count_hard(store.engine) == 2
    store.engine.dispose()


def test_a_button_pressed_by_a_clock_that_was_ahead_starts_one_training(tmp_path: Path) -> None:
    store, sleepers, now = open_ledger(tmp_path), Sleepers(), [1_000_000.0]
    journal = Journal(store.engine, clock=lambda: now[0] + YEAR)
    journal.append(START_TRAINING, project=1, body={"project": {"id": 1}})
    journal.take(lambda *_: None)
    starter = Starter(Settings(data_dir=tmp_path), store.engine, clock=lambda: now[0], spawn=sleepers)
    try:
        for _ in range(3):
            starter.look()
            sleepers.kill()
            begun = last_training(folder_of(tmp_path))
            assert begun is not None
            note(folder_of(tmp_path), dataclasses.replace(begun, ended=now[0], result="failed"))
            now[0] += 2 * REST_SECONDS
        assert len(sleepers.commands) == 1
    finally:
        sleepers.kill()
    store.engine.dispose()


def test_one_that_the_system_had_no_process_for_starts_when_it_has(tmp_path: Path) -> None:
    store, sleepers, now = open_ledger(tmp_path), Sleepers(), [1_000_000.0]
    teach(store, 3, kinds=[KINDS[1]])
    refusals = iter([OSError("no room for a process")] * 2)

    def spawn(command: Sequence[str], *others: Any) -> subprocess.Popen[bytes]:
        if (refusal := next(refusals, None)) is not None:
            raise refusal
        return sleepers(command, *others)

    settings = Settings(data_dir=tmp_path, retrain_after=3)
    starter = Starter(settings, store.engine, clock=lambda: now[0], spawn=spawn)
    try:
        for _ in range(2):
            with pytest.raises(OSError, match="no room"):
                starter.look()
            assert not starter.look()
            assert "no room for a process" in starter.status()["reason"]
            now[0] += REST_SECONDS
        assert starter.look()
    finally:
        sleepers.kill()
    store.engine.dispose()


def test_one_that_was_cut_off_goes_on_as_it_was_wanted(tmp_path: Path) -> None:
    """Somebody tried a recipe by hand, not to be promoted, and the connection dropped."""
    store, sleepers = open_ledger(tmp_path), Sleepers()
    cut = Training(began=5.0, why="by hand", promote=False, recipe="/somewhere/mine.json")
    folder = folder_of(tmp_path)
    folder.mkdir()
    note(folder, cut)
    starter = Starter(Settings(data_dir=tmp_path), store.engine, spawn=sleepers)
    try:
        assert starter.look()
        [command] = sleepers.commands
        assert command[-3:] == ["--no-promote", "--recipe", "/somewhere/mine.json"]
        noted = last_training(folder)
        assert noted is not None
        assert (noted.promote, noted.recipe) == (False, "/somewhere/mine.json")
    finally:
        sleepers.kill()
    store.engine.dispose()


def test_the_button_starts_a_process_and_its_end_is_told(settings: Settings) -> None:
    store = open_ledger(settings.data_dir)
    teach(store, 3)
    starter = Starter(settings, store.engine)
    feedback = Feedback(store, Told(), recall_distance=0, retrain=starter.look)
    pages = Flask("pages")
    pages.register_blueprint(
        feedback_pages(
            store.engine, state=lambda: {"model_version": "x", "model_state": "ready"}, training=starter.status
        )
    )
    client = pages.test_client()
    feedback.start()
    try:
        Journal(store.engine).append(START_TRAINING, project=1, body={"project": {"id": 1}})
        eventually(
            lambda: is_running(folder_of(settings.data_dir)) or last_training(folder_of(settings.data_dir)) is not None
        )
        # The lock is held before the process can say anything of itself.
        pages_told = iter(lambda: client.get("/status", headers={"Accept": "text/html"}), None)
        eventually(lambda: (page := next(pages_told)).status_code != 200 or "START_TRAINING" in page.text)
        assert next(pages_told).status_code == 200
        # Its end is told while it still holds the lock, which goes with the process.
        eventually(lambda: (told := starter.status()).get("ended") is not None and not told["running"])
    finally:
        feedback.stop()
    told = client.get("/status", headers={"Accept": "application/json"}).json["training"]
    assert (told["running"], told["why"], told["result"]) == (False, START_TRAINING, "failed")
    assert "8 are needed" in told["reason"]
    metrics = client.get("/metrics").text
    assert 'contract_marks_training_result{result="failed"} 1.0' in metrics
    assert "contract_marks_training_running 0.0" in metrics
    assert "8 are needed" in (folder_of(settings.data_dir) / "log").read_text()
    eventually(
        lambda: not starter.look() and starter._child is None
    )  # the process is no more, and nothing of it is left
    store.engine.dispose()


def test_the_process_is_not_of_the_servers_session_and_gives_way_to_it(settings: Settings) -> None:
    store = open_ledger(settings.data_dir)
    teach(store, 24)
    starter = Starter(dataclasses.replace(settings, retrain_after=1), store.engine)
    assert starter.look()
    child = starter._child
    assert child is not None
    try:
        eventually(lambda: os.getpriority(os.PRIO_PROCESS, child.pid) == 19)
        assert os.getsid(child.pid) == child.pid
        assert is_running(folder_of(settings.data_dir))
    finally:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    eventually(lambda: not is_running(folder_of(settings.data_dir)))
    assert starter.status()["result"] == "cut off"
    store.engine.dispose()


def test_a_worker_with_torch_trains_for_a_server_without_it(settings: Settings) -> None:
    """As the trainer's image does beside the serving one, on the same folder."""
    store = open_ledger(settings.data_dir)
    teach(store, 24)
    Journal(store.engine).append(START_TRAINING, project=1, body={"project": {"id": 1}})
    folder = folder_of(settings.data_dir)
    worker = subprocess.Popen(
        [sys.executable, "-m", "backend", "worker"], env=os.environ | settings.as_environment(), start_new_session=True
    )
    try:
        eventually(lambda: (last := last_training(folder)) is not None and last.ended is not None)
    finally:
        worker.terminate()
        assert worker.wait(SECONDS) == os.EX_OK
    last = last_training(folder)
    assert last is not None
    assert (last.why, last.result) == (START_TRAINING, "refused"), (folder / "log").read_text()
    assert Models(settings.data_dir / "models").get(last.model).record is not None
    store.engine.dispose()
