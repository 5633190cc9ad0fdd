"""A thread that does chores again and again: at once when it is woken, else every second; it stops when it is told."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

__all__ = ["Loop"]

log = logging.getLogger(__name__)

PAUSE_SECONDS = 1.0
# After a chore failed unexpectedly, such as a database that is gone for a while.
FAILURE_SECONDS = 5.0


class Loop:
    """Runs one chore in a thread of its own.

    Args:
        chore: Does some of what is open and gives how much that was; called again at once unless that is 0.
        name: The thread's name.
    """

    def __init__(self, chore: Callable[[], int], *, name: str) -> None:
        self._chore = chore
        self._woken = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """Says that there is something to do."""
        self._woken.set()

    def stop(self, *, timeout: float) -> None:
        """Lets the chore under way finish, for at most `timeout` seconds: what is left over is leased, not lost."""
        self._stopping.set()
        self._woken.set()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._woken.clear()
            if not self._do():
                self._woken.wait(PAUSE_SECONDS)

    def _do(self) -> int:
        try:
            return self._chore()
        except Exception:
            # The thread must outlive a database that is away: nothing else would turn the journal into samples.
            log.exception("%s failed; again in %g s", self._thread.name, FAILURE_SECONDS)
            self._stopping.wait(FAILURE_SECONDS)
            return 0
