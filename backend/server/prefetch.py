"""Work done ahead of its use: in order, by a few threads, with a bound on how many results wait in memory."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

__all__ = ["Prefetcher"]

T = TypeVar("T")


class Prefetcher:
    """Runs jobs ahead of the loop that uses their results; one for all requests of a process.

    Args:
        room: Results, finished or under way, that may exist at once, over all loops.
        ahead: How many of them one loop may have beyond the one it is at, so that no loop takes all the room.
        threads: Jobs that run at once.
    """

    def __init__(self, *, room: int, ahead: int, threads: int) -> None:
        self._room = threading.BoundedSemaphore(room)
        self._ahead = ahead
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="pages")

    def run(self, jobs: Sequence[Callable[[], T]], *, remaining: Callable[[], float]) -> Generator[Future[T]]:
        """Finished futures in the order of `jobs`; ends early when no time remains, after what is finished by then.

        Args:
            jobs: What to run; a job that raises gives a future that raises.
            remaining: Seconds that are left.
        """
        todo = deque(jobs)
        running: deque[Future[T]] = deque()
        try:
            while todo or running:
                self._start(todo, running, remaining)
                if not running:
                    return
                wait([running[0]], timeout=max(0.0, remaining()))
                if not running[0].done():
                    return
                yield running[0]
                running.popleft()
                self._room.release()
        finally:
            for future in running:
                # Cancelled, finished or still under way: its room is free when it is over, and not before.
                future.add_done_callback(lambda _: self._room.release())
                future.cancel()

    def _start(self, todo: deque[Callable[[], T]], running: deque[Future[T]], remaining: Callable[[], float]) -> None:
        """Starts the next jobs as far as there is room and time."""
        while todo and len(running) <= self._ahead and remaining() > 0:
            # Only the job that the loop is at may wait for room. If those ahead did too, two loops could each hold the
            # room that the other's next job needs.
            if not self._room.acquire(timeout=0 if running else max(0.0, remaining())):
                return
            running.append(self._pool.submit(todo.popleft()))
