"""`prelabel --engine ray` on a Ray of this machine: every item once, though an actor dies and a page is deadly."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
from pathlib import Path

import pytest
from pyarrow import parquet

from benchmarks.loopback_studio import LoopbackStudio
from tests.commands.prelabel.conftest import Place, asker, parent, stamped

TASKS = 30
DEADLY = 17


class Reaper:
    """Kills the actor of whoever asks for the first page, and each process that asks for the deadly one."""

    def __init__(self) -> None:
        self.actors: list[str] = []
        self.deaths = 0
        self._first = threading.Lock()

    def __call__(self, number: int, connection: socket.socket) -> None:
        with self._first:  # each connection has a thread
            if not self.actors:
                actor = parent(asker(connection))
                self.actors.append(Path(f"/proc/{actor}/cmdline").read_text())
                os.kill(actor, signal.SIGKILL)
                return
        if number == DEADLY:
            self.deaths += 1
            os.kill(asker(connection), signal.SIGKILL)


def test_every_item_is_there_once_though_an_actor_was_killed_and_one_page_kills_its_process(
    place: Place, studio: LoopbackStudio, tmp_path: Path
) -> None:
    studio.before_page = reaper = Reaper()
    tasks = [{"data": {"image": f"/data/upload/1/{number}.png"}, "id": number} for number in range(TASKS)]
    (tmp_path / "tasks.jsonl").write_text("\n".join(map(json.dumps, tasks)))
    (tmp_path / "archive").mkdir()
    for number in range(12):
        (tmp_path / "archive" / f"{number:02}.png").write_bytes(stamped(at=2 + number / 2))
    (tmp_path / "archive" / "damaged.png").write_bytes(b"no picture")

    out, table, report = tmp_path / "out.json", f"file://{tmp_path}/out.parquet", tmp_path / "report.jsonl"
    done = place.run(
        *(str(tmp_path / "tasks.jsonl"), f"file://{tmp_path}/archive", "--engine", "ray", "--processes", "2"),
        *("--batch", "3", "--out", str(out), "--parquet", table, "--report", str(report)),
    )
    assert done.returncode == 1, done.stderr
    assert [actor[:14] for actor in reaper.actors] == ["ray::MapWorker"]
    assert reaper.deaths >= 2

    failed = {
        (row["failed"].rpartition("/")[2], row["kind"]) for row in map(json.loads, report.read_text().split("\n")[:-1])
    }
    assert failed == {(f"tasks.jsonl#{DEADLY}", "WorkerDied"), ("damaged.png", "UndecodablePage")}
    rows = parquet.read_table(tmp_path / "out.parquet").to_pylist()
    found = sorted(row["document"].rpartition("/")[2] for row in rows)
    listed = [f"tasks.jsonl#{number}" for number in range(TASKS) if number != DEADLY]
    assert found == sorted([*listed, *(f"{number:02}.png" for number in range(12))])
    assert {row["marks"] for row in rows} == {1}
    # Label Studio's file holds the same.
    written = json.loads(out.read_text(encoding="utf-8"))
    assert [task["predictions"][0]["result"] for task in written] == [json.loads(row["result"]) for row in rows]
    assert len({row["model_version"] for row in rows}) == 1


@pytest.mark.parametrize(
    ("changes", "arguments", "reason"),
    [
        ({"MODEL": "none"}, (), "none"),
        ({}, ("--ray-address", "127.0.0.1:1"), "no Ray cluster at 127.0.0.1:1"),
        ({}, ("--ray-address", "elsewhere"), "no Ray cluster at elsewhere"),
    ],
)
def test_what_cannot_be_done_is_said(
    place: Place, changes: dict[str, str], arguments: tuple[str, ...], reason: str, tmp_path: Path
) -> None:
    (tmp_path / "page.png").write_bytes(stamped())
    out = tmp_path / "out.json"
    done = place.run(str(tmp_path / "page.png"), "--out", str(out), "--engine", "ray", *arguments, **changes)
    assert done.returncode == 2, done.stderr
    assert reason in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
