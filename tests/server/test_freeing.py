"""What a server has freed goes back to the system."""

from __future__ import annotations

import ctypes
from pathlib import Path

import pytest

from backend.server.application import Freeing

PIECES, PIECE = 400, 100_000  # below the size from which the C library asks the system for each piece


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="only glibc keeps what was freed")
def test_holes_between_pieces_that_stay_go_back_after_some_work() -> None:
    clock = iter([0.0, 1.0, 3.0, 3.0])
    freeing = Freeing(worked=lambda: next(clock))
    pieces = [b"x" * PIECE for _ in range(PIECES)]
    pieces = pieces[::8]

    before = dirty()
    freeing.look()
    kept = dirty()
    freeing.look()

    assert len(pieces) == PIECES // 8
    assert kept > before - PIECES * PIECE / 4
    assert dirty() < before - PIECES * PIECE / 2


def dirty() -> int:
    """Bytes that this process alone has written to."""
    text = Path("/proc/self/smaps_rollup").read_text(encoding="ascii")
    return sum(1024 * int(line.split()[1]) for line in text.splitlines() if line.startswith("Private_Dirty:"))
