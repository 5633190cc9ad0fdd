"""What befalls a server, and what it loses: kills, a full disk, locks, clocks, slow hosts, slow senders, hostile files.

    python -m benchmarks.faults [--json] [--events N] [--only NAME ...] [--kept FILE]

Each fault has a real server of its own on an empty SQLite ledger, and a loopback Label Studio. While it is harmed,
sixteen senders send events and one asks for predictions; when all is well again and nothing waits, the ledger is
compared with what was acknowledged. /health is asked twenty times a second, and in turn a bare server, which says two
bytes: what both wait for is the machine. Memory is what all processes of the server take together. A benchmark for
Linux: it reads /proc, and the disk that gets full is one in memory, which only this program and the server see
(`unshare -rm`). Each row is printed when its fault is over. With `--kept`, rows of earlier runs are shown again, and
not measured again: the table can be made fault by fault.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import sqlite3
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from benchmarks.faulty_server import FaultyServer, Sent, events, predict, running
from benchmarks.loopback_pages import LoopbackPages
from benchmarks.server_speed import Latency
from benchmarks.worst_mix import worst_mix
from tests.pages.hostile import HOSTILE

FAULT_SECONDS = 5.0
SLOWLORIS = 100
KILLS = 3
SMALL_DISK_BYTES = 64 << 20
_ALONE = "BENCHMARK_WITH_MOUNTS_OF_ITS_OWN"
_NAMESPACE = ("unshare", "-rm")


@dataclass(frozen=True, kw_only=True)
class Result:
    """What one fault did.

    Attributes:
        sent: Events that were sent.
        refused: Those that were not acknowledged.
        lost: Acknowledged ones that are not in the ledger, with all their samples.
        doubled: Events or samples that are there twice.
        mixed: Samples that say something else than their event.
        predicted: Predictions that were asked for while it lasted, and answered with boxes.
        unanswered: Those that were not answered at all.
        slowest: Seconds of the slowest of them.
        health: Milliseconds of /health.
        bare: Those of a server that says two bytes, asked in turn: what the machine itself makes one wait.
        peak: Bytes.
    """

    sent: int
    refused: int
    lost: int
    doubled: int
    mixed: int
    predicted: int
    unanswered: int
    slowest: float
    health: Latency
    bare: Latency
    peak: int


Fault = Callable[[FaultyServer, LoopbackPages], None]


def nothing(_: FaultyServer, __: LoopbackPages) -> None:
    """As a measure for the others."""
    time.sleep(FAULT_SECONDS)


def kills(server: FaultyServer, _: LoopbackPages) -> None:
    """All processes are killed, and started again."""
    for _attempt in range(KILLS):
        time.sleep(FAULT_SECONDS / KILLS)
        server.kill()
        server.start()


def locked_ledger(server: FaultyServer, _: LoopbackPages) -> None:
    """Another process holds the SQLite file."""
    other = sqlite3.connect(server.data / "ledger.sqlite3", isolation_level=None, timeout=60)
    other.execute("BEGIN EXCLUSIVE")
    time.sleep(FAULT_SECONDS)
    other.execute("ROLLBACK")
    other.close()


def lost_ledger(server: FaultyServer, _: LoopbackPages) -> None:
    """The SQLite file is elsewhere for a while."""
    away = server.data / "away"
    away.mkdir()
    parts = list(server.data.glob("ledger.sqlite3*"))
    for part in parts:
        part.rename(away / part.name)
    time.sleep(FAULT_SECONDS)
    for part in parts:
        (away / part.name).rename(part)


def moved_data(server: FaultyServer, _: LoopbackPages) -> None:
    """DATA_DIR is elsewhere for a while; nothing can be stored then, and events are refused."""
    away = server.data.with_name("moved")
    server.data.rename(away)
    time.sleep(FAULT_SECONDS)
    away.rename(server.data)


def full_disk(server: FaultyServer, _: LoopbackPages) -> None:
    """Somebody takes all room on the disk of DATA_DIR; nothing can be stored then, and events are refused."""
    filler = server.data / "filler"
    give_up = time.monotonic() + FAULT_SECONDS
    with filler.open("wb", buffering=0) as file:
        while time.monotonic() < give_up:
            try:
                file.write(bytes(1 << 16))
            except OSError:
                time.sleep(0.01)
    filler.unlink()


def clocks(server: FaultyServer, pages: LoopbackPages) -> None:
    """Label Studio's clock goes back: what is saved last, here with a box deleted, bears an earlier stamp."""
    numbers = range(900_001, 900_021)
    server.send(events(numbers))
    last = {}
    for number, body in events(numbers).items():
        again = json.loads(body) | {"action": "ANNOTATION_UPDATED"}
        del again["annotation"]["result"][-1]
        again["annotation"]["updated_at"] = "2025-12-31T23:50:00Z"
        pages.held[number] = again["annotation"]
        last[number] = json.dumps(again).encode()
    server.send(last)
    time.sleep(FAULT_SECONDS)


def slow_hosts(server: FaultyServer, _: LoopbackPages) -> None:
    """Batches of twenty pages that do not come for half a minute, each with a good one."""
    with ThreadPoolExecutor(4) as pool:
        for batch in range(4):
            slow = {500_000 + 100 * batch + place: f"/slow/{batch}/{place}.jpg" for place in range(20)}
            pool.submit(predict, server, {**slow, 500_099 + 100 * batch: "/data/upload/1/good.jpg"})


def slow_senders(server: FaultyServer, _: LoopbackPages) -> None:
    """A hundred connections that send a byte a second."""
    head = (
        b"POST /webhook HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100000\r\nX: "
    )
    opened = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(SLOWLORIS)]
    give_up = time.monotonic() + 3 * FAULT_SECONDS
    place = 0
    while time.monotonic() < give_up:
        for one in opened:
            try:
                one.send(head[place % len(head) : place % len(head) + 1])
            except OSError:
                continue  # the server has had enough of it
        place += 1
        time.sleep(1.0)
    for one in opened:
        one.close()


def hostile_files(server: FaultyServer, pages: LoopbackPages) -> None:
    """Small files that cost a decoder much, two at a time: sizes, chunks, directories, grids and forms without end."""
    pages.hostile = {"huge.png": _png(20_000, 20_000), "chunks.png": _png(10, 10, chunks=200_000)}
    pages.hostile |= {"large.png": _png(11_000, 10_000, rows=10_000)}
    pages.hostile |= {"rle.bmp": _bmp(20_000, 20_000), "loop.tif": _tiff(directories=5000), "form.pdf": _pdf()}
    pages.hostile |= {f"grid{number}.avif": HOSTILE["AVIF: a grid of 110 megapixels"]() for number in range(3)}
    predict(server, {600_000 + number: f"/hostile/{name}" for number, name in enumerate(pages.hostile)})


def mix(server: FaultyServer, pages: LoopbackPages) -> None:
    """The worst mix of attacks for a minute."""
    worst_mix(server, pages, slow_senders)


FAULTS: dict[str, Fault] = {
    "nothing": nothing,
    "kills": kills,
    "locked ledger": locked_ledger,
    "lost ledger": lost_ledger,
    "moved DATA_DIR": moved_data,
    "full disk": full_disk,
    "clock put back": clocks,
    "slow hosts": slow_hosts,
    "slow senders": slow_senders,
    "hostile files": hostile_files,
    "worst mix": mix,
}


def run(fault: Fault, *, number: int) -> Result:
    """One fault, among so many events."""
    with running(disk=SMALL_DISK_BYTES if fault is full_disk else 0) as (server, pages):
        with _predicting(server) as (answers, slowest):
            harm = threading.Thread(target=fault, args=(server, pages))
            harm.start()
            sent = _send_until(server, harm, number=number)
            harm.join()
        server.drain()
        found = server.found(sent.acknowledged, held=pages.held)
        return Result(
            sent=len(sent.acknowledged) + sent.refused.total(),
            refused=sent.refused.total(),
            lost=found.lost,
            doubled=found.doubled,
            mixed=found.mixed,
            predicted=sum(1 for one in answers if one and isinstance(one[0], dict)),
            unanswered=sum(1 for one in answers if one is None),
            slowest=max(slowest, default=0.0),
            health=Latency.of(server.health),
            bare=Latency.of(server.bare),
            peak=server.peak,
        )


def _send_until(server: FaultyServer, harm: threading.Thread, *, number: int) -> Sent:
    """Sends events in portions, evenly while the fault lasts, the last portion after it."""
    portions = 10
    size = max(1, number // portions)
    taken: set[int] = set()
    refused: Counter[str] = Counter()
    for portion in range(portions):
        if portion == portions - 1:
            harm.join()
        first = 1 + portion * size
        sent = server.send(events(range(first, first + size)))
        taken |= sent.acknowledged
        refused += sent.refused
        harm.join(FAULT_SECONDS / portions)
    return Sent(acknowledged=frozenset(taken), refused=refused)


@contextmanager
def _predicting(server: FaultyServer) -> Iterator[tuple[list[Any], list[float]]]:
    """Asks for a prediction again and again."""
    answers: list[Any] = []
    slowest: list[float] = []
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            started = time.perf_counter()
            answers.append(predict(server, {700_000 + len(answers): f"/data/upload/1/p{len(answers)}.jpg"}))
            slowest.append(time.perf_counter() - started)
            done.wait(0.5)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield answers, slowest
    finally:
        done.set()
        thread.join()


def _with_mounts_of_its_own() -> None:
    """Begins this program anew, where it can mount what nobody else sees."""
    if os.environ.get(_ALONE):
        return
    if not shutil.which("unshare") or subprocess.run([*_NAMESPACE, "true"], check=False).returncode:
        raise SystemExit("a full disk needs mount namespaces (unshare -rm): name the other faults with --only")
    program = [*_NAMESPACE, sys.executable, "-m", "benchmarks.faults", *sys.argv[1:]]
    os.execvpe(program[0], program, os.environ | {_ALONE: "1"})  # noqa: S606  this very program


def _png(width: int, height: int, *, chunks: int = 0, rows: int = 64) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj()
    packed = [packer.compress(bytes(3 * width + 1)) for _ in range(min(height, rows))]
    body = b"".join([*packed, packer.flush()])
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        [chunk(b"IHDR", head), *[chunk(b"teSt", b"")] * chunks, chunk(b"IDAT", body), chunk(b"IEND", b"")]
    )


def _bmp(width: int, height: int) -> bytes:
    """Run-length codes that say "end of line" and nothing else."""
    data = b"\0\0" * 20_000 + b"\0\1"
    offset = 14 + 40 + 1024
    head = struct.pack("<2sIHHI", b"BM", offset + len(data), 0, 0, offset)
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(data), 2835, 2835, 256, 0)
    return head + info + bytes(1024) + data


def _tiff(*, directories: int) -> bytes:
    """Directories of one entry, one behind the other, the last one back at the first."""
    size = 2 + 12 + 4
    entry = struct.pack("<HHII", 256, 3, 1, 10)
    links = (8 + size * ((place + 1) % directories) for place in range(directories))
    return b"II*\0\x08\0\0\0" + b"".join(struct.pack("<H", 1) + entry + struct.pack("<I", link) for link in links)


def _pdf() -> bytes:
    """A form that draws itself twice."""
    return (
        b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n"
        b"3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Resources<</XObject<</F 4 0 R>>>>"
        b"/Contents 5 0 R>>endobj\n"
        b"4 0 obj<</Type/XObject/Subtype/Form/BBox[0 0 595 842]/Resources<</XObject<</F 4 0 R>>>>/Length 11>>stream\n"
        b"/F Do /F Do\nendstream endobj\n5 0 obj<</Length 5>>stream\n/F Do\nendstream endobj\ntrailer<</Root 1 0 R>>\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="one JSON document instead of the table")
    parser.add_argument("--events", type=int, default=200, help="events of each fault (default: 200)")
    parser.add_argument("--only", nargs="+", choices=FAULTS, default=list(FAULTS), help="these faults alone")
    parser.add_argument("--kept", type=Path, help="a file that keeps each row, and has those of earlier runs")
    args = parser.parse_args()
    if "full disk" in args.only:
        _with_mounts_of_its_own()
    found = _kept(args.kept)
    if not args.json:
        heads = (
            "sent",
            "refused",
            "lost",
            "doubled",
            "mixed",
            "boxes",
            "no answer",
            "slowest s",
            "health p99",
            "bare p99",
            "MB",
        )
        print(f"{'fault':<16}" + "".join(f"{head:>11}" for head in heads), flush=True)
        for name, one in found.items():
            print(_row(name, one), flush=True)
    for name in tqdm([name for name in args.only if name not in found], unit="fault", disable=None, file=sys.stderr):
        found[name] = run(FAULTS[name], number=args.events)
        if args.kept:
            args.kept.write_text(_as_json(found), encoding="utf-8")
        if not args.json:
            print(_row(name, found[name]), flush=True)
    if args.json:
        print(_as_json(found))


def _kept(file: Path | None) -> dict[str, Result]:
    """Rows of earlier runs."""
    if file is None or not file.exists():
        return {}
    rows: dict[str, dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))
    speeds = ("health", "bare")
    return {
        name: Result(**row | {speed: Latency(**row[speed]) for speed in speeds})
        for name, row in rows.items()
        if name in FAULTS
    }


def _as_json(found: dict[str, Result]) -> str:
    return json.dumps({name: asdict(one) for name, one in found.items()} | {"cores": os.cpu_count()})


def _row(name: str, one: Result) -> str:
    counts = (one.sent, one.refused, one.lost, one.doubled, one.mixed, one.predicted, one.unanswered)
    return (
        f"{name:<16}"
        + "".join(f"{count:>11}" for count in counts)
        + f"{one.slowest:>11.1f}{one.health.p99:>11.0f}{one.bare.p99:>11.0f}{one.peak / 1e6:>11.0f}"
    )


if __name__ == "__main__":
    main()
