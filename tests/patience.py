"""How long tests wait: a limit is there to end what hangs, and a machine may be busy."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["SECONDS", "eventually"]

SECONDS = 600


def eventually(reached: Callable[[], object], what: str = "that") -> None:
    """Waits until `reached` gives something true.

    Between two questions it sleeps as long as one took: what is waited for needs the processor, too.
    """
    give_up = time.monotonic() + SECONDS
    asked = time.monotonic()
    while not reached():
        assert time.monotonic() < give_up, f"{what} was not reached within {SECONDS} s"
        time.sleep(max(0.02, time.monotonic() - asked))
        asked = time.monotonic()
