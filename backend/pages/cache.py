"""Fetched files for a while: in memory only, bounded by bytes and age, one fetch at a time for one key."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from concurrent.futures import Future
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

__all__ = ["Cache"]


class Cache:
    """Bytes by key, the least recently used going first; never on disk, because contracts must not stay there.

    Age counts from the fetch, not from the last use, and every call drops all that is too old. Callers that want a key
    which is being fetched wait for that fetch and share its outcome, an error too; an error is not kept.

    Args:
        max_bytes: Bytes kept in all; 0 keeps nothing. A file larger than this is handed on and not kept.
        max_age: Seconds.
        clock: Monotonic seconds.
    """

    def __init__(self, *, max_bytes: int, max_age: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_bytes = max_bytes
        self._max_age = max_age
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: OrderedDict[Hashable, tuple[float, bytes]] = OrderedDict()
        self._flights: dict[Hashable, Future[bytes]] = {}
        self._size = 0

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def size(self) -> int:
        """Bytes kept now."""
        return self._size

    def get(self, key: Hashable, fetch: Callable[[], bytes]) -> bytes:
        """The bytes of `key`, from memory, from a fetch under way, or from `fetch`.

        Raises:
            Exception: Whatever `fetch` raised, here or in the thread whose fetch was shared.
        """
        with self._lock:
            self._drop_old()
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key][1]
            flight = self._flights.get(key)
            leads = flight is None
            if flight is None:
                flight = self._flights[key] = Future()
        if leads:
            self._fly(key, flight, fetch)
        return flight.result()

    def _fly(self, key: Hashable, flight: Future[bytes], fetch: Callable[[], bytes]) -> None:
        """Fetches, keeps and tells the waiting; the flight ends whatever happens, or its waiters would never wake."""
        try:
            data = fetch()
        except BaseException as error:
            with self._lock:
                del self._flights[key]
            flight.set_exception(error)
            return
        with self._lock:
            del self._flights[key]
            self._keep(key, data)
        flight.set_result(data)

    def _keep(self, key: Hashable, data: bytes) -> None:
        if len(data) > self._max_bytes:
            return
        self._kept[key] = (self._clock(), data)
        self._size += len(data)
        while self._size > self._max_bytes:
            _, (_, dropped) = self._kept.popitem(last=False)
            self._size -= len(dropped)

    def _drop_old(self) -> None:
        horizon = self._clock() - self._max_age
        for key in [key for key, (fetched, _) in self._kept.items() if fetched <= horizon]:
            self._size -= len(self._kept.pop(key)[1])
