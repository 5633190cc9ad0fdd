"""Pages of all requests, fetched and looked at in fair turns: what is slow holds up nobody but itself.

A page first has to arrive, which is waiting, and then it is looked at, which is work. A page that arrives within a
second keeps a quick place from beginning to end. One that takes longer gives its place to the next page while it
waits, and asks for one again when it is there. So in a batch the good pages come first. A host that does not answer
takes only its own slow places, which are enough for some and not for all. A page that takes long to be decoded holds
up its own project's, and no other's once a place is free.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

__all__ = ["FairPlaces", "PageJob", "Turns"]

T = TypeVar("T")
_QUICK_SECONDS = 1.0
_LOOK_SECONDS = 0.2
# Of a host whose slow places are all taken, so many pages at a time are still tried in a quick one.
_TRIED = 2


@dataclass(frozen=True, kw_only=True)
class PageJob(Generic[T]):
    """One page to fetch and to look at.

    Attributes:
        host: Where it comes from; pages of one host share its slow places.
        call: Does it; is given a function that it calls when the page has arrived.
    """

    host: str
    call: Callable[[Callable[[], None]], T]


@dataclass(eq=False, kw_only=True)
class _Batch:
    """The pages of one request."""

    project: str
    remaining: Callable[[], float]
    waiting: deque[tuple[int, PageJob[Any]]]
    ready: threading.Condition
    finished: deque[tuple[int, Future[Any]]] = field(default_factory=deque)
    quick: int = 0
    slow: int = 0
    served: int = 0

    @property
    def running(self) -> int:
        return self.quick + self.slow


@dataclass(eq=False, kw_only=True)
class _Running:
    """One page under way."""

    batch: _Batch
    host: str
    began: float
    slow: bool = False
    arrived: bool = False


class FairPlaces:
    """Places for work that takes a processor; a free one goes to a project that has the fewest, the first to come.

    Args:
        most: How many there are.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._changed = threading.Condition()
        self._numbers = count()
        self._waiting: dict[int, str] = {}
        self._at_work: Counter[str] = Counter()

    @contextmanager
    def place(self, project: str, *, timeout: float) -> Iterator[bool]:
        """A place, for as long as the block takes; gives whether there was one in time."""
        with self._changed:
            number = next(self._numbers)
            self._waiting[number] = project
            found = self._changed.wait_for(lambda: self._is_next(number), timeout=max(0.0, timeout))
            del self._waiting[number]
            if found:
                self._at_work[project] += 1
            # The next one may have a place beside this one; or this one stood before it, and has gone.
            self._changed.notify_all()
        try:
            yield found
        finally:
            if found:
                with self._changed:
                    self._at_work[project] -= 1
                    self._at_work += Counter()  # keeps no project that has none
                    self._changed.notify_all()

    def _is_next(self, number: int) -> bool:
        if self._at_work.total() >= self._most:
            return False
        return number == min(self._waiting, key=lambda one: (self._at_work[self._waiting[one]], one))


class Turns:
    """Gives places to the pages of all requests of a process.

    The next request is one whose project has the fewest pages under way. Among those it is the one that has the fewest
    itself, then the one served least.

    Args:
        quick: Pages that arrive or are looked at, at once: each may hold a file in memory.
        each: How many of these one request may have.
        kept: How many of these no one project may have, if one request's are left to it: they are for others.
        slow: Pages that are waited for, at once.
        slow_each: How many of these one request, or one host, may have.
        clock: Seconds that never go back.
    """

    def __init__(
        self,
        *,
        quick: int = 8,
        each: int = 3,
        kept: int = 2,
        slow: int = 48,
        slow_each: int = 24,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._most_quick, self._each = quick, each
        self._most_of_project = max(each, quick - kept)
        self._most_slow, self._slow_each = slow, slow_each
        self._clock = clock
        self._lock = threading.Lock()
        self._places = threading.Condition(self._lock)
        self._looked = 0.0
        self._batches: list[_Batch] = []
        self._running: set[_Running] = set()

    def run(
        self, jobs: Sequence[PageJob[T]], *, project: str, remaining: Callable[[], float]
    ) -> Generator[tuple[int, Future[T]]]:
        """Index and finished future of each job, as they finish; ends early when no time remains.

        Args:
            jobs: What to do; a job that raises gives a future that raises.
            project: Whose request it is.
            remaining: Seconds that are left.
        """
        waiting: deque[tuple[int, PageJob[Any]]] = deque(enumerate(jobs))
        ready = threading.Condition(self._lock)
        batch = _Batch(project=project, remaining=remaining, waiting=waiting, ready=ready)
        with self._lock:
            self._batches.append(batch)
            self._start_what_may()
        try:
            for _ in jobs:
                with self._lock:
                    while not batch.finished:
                        left = remaining()
                        if left <= 0:
                            return
                        batch.ready.wait(min(left, _LOOK_SECONDS))
                        self._look_now_and_then()
                    one = batch.finished.popleft()
                yield one
        finally:
            with self._lock:
                # What is under way ends by itself, and keeps its place until then.
                self._batches.remove(batch)
                batch.waiting.clear()

    def _look_now_and_then(self) -> None:
        """Looks for pages that have become slow; of all that wait, one does it. For the holder of the lock only."""
        now = time.monotonic()
        if now >= self._looked + _LOOK_SECONDS:
            self._looked = now
            self._start_what_may()

    def _start_what_may(self) -> None:
        """Makes room among the quick, and gives it to those whose turn it is; for the holder of the lock only."""
        self._give_up_places()
        while sum(not one.slow for one in self._running) < self._most_quick:
            projects = Counter(one.batch.project for one in self._running)
            hosts = Counter(one.host for one in self._running if one.slow)
            tried = Counter(one.host for one in self._running if not one.slow)
            quick = Counter(one.batch.project for one in self._running if not one.slow)
            for batch in sorted(self._batches, key=lambda one: (projects[one.project], one.running, one.served)):
                if batch.quick >= self._each or quick[batch.project] >= self._most_of_project or batch.remaining() <= 0:
                    continue
                may = (hosts[job.host] < self._slow_each or tried[job.host] < _TRIED for _, job in batch.waiting)
                place = next((place for place, free in enumerate(may) if free), None)
                if place is not None:
                    if not self._start(batch, place):
                        return
                    break
            else:
                return

    def _give_up_places(self) -> None:
        """Has pages that are long in coming wait in slow places, as far as there are any."""
        now = self._clock()
        hosts = Counter(one.host for one in self._running if one.slow)
        slow = sum(hosts.values())
        for one in self._running:
            if one.slow or one.arrived or now < one.began + _QUICK_SECONDS:
                continue
            if slow < self._most_slow and hosts[one.host] < self._slow_each and one.batch.slow < self._slow_each:
                one.slow = True
                one.batch.quick -= 1
                one.batch.slow += 1
                hosts[one.host] += 1
                slow += 1

    def _start(self, batch: _Batch, place: int) -> bool:
        """Whether the system has a thread for a page: it waits on where it has none at the moment."""
        index, job = batch.waiting[place]
        one = _Running(batch=batch, host=job.host, began=self._clock())
        # A thread of its own: it is one of a few dozen at most, and must not keep the process from ending.
        thread = threading.Thread(target=self._do, args=(one, index, job), name="page", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            return False
        del batch.waiting[place]
        batch.quick += 1
        batch.served += 1
        self._running.add(one)
        return True

    def _do(self, one: _Running, index: int, job: PageJob[Any]) -> None:
        future: Future[Any] = Future()
        try:
            future.set_result(job.call(partial(self._arrived, one)))
        except BaseException as error:
            future.set_exception(error)
        with self._lock:
            self._running.remove(one)
            if one.slow:
                one.batch.slow -= 1
            else:
                one.batch.quick -= 1
            one.batch.finished.append((index, future))
            self._start_what_may()
            one.batch.ready.notify()
            self._places.notify()

    def _arrived(self, one: _Running) -> None:
        """Takes a quick place again for a page that is there; one that had kept its place goes on."""
        with self._lock:
            one.arrived = True
            while one.slow and one.batch.remaining() > 0:
                if sum(not other.slow for other in self._running) < self._most_quick:
                    one.slow = False
                    one.batch.slow -= 1
                    one.batch.quick += 1
                    return
                self._places.wait(_LOOK_SECONDS)
