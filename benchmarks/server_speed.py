"""How the running server answers: alone, and while many clients want predictions; its start and its memory."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import numpy as np

__all__ = ["Latency", "ServerSpeed", "measure_server"]

_ROOT = Path(__file__).parents[1]
_CONFIG = (_ROOT / "label_config.xml").read_text(encoding="utf-8")
_PAUSE = 0.02
_IDLE_REQUESTS = 100
_START_SECONDS = 60.0
_ANSWER_SECONDS = 100.0


@dataclass(frozen=True, kw_only=True)
class Latency:
    """Milliseconds.

    Attributes:
        p50: Median.
        p99: 99th percentile; with fewer than a hundred answers nearly the longest.
        longest: The longest.
        answers: How many were measured.
    """

    p50: float
    p99: float
    longest: float
    answers: int

    @classmethod
    def of(cls, seconds: list[float]) -> Latency:
        p50, p99 = 1000 * np.percentile(seconds, [50, 99])
        return cls(p50=float(p50), p99=float(p99), longest=1000 * max(seconds), answers=len(seconds))


@dataclass(frozen=True, kw_only=True)
class ServerSpeed:
    """What was measured.

    Attributes:
        health_after: Seconds from the start to the first answer of /health.
        ready_after: Seconds from the start until the model is loaded.
        resident_idle: Memory of the serving process with the model loaded, MB.
        resident_peak: The most that it took while the clients asked, MB.
        resident_after: The same after all predictions, MB.
        latencies: By route, `alone` or `with N clients`.
        not_done: Predictions that came back as not done: PREDICT_DEADLINE had passed.
    """

    health_after: float
    ready_after: float
    resident_idle: float
    resident_peak: float
    resident_after: float
    latencies: dict[str, Latency]
    not_done: int


def measure_server(jpeg: bytes, *, clients: int, requests: int) -> ServerSpeed:
    """Starts `serve` as a process of its own on a free port, and stops it again.

    Args:
        jpeg: The page that all clients ask about.
        clients: How many ask at once.
        requests: How often each asks, one task a time.
    """
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "page.jpg").write_bytes(jpeg)
        started = time.perf_counter()
        with _server(folder) as (process, url), httpx2.Client(base_url=url, timeout=_ANSWER_SECONDS) as client:
            health_after, ready_after = _wait(client, process, started)
            worker = _worker(process.pid)
            resident_idle = _memory(worker, "VmRSS")
            probes: dict[str, Callable[[], object]] = {
                "/health": lambda: client.get("/health").raise_for_status(),
                "/setup": lambda: client.post("/setup", json=_setup_body()).raise_for_status(),
            }
            latencies = {
                f"{route} alone": Latency.of([_timed(probe) for _ in range(_IDLE_REQUESTS)])
                for route, probe in probes.items()
            }
            _forget_peak(worker)
            loaded, not_done = _under_load(url, probes, clients=clients, requests=requests)
            return ServerSpeed(
                health_after=health_after,
                ready_after=ready_after,
                resident_idle=resident_idle,
                resident_peak=_memory(worker, "VmHWM"),
                resident_after=_memory(worker, "VmRSS"),
                latencies=latencies | loaded,
                not_done=not_done,
            )


def _under_load(
    url: str, probes: dict[str, Callable[[], object]], *, clients: int, requests: int
) -> tuple[dict[str, Latency], int]:
    """Latencies of /predict, and of the probes meanwhile; and how many predictions were not done."""
    over = threading.Event()
    done: list[bool] = []
    meanwhile: dict[str, list[float]] = {route: [] for route in probes}

    def probe(route: str) -> None:
        while not over.is_set():
            meanwhile[route].append(_timed(probes[route]))
            time.sleep(_PAUSE)

    def predict(number: int) -> list[float]:
        with httpx2.Client(base_url=url, timeout=_ANSWER_SECONDS) as client:
            return [_timed(lambda: done.append(_predict(client, number))) for _ in range(requests)]

    watchers = [threading.Thread(target=probe, args=(route,)) for route in probes]
    with ThreadPoolExecutor(clients) as pool:
        waiting = pool.map(predict, range(clients))
        for watcher in watchers:
            watcher.start()
        try:
            predicted = [seconds for answers in waiting for seconds in answers]
        finally:
            over.set()
            for watcher in watchers:
                watcher.join()
    load = f"with {clients} clients"
    latencies = {f"/predict {load}": Latency.of(predicted)}
    latencies |= {f"{route} {load}": Latency.of(times) for route, times in meanwhile.items()}
    return latencies, done.count(False)


def _predict(client: httpx2.Client, number: int) -> bool:
    """Asks for one task; whether it was done."""
    task = {"id": number, "data": {"image": "/data/local-files/?d=page.jpg"}}
    body = {"tasks": [task], "project": "1.1", "label_config": _CONFIG, "params": {}}
    (answer,) = client.post("/predict", json=body).raise_for_status().json()["results"]
    return isinstance(answer, dict)


def _setup_body() -> dict[str, object]:
    return {"project": "1.1", "schema": _CONFIG, "hostname": "", "access_token": "", "extra_params": None}


@contextmanager
def _server(folder: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    ledger = f"sqlite:///{folder}/ledger.sqlite3"  # an empty one, and not the operator's
    environment = {
        **os.environ,
        "LOCAL_FILES_ROOT": folder,
        "LOG_LEVEL": "WARNING",
        "DATABASE_URL": ledger,
        "WORKERS": "1",
    }
    command = [sys.executable, "-m", "backend", "serve", "--host", "127.0.0.1", "--port", str(port)]
    process = subprocess.Popen(command, cwd=_ROOT, env=environment)
    try:
        yield process, f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def _wait(client: httpx2.Client, process: subprocess.Popen[bytes], started: float) -> tuple[float, float]:
    """Seconds until /health answers, and until the model is loaded."""
    answered = None
    while time.perf_counter() - started < _START_SECONDS:
        assert process.poll() is None, "the server ended"
        try:
            state = client.get("/health").json()
        except httpx2.TransportError:
            time.sleep(_PAUSE)
            continue
        answered = answered or time.perf_counter() - started
        assert state["model_state"] != "failed", state
        if state["model_state"] == "ready":
            return answered, time.perf_counter() - started
        time.sleep(_PAUSE)
    raise TimeoutError(f"the server was not ready within {_START_SECONDS:.0f} s")


def _timed(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def _worker(master: int) -> int:
    """The process that gunicorn made to serve; Linux only, as all that asks /proc."""
    [worker] = Path(f"/proc/{master}/task/{master}/children").read_text(encoding="ascii").split()
    return int(worker)


def _memory(process: int, figure: str) -> float:
    """A figure of a process's memory, in MB: `VmRSS`, what is resident now, or `VmHWM`, the most that ever was."""
    lines = Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(figure)) / 1024


def _forget_peak(process: int) -> None:
    """Lets `VmHWM` begin again at what is resident now: loading the model takes more than holding it."""
    Path(f"/proc/{process}/clear_refs").write_text("5", encoding="ascii")
