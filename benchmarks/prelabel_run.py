"""One run of `prelabel` as it is typed: timed, its memory watched, its progress shown."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from tqdm import tqdm

from benchmarks.loopback_studio import LoopbackStudio

__all__ = ["Memory", "Run", "timed_run"]

_ROOT = Path(__file__).parents[1]
_PAUSE = 0.25
# Where spans end, as shares of all tasks.
_ENDS = (0.1, 0.2, 0.5, 1.0)


@dataclass(frozen=True, kw_only=True)
class Memory:
    """What was resident during a span of pages, in MB.

    Attributes:
        usual: Median.
        most: For a moment.
    """

    usual: float
    most: float


@dataclass(frozen=True, kw_only=True)
class Run:
    """What was measured.

    Attributes:
        pages: Pages that were looked at; each task has one.
        start: Seconds from the start until the first page was asked for.
        seconds: From then to the end.
        spans: Memory by the number of pages at a span's end; the first begins with the first page.
    """

    pages: int
    start: float
    seconds: float
    spans: dict[int, Memory]

    @property
    def rate(self) -> float:
        """Pages a second."""
        return self.pages / self.seconds

    @property
    def most(self) -> float:
        """Most memory of the whole run, in MB."""
        return max(span.most for span in self.spans.values())


@dataclass
class _Asked:
    """Pages that were asked for, and when the first one was."""

    count: int = 0
    first: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, *_: object) -> None:
        with self._lock:  # each connection has a thread
            self.first = self.first or time.monotonic()
            self.count += 1


def timed_run(studio: LoopbackStudio, arguments: Sequence[str], folder: Path, *, name: str, detector: str) -> Run:
    """Runs the command on a data folder of its own.

    Raises:
        SystemExit: It failed; the message has what it said.
    """
    studio.before_page = asked = _Asked()
    command = [sys.executable, "-m", "backend", "prelabel", *arguments]
    spans: dict[int, list[float]] = {max(1, round(studio.tasks * share)): [] for share in _ENDS}
    log = folder / "log"
    with studio.serving() as url, log.open("wb") as said, tqdm(total=studio.tasks, unit="page", desc=name) as bar:
        environment = _environment(folder, url, detector)
        started = time.monotonic()
        with subprocess.Popen(command, cwd=_ROOT, env=environment, stdout=said, stderr=said) as process:
            while process.poll() is None:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(_PAUSE)
                if asked.count and (found := _resident(process.pid)):
                    spans[next((end for end in spans if asked.count <= end), studio.tasks)].append(found)
                bar.update(asked.count - bar.n)
        ended = time.monotonic()
    if process.returncode or asked.count != studio.tasks:
        raise SystemExit(f"{name}: prelabel ended with {process.returncode}\n{log.read_text(encoding='utf-8')[-3000:]}")
    return Run(
        pages=studio.tasks,
        start=asked.first - started,
        seconds=ended - asked.first,
        spans={end: Memory(usual=median(seen), most=max(seen)) for end, seen in spans.items() if seen},
    )


def _environment(folder: Path, url: str, detector: str) -> dict[str, str]:
    return {
        **os.environ,
        "LABEL_STUDIO_URL": url,
        "LABEL_STUDIO_API_KEY": "token",
        "DATA_DIR": str(folder / "data"),
        "DATABASE_URL": "",
        "STORAGE_URL": "",
        "MODEL": "bundled",
        "DETECTOR": detector,
        "LOG_LEVEL": "WARNING",
    }


def _resident(process: int) -> float:
    """MB that a process and all that it started have in memory; Linux only, as all that asks /proc."""
    total, waiting = 0.0, [process]
    while waiting:
        one = Path("/proc", str(waiting.pop()))
        with suppress(OSError, StopIteration):  # ended meanwhile
            lines = (one / "status").read_text(encoding="ascii", errors="replace").splitlines()
            total += next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024
            for children in one.glob("task/*/children"):
                waiting += map(int, children.read_text(encoding="ascii").split())
    return total
