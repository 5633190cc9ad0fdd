"""How soon the server answers while others hold it up: slow senders, many clients, or both.

    python -m benchmarks.slow_clients [--root ../another-checkout]

Starts `serve` over an empty data folder, brings one kind of trouble at a time, and asks /health, / and /setup all the
while; in turn with them a bare server that says two bytes, in a process of its own: no server could be sooner there.
Prints the median, p99 and the worst of each in milliseconds, how many were not answered within a second (Label Studio
gives /health no longer), and the server's resident memory.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from benchmarks.faulty_server import bare_server

_ROOT = Path(__file__).parents[1]
_CONFIG = (
    '<View><Image name="i" value="$image"/><RectangleLabels name="m" toName="i"><Label value="stamp"/>'
    "</RectangleLabels></View>"
)
_PATIENCE = 1.0
_EVERY = 0.01
_SETTLE_SECONDS = 5.0
_TOO_MANY = 503
_START_SECONDS = 90.0
_HEADER = b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
_BODY = _HEADER + b"Content-Length: 1000000\r\n\r\n{"

PROBES: dict[str, tuple[str, bytes | None]] = {
    "/health": ("GET", None),
    "/": ("GET", None),
    "/setup": ("POST", json.dumps({"project": "1.1", "schema": _CONFIG}).encode()),
}
"""Method and body of what is asked all the while."""
BARE = "bare"


def slow_senders(port: int, count: int, start: bytes) -> None:
    """Holds connections that send a start, and then a byte every two seconds each; opens others for those that end."""
    held: list[socket.socket] = []
    while True:
        while len(held) < count:
            try:
                one = socket.create_connection(("127.0.0.1", port), timeout=2)
                one.sendall(start)
                held.append(one)
            except OSError:
                break
        time.sleep(2)
        alive = []
        for one in held:
            try:
                one.sendall(b"x")
                alive.append(one)
            except OSError:
                one.close()
        held = alive


def many_clients(port: int, count: int, _: bytes) -> None:
    """Clients that ask for a prediction of an inline page, each one after the other."""
    gif = "data:image/gif;base64,R0lGODdhAQABAIAAAP///wAAACwAAAAAAQABAAACAkQBADs="
    body = {"tasks": [{"id": 1, "data": {"image": gif}}], "project": "1.1", "label_config": _CONFIG, "params": {}}

    def ask() -> None:
        while True:
            try:
                if request(port, "/predict", "POST", json.dumps(body).encode(), seconds=120) == _TOO_MANY:
                    time.sleep(1)
            except (OSError, HTTPException):
                time.sleep(0.1)

    threads = [threading.Thread(target=ask, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def request(port: int, path: str, method: str, body: bytes | None, *, seconds: float) -> int:
    """One request on a connection of its own, as Label Studio's are; gives the status."""
    connection = HTTPConnection("127.0.0.1", port, timeout=seconds)
    try:
        connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()


@dataclass(frozen=True)
class Trouble:
    """What holds the server up, in a process of its own."""

    make: Callable[[int, int, bytes], None]
    count: int
    start: bytes = b""


def measure(port: int, trouble: Trouble | None, *, bare: int, seconds: float) -> Iterator[str]:
    """Asks all the while; one line for each route, and one for the bare server at another port."""
    process = None
    if trouble:
        # Made anew, not forked: this process has threads.
        process = get_context("spawn").Process(target=trouble.make, args=(port, trouble.count, trouble.start))
        process.start()
        time.sleep(_SETTLE_SECONDS)
    asked = [(name, port, name, *how) for name, how in PROBES.items()]
    asked.append((BARE, bare, "/", "GET", None))
    times: dict[str, list[float]] = {name: [] for name, *_ in asked}
    late = dict.fromkeys(times, 0)
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        for name, there, route, method, body in asked:
            started = time.perf_counter()
            try:
                request(there, route, method, body, seconds=_PATIENCE)
                times[name].append(time.perf_counter() - started)
            except (OSError, HTTPException):
                late[name] += 1
            time.sleep(_EVERY)
    if process:
        process.terminate()
        process.join()
    for route, found in times.items():
        values = 1000 * np.array(found or [float("nan")])
        yield (
            f"  {route:<8} median {np.median(values):7.1f}  p99 {np.percentile(values, 99):7.1f}  "
            f"worst {values.max():7.1f}  of {len(found):4}; not within {_PATIENCE:g} s: {late[route]}"
        )


@contextmanager
def server(root: Path) -> Iterator[tuple[int, int]]:
    """`serve` of a checkout, ready; gives its port and the worker's process id."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        environment = os.environ | {
            "DATA_DIR": f"{folder}/data",
            "DATABASE_URL": "",
            "MODEL": "bundled",
            "LOG_LEVEL": "ERROR",
            "PYTHONPATH": str(root),
        }
        command = [sys.executable, "-m", "backend", "serve", "--port", str(port)]
        process = subprocess.Popen(command, cwd=root, env=environment)
        try:
            give_up = time.monotonic() + _START_SECONDS
            while not _is_ready(port):
                assert time.monotonic() < give_up, "the server was not ready in time"
                time.sleep(0.2)
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="ascii")
            yield port, int(children.split()[0])
        finally:
            process.terminate()
            process.wait(60)


def main() -> None:
    """Measures, and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=_ROOT, help="the checkout that is measured")
    parser.add_argument("--seconds", type=float, default=15.0, help="of each kind")
    parser.add_argument("--clients", type=int, default=300)
    parser.add_argument("--only", default="", help="part of the name of the kinds to measure, such as clients")
    args = parser.parse_args()
    with server(args.root.resolve()) as (port, worker), bare_server() as bare:
        kinds: dict[str, Trouble | None] = {
            "alone": None,
            "100 slow headers": Trouble(slow_senders, 100, _HEADER),
            "100 slow bodies": Trouble(slow_senders, 100, _BODY),
            "1000 slow headers": Trouble(slow_senders, 1000, _HEADER),
            f"{args.clients} clients": Trouble(many_clients, args.clients),
        }
        for name, trouble in kinds.items():
            if args.only not in name:
                continue
            print(f"{name} (ms):")
            for line in measure(port, trouble, bare=bare, seconds=args.seconds):
                print(line, flush=True)
        print(f"resident {_resident(worker):.0f} MB")


def _is_ready(port: int) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/health")
        return bool(json.loads(connection.getresponse().read())["model_state"] == "ready")
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def _resident(process: int) -> float:
    lines = Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


if __name__ == "__main__":
    main()
