"""How long it takes to find the look-alikes of one corrected crop among many, and how much memory.

    python -m benchmarks.lookalikes [--crops N] [--alike N] [--questions N]

A question first compares the embeddings of all crops, and then the pictures of those that are near: `samples like` and
the server ask so. Most crops are random, for how long it takes to pass them over does not depend on what they show;
the ones that are alike have pictures. Printed are the two parts of a question's time, and memory beyond what the
program has before it asks: what it holds itself, and the pages of the file, which the system may take back.
"""

from __future__ import annotations

import argparse
import re
import statistics
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Engine, insert

from backend.corrections.database import default_url, open_database, writing
from backend.corrections.likeness import encoded, look_at
from backend.corrections.sights import NearRows, find_alike
from backend.corrections.tables import memory, sight
from backend.vision.engine import EMBEDDING

_PART = 10_000
_NETWORK, _SAMPLE = "measured", "1-a"
_DISTANCE, _MOST = 0.3, 1000
_SIDE = 300


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--crops", type=int, default=1_000_000, metavar="N")
    parser.add_argument("--alike", type=int, default=100, metavar="N", help="of them, look like the corrected one")
    parser.add_argument("--questions", type=int, default=5, metavar="N")
    args = parser.parse_args()
    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        engine = open_database(default_url(Path(folder)))
        corrected = random.normal(size=EMBEDDING).astype(np.float32)
        rows = NearRows(engine, Path(folder), network=_NETWORK)
        rows.near(corrected, distance=_DISTANCE, most=1)  # makes the files
        _fill(Path(folder), corrected, crops=args.crops, alike=args.alike, random=random)
        _tell(engine, corrected, alike=args.alike, random=random)
        before = _memory()
        comparing: list[float] = []
        asking: list[float] = []
        busy: list[float] = []
        for _ in range(args.questions):
            began = time.perf_counter()
            rows.near(corrected, distance=_DISTANCE, most=_MOST)
            comparing.append(time.perf_counter() - began)
            began, worked = time.perf_counter(), time.process_time()
            found = find_alike(engine, rows, _SAMPLE, network=_NETWORK, distance=_DISTANCE, most=_MOST)
            asking.append(time.perf_counter() - began)
            busy.append(time.process_time() - worked)
        after = _memory()
        engine.dispose()
    print(
        f"{args.crops} crops, {len(found)} found alike, {sum(one.same for one in found)} of them the very thing: "
        f"{statistics.median(asking):.2f} s a question, {statistics.median(busy):.2f} s of processor; "
        f"{statistics.median(comparing):.2f} s of it compare the embeddings\n"
        f"{args.crops * (EMBEDDING + 12) / 1e6:.0f} MB on disk; at most {after['RssAnon'] - before['RssAnon']:.0f} MB "
        f"of memory of its own, and {after['RssFile'] - before['RssFile']:.0f} MB of the file's pages"
    )


def _fill(folder: Path, corrected: NDArray[np.float32], *, crops: int, alike: int, random: np.random.Generator) -> None:
    """Writes the files of embeddings: those that are alike first, and random ones behind."""
    embeddings, ids = next(folder.glob("*.int8")), next(folder.glob("*.ids"))
    part = random.integers(-127, 128, (_PART, EMBEDDING), dtype=np.int8)
    near = np.tile(np.round(corrected * 127 / np.abs(corrected).max()), (alike, 1)) + random.normal(
        size=(alike, EMBEDDING)
    )
    near = np.clip(np.round(near), -127, 127).astype(np.int8)
    with embeddings.open("wb") as file:
        file.write(near[:crops].tobytes())
        for start in range(alike, crops, _PART):
            file.write(part[: crops - start].tobytes())
    lengths = np.full(crops, float(np.linalg.norm(part[0].astype(float))), np.float32)
    lengths[:alike] = np.linalg.norm(near.astype(float), axis=1)[:crops]
    lengths.tofile(ids.with_suffix(".lengths"))
    np.arange(1, crops + 1, dtype=np.int64).tofile(ids)


def _tell(engine: Engine, corrected: NDArray[np.float32], *, alike: int, random: np.random.Generator) -> None:
    """Puts the correction into the ledger, and the pictures of those that are alike: half of them of the very thing."""
    picture, place = _picture(np.random.default_rng(1), random)
    remembered = {"sample": _SAMPLE, "network": _NETWORK, "label": "none", "crop_sha256": "", "acts": True}
    remembered |= {"embedding": corrected.astype("<f2").tobytes(), "picture": picture, "place": place}
    shown = []
    for number in range(1, alike + 1):
        picture, place = _picture(np.random.default_rng(1 + number % 2 * number), random)
        one = {"id": number, "task": number, "project": 1, "network": _NETWORK, "page": 0, "region": f"r{number}"}
        shown.append(one | {"label": "stamp", "embedding": b"", "picture": picture, "place": place})
    with writing(engine) as connection:
        connection.execute(insert(memory), remembered)
        if shown:
            connection.execute(insert(sight), shown)


def _picture(strokes: np.random.Generator, noise: np.random.Generator) -> tuple[bytes, list[float]]:
    """A drawn thing as the ledger keeps it, scanned with noise; the same one for the same strokes."""
    pixels = np.full((_SIDE, _SIDE, 3), 255, np.uint8)
    for _ in range(40):
        ends = strokes.integers(_SIDE // 5, 4 * _SIDE // 5, 4)
        cv2.line(pixels, (int(ends[0]), int(ends[1])), (int(ends[2]), int(ends[3])), (60, 40, 30), 3)
    scanned = np.clip(pixels + noise.normal(0, 8, pixels.shape), 0, 255).astype(np.uint8)
    look = look_at(scanned, np.array([_SIDE / 5, _SIDE / 5, 4 * _SIDE / 5, 4 * _SIDE / 5]))
    return encoded(look), [round(side, 2) for side in look.box]


def _memory() -> dict[str, float]:
    """What this process holds now, in MB, as Linux counts it."""
    told = Path("/proc/self/status").read_text(encoding="utf-8")
    return {name: int(kilobytes) / 1024 for name, kilobytes in re.findall(r"^(Rss\w+):\s+(\d+) kB", told, re.MULTILINE)}


if __name__ == "__main__":
    main()
