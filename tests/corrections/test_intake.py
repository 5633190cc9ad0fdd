"""What waits for the ledger: on disk before anybody is answered, there once in the end, whatever befalls the ledger."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select, text

from backend.corrections import intake as module
from backend.corrections import spool as spool_module
from backend.corrections.crop_store import CropStore
from backend.corrections.database import default_url, open_database, writing
from backend.corrections.intake import Intake
from backend.corrections.journal import Journal
from backend.corrections.remembering import ShownPrediction
from backend.corrections.spool import Spool
from backend.corrections.tables import annotation, event, prediction, proposal, sample
from backend.corrections.worker import Worker
from backend.errors import LedgerError, RequestError
from tests.corrections import annotating
from tests.corrections.annotating import drawn, saved, shown

A, B = (10.0, 10.0, 60.0, 60.0), (100.0, 20.0, 150.0, 80.0)


@pytest.fixture
def intake(engine: Engine, tmp_path: Path) -> Intake:
    return Intake(engine, tmp_path / "spool")


def numbers(engine: Engine) -> list[int]:
    with engine.connect() as connection:
        return sorted(body["n"] for body in connection.execute(select(event.c.body)).scalars())


def put(intake: Intake, *several: int) -> None:
    for n in several:
        intake.append("ANNOTATION_CREATED", project=1, body={"n": n})


def test_sixty_four_senders_lose_and_double_nothing(engine: Engine, intake: Intake, tmp_path: Path) -> None:
    with ThreadPoolExecutor(64) as pool:
        for sent in [pool.submit(put, intake, n) for n in range(640)]:
            intake.move()
            sent.result()
    intake.move()
    assert numbers(engine) == list(range(640))
    assert [file.stat().st_size for file in (tmp_path / "spool").iterdir()] == [0]
    intake.close()
    assert list((tmp_path / "spool").iterdir()) == []


def test_what_a_process_left_is_taken_over_and_what_a_living_one_holds_is_not(
    engine: Engine, intake: Intake, tmp_path: Path
) -> None:
    other = Intake(engine, tmp_path / "spool")
    put(other, 1, 2)
    assert intake.move() == 0
    other.close()
    assert intake.move() == 2
    assert numbers(engine) == [1, 2]
    assert list((tmp_path / "spool").iterdir()) == []


def test_half_a_line_that_a_kill_left_is_passed_over(engine: Engine, intake: Intake, tmp_path: Path) -> None:
    dead = Intake(engine, tmp_path / "spool")
    put(dead, 1, 2)
    dead.close()
    [left] = (tmp_path / "spool").iterdir()
    with left.open("ab") as file:
        file.write(b'{"key": "3", "event": {"rec')
    assert intake.move() == 2
    assert numbers(engine) == [1, 2]


def test_what_is_brought_twice_is_there_once(engine: Engine, tmp_path: Path) -> None:
    """As after a kill between the ledger's commit and the spool's forgetting."""
    dead = Intake(engine, tmp_path / "spool")
    put(dead, 1, 2)
    [left] = (tmp_path / "spool").iterdir()
    again = left.read_bytes()
    dead.move()
    dead.close()
    (tmp_path / "spool" / "again.jsonl").write_bytes(again)
    Intake(engine, tmp_path / "spool").move()
    assert numbers(engine) == [1, 2]


def test_a_value_that_no_database_holds_is_the_senders_fault_and_costs_no_other_event(
    engine: Engine, intake: Intake
) -> None:
    for action, project, body in (
        ("START_TRAINING", 2**70, {}),
        ("START\0TRAINING", 1, {}),
        ("START_TRAINING", 1, {"n": float("nan")}),
    ):
        with pytest.raises(RequestError):
            intake.append(action, project=project, body=body)
    put(intake, 1)
    intake.move()
    assert numbers(engine) == [1]


def test_a_line_that_the_ledger_never_takes_is_put_aside_and_holds_up_no_other(
    engine: Engine, intake: Intake, tmp_path: Path
) -> None:
    dead = Spool(tmp_path / "spool")
    dead.append(b'{"key": "a", "event": "of another release"}')
    dead.append(b"no JSON")
    dead.close()
    put(intake, 1)
    intake.move()
    assert numbers(engine) == [1]
    assert (tmp_path / "spool" / module.REFUSED).read_text().splitlines() == [
        '{"key": "a", "event": "of another release"}',
        "no JSON",
    ]
    assert intake.move() == 0


def test_a_lost_ledger_delays_and_is_not_made_anew(tmp_path: Path) -> None:
    file = tmp_path / "ledger.sqlite3"
    engine = open_database(f"sqlite:///{file}")
    intake = Intake(engine, tmp_path / "spool")
    put(intake, 1)
    intake.move()
    for part in tmp_path.glob("ledger.sqlite3*"):
        part.unlink()
    put(intake, 2)
    assert intake.move() == 0
    assert not file.exists()
    assert "wait for the ledger" in intake.troubles()[0]
    open_database(f"sqlite:///{file}").dispose()  # as the next start does
    intake.move()
    assert (numbers(engine), intake.troubles()) == ([2], [])
    engine.dispose()


def test_what_is_committed_into_a_file_that_was_replaced_meanwhile_is_not_lost(tmp_path: Path) -> None:
    file, backup = tmp_path / "ledger.sqlite3", tmp_path / "backup.sqlite3"
    open_database(f"sqlite:///{backup}").dispose()
    engine = open_database(f"sqlite:///{file}")

    def replaced_meanwhile() -> None:
        with writing(engine) as connection:
            connection.execute(text("INSERT INTO watermark (project, lease) VALUES (1, 0)"))
            os.replace(backup, file)

    with pytest.raises(LedgerError, match="replaced"):
        replaced_meanwhile()
    intake = Intake(engine, tmp_path / "spool")
    put(intake, 1)
    intake.move()
    assert numbers(engine) == [1]
    engine.dispose()


def test_a_locked_ledger_delays_and_the_reason_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backend.corrections.database.BUSY_SECONDS", 0)
    engine, ticks = open_database(default_url(tmp_path)), [0.0]
    intake = Intake(engine, tmp_path / "spool", ticks=lambda: ticks[0])
    other = sqlite3.connect(tmp_path / "ledger.sqlite3", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    put(intake, 1)
    intake.remember(ShownPrediction(task=7, project=1, version="v1", proposals=[shown("a", "stamp", A)]))
    assert intake.move() == 0
    assert intake.troubles() == ["events and predictions wait for the ledger: database is locked"]
    other.execute("ROLLBACK")
    other.close()
    assert intake.move() == 2
    assert (numbers(engine), intake.troubles()) == ([1], [])
    engine.dispose()


def test_a_ledger_that_does_not_even_answer_is_told_after_a_while(engine: Engine, tmp_path: Path) -> None:
    ticks = [0.0]
    intake = Intake(engine, tmp_path / "spool", ticks=lambda: ticks[0])
    ticks[0] = 1000.0  # long ago nothing came
    put(intake, 1)
    assert intake.troubles() == []
    ticks[0] += 10.0
    assert intake.troubles() == ["events and predictions wait for the ledger: it takes nothing for 10 s"]


def test_a_prediction_that_reaches_the_ledger_after_its_correction_is_what_was_corrected(
    engine: Engine, intake: Intake, tmp_path: Path
) -> None:
    """One process served the boxes, another one took the event, and only that one reached the ledger."""
    journal = Journal(engine)
    worker = Worker(engine=engine, journal=journal, crops=CropStore(str(tmp_path)), page_of=annotating.page_of)
    body = saved(1, task=7, at=950, result=[drawn("a", "signature", A)])
    journal.append(body["action"], project=1, body=body)
    late = Intake(engine, tmp_path / "spool", clock=lambda: 900.0)
    late.remember(
        ShownPrediction(task=7, project=1, version="v1", proposals=[shown("a", "stamp", A), shown("b", "thumb", B)])
    )
    worker.work()
    assert outcomes(engine) == {"a": "missed"}
    late.move()
    worker.work()
    assert outcomes(engine) == {"a": "relabelled", "b": "rejected"}


def test_a_prediction_that_arrives_while_its_correction_is_worked_on_is_not_overlooked(
    engine: Engine, intake: Intake, tmp_path: Path
) -> None:
    journal = Journal(engine)
    late = Intake(engine, tmp_path / "spool", clock=lambda: 900.0)
    late.remember(ShownPrediction(task=7, project=1, version="v1", proposals=[shown("a", "stamp", A)]))

    def page_of(one: Any, index: int) -> Any:
        late.move()
        return annotating.page_of(one, index)

    worker = Worker(engine=engine, journal=journal, crops=CropStore(str(tmp_path)), page_of=page_of)
    body = saved(1, task=7, at=950, result=[drawn("a", "signature", A)])
    journal.append(body["action"], project=1, body=body)
    worker.work()
    assert outcomes(engine) == {"a": "relabelled"}


def test_what_is_shown_again_makes_no_work(engine: Engine, intake: Intake, tmp_path: Path) -> None:
    journal = Journal(engine)
    worker = Worker(engine=engine, journal=journal, crops=CropStore(str(tmp_path)), page_of=annotating.page_of)
    intake.remember(ShownPrediction(task=7, project=1, version="v1", proposals=[shown("a", "stamp", A)]))
    intake.move()
    body = saved(1, task=7, at=950, result=[drawn("a", "signature", A)])
    journal.append(body["action"], project=1, body=body)
    worker.work()
    intake.remember(ShownPrediction(task=7, project=1, version="v1", proposals=[shown("a", "stamp", A)]))
    intake.move()
    with engine.connect() as connection:
        assert connection.execute(select(annotation.c.turned)).scalar() == 950.0


def test_without_a_disk_predictions_wait_in_memory_up_to_a_bound(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_UNSPOOLED", 2)
    intake = Intake(engine, tmp_path / "away" / "spool")
    for task in (1, 2):
        intake.remember(ShownPrediction(task=task, project=1, version="v1", proposals=[shown("a", "stamp", A)]))
    with pytest.raises(LedgerError):
        intake.remember(ShownPrediction(task=3, project=1, version="v1", proposals=[]))
    with pytest.raises(LedgerError):
        put(intake, 1)
    assert intake.move() == 2
    with engine.connect() as connection:
        assert sorted(connection.execute(select(prediction.c.task)).scalars()) == [1, 2]
        assert sorted(connection.execute(select(proposal.c.task)).scalars()) == [1, 2]


def test_predictions_wait_on_disk_up_to_a_bound_and_events_beyond_it(
    engine: Engine, intake: Intake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_SHOWN_BYTES", 100)
    intake.remember(ShownPrediction(task=1, project=1, version="v1", proposals=[shown("a", "stamp", A)]))
    with pytest.raises(LedgerError, match="wait for the ledger"):
        intake.remember(ShownPrediction(task=2, project=1, version="v1", proposals=[]))
    put(intake, 1)
    intake.move()
    intake.remember(ShownPrediction(task=2, project=1, version="v1", proposals=[]))
    assert numbers(engine) == [1]


def outcomes(engine: Engine) -> dict[str, str]:
    with engine.connect() as connection:
        return {row.region: row.outcome for row in connection.execute(select(sample))}


SENDER = """
import sys, threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from backend.corrections.database import open_database
from backend.corrections.intake import Intake
intake = Intake(open_database(sys.argv[1]), Path(sys.argv[2]))
def send(n):
    intake.append("ANNOTATION_CREATED", project=1, body={"n": n})
    sys.stdout.write(f"{n}\\n"); sys.stdout.flush()
    intake.move()
with ThreadPoolExecutor(16) as pool:
    list(pool.map(send, range(100000)))
"""


def test_what_was_acknowledged_survives_kill_nine(database_url: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", SENDER, database_url, str(tmp_path / "spool")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as sender:
        assert sender.stdout is not None
        acknowledged = {int(sender.stdout.readline()) for _ in range(200)}
        sender.kill()
        acknowledged |= {int(line) for line in sender.stdout.read().split("\n")[:-1] if line}
    engine = open_database(database_url)
    Intake(engine, tmp_path / "spool").move()
    stored = numbers(engine)
    engine.dispose()
    assert acknowledged <= set(stored)
    assert len(stored) == len(set(stored))


def test_files_are_for_this_user_alone(engine: Engine, intake: Intake, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        put(intake, 1)
    finally:
        os.umask(before)
    folder = tmp_path / "spool"
    assert folder.stat().st_mode & 0o077 == 0
    assert [file.stat().st_mode & 0o077 for file in folder.iterdir()] == [0]


def test_a_spool_that_a_power_cut_filled_with_zeros_is_passed_in_little_memory(
    engine: Engine, intake: Intake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some file systems lengthen a file before they write it. What stands before and behind the hole is there."""
    monkeypatch.setattr(spool_module, "PORTION_BYTES", 1 << 16)
    monkeypatch.setattr(spool_module, "LONGEST_LINE_BYTES", 1 << 20)
    dead = Intake(engine, tmp_path / "spool")
    put(dead, 1)
    dead.close()
    [left] = (tmp_path / "spool").iterdir()
    line = left.read_bytes().replace(b'"n": 1', b'"n": 2').replace(b'"key": "', b'"key": "2')
    with left.open("ab") as file:
        file.truncate(file.tell() + (40 << 20))
    with left.open("ab") as file:
        file.write(b"\n" + line)
    tracemalloc.start()
    intake.move()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert numbers(engine) == [1, 2]
    assert peak < 16 << 20


def test_no_line_however_odd_holds_up_the_others(engine: Engine, intake: Intake, tmp_path: Path) -> None:
    dead = Spool(tmp_path / "spool")
    odd = [
        b"[" * 100_000,
        b'"event"',
        b"5",
        b"[]",
        b'{"event": {}}',
        b'{"shown": {"prediction": 5}}',
        b'{"unread": []}',
    ]
    odd += [b'{"shown": []}', b'{"key": 1, "event": {"received": 0, "action": 5, "project": 1, "body": 5}}', b"\xff"]
    for line in odd:
        dead.append(line)
    dead.close()
    put(intake, 1)
    intake.move()
    assert numbers(engine) == [1]
    assert len((tmp_path / "spool" / module.REFUSED).read_text(encoding="utf-8").splitlines()) == len(odd)


def test_garbage_in_the_spool_holds_up_no_event(engine: Engine, tmp_path: Path) -> None:
    """Of each kind one file: bytes that are no text, depths, numbers and times without end, pipes, folders, links."""
    folder = tmp_path / "spool"
    folder.mkdir()
    event_of = '{"key": "%s", "event": {"action": "X", "project": %s, "received": %s, "body": {}}}'
    lines = [
        b"\xff\xfe\x00",
        b"[" * 100_000,
        b"null",
        b"9" * 10_000,
        b'{"shown": {"prediction": {"task": "x"}}}',
        (event_of % ("a", 10**30, 1.0)).encode(),
        (event_of % ("b", "null", "null")).encode(),
        (event_of % ("c", "null", '"later"')).encode(),
        (event_of % (r"\ud800", "null", 1.0)).encode(),
    ]
    for number, line in enumerate(lines):
        (folder / f"{number}.jsonl").write_bytes(line + b"\n")
    os.mkfifo(folder / "pipe.jsonl")
    (folder / "folder.jsonl").mkdir()
    (tmp_path / "elsewhere").write_text("of somebody else\n")
    (folder / "link.jsonl").symlink_to(tmp_path / "elsewhere")

    intake = Intake(engine, folder)
    put(intake, 1)
    while intake.move():
        pass

    assert numbers(engine) == [1]
    assert intake.troubles() == []
    assert len((folder / module.REFUSED).read_bytes().splitlines()) == len(lines)
    assert (tmp_path / "elsewhere").read_text() == "of somebody else\n"
    intake.close()
