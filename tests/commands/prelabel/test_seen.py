"""Names that were seen: told from others, counted once, at eight bytes each."""

from __future__ import annotations

import tracemalloc

from backend.commands.prelabel.writing import SeenNames

MANY = 45_000


def test_names_are_known_again_and_counted_once() -> None:
    seen = SeenNames()
    for name in ("a.png", "b.png", "a.png", "\udcff.png"):
        seen.add(name)
    assert len(seen) == 3
    assert [name in seen for name in ("a.png", "b.png", "\udcff.png", "c.png", "")] == [True, True, True, False, False]


def filled(count: int) -> SeenNames:
    seen = SeenNames()
    for number in range(count):
        seen.add(f"archive/{number}.pdf")
    for number in range(0, count, 7):
        seen.add(f"archive/{number}.pdf")
    return seen


def test_many_are_held_in_little_memory() -> None:
    filled(10_000)  # what Python and NumPy load once is not counted
    tracemalloc.start()
    try:
        seen = filled(MANY)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(seen) == MANY
    assert all(f"archive/{number}.pdf" in seen for number in range(0, MANY, 1000))
    assert not any(f"archive/{number}.tif" in seen for number in range(MANY))
    # A common set of the same takes 3.7 million, and each further name in it twelve times as much.
    assert held < 1_500_000
