"""`prelabel --project` as it is typed: killed, resumed, repeated; each task ends with one prediction of a version."""

from __future__ import annotations

import io
import json
import shutil
import signal
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from sqlalchemy import func, select

from backend.corrections.database import default_url, open_database
from backend.corrections.service import Feedback, Store
from backend.corrections.tables import prediction
from backend.labelstudio.connections import Connections
from backend.models.promotion import Models
from backend.models.published import Facts
from backend.pages.source import PageSource
from backend.settings import Settings
from benchmarks.loopback_studio import LoopbackStudio
from tests.commands.prelabel.conftest import CONFIG, Place
from tests.forked import Command
from tests.models.tiny import says
from tests.vision.drawing import RED, paper

TASKS = 500
KILLS = 10


class Killer:
    """Kills the running command when a portion was stored: sometimes before the command hears of it."""

    def __init__(self, studio: LoopbackStudio, *, every: int) -> None:
        self._studio = studio
        self._next = every
        self._every = every
        self._lock = threading.Lock()
        self.kills = 0
        self.running: Command | None = None
        studio.after_import = self

    def __call__(self, _: Sequence[int]) -> bool:
        with self._lock:  # two workers store their portions at once
            if self.running is None or sum(map(len, self._studio.predictions.values())) < self._next:
                return True
            self._next += self._every
            self.kills += 1
            self.running.kill()
            self.running = None
            # The answer of every other portion is lost together with whoever waits for it.
            return self.kills % 2 == 0


def test_killed_ten_times_over_500_tasks_each_has_exactly_one_prediction(place: Place, studio: LoopbackStudio) -> None:
    studio.tasks = TASKS
    killer = Killer(studio, every=45)
    for kills in range(1, KILLS + 1):
        # The workers of the killed one end by themselves; the next one waits for them.
        processes = str(1 + kills % 2)
        with place.start("--project", "1", "--batch", "10", "--processes", processes) as process:
            killer.running = process
            _, said = process.communicate(timeout=600)
        assert (process.returncode, killer.kills) == (-signal.SIGKILL, kills), said
    done = place.run("--project", "1", "--batch", "10", "--processes", "2")
    assert done.returncode == 0, done.stderr
    [version] = {one for task in studio.predictions for one in studio.versions(task)}
    assert [studio.versions(task) for task in range(1, TASKS + 1)] == [[version]] * TASKS
    with open_database(default_url(place.folder)).connect() as ledger:
        assert ledger.execute(select(func.count()).select_from(prediction)).scalar() == TASKS


def test_what_two_runs_made_at_once_is_put_right_at_the_end(place: Place, studio: LoopbackStudio) -> None:
    # Another machine, or the backend as somebody opens the task, predicts it between our look and our answer.
    def meanwhile(tasks: Sequence[int]) -> bool:
        for task in tasks:
            studio.add(task, studio.versions(task)[-1])
        return True

    studio.after_import = meanwhile
    done = place.run("--project", "1", "--batch", "4")
    assert done.returncode == 0, done.stderr
    assert [len(studio.versions(task)) for task in range(1, 7)] == [1] * 6
    assert "6 duplicates" in done.stdout


def test_after_a_promotion_what_the_last_model_made_is_made_again_but_for_what_was_annotated(
    place: Place, studio: LoopbackStudio, models: tuple[Path, str], tmp_path: Path
) -> None:
    (tmp_path / "models").unlink()
    shutil.copytree(models[0] / "models", tmp_path / "models")
    held = Models(tmp_path / "models")
    better = held.publish(says("thumb", tmp_path / "weights"), Facts(source="training")).name

    held.promote(models[1], why="the first", by="test", force=True)
    assert place.run("--project", "1", "--tasks", "1,2,3", MODEL="auto").returncode == 0
    studio.annotations[2] = [{"id": 1, "parent_prediction": studio.predictions[2][0]["id"]}]
    [first] = studio.versions(1)

    held.promote(better, why="a better one", by="test", force=True)
    done = place.run("--project", "1", "--only-outdated", MODEL="auto")
    assert done.returncode == 0, done.stderr
    [_, second] = studio.versions(1)
    assert (first[: len(models[1])], second[: len(better)]) == (models[1], better)
    assert [studio.versions(task) for task in range(1, 7)] == [[first, second], [first], [first, second], [], [], []]
    [region] = studio.predictions[1][1]["result"]
    assert region["value"]["rectanglelabels"] == ["thumb"]

    done = place.run("--project", "1", "--only-outdated", "--replace", MODEL="auto")
    assert "0 tasks predicted" in done.stdout
    assert [studio.versions(task) for task in range(1, 7)] == [[second], [first], [second], [], [], []]


def test_of_a_million_tasks_a_few_are_known_at_a_time(place: Place, studio: LoopbackStudio) -> None:
    studio.tasks = 1_000_000
    done: list[int] = []

    def stop(tasks: Sequence[int]) -> bool:
        done.extend(tasks)
        process.kill()
        return False

    studio.after_import = stop
    with place.start("--project", "1", "--batch", "5") as process:
        process.communicate(timeout=600)
    assert done == [1, 2, 3, 4, 5]
    # One list, of as many tasks as a page of it has, and one look at the portion's tasks.
    assert studio.asked == [200, 5]


def test_only_outdated_tasks_that_nobody_annotated_and_a_report_of_what_failed(
    place: Place, studio: LoopbackStudio
) -> None:
    for task in (1, 2, 3):
        studio.add(task, "older")
    studio.annotations[2] = [{"id": 1, "parent_prediction": None}]
    studio.data[3] = {"image": "/data/upload/1/none.png"}
    report = place.folder / "report.jsonl"
    done = place.run("--project", "contracts", "--only-outdated", "--report", str(report))
    assert done.returncode == 1, done.stderr
    assert [len(studio.versions(task)) for task in range(1, 7)] == [2, 1, 1, 0, 0, 0]
    [line] = map(json.loads, report.read_text().splitlines())
    assert (line["failed"], line["kind"]) == (3, "PageUnavailable")
    assert "failed: 1 PageUnavailable" in done.stderr
    assert "1 tasks predicted" in done.stdout


def lettered(seed: int) -> bytes:
    """A PNG of a page at 100 dpi with one stamp, whose words tell it from others."""
    page = paper(dpi=100)
    left, top, right, bottom = 300, 500, 500, 640
    cv2.rectangle(page, (left, top), (right, bottom), RED, 3)
    letters = np.random.default_rng(seed)
    for line in range(3):
        word = "".join(chr(int(letter)) for letter in letters.integers(65, 91, 7))
        place = (left + int(letters.integers(8, 40)), top + 45 + 40 * line)
        cv2.putText(page, word, place, cv2.FONT_HERSHEY_SIMPLEX, float(letters.uniform(0.6, 1.1)), RED, 2)
    file = io.BytesIO()
    Image.fromarray(page).save(file, format="PNG", dpi=(100, 100))
    return file.getvalue()


def renamed(place: Place, studio: LoopbackStudio, task: int) -> None:
    """An annotator renames all boxes of a task, and a worker of the same data folder hears of it."""
    settings = Settings(data_dir=place.folder, label_studio_url=place.url, label_studio_api_key="token")
    connections = Connections(settings, source=lambda access: PageSource(settings, access))
    feedback = Feedback(Store.open(settings), connections, recall_distance=0.0)
    [stored] = studio.predictions[task]
    result = [
        {**one, "origin": "prediction-changed", "value": {**one["value"], "rectanglelabels": ["signature"]}}
        for one in stored["result"]
    ]
    now = datetime.now(UTC).isoformat()
    left = {
        "id": 100 + task,
        "task": task,
        "project": 1,
        "result": result,
        "was_cancelled": False,
        "created_at": now,
        "updated_at": now,
        "parent_prediction": stored["id"],
    }
    studio.annotations[task] = [left]
    body = {"annotation": left, "task": studio.task(task, whole=False), "project": {"id": 1, "label_config": CONFIG}}
    feedback.journal.append("ANNOTATION_CREATED", project=1, body=body)
    feedback.worker.work()
    feedback.stop()
    connections.studio("1").close()


@pytest.mark.parametrize("chosen", [(), ("--tasks", "3,4")])
def test_a_correction_reaches_the_open_tasks_that_show_the_same_thing_by_a_refresh(
    place: Place, studio: LoopbackStudio, chosen: tuple[str, ...]
) -> None:
    """Of six tasks, 1, 3 and 5 have one page, the others another; stamps are renamed to signatures on task 1."""
    studio.pages = (lettered(1), lettered(2))
    assert place.run("--project", "1", RECALL_DISTANCE="0.1").returncode == 0
    before = {task: studio.predictions[task][0] for task in studio.predictions}
    renamed(place, studio, 1)
    done = place.run("--project", "1", "--refresh", *chosen, RECALL_DISTANCE="0.1")
    assert done.returncode == 0, done.stderr
    changed = {
        task
        for task, stored in studio.predictions.items()
        if any("signature" in one["value"]["rectanglelabels"] for one in stored[-1]["result"])
    }
    assert changed == ({3} if chosen else {3, 5})
    assert {task: stored for task, stored in studio.predictions.items() if task not in changed} == {
        task: [one] for task, one in before.items() if task not in changed
    }
    assert [len(studio.predictions[task]) for task in sorted(changed)] == [1] * len(changed)
    assert f"of {2 if chosen else 5} tasks, {len(changed)} are shown something else now" in done.stdout


@pytest.mark.parametrize("listed", [True, False])
def test_named_tasks_with_two_processes(place: Place, studio: LoopbackStudio, listed: bool, tmp_path: Path) -> None:
    file = tmp_path / "ids.txt"
    file.write_text("2\n4, 6\n")
    done = place.run("--project", "1", "--tasks", str(file) if listed else "2,4,6", "--processes", "2", "--batch", "2")
    assert done.returncode == 0, done.stderr
    assert [len(studio.versions(task)) for task in range(1, 7)] == [0, 1, 0, 1, 0, 1]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ((), "--project, or folders"),
        (("--project", "1", "folder"), "--project, or folders"),
        (("--project", "1", "--tasks", "one,two"), "neither a file nor task ids"),
        (("--project", "1", "--processes", "0"), "--processes is at least 1"),
        (("--project", "1", "--engine", "ray"), "projects use --processes"),
        (("--project", "1", "--refresh", "--replace"), "--refresh is for predictions of this version"),
        (("--project", "8"), "no project 8"),
        (("folder", "--out", "found.json", "--refresh"), "are for a --project"),
        (("folder",), "--out"),
    ],
)
def test_what_cannot_be_done_is_said(
    place: Place,
    arguments: tuple[str, ...],
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from backend.cli import main

    for name, value in place.environment.items():
        monkeypatch.setenv(name, value)
    assert main(["prelabel", *arguments]) == 2
    assert reason in capsys.readouterr().err
