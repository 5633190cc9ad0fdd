"""kill -9 of a real serving process, at every step from acknowledgement to sample: nothing is lost, nothing doubled."""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlalchemy import Engine, select

from backend.corrections.counts import count
from backend.corrections.crop_store import CropStore
from backend.corrections.database import open_database
from backend.corrections.intake import Intake
from backend.corrections.journal import Journal
from backend.corrections.leases import LEASE_SECONDS
from backend.corrections.remembering import Proposals, ShownPrediction
from backend.corrections.service import page_opener
from backend.corrections.tables import event, sample
from backend.corrections.worker import Worker
from tests.corrections.annotating import HEIGHT, WIDTH, drawn, saved, shown
from tests.corrections.stopping import STEPS, run
from tests.corrections.test_service import Told
from tests.forked import copy, end_group, load
from tests.http_client import HTTP
from tests.patience import SECONDS, eventually
from tests.ports import port_for_later

load("tests.corrections.stopping", "tests.corrections.test_service")
A, B = (10.0, 10.0, 60.0, 60.0), (100.0, 20.0, 150.0, 80.0)


@dataclass(frozen=True)
class Served:
    """The program, as it serves: the master and its worker are killed together."""

    address: str
    process: ForkServerProcess
    heard: Connection

    def kill(self) -> None:
        end_group(self.process)

    def is_at_the_step(self) -> None:
        assert self.heard.poll(SECONDS), "nothing was said"
        assert self.heard.recv() == "reached"


@contextmanager
def serving(step: str, url: str, folder: Path) -> Iterator[Served]:
    heard, said = multiprocessing.Pipe(duplex=False)
    port = port_for_later()
    served = Served(f"http://127.0.0.1:{port}", copy(run, step, url, str(folder), port, said), heard)
    served.process.start()
    said.close()
    try:
        eventually(lambda: answers(served.address))
        yield served
    finally:
        served.kill()
        heard.close()


def answers(address: str) -> bool:
    try:
        return HTTP.get(f"{address}/health").status_code == 200
    except httpx2.TransportError:
        return False


def finish(engine: Engine, folder: Path, *, crops: str = "") -> Worker:
    """What the next process does, once the dead one's leases ran out, and the database noticed that it is dead."""
    worker = Worker(
        engine=engine,
        journal=Journal(engine),
        crops=CropStore(crops or str(folder)),
        page_of=page_opener(Told()),
        clock=lambda: time.time() + LEASE_SECONDS,
        gather=Intake(engine, folder / "spool").move,
    )
    eventually(lambda: worker.work() == 0 and nothing_waits(engine) and not list(folder.glob("spool/*")))
    return worker


def nothing_waits(engine: Engine) -> bool:
    facts = count(engine)
    return not facts.event_count(state="open") and not facts.annotations["open"]


def everything(engine: Engine) -> list[tuple[Any, ...]]:
    columns = [column for column in sample.c if column.name != "shown"]
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(select(*columns).order_by(sample.c.id))]


def on_small_page(box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    """Where a box is on the pages that `Told` has."""
    x1, y1, x2, y2 = box
    return x1 * 200 / WIDTH, y1 * 100 / HEIGHT, x2 * 200 / WIDTH, y2 * 100 / HEIGHT


def show(engine: Engine) -> None:
    # What was shown can only be rejected on a page of the proportions that `Told` has.
    proposals = [
        replace(one, page_size=(200, 100), region=replace(one.region, box=on_small_page(one.region.box)))
        for one in (shown("a", "stamp", A), shown("b", "thumb", B))
    ]
    Proposals(engine, clock=lambda: 900.0).remember(
        ShownPrediction(task=7, project=1, version="v1", proposals=proposals)
    )


CORRECTION = saved(1, task=7, at=950, result=[drawn("a", "signature", A), drawn("n", "stamp", B, page=1)])


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Any, ...]]:
    """What the correction gives when nobody is killed."""
    folder = tmp_path_factory.mktemp("undisturbed")
    engine = open_database(f"sqlite:///{folder / 'ledger.sqlite3'}")
    show(engine)
    Journal(engine).append(CORRECTION["action"], project=1, body=CORRECTION)
    finish(engine, folder)
    rows = everything(engine)
    engine.dispose()
    assert [row[sample.c.keys().index("outcome")] for row in rows] == ["relabelled", "rejected", "missed"]
    return rows


@pytest.mark.parametrize("step", STEPS)
def test_killed_at_any_step_gives_the_same_samples(
    step: str, database_url: str, engine: Engine, tmp_path: Path, undisturbed: list[tuple[Any, ...]]
) -> None:
    show(engine)
    with serving(step, database_url, tmp_path) as served:
        assert HTTP.post(f"{served.address}/webhook", json=CORRECTION).status_code == 200
        served.is_at_the_step()
    worker = finish(engine, tmp_path)
    assert everything(engine) == undisturbed
    assert worker.journal.counts() == {("ANNOTATION_CREATED", "done"): 1}
    for row in everything(engine):  # each crop is whole
        assert worker.crops.get(row[sample.c.keys().index("crop")]).size


def test_killed_under_sixty_four_senders_loses_and_doubles_nothing(
    database_url: str, engine: Engine, tmp_path: Path
) -> None:
    with serving("none", database_url, tmp_path) as served, httpx2.Client(timeout=SECONDS) as http:
        acknowledged: list[int] = []
        killed = threading.Event()

        def send(number: int) -> None:
            if number > 250:
                killed.wait(SECONDS)  # nobody acknowledges the last ones, however late the kill comes
            body = saved(number, task=number, at=950, result=[drawn(f"r{number}", "stamp", A)])
            try:
                if http.post(f"{served.address}/webhook", json=body).status_code == 200:
                    acknowledged.append(number)
            except httpx2.TransportError:
                return  # it was killed: no acknowledgement, no promise

        with ThreadPoolExecutor(64) as pool:
            sent = [pool.submit(send, number) for number in range(1, 301)]
            eventually(lambda: len(acknowledged) >= 100)
            served.kill()
            killed.set()
            for one in sent:
                one.result()
    assert 100 <= len(acknowledged) < 300
    finish(engine, tmp_path)
    with engine.connect() as connection:
        stored = [body["annotation"]["id"] for body in connection.execute(select(event.c.body)).scalars()]
        made = list(connection.execute(select(sample.c.annotation)).scalars())
    assert set(acknowledged) <= set(stored)
    assert sorted(made) == sorted(stored) == sorted(set(stored))


def work_off(url: str, folder: str, said: Connection) -> None:
    """What a worker process does; says how many steps it took."""
    engine = open_database(url)
    worker = Worker(engine=engine, journal=Journal(engine), crops=CropStore(folder), page_of=page_opener(Told()))
    said.send(sum(iter(worker.work, 0)))


def test_several_worker_processes_do_each_correction_once(database_url: str, engine: Engine, tmp_path: Path) -> None:
    journal = Journal(engine)
    for number in range(1, 41):
        for at in (950, 960):
            body = saved(number, task=number, at=at, created=950, result=[drawn("a", "stamp", A)])
            journal.append(body["action"], project=1, body=body)
    heard, said = multiprocessing.Pipe(duplex=False)
    workers = [copy(work_off, database_url, str(tmp_path), said) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(SECONDS)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    steps = [heard.recv() for _ in workers]
    heard.close()
    said.close()
    with engine.connect() as connection:
        made = list(connection.execute(select(sample.c.annotation)).scalars())
    assert sorted(made) == list(range(1, 41))
    # 80 events, and each of 40 annotations turned once, or twice where its update came in between
    assert 120 <= sum(steps) <= 160
