"""The cache forgets by age and by size, and asks once for what many want."""

from __future__ import annotations

import threading

import pytest

from backend.errors import PageUnavailable
from backend.pages.source import Cache
from backend.settings import Settings
from tests.pages.conftest import wait_until
from tests.patience import SECONDS


class Clock:
    """Seconds that a test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class Fetches:
    """Counts what it gives: `size` bytes each."""

    def __init__(self, size: int = 10) -> None:
        self.size = size
        self.count = 0

    def __call__(self) -> bytes:
        self.count += 1
        return bytes(self.size)


def test_a_file_is_forgotten_at_its_age_even_when_used_meanwhile() -> None:
    clock, fetches = Clock(), Fetches()
    cache = Cache(max_bytes=100, max_age=60, clock=clock)
    for clock.now in (0.0, 30.0, 59.9):
        cache.get("a", fetches)
    assert fetches.count == 1
    clock.now = 60.0
    cache.get("a", fetches)
    assert fetches.count == 2


def test_asking_for_anything_drops_all_that_is_too_old() -> None:
    clock = Clock()
    cache = Cache(max_bytes=100, max_age=60, clock=clock)
    cache.get("a", Fetches())
    cache.get("b", Fetches())
    clock.now = 61.0
    cache.get("c", Fetches())
    assert (len(cache), cache.size) == (1, 10)


def test_the_least_recently_used_goes_first() -> None:
    a, b, c = Fetches(), Fetches(), Fetches()
    cache = Cache(max_bytes=20, max_age=60, clock=Clock())
    cache.get("a", a)
    cache.get("b", b)
    cache.get("a", a)
    cache.get("c", c)
    assert cache.size == 20
    cache.get("a", a)
    cache.get("b", b)
    assert (a.count, b.count, c.count) == (1, 2, 1)


@pytest.mark.parametrize(
    ("max_bytes", "size"),
    [
        (0, 1),  # turned off
        (100, 101),  # one file larger than the cache
    ],
)
def test_what_does_not_fit_is_handed_on_and_not_kept(max_bytes: int, size: int) -> None:
    fetches = Fetches(size)
    cache = Cache(max_bytes=max_bytes, max_age=60, clock=Clock())
    assert len(cache.get("a", fetches)) == size
    assert len(cache.get("a", fetches)) == size
    assert (fetches.count, cache.size) == (2, 0)


def test_a_few_large_files_do_not_take_the_place_of_all_others() -> None:
    cache = Cache.of(Settings(cache_bytes=800))
    small, large = Fetches(100), Fetches(101)
    for name in ("a", "b"):
        cache.get(name, small)
        cache.get(f"large {name}", large)
        cache.get(f"large {name}", large)
    assert (small.count, large.count, cache.size) == (2, 4, 200)


def test_an_error_reaches_all_who_wait_and_is_not_kept() -> None:
    asked: list[int] = []

    def clock() -> float:  # each caller reads it in the same critical section in which it joins the fetch
        asked.append(1)
        return 0.0

    cache = Cache(max_bytes=100, max_age=60, clock=clock)
    release, outcomes, calls = threading.Event(), [], []

    def failing() -> bytes:
        calls.append(1)
        assert release.wait(SECONDS)
        raise PageUnavailable("a", "gone")

    def ask() -> None:
        try:
            cache.get("a", failing)
        except PageUnavailable as error:
            outcomes.append(error.reason)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(asked) == 4)
    release.set()
    for thread in threads:
        thread.join()
    assert outcomes == ["gone"] * 4
    assert len(calls) == 1
    assert cache.get("a", lambda: b"back") == b"back"


def test_different_keys_do_not_wait_for_each_other() -> None:
    cache = Cache(max_bytes=100, max_age=60)

    def outer() -> bytes:
        return cache.get("inner", lambda: b"in") + b"out"

    assert cache.get("outer", outer) == b"inout"
