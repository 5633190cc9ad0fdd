"""Whether a server stays as it is: memory, descriptors and files after thousands of predictions and events.

    python -m benchmarks.soak [--json] [--predictions N] [--events N] [--folder FOLDER] [--parts N]

One real server on an SQLite ledger, and a loopback Label Studio. The work is done in ten parts; after each the server's
processes are looked at together, and what was seen is printed. What grows is the ledger and the crops: they are counted
apart. With `--folder`, the data stay there, and the next call goes on where this one ended: `--parts 2` does two parts
at a time. Each call has a server of its own, so that memory is compared within a call.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tqdm import tqdm

from benchmarks.faulty_server import FaultyServer, events, predict, running

PARTS = 10
KEPT = "soak.json"
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
        call: Which call of this program did the part, from 0 on: each has a server of its own.
    """

    resident: int
    descriptors: int
    files: tuple[str, ...]
    ledger: int
    crops: int
    call: int

    @classmethod
    def at(cls, server: FaultyServer, *, call: int) -> Look:
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
            call=call,
        )


@dataclass(kw_only=True)
class Soaked:
    """What was seen, call after call.

    Attributes:
        looks: After each part.
        acknowledged: Numbers of events that were acknowledged.
        refused: Events that were not acknowledged, by what came instead.
        unanswered: Requests for predictions without an answer.
        lost: Acknowledged events that are not in the samples.
        left: Files of which nobody will ever ask, when the server has ended.
        worked: Seconds of a processor that the servers took, this program not among them.
    """

    looks: list[Look] = field(default_factory=list)
    acknowledged: list[int] = field(default_factory=list)
    refused: dict[str, int] = field(default_factory=dict)
    unanswered: int = 0
    lost: int = 0
    left: tuple[str, ...] = ()
    worked: float = 0.0

    @classmethod
    def kept(cls, folder: Path | None) -> Soaked:
        """What earlier calls saw."""
        file = None if folder is None else folder / KEPT
        if file is None or not file.exists():
            return cls()
        values = json.loads(file.read_text(encoding="utf-8"))
        looks = [Look(**{**look, "files": tuple(look["files"])}) for look in values.pop("looks")]
        return cls(**{**values, "looks": looks, "left": tuple(values["left"])})

    @property
    def growth(self) -> float | None:
        """Share by which the last look's memory is above the second one's, in this call; None of fewer than three."""
        these = [look for look in self.looks if look.call == self.looks[-1].call]
        return None if len(these) < 3 else these[-1].resident / these[1].resident - 1.0


def run(*, predictions: int, number: int, folder: Path | None = None, parts: int = PARTS) -> Soaked:
    """Does the work, or so many parts of what is left of it.

    Args:
        predictions: Of all parts.
        number: Events of all parts.
        folder: Where the data are, and what was seen; a temporary one when None.
        parts: Most parts to do.
    """
    soaked = Soaked.kept(folder)
    call = soaked.looks[-1].call + 1 if soaked.looks else 0
    first = len(soaked.looks)
    with running(folder=folder, watched=False) as (server, pages):
        for part in tqdm(range(first, min(PARTS, first + parts)), unit="part", disable=None, file=sys.stderr):
            asked = range(part * predictions // PARTS, (part + 1) * predictions // PARTS, TASKS_A_REQUEST)
            with ThreadPoolExecutor(3) as pool:
                answers = pool.map(lambda first: _ask(server, first), asked)
                sent = server.send(events(range(1 + part * number // PARTS, 1 + (part + 1) * number // PARTS)))
                soaked.unanswered += sum(not answered for answered in answers)
            soaked.acknowledged += sorted(sent.acknowledged)
            soaked.refused = dict(Counter(soaked.refused) + sent.refused)
            server.drain()
            soaked.looks.append(Look.at(server, call=call))
            soaked.lost = server.found(frozenset(soaked.acknowledged), held=pages.held).lost
            if folder is not None:
                (folder / KEPT).write_text(json.dumps(asdict(soaked)), encoding="utf-8")
            print(_row(len(soaked.looks), soaked.looks[-1]), file=sys.stderr, flush=True)
        server.stop()
        soaked.left = _left(server.data)
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        soaked.worked += ended.ru_utime + ended.ru_stime
    return soaked


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
    parser.add_argument("--folder", type=Path, help="where the data stay, so that the next call goes on from here")
    parser.add_argument("--parts", type=int, default=PARTS, help="most of the ten parts to do in this call (all)")
    args = parser.parse_args()
    if args.folder is not None:
        args.folder.mkdir(parents=True, exist_ok=True)
    soaked = run(predictions=args.predictions, number=args.events, folder=args.folder, parts=args.parts)
    if args.json:
        print(json.dumps(asdict(soaked) | {"growth": soaked.growth, "cores": os.cpu_count()}))
        return
    print(f"{'part':<6}{'MB':>8}{'descriptors':>13}{'files':>7}{'ledger MB':>11}{'crops':>8}")
    for place, look in enumerate(soaked.looks, 1):
        print(_row(place, look))
    growth = "memory: three parts in one call tell"
    if soaked.growth is not None:
        growth = f"memory {100 * soaked.growth:+.1f} % from the second part of this call to the last"
    print(
        f"{growth}; {len(soaked.looks)} of {PARTS} parts; {sum(soaked.refused.values())} events refused, "
        f"{soaked.lost} lost, {soaked.unanswered} requests without an answer; "
        f"left behind: {', '.join(soaked.left) or 'nothing'}; "
        f"{soaked.worked:.0f} s of a processor"
    )
    for instead, count in sorted(soaked.refused.items()):
        print(f"refused, {count} events: {instead}")


def _row(place: int, look: Look) -> str:
    sizes = f"{look.resident / 1e6:>8.0f}{look.descriptors:>13}{len(look.files):>7}"
    return f"{place:<6}{sizes}{look.ledger / 1e6:>11.1f}{look.crops:>8}"


if __name__ == "__main__":
    main()
