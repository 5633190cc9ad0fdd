"""Whether a server stays as it is: memory, descriptors and files after thousands of predictions and events.

    python -m benchmarks.soak [--json] [--predictions N] [--events N]

One real server on an empty SQLite ledger, and a loopback Label Studio. The work is done in ten parts; after each the
server's processes are looked at together. What grows is the ledger and the crops: they are counted apart.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from tqdm import tqdm

from benchmarks.faulty_server import FaultyServer, events, predict, running

PARTS = 10
TASKS_A_REQUEST = 10


@dataclass(frozen=True, kw_only=True)
class Look:
    """The server after a part of the work.

    Attributes:
        resident: Bytes of all its processes (proportional set size).
        descriptors: Open files and sockets.
        files: Files in DATA_DIR but for crops, the ledger's own and the models.
        ledger: Bytes of the ledger.
        crops: Number of crops.
    """

    resident: int
    descriptors: int
    files: tuple[str, ...]
    ledger: int
    crops: int

    @classmethod
    def at(cls, server: FaultyServer) -> Look:
        there = [path for path in server.data.rglob("*") if path.is_file()]
        crops = [path for path in there if path.parent.parent.name == "crops" and path.suffix == ".png"]
        ledger = [path for path in there if path.name.startswith("ledger.sqlite3")]
        rest = sorted(str(path.relative_to(server.data)) for path in {*there} - {*crops, *ledger})
        return cls(
            resident=server.resident(),
            descriptors=server.descriptors(),
            files=tuple(rest),
            ledger=sum(path.stat().st_size for path in ledger if path.exists()),
            crops=len(crops),
        )


@dataclass(frozen=True, kw_only=True)
class Soaked:
    """What was seen.

    Attributes:
        looks: After each part.
        growth: Share by which the last look's memory is above the second one's.
        refused: Events that were not acknowledged.
        unanswered: Requests for predictions without an answer.
        lost: Acknowledged events that are not in the samples.
        left: Files of which nobody will ever ask, when the server has ended.
    """

    looks: tuple[Look, ...]
    growth: float
    refused: int
    unanswered: int
    lost: int
    left: tuple[str, ...]


def run(*, predictions: int, number: int) -> Soaked:
    """Does the work."""
    looks, acknowledged = [], set[int]()
    refused = unanswered = 0
    with running() as (server, pages):
        for part in tqdm(range(PARTS), unit="part", disable=None, file=sys.stderr):
            asked = range(part * predictions // PARTS, (part + 1) * predictions // PARTS, TASKS_A_REQUEST)
            with ThreadPoolExecutor(3) as pool:
                answers = pool.map(lambda first: _ask(server, first), asked)
                sent = server.send(events(range(1 + part * number // PARTS, 1 + (part + 1) * number // PARTS)))
                unanswered += sum(not answered for answered in answers)
            acknowledged |= sent.acknowledged
            refused += sent.refused
            server.drain()
            looks.append(Look.at(server))
        lost = server.found(frozenset(acknowledged), held=pages.held).lost
        server.stop()
        left = _left(server.data)
    return Soaked(
        looks=tuple(looks),
        growth=looks[-1].resident / looks[1].resident - 1.0,
        refused=refused,
        unanswered=unanswered,
        lost=lost,
        left=left,
    )


def _ask(server: FaultyServer, first: int) -> bool:
    return (
        predict(server, {one: f"/data/upload/1/s{one}.jpg" for one in range(first, first + TASKS_A_REQUEST)})
        is not None
    )


def _left(data: Path) -> tuple[str, ...]:
    """What waits, or was not finished: a server that ended well leaves neither."""
    spool = data.glob("spool/*")
    parts = [path for path in data.glob("crops/*/*") if path.suffix != ".png"]
    return tuple(sorted(str(path.relative_to(data)) for path in (*spool, *parts)))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="one JSON document instead of the table")
    parser.add_argument("--predictions", type=int, default=200, help="predictions (default: 200; a whole soak: 5000)")
    parser.add_argument("--events", type=int, default=2000, help="events (default: 2000; a whole soak: 50000)")
    args = parser.parse_args()
    soaked = run(predictions=args.predictions, number=args.events)
    if args.json:
        print(json.dumps(asdict(soaked) | {"cores": os.cpu_count()}))
        return
    print(f"{'part':<6}{'MB':>8}{'descriptors':>13}{'files':>7}{'ledger MB':>11}{'crops':>8}")
    for place, look in enumerate(soaked.looks, 1):
        sizes = f"{look.resident / 1e6:>8.0f}{look.descriptors:>13}{len(look.files):>7}"
        print(f"{place:<6}{sizes}{look.ledger / 1e6:>11.1f}{look.crops:>8}")
    print(
        f"memory {100 * soaked.growth:+.1f} % from the second part to the last; {soaked.refused} events refused, "
        f"{soaked.lost} lost, {soaked.unanswered} requests without an answer; "
        f"left behind: {', '.join(soaked.left) or 'nothing'}"
    )


if __name__ == "__main__":
    main()
