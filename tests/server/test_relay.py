"""The process that receives and the one that works: what passes between them, and what one says of the other."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import pytest

from backend.server.event_worker import SILENT_SECONDS, Courier, Errands, HealthState, _packed, _receive, _send, pair
from backend.server.lanes import Answer, Asked, Lanes
from tests.patience import SECONDS
from tests.patience import eventually as until
from tests.ports import port_for_later
from tests.server.front import LET, application

ROOT = Path(__file__).parents[2]


class Both:
    """Both ends in one process, the receiving one in a thread of its own."""

    def __init__(self) -> None:
        ours, theirs = pair()
        self.loop = asyncio.new_event_loop()
        self.told: list[Mapping[str, Any]] = []
        self.ended = threading.Event()
        self.courier = Courier(ours, self.loop, quick=application, told=self.told.append, ended=self.ended.set)
        self.errands = Errands(theirs, Lanes(application, threads=2))
        self._ends = ours, theirs
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def ask(self, path: str, body: bytes = b"") -> list[Answer]:
        """A list that the answer will be in."""
        asked = Asked(
            method="POST",
            target=path.encode(),
            version="1.1",
            headers=((b"host", b"x"), (b"content-length", str(len(body)).encode())),
            body=body,
            client="127.0.0.1",
            server=("127.0.0.1", 9090),
        )
        found: list[Answer] = []
        self.loop.call_soon_threadsafe(self.courier.submit, asked, found.append)
        return found

    def close(self) -> None:
        LET.set()
        self.close_working_end()
        assert self.ended.wait(SECONDS)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(SECONDS)
        self.loop.close()
        self._ends[0].close()

    def close_working_end(self) -> None:
        if self._ends[1].fileno() != -1:
            self._ends[1].shutdown(socket.SHUT_RDWR)
            assert self.errands.over.wait(SECONDS)
            self._ends[1].close()


@pytest.fixture
def both() -> Iterator[Both]:
    LET.clear()
    made = Both()
    yield made
    made.close()


@pytest.mark.parametrize("size", [0, 3, 60_000, 70_000, 5_000_000])
def test_a_request_of_any_size_is_answered(both: Both, size: int) -> None:
    found = both.ask("/a%20b?c=1", bytes(size))
    until(lambda: found)
    assert found[0].body == f"POST /a b c=1 {size}".encode()
    assert found[0].status == 200


def test_an_answer_of_any_size_arrives(both: Both) -> None:
    """A long path comes back in the answer."""
    found = both.ask("/" + "x" * 60_000)
    until(lambda: found)
    assert len(found[0].body) > 60_000


def test_many_requests_are_answered_each_with_its_own_answer(both: Both) -> None:
    LET.set()
    found = [both.ask(f"/{number}", bytes(70_000 * (number % 2))) for number in range(15)]
    until(lambda: all(found))
    assert [int(one[0].body.split()[1][1:]) for one in found] == list(range(15))


def test_whether_it_is_well_is_answered_while_every_thread_works(both: Both) -> None:
    waiting = [both.ask("/wait") for _ in range(2)]
    for path in ("/health", "/"):
        found = both.ask(path)
        until(lambda found=found: found)
        assert found[0].status == 200
    assert not any(waiting)


def test_what_is_told_arrives_and_the_end_is_noticed(both: Both) -> None:
    both.errands.tell({"health": {"storage": "ready"}})
    until(lambda: both.told)
    assert both.told == [{"health": {"storage": "ready"}}]
    both.close_working_end()
    assert both.ended.wait(SECONDS)


def test_a_request_that_there_is_no_descriptor_for_is_refused_and_the_next_one_taken(both: Both) -> None:
    """What the system cannot hand over is lost on its way: its sender hears so, and nobody waits for it."""
    ours, theirs = pair()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    packet, large = _packed(7, {"method": "POST"}, bytes(100_000))
    assert large is not None
    _send(ours, packet, large)
    free = os.dup(large)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
    try:
        assert _receive(theirs) == (7, {}, b"")
        found = both.ask("/large", bytes(70_000))  # here there is none either
        until(lambda: found)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert found[0].status == 503
    found = both.ask("/large", bytes(70_000))
    until(lambda: found)
    assert found[0].status == 200
    os.close(large)
    ours.close()
    theirs.close()


def test_there_are_no_more_connections_than_descriptors_for_them() -> None:
    """Where a service starts with the usual 1024, all that it may have are taken, and so many clients less."""
    program = (
        "import resource; from backend.server.event_worker import _most_connections as most;"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (256, 1024));"
        "print(most(), resource.getrlimit(resource.RLIMIT_NOFILE))"
    )
    told = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert told.stdout.split(" ", 1) == ["480", "(1024, 1024)\n"]


def test_silence_is_told() -> None:
    now = [100.0]
    state = HealthState(clock=lambda: now[0])
    state.tell({"storage": "ready"})
    now[0] += SILENT_SECONDS
    assert state() == {"storage": "ready"}
    now[0] += 1.0
    assert state() == {"storage": "ready", "silent_seconds": round(SILENT_SECONDS + 1)}
    state.tell({"storage": "ready"})
    assert state() == {"storage": "ready"}


@contextmanager
def serving(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    port = port_for_later()
    environment = os.environ | {"DATA_DIR": str(folder), "DATABASE_URL": "", "MODEL": "bundled", "LOG_LEVEL": "ERROR"}
    command = [sys.executable, "-m", "backend", "serve", "--port", str(port)]
    with subprocess.Popen(command, cwd=ROOT, env=environment, start_new_session=True) as process:
        try:
            until(lambda: health(port).get("model_state") == "ready")
            yield process, port
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def health(port: int) -> dict[str, Any]:
    """What /health says; empty where it does not answer."""
    connection = HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    try:
        connection.request("GET", "/health")
        return dict(json.loads(connection.getresponse().read()))
    except (OSError, HTTPException):
        return {}
    finally:
        connection.close()


def children(process: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def test_health_is_told_while_the_working_process_is_stopped_and_the_pair_is_made_anew_when_it_is_killed(
    tmp_path: Path,
) -> None:
    with serving(tmp_path) as (process, port):
        [working] = children(process.pid)
        os.kill(working, signal.SIGSTOP)
        until(lambda: "silent_seconds" in health(port))
        os.kill(working, signal.SIGCONT)
        until(lambda: "silent_seconds" not in health(port))
        receiving = children(working)[0]
        os.kill(receiving, signal.SIGKILL)
        until(lambda: children(process.pid) not in ([], [working]) and health(port))
        process.terminate()
        assert process.wait(SECONDS) == 0
