"""What the demo says while it works: one line a step, rewritten in place on a terminal."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Step", "Steps"]


class Step:
    """A step under way."""

    def __init__(self, out: TextIO, what: str) -> None:
        self._out = out
        self._what = what
        self._started = time.monotonic()
        self.outcome = what

    def note(self, progress: str) -> None:
        """Shows how far the step is, on a terminal only: a log file needs the outcome, not each tick."""
        if self._out.isatty():
            self._out.write(f"\r\033[K  … {self._what} · {progress}")
            self._out.flush()

    def waited(self) -> None:
        """Notes the seconds that have passed."""
        self.note(f"{time.monotonic() - self._started:.0f} s")

    def close(self, tick: str) -> None:
        """Replaces the progress by the outcome and the time it took."""
        clear = "\r\033[K" if self._out.isatty() else ""
        self._out.write(f"{clear}  {tick} {self.outcome} ({time.monotonic() - self._started:.1f} s)\n")
        self._out.flush()


class Steps:
    """Writes steps to `out`.

    Example:
        >>> with Steps(sys.stdout).step("Drawing contracts") as step:  # doctest: +SKIP
        ...     step.note("3 of 12")
    """

    def __init__(self, out: TextIO) -> None:
        self._out = out

    @contextmanager
    def step(self, what: str) -> Iterator[Step]:
        """Opens a step; it ends with a tick, or with a cross when the block raises."""
        step = Step(self._out, what)
        if self._out.isatty():
            step.waited()
        try:
            yield step
        except BaseException:
            step.close("✗")
            raise
        step.close("✓")

    def say(self, text: str) -> None:
        """Prints `text` as it is."""
        self._out.write(f"{text}\n")
        self._out.flush()
