"""What was worked out of the same pixels before is not worked out again, and is no other than it would be."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from backend.corrections.crop_store import CropStore, Cutter, cut, fingerprint, perceptual

PAGE = np.random.default_rng(3).integers(0, 255, (400, 300, 3), dtype=np.uint8)
BOX = (50.4, 60.6, 120.2, 140.8)


def test_what_is_remembered_is_what_was_cut() -> None:
    cutter = Cutter()

    for _ in range(2):
        assert cutter.prints(PAGE) == (fingerprint(PAGE), perceptual(PAGE))
        assert cutter.cut(PAGE, BOX) == cut(PAGE, BOX)


def test_the_same_pixels_are_encoded_once_wherever_they_are() -> None:
    cutter = Cutter()
    first = cutter.cut(PAGE, BOX)
    shifted = np.zeros((500, 300, 3), np.uint8)
    shifted[100:] = PAGE

    moved = cutter.cut(shifted, (BOX[0], BOX[1] + 100, BOX[2], BOX[3] + 100))

    assert moved.png is first.png
    assert moved == cut(shifted, (BOX[0], BOX[1] + 100, BOX[2], BOX[3] + 100))


@pytest.mark.parametrize(
    "box",
    [
        (60.0, 60.6, 120.2, 140.8),  # another crop
        (-10.0, 380.0, 40.0, 420.0),  # over the page's edge
        (0.0, 0.0, 300.0, 400.0),  # the whole page
        (1.0, 1.0, 299.0, 399.0),  # cut at the edge: the same pixels with another mark on them
    ],
)
def test_another_mark_is_another_crop(box: tuple[float, float, float, float]) -> None:
    cutter = Cutter()
    cutter.cut(PAGE, BOX)
    cutter.cut(PAGE, (0.0, 0.0, 300.0, 400.0))

    assert cutter.cut(PAGE, box) == cut(PAGE, box)


def test_what_it_remembers_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backend.corrections.crop_store._MOST_CUT_BYTES", 3 * len(cut(PAGE, BOX).png))
    cutter = Cutter()
    first = cutter.cut(PAGE, BOX)

    for step in range(1, 5):
        cutter.cut(PAGE, (BOX[0] + step, BOX[1], BOX[2] + step, BOX[3]))

    again = cutter.cut(PAGE, BOX)
    assert again == first
    assert again.png is not first.png


def test_another_process_gets_a_store_that_cuts_the_same(tmp_path: Path) -> None:
    """A training of several processes hands its store on."""
    store = CropStore(str(tmp_path))
    kept = store.keep(PAGE, BOX)
    handed = pickle.loads(pickle.dumps(store))  # noqa: S301  our own
    assert handed.keep(PAGE, BOX) == kept
