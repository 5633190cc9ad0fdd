"""Pages a second of `prelabel` with one process, with two and on Ray, and its memory over ten times as many tasks.

    python -m benchmarks.prelabel [--pages N] [--tasks N] [--only speed|memory] [--json]

The command runs as it is typed, in processes of its own, with a Label Studio on loopback, the bundled weights and an
empty ledger. For speed, tasks share a dozen drawn A4 pages at 200 dpi, with the default detector. Ray has two actors
and gets the same tasks as a list; it fetches their pages from the same Label Studio, and writes Parquet and Label
Studio JSON. Pages a second count from the first page that is asked for until the command ends; what comes before, such
as loading the model and starting Ray, has a column of its own.

Ten thousand such tasks would take half an hour. So for memory, with two processes, the pages are slips of 60 x 90 mm of
which one in twenty bears a signature, and rules find it (DETECTOR=colour); lists, portions, requests, predictions and
the ledger are as ever. Memory is what is resident of all of the command's processes together, four times a second from
the first page on: the median of each span of tasks, for pages under way make it rise for moments, and the most.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import sys
import tempfile
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from backend.synthetic.drawn_page import draw_page
from benchmarks.loopback_studio import LoopbackStudio
from benchmarks.prelabel_run import Run, timed_run

CONFIG = (Path(__file__).parents[1] / "label_config.xml").read_text(encoding="utf-8")
DPI, SLIP_DPI = 200, 100
SLIP = (236, 354)
"""Width and height in pixels."""
DRAWN, BLANK = 12, 19
# What two cores did, to say beforehand how long it will take.
PAGES_A_SECOND, TASKS_A_SECOND, START_SECONDS = 5, 35, 10
GROWTH = 0.05
"""Most that memory may grow by from a tenth of the tasks to all of them, to be called flat."""
SETTLED = 1000
"""Tasks after which a process has taken up what it always holds."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--pages", type=int, default=200, help="tasks of each run for speed (default: 200)")
    parser.add_argument("--tasks", type=int, default=10_000, help="tasks of the run for memory (default: 10000)")
    parser.add_argument("--only", choices=("speed", "memory"), help="one of the two parts")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of the tables")
    args = parser.parse_args()
    seconds = 0 if args.only == "memory" else 3 * (START_SECONDS + args.pages / PAGES_A_SECOND)
    seconds += 0 if args.only == "speed" else START_SECONDS + args.tasks / TASKS_A_SECOND
    print(f"about {max(1, round(seconds / 60))} minutes on two cores", file=sys.stderr)

    speed = {} if args.only == "memory" else measure_speed(args.pages)
    memory = None if args.only == "speed" else measure_memory(args.tasks)
    if args.json:
        figures = {name: asdict(run) for name, run in speed.items()} | ({"memory": asdict(memory)} if memory else {})
        print(json.dumps(figures | {"cores": os.cpu_count(), "python": platform.python_version()}))
        return
    if speed:
        print("\n".join(speed_table(speed)))
    if memory:
        print("\n".join(memory_table(memory)))


def measure_speed(pages: int) -> dict[str, Run]:
    """The same tasks in three ways."""
    held = tuple(jpeg(draw_page(seed, dpi=DPI).pixels, dpi=DPI) for seed in range(DRAWN))
    ways = {
        "one process": ("--project", "1", "--batch", "10"),
        "two processes": ("--project", "1", "--batch", "10", "--processes", "2"),
        "Ray, two actors": ("--engine", "ray", "--batch", "10", "--processes", "2"),
    }
    if find_spec("ray") is None:
        del ways["Ray, two actors"]
    runs = {}
    for name, arguments in ways.items():
        with tempfile.TemporaryDirectory() as folder:
            # A Label Studio without predictions for each.
            studio = LoopbackStudio(CONFIG, tasks=pages, pages=held)
            tasks = listed(studio, Path(folder)) if "ray" in arguments else ()
            runs[name] = timed_run(studio, (*tasks, *arguments), Path(folder), name=name, detector="model")
    return runs


def measure_memory(tasks: int) -> Run:
    """Many tasks of small pages, with two processes."""
    blank = np.full((SLIP[1], SLIP[0], 3), 250, np.uint8)
    held = (signed(blank), *(blank for _ in range(BLANK)))
    studio = LoopbackStudio(CONFIG, tasks=tasks, pages=tuple(jpeg(slip, dpi=SLIP_DPI) for slip in held))
    with tempfile.TemporaryDirectory() as folder:
        arguments = ("--project", "1", "--processes", "2")
        return timed_run(studio, arguments, Path(folder), name="memory", detector="colour")


def signed(slip: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A slip with a signature from a drawn page."""
    page = draw_page(1, dpi=SLIP_DPI, marks=6)
    left, top, right, bottom = (int(side) for side in page.marks[1].box)
    mark = page.pixels[top:bottom, left:right]
    signed = slip.copy()
    signed[10 : 10 + mark.shape[0], 3 : 3 + mark.shape[1]] = mark
    return signed


def jpeg(pixels: NDArray[np.uint8], *, dpi: int) -> bytes:
    """A page as a scanner stores it."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=90, dpi=(dpi, dpi))
    return file.getvalue()


def listed(studio: LoopbackStudio, folder: Path) -> tuple[str, ...]:
    """All tasks as a list, and where what is found in them goes."""
    with (folder / "tasks.jsonl").open("w", encoding="utf-8") as file:
        for number in range(1, studio.tasks + 1):
            task = studio.task(number, whole=False)
            file.write(json.dumps({"id": number, "data": task["data"]}) + "\n")
    outputs = ("--out", str(folder / "out.json"), "--parquet", str(folder / "out.parquet"))
    return (str(folder / "tasks.jsonl"), *outputs)


def speed_table(runs: dict[str, Run]) -> list[str]:
    pages = next(iter(runs.values())).pages
    lines = [f"{pages} tasks of one A4 page at {DPI} dpi, ten together, on {os.cpu_count()} cores"]
    lines.append(f"{'':<18}{'pages/s':>9}{'first page after, s':>21}{'memory at most, MB':>20}")
    for name, run in runs.items():
        lines.append(f"{name:<18}{run.rate:>9.2f}{run.start:>21.1f}{run.most:>20.0f}")
    if "Ray, two actors" not in runs:
        lines.append("Ray is not installed (extra `ray`): not measured")
    gain = runs["two processes"].rate / runs["one process"].rate
    lines.append(f"two processes: {gain:.2f} times one (aim: more than one): {reached(gain > 1)}")
    return lines


def memory_table(run: Run) -> list[str]:
    spans = run.spans
    first, last = next(iter(spans)), run.pages
    growth = spans[last].usual / spans[first].usual - 1
    verdict = reached(growth <= GROWTH) if first >= SETTLED else f"not judged below {10 * SETTLED:,} tasks"
    return [
        f"two processes over {run.pages:,} tasks of a slip of 60 x 90 mm, one in twenty signed, with DETECTOR=colour: "
        f"{run.rate:.0f} a second, where as many whole pages would take half an hour",
        f"{'until task':<18}" + "".join(f"{tasks:>9,}" for tasks in spans),
        f"{'memory, MB':<18}" + "".join(f"{memory.usual:>9.0f}" for memory in spans.values()),
        f"{'at most, MB':<18}" + "".join(f"{memory.most:>9.0f}" for memory in spans.values()),
        f"from {first:,} to {last:,} tasks: {growth:+.1%} (aim: flat, at most {GROWTH:+.0%}): {verdict}",
    ]


def reached(is_so: bool) -> str:
    return "reached" if is_so else "missed"


if __name__ == "__main__":
    main()
