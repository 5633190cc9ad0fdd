"""What hostile and damaged files cost whoever decodes them: `python -m benchmarks.hostile_files`."""

from __future__ import annotations

import argparse
import io
import os
import random
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from backend.errors import PageError
from backend.pages.decoders import Decoder, decoder
from backend.pages.headers import sniff
from backend.pages.page import Limits
from backend.pages.source import ENOUGH_DPI, decode
from backend.settings import Settings
from tests.pages.damaged import VALID, damaged
from tests.pages.hostile import HOSTILE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["main"]

_SPARE_SECONDS = 1.0
_IDLE_MIB = 90
_WORST = 12
_LOOK_SECONDS = 0.02


@dataclass(frozen=True, kw_only=True)
class _Cost:
    """What one file cost.

    Attributes:
        name: The file.
        outcome: The error's name, or `page`.
        reason: The error's reason.
        seconds: Until the answer.
        mebibytes: The most that its process ever had in memory, its program included.
    """

    name: str
    outcome: str
    reason: str
    seconds: float
    mebibytes: float


def main() -> int:
    """Decodes them one by one, each in a process that was idle before, and prints what they cost."""
    parser = argparse.ArgumentParser(description="Measure what hostile and damaged files cost.")
    parser.add_argument("--damaged", type=int, default=5000, help="damaged files (%(default)s)")
    parser.add_argument("--seed", type=int, default=16, help="of the damage (%(default)s)")
    parser.add_argument("--only", default="", help="hostile files whose name has this in it")
    parser.add_argument(
        "--whole", action="store_true", help="ask for all pixels, as corrections and trainings do, and not for 150 dpi"
    )
    parser.add_argument("--all", action="store_true", help="print every hostile file")
    parser.add_argument(
        "--together", action="store_true", help="decode two at a time, as a server does: what they take together"
    )
    parser.add_argument("--honest", action="store_true", help="large scans of every kind instead, which are to open")
    args = parser.parse_args()
    limits = Limits.of(Settings.from_environment(os.environ))
    chosen = {name: make for name, make in (_HONEST if args.honest else HOSTILE).items() if args.only in name}
    enough = None if args.whole else ENOUGH_DPI
    if args.together:
        _together(chosen, limits, enough=enough)
        return os.EX_OK
    costs = [_cost(name, make(), limits, enough=enough, alone=True) for name, make in chosen.items()]
    _print("honest" if args.honest else "hostile", costs, limits, shown=len(costs) if args.all else _WORST)
    if args.damaged and not args.honest:
        files = _damaged(args.damaged, random.Random(args.seed))  # noqa: S311
        _print(
            "damaged", [_cost(name, data, limits, enough=enough, alone=False) for name, data in files], limits, shown=3
        )
    return os.EX_OK


_A4, _A3 = (4961, 7016), (7016, 9921)
"""At 600 dpi."""


def _scan(size: tuple[int, int], kind: str, mode: str = "RGB", **options: object) -> bytes:
    """A large page of lines and columns, as a file."""
    width, height = size
    coarse = np.full((height // 8 + 1, width // 8 + 1, 3), 235, np.uint8)
    coarse[::9] = 40
    coarse[:, ::37] = (30, 40, 160)
    image = Image.fromarray(coarse).resize(size, Image.Resampling.NEAREST)
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    file = io.BytesIO()
    (image if mode in ("RGB", "I;16") else image.convert(mode)).save(file, kind, **options)
    return file.getvalue()


_HONEST: dict[str, Callable[[], bytes]] = {
    "A3 JPEG": lambda: _scan(_A3, "JPEG", dpi=(600, 600)),
    "A3 progressive JPEG": lambda: _scan(_A3, "JPEG", dpi=(600, 600), progressive=True),
    "A3 progressive JPEG of full colour": lambda: _scan(_A3, "JPEG", dpi=(600, 600), progressive=True, subsampling=0),
    "A3 PNG": lambda: _scan(_A3, "PNG", dpi=(600, 600), compress_level=1),
    "A3 grey PNG of 16 bits": lambda: _scan(_A3, "PNG", "I;16", dpi=(600, 600), compress_level=1),
    "A3 TIFF in LZW": lambda: _scan(_A3, "TIFF", compression="tiff_lzw", dpi=(600, 600)),
    "A3 TIFF in JPEG": lambda: _scan(_A3, "TIFF", compression="jpeg", dpi=(600, 600)),
    "A3 PDF": lambda: _scan(_A3, "PDF", resolution=600),
    "A4 CMYK JPEG": lambda: _scan(_A4, "JPEG", "CMYK", dpi=(600, 600)),
    "A4 progressive CMYK JPEG": lambda: _scan(_A4, "JPEG", "CMYK", dpi=(600, 600), progressive=True),
    "A4 JPEG 2000": lambda: _scan(_A4, "JPEG2000", irreversible=True, quality_mode="rates", quality_layers=[40]),
}
"""Scans at 600 dpi, each of which has to open."""


def _damaged(count: int, dice: random.Random) -> Iterator[tuple[str, bytes]]:
    names = list(VALID)
    for number in range(count):
        name = names[number % len(names)]
        yield f"{name} {number}", damaged(VALID[name], dice)


def _cost(name: str, data: bytes, limits: Limits, *, enough: float | None, alone: bool) -> _Cost:
    """Decodes the first two pages of a file; `alone`: in a process that has seen no other."""
    outcome, reason, peak = "page", "", 0.0
    process = Decoder(name) if alone else None
    begun = time.perf_counter()
    try:
        with decoder(name) if process is None else nullcontext(process) as used:
            try:
                for index in used.open(data, sniff(data) or "", slice(0, 2), reference=name, limits=limits):
                    used.page(index, dpi=200, enough=enough, reference=name, limits=limits)
            finally:
                peak = _peak(used.pid)
    except PageError as error:
        outcome, reason = type(error).__name__, error.reason
    if process is not None:
        process.end()
    return _Cost(
        name=name, outcome=outcome, reason=reason, seconds=time.perf_counter() - begun, mebibytes=peak / (1 << 20)
    )


def _together(files: dict[str, Callable[[], bytes]], limits: Limits, *, enough: float | None) -> None:
    """Decodes files two at a time, and prints the most that their processes had in memory together."""
    most, done = [0], threading.Event()

    def watch() -> None:
        while not done.wait(_LOOK_SECONDS):
            most[0] = max(most[0], sum(map(_resident, _children())))

    def look(name: str) -> str:
        try:
            pages = list(
                decode(files[name](), reference=name, limits=limits, dpi=200, pages=slice(0, 2), enough=enough)
            )
        except PageError as error:
            return f"{type(error).__name__} {error.reason}"
        return f"{len(pages)} pages"

    watching = threading.Thread(target=watch)
    watching.start()
    with ThreadPoolExecutor(2) as pool:
        for name, outcome in zip(files, pool.map(look, files), strict=True):
            print(f"  {name}: {outcome}", flush=True)
    done.set()
    watching.join()
    print(f"{len(files)} files, two at a time: their decoders took {most[0] / (1 << 20):.0f} MiB together at most")


def _children() -> Iterator[int]:
    for file in Path("/proc/self/task").glob("*/children"):
        try:
            yield from map(int, file.read_text(encoding="ascii").split())
        except FileNotFoundError:
            continue  # the thread has ended


def _resident(number: int) -> int:
    try:
        fields = Path(f"/proc/{number}/statm").read_text(encoding="ascii").split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")


def _peak(number: int) -> float:
    """Bytes that a process ever had in memory at once; 0 of one that is gone."""
    try:
        lines = Path(f"/proc/{number}/status").read_text(encoding="ascii").splitlines()
    except FileNotFoundError:
        return 0.0
    return next((1024 * float(line.split()[1]) for line in lines if line.startswith("VmHWM")), 0.0)


def _print(what: str, costs: list[_Cost], limits: Limits, *, shown: int) -> None:
    outcomes: dict[str, int] = {}
    for cost in costs:
        outcomes[cost.outcome] = outcomes.get(cost.outcome, 0) + 1
    late = sum(cost.seconds > limits.seconds + _SPARE_SECONDS for cost in costs)
    large = sum(cost.mebibytes > 512 + _IDLE_MIB for cost in costs)
    print(f"{len(costs)} {what} files: {outcomes}; {late} over {limits.seconds:g} s, {large} over 512 MiB")
    for cost in sorted(costs, key=lambda cost: -cost.seconds - cost.mebibytes / 100)[:shown]:
        print(f"  {cost.seconds:6.2f} s {cost.mebibytes:6.0f} MiB  {cost.name}: {cost.outcome} {cost.reason}")


if __name__ == "__main__":
    sys.exit(main())
