"""What `benchmarks.faults` and `benchmarks.soak` share: a real server that can be harmed, and a Label Studio beside it.

The server is started as `serve` starts it, in a session of its own, so that all its processes can be found and killed.
Label Studio is a loopback server (`benchmarks.loopback_pages`).
"""

from __future__ import annotations

import http.client
import json
import math
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

from sqlalchemy import select

from backend.corrections.database import default_url, open_database
from backend.corrections.tables import event, sample
from benchmarks.loopback_pages import LoopbackPages, loopback_pages
from benchmarks.webhook import BOXES, CONFIG
from benchmarks.webhook import event as saved

__all__ = ["FaultyServer", "Found", "Sent", "bare_server", "events", "predict", "running"]

ROOT = Path(__file__).parents[1]
START_SECONDS, DRAIN_SECONDS = 300.0, 600.0
PROBE_SECONDS = 0.05
_PAUSES = 10
_SAID = 120
"""Bytes of an answer that a report has room for."""

_BARE = """
import asyncio
async def answer(reader, writer):
    await reader.readuntil(b"\\r\\n\\r\\n")
    writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\n{}")
    await writer.drain()
    writer.close()
async def main():
    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()
asyncio.run(main())
"""


@dataclass(frozen=True, kw_only=True)
class Sent:
    """What became of events that were sent.

    Attributes:
        acknowledged: Numbers of those that were answered with 200.
        refused: How many were not, by what came instead.
    """

    acknowledged: frozenset[int]
    refused: Counter[str]


@dataclass(frozen=True, kw_only=True)
class Found:
    """What the ledger has in the end, beside what was acknowledged.

    Attributes:
        lost: Acknowledged events that it does not have, or not all samples of.
        doubled: Events or samples that it has twice.
        mixed: Annotations whose samples say something else than what was saved last.
    """

    lost: int
    doubled: int
    mixed: int


class FaultyServer:
    """A server on a fresh DATA_DIR, watched while it is harmed: how soon /health answers, how much memory it takes.

    Attributes:
        data: Its DATA_DIR.
        port: Where it listens.
        health: Seconds of each answer of /health; of one that did not come, the seconds that were waited.
        bare: Those of a server that says two bytes, asked in turn: what the machine itself makes one wait.
        peak: The most bytes that its processes took together (proportional set size).
    """

    def __init__(
        self, data: Path, studio: str, *, bare: int, settings: Mapping[str, str], watched: bool = True
    ) -> None:
        self.data = data
        self._watched = watched
        self._bare = bare
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self._environment = {
            **os.environ,
            "LOG_LEVEL": "ERROR",
            "DATA_DIR": str(data),
            "DATABASE_URL": "",
            "LABEL_STUDIO_URL": studio,
            "MODEL": "bundled",
            "RETRAIN_AFTER": "0",
            **settings,
        }
        self._process: subprocess.Popen[bytes] | None = None
        self._watching = threading.Event()
        self.health: list[float] = []
        self.bare: list[float] = []
        self.peak = 0

    def start(self) -> None:
        """Starts it, and returns when it predicts."""
        self._watching.clear()
        command = [sys.executable, "-m", "backend", "serve", "--port", str(self.port)]
        self._process = subprocess.Popen(
            command, cwd=ROOT, env=self._environment, start_new_session=True, stderr=subprocess.DEVNULL
        )
        give_up = time.monotonic() + START_SECONDS
        while self.state().get("model_state") != "ready":
            if time.monotonic() > give_up or self._process.poll() is not None:
                raise SystemExit("the server did not start")
            time.sleep(0.1)
        if not self._watched:
            return
        self._watching.set()
        for watch in (self._probe, self._measure):
            threading.Thread(target=watch, args=(self._process,), daemon=True).start()

    def kill(self) -> None:
        """Kills all its processes, at once."""
        self._watching.clear()
        if self._process is not None:
            with suppress(ProcessLookupError):  # all have ended already
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def stop(self) -> None:
        """Tells it to end, and waits for that."""
        self._watching.clear()
        if self._process is not None:
            self._process.terminate()
            self._process.wait()

    def processes(self) -> list[int]:
        """The ids of all its processes."""
        assert self._process is not None
        return [
            pid for pid in map(int, filter(str.isdecimal, os.listdir("/proc"))) if _session(pid) == self._process.pid
        ]

    def state(self) -> dict[str, Any]:
        """What /health says; empty where it does not answer."""
        answer = _ask(self.port, "GET", "/health", timeout=5)
        return dict(json.loads(answer[1])) if answer else {}

    def resident(self) -> int:
        """Bytes that its processes take together."""
        return sum(map(_proportional, self.processes()))

    def descriptors(self) -> int:
        """Open files and sockets of all its processes."""
        return sum(_descriptors(pid) for pid in self.processes())

    def send(self, bodies: Mapping[int, bytes], *, clients: int = 16) -> Sent:
        """Sends each event once; one that is not answered with 200 is refused."""
        with ThreadPoolExecutor(clients) as pool:
            answers = dict(zip(bodies, pool.map(self._post, bodies.values()), strict=True))
        taken = frozenset(number for number, instead in answers.items() if instead is None)
        return Sent(acknowledged=taken, refused=Counter(instead for instead in answers.values() if instead is not None))

    def drain(self) -> None:
        """Waits until nothing waits: neither on disk, nor in the journal, nor to be turned into samples.

        It looks twice: what goes from the disk to the journal during one look is in neither of them. On a busy machine
        it may take long, so it gives up only where nothing becomes less.
        """
        give_up = time.monotonic() + DRAIN_SECONDS
        idle, least = 0, math.inf
        while time.monotonic() < give_up:
            asked = time.monotonic()
            waiting = self._waiting()
            if waiting is not None and waiting < least:
                least, give_up = waiting, time.monotonic() + DRAIN_SECONDS
            idle = idle + 1 if waiting == 0 else 0
            if idle == 2:
                return
            # Counting a large ledger takes a while: who asks without a pause keeps the server from its work.
            time.sleep(max(0.2, _PAUSES * (time.monotonic() - asked)))
        raise SystemExit(f"of {least} events that wait none was in the samples within {DRAIN_SECONDS:.0f} s")

    def _waiting(self) -> int | None:
        """Events and annotations that wait; None where the server does not say."""
        answer = _ask(self.port, "GET", "/status", timeout=30)
        if answer is None or answer[0] != HTTPStatus.OK:
            return None
        facts = json.loads(answer[1])
        opened = sum(one["count"] for one in facts["events"] if one["state"] == "open")
        return int(bool(facts["storage"]["waiting_bytes"])) + int(facts["annotations"]["open"]) + int(opened)

    def found(self, acknowledged: frozenset[int], *, held: Mapping[int, Mapping[str, Any]]) -> Found:
        """Compares the ledger with what was acknowledged; each event of `benchmarks.webhook` says its own number.

        Args:
            acknowledged: Numbers of the events.
            held: What Label Studio holds in the end of annotations that were saved more than once, by their ids.
        """
        engine = open_database(default_url(self.data))
        with engine.connect() as connection:
            bodies = connection.execute(select(event.c.body).where(event.c.action == "ANNOTATION_CREATED")).scalars()
            events = Counter(int(body["annotation"]["id"]) for body in bodies)
            samples = connection.execute(select(sample).where(sample.c.outcome != "rejected")).all()
        engine.dispose()
        made = Counter(row.annotation for row in samples)
        strange = {row.annotation for row in samples if (row.task, row.label) != (row.annotation, "stamp")}
        strange |= {row.annotation for row in samples if not row.region.startswith(f"r{row.annotation}-")}
        strange |= {number for number, one in held.items() if made[number] != len(one["result"])}
        return Found(
            lost=sum(number not in events or made[number] < len(BOXES) for number in acknowledged),
            doubled=sum(many > 1 for many in events.values()) + sum(many > len(BOXES) for many in made.values()),
            mixed=len(strange),
        )

    def _post(self, body: bytes) -> str | None:
        """What came instead of 200; None where that came."""
        answer = _ask(self.port, "POST", "/webhook", body, timeout=60)
        if answer is None:
            return "no answer"
        status, said = answer
        return None if status == HTTPStatus.OK else f"{status} {said[:_SAID].decode(errors='replace').strip()}"

    def _probe(self, process: subprocess.Popen[bytes]) -> None:
        while self._watching.is_set() and process.poll() is None:
            started = time.perf_counter()
            answered = bool(self.state())
            if self._watching.is_set() or answered:
                self.health.append(time.perf_counter() - started)
            started = time.perf_counter()
            _ask(self._bare, "GET", "/", timeout=5)
            self.bare.append(time.perf_counter() - started)
            time.sleep(PROBE_SECONDS)

    def _measure(self, process: subprocess.Popen[bytes]) -> None:
        while self._watching.is_set() and process.poll() is None:
            self.peak = max(self.peak, self.resident())
            time.sleep(0.2)


@contextmanager
def _mounted(folder: Path, size: int) -> Iterator[None]:
    if not size:
        yield
        return
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def running(
    *, disk: int = 0, folder: Path | None = None, watched: bool = True, **settings: str
) -> Iterator[tuple[FaultyServer, LoopbackPages]]:
    """A started server on an empty DATA_DIR, and its Label Studio.

    Args:
        folder: Where DATA_DIR is, and stays, with what an earlier server left there; None for one that goes afterwards.
        disk: Bytes of a disk in memory that DATA_DIR has to itself; 0 for none. It is mounted, so that the caller must
            be in a namespace of its own.
        watched: Whether /health is asked all the while, and the memory measured: a fifth of a processor.
        settings: Of the server.
    """
    where = tempfile.TemporaryDirectory() if folder is None else nullcontext(str(folder))
    with where as place, _mounted(Path(place), disk), loopback_pages() as (studio, pages), bare_server() as bare:
        server = FaultyServer(Path(place) / "data", studio, bare=bare, settings=settings, watched=watched)
        server.start()
        try:
            yield server, pages
        finally:
            server.kill()


def predict(server: FaultyServer, references: Mapping[int, str], *, timeout: float = 100.0) -> list[Any] | None:
    """Asks for the predictions of tasks, as "Retrieve Predictions" does; None where no answer came."""
    tasks = [{"id": number, "project": 1, "data": {"image": reference}} for number, reference in references.items()]
    body = {"tasks": tasks, "project": "1.1", "label_config": CONFIG, "params": None}
    answer = _ask(server.port, "POST", "/predict", json.dumps(body).encode(), timeout=timeout)
    return list(json.loads(answer[1])["results"]) if answer and answer[0] == HTTPStatus.OK else None


def _ask(port: int, method: str, path: str, body: bytes | None = None, *, timeout: float) -> tuple[int, bytes] | None:
    """Status and body of an answer; None where none came.

    The client is a plain one: others load the system's certificates first, for which a processor works longer than for
    the answer, and which no other thread of this process could run beside.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        headers = {"Accept": "application/json"} | ({"Content-Type": "application/json"} if body else {})
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


@contextmanager
def bare_server() -> Iterator[int]:
    """A server that says two bytes, in a process of its own; gives its port.

    What it takes under the same load is what the machine makes everybody wait.
    """
    process = subprocess.Popen([sys.executable, "-c", _BARE], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def events(numbers: range) -> dict[int, bytes]:
    """An event for each number: the annotation of that number, on the task of that number."""
    return {number: saved(number) for number in numbers}


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except OSError:
        return -1


def _proportional(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    except OSError:
        return 0
    return sum(1024 * int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))


def _descriptors(pid: int) -> int:
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return 0
