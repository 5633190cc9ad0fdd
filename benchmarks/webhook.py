"""How soon `serve` acknowledges webhooks, with one sender and with many, and how soon they are samples.

    python -m benchmarks.webhook [--json] [--clients N] [--events N]

The server is a process of its own, with its worker inside, on an empty ledger in DATABASE_URL or a temporary SQLite
file. Label Studio is a loopback server that hands out one drawn page under as many addresses as there are tasks. Like
Label Studio, each sender opens a connection for each event and sends the next one when the last is acknowledged;
`paced` senders wait a second between their events, as quick annotators might.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import platform
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import httpx2
from tqdm import tqdm

from backend.synthetic.drawn_page import draw_page
from benchmarks.server_speed import Latency

ROOT = Path(__file__).parents[1]
CONFIG = (ROOT / "label_config.xml").read_text(encoding="utf-8")
BOXES = ((10.0, 10.0, 12.0, 8.0), (60.0, 70.0, 20.0, 10.0), (20.0, 80.0, 8.0, 8.0))
DRAIN_SECONDS = 120.0
PACE = 1.0


@dataclass(frozen=True, kw_only=True)
class Result:
    """What was measured.

    Attributes:
        acknowledged: Milliseconds until the answer, by kind of sending.
        rate: Acknowledged events a second, by kind of sending.
        turned: Events a second, from the first sent to the last in the samples, by kind of sending.
        refused: Events that were not acknowledged.
    """

    acknowledged: dict[str, Latency]
    rate: dict[str, float]
    turned: dict[str, float]
    events: int
    samples: int
    refused: int


@contextmanager
def page_server() -> Iterator[str]:
    """Hands out one A4 page of 150 dpi, whatever is asked for."""
    pixels = draw_page(7, dpi=150).pixels
    jpeg = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))[1].tobytes()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "image/jpeg")
            self.send_header("Content-Length", str(len(jpeg)))
            self.end_headers()
            self.wfile.write(jpeg)

        def log_message(self, *_: Any) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def backend(environment: dict[str, str]) -> Iterator[tuple[str, int]]:
    """The real server, as `serve` starts it, once its model is loaded."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = [sys.executable, "-m", "backend", "serve", "--port", str(port)]
    url = f"http://127.0.0.1:{port}"
    with subprocess.Popen(command, cwd=ROOT, env={**os.environ, "LOG_LEVEL": "WARNING", **environment}) as process:
        try:
            while state(url) == "loading":
                if process.poll() is not None:
                    raise SystemExit("the server ended")
                time.sleep(0.1)
            yield url, port
        finally:
            process.terminate()


def state(url: str) -> str:
    try:
        return str(httpx2.get(f"{url}/health", timeout=5).json()["model_state"])
    except httpx2.TransportError:
        return "loading"


def event(number: int) -> bytes:
    """What Label Studio sends when the annotation of that number is submitted on the task of that number."""
    moment = f"2026-01-01T{number // 3600 % 24:02}:{number // 60 % 60:02}:{number % 60:02}Z"
    result = [
        {
            "id": f"r{number}-{place}",
            "type": "rectanglelabels",
            "from_name": "mark",
            "to_name": "page",
            "original_width": 1240,
            "original_height": 1754,
            "image_rotation": 0,
            "value": {
                **dict(zip(("x", "y", "width", "height"), box, strict=True)),
                "rotation": 0,
                "rectanglelabels": ["stamp"],
            },
        }
        for place, box in enumerate(BOXES)
    ]
    annotation = {"id": number, "task": number, "project": 1, "result": result, "was_cancelled": False}
    body = {
        "action": "ANNOTATION_CREATED",
        "annotation": {**annotation, "created_at": moment, "updated_at": moment, "completed_by": 1, "lead_time": 9.5},
        "task": {"id": number, "project": 1, "data": {"image": f"/data/upload/1/{number}.jpg"}},
        "project": {"id": 1, "label_config": CONFIG},
    }
    return json.dumps(body).encode()


def send(port: int, body: bytes) -> float | None:
    """Seconds until the acknowledgement; None where it was refused."""
    started = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("POST", "/webhook", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        answer.read()
    finally:
        connection.close()
    return time.perf_counter() - started if answer.status == 200 else None


def measure(
    port: int, numbers: range, *, clients: int, pace: float, bar: tqdm[Any]
) -> tuple[list[float | None], float]:
    """Sends each event once, shared among the clients; gives each one's time, and the events a second."""
    bodies = [event(number) for number in numbers]

    def one_client(place: int) -> list[float | None]:
        found = []
        time.sleep(pace * place / clients)
        for body in bodies[place::clients]:
            found.append(send(port, body))
            bar.update()
            if pace:
                time.sleep(max(0.0, pace - (found[-1] or 0.0)))
        return found

    started = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        times = [time_ for found in pool.map(one_client, range(clients)) for time_ in found]
    return times, len(times) / (time.perf_counter() - started)


def drained(url: str) -> int:
    """Waits until every event is in the samples; gives the number of samples."""
    for _ in range(int(DRAIN_SECONDS / 0.1)):
        facts = httpx2.get(f"{url}/status", headers={"Accept": "application/json"}, timeout=30).json()
        waiting = sum(one["count"] for one in facts["events"] if one["state"] == "open") + facts["annotations"]["open"]
        if not waiting:
            if facts["parked"]:
                raise SystemExit(f"parked: {facts['parked'][0]['reason']}")
            return sum(int(one["count"]) for one in facts["samples"])
        time.sleep(0.1)
    raise SystemExit(f"{waiting} events were not in the samples within {DRAIN_SECONDS:.0f} s")


def run(*, clients: int, events: int) -> Result:
    times: dict[str, list[float | None]] = {}
    rates: dict[str, float] = {}
    turned: dict[str, float] = {}
    kinds = {"1 client": (1, 0.0), f"{clients} clients": (clients, 0.0), f"{clients} clients, paced": (clients, PACE)}
    with tempfile.TemporaryDirectory() as folder, page_server() as studio:
        environment = {
            "DATA_DIR": folder,
            "DATABASE_URL": os.environ.get("DATABASE_URL", ""),
            "LABEL_STUDIO_URL": studio,
            "MODEL": "bundled",
        }
        bars = tqdm(total=len(kinds) * events, unit="event", disable=None, file=sys.stderr)
        with backend(environment) as (url, port), bars as bar:
            first = 1
            for name, (number, pace) in kinds.items():
                started = time.perf_counter()
                numbers = range(first, first + events)
                times[name], rates[name] = measure(port, numbers, clients=number, pace=pace, bar=bar)
                first += events
                samples = drained(url)
                turned[name] = events / (time.perf_counter() - started)
    return Result(
        acknowledged={name: Latency.of([one for one in found if one is not None]) for name, found in times.items()},
        rate=rates,
        turned=turned,
        events=first - 1,
        samples=samples,
        refused=sum(one is None for found in times.values() for one in found),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="one JSON document instead of the table")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--events", type=int, default=640, help="events of each kind of sending (default: 640)")
    args = parser.parse_args()
    result = run(clients=args.clients, events=args.events)
    if args.json:
        print(json.dumps(asdict(result) | {"cores": os.cpu_count(), "python": platform.python_version()}))
        return
    print(f"{'acknowledged, ms':<24}{'p50':>8}{'p99':>8}{'longest':>9}{'events/s':>10}{'into samples/s':>16}")
    for name, latency in result.acknowledged.items():
        times = f"{latency.p50:>8.1f}{latency.p99:>8.1f}{latency.longest:>9.1f}"
        print(f"{name:<24}{times}{result.rate[name]:>10.0f}{result.turned[name]:>16.1f}")
    print(f"{result.events} events, {result.refused} refused, {result.samples} samples, on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
