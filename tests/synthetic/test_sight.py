"""Ink of two marks is shared only where both are visible."""

from __future__ import annotations

import numpy as np
import pytest

from backend.synthetic.drawn_page import PlacedMark, Sighting, look, share_ink
from backend.synthetic.marks import Ink, Mark
from backend.synthetic.paper import flat
from backend.synthetic.scan import ScanStyle

FRAME = np.ones((9, 9), bool)
FRAME[1:-1, 1:-1] = False


@pytest.mark.parametrize(
    ("other", "shares"),
    [
        # the same ink in the same place
        (Sighting(ink=FRAME, left=10, top=10), True),
        # boxes that meet, ink that does not: a dot inside a ring
        (Sighting(ink=np.ones((3, 3), bool), left=13, top=13), False),
        # a dot on the ring
        (Sighting(ink=np.ones((3, 3), bool), left=9, top=9), True),
        # side by side
        (Sighting(ink=FRAME, left=19, top=10), False),
        # far away
        (Sighting(ink=FRAME, left=200, top=0), False),
    ],
)
def test_ink_is_shared_only_where_both_are_visible(other: Sighting, shares: bool) -> None:
    ring = Sighting(ink=FRAME, left=10, top=10)
    assert share_ink(ring, other) is shares
    assert share_ink(other, ring) is shares


def placed(coverage: float, x: int, y: int) -> PlacedMark:
    """A solid blue block of 20 x 30 pixels in a layer with an empty rim of 5."""
    layer = np.zeros((40, 30), np.float32)
    layer[5:35, 5:25] = coverage
    return PlacedMark(
        mark=Mark(label="stamp", coverage=layer, ink=Ink("blue", (0.8, 0.5, 0.2)), kind="round"), x=x, y=y
    )


def test_a_mark_is_seen_where_its_ink_lies() -> None:
    seen = look(placed(1.0, 40, 50), flat(200, 300), ScanStyle())
    assert seen is not None
    assert seen.box == (45, 55, 65, 85)
    assert not seen.cut


def test_ink_at_the_edge_of_the_image_is_cut_there() -> None:
    seen = look(placed(1.0, 180, 50), flat(200, 300), ScanStyle())
    assert seen is not None
    assert seen.box == (185, 55, 200, 85)
    assert seen.cut


@pytest.mark.parametrize(
    ("coverage", "style"),
    [
        # next to no ink
        (0.02, ScanStyle()),
        # a faint print that a fax loses
        (0.2, ScanStyle(tone="bilevel")),
    ],
)
def test_ink_that_the_scan_loses_is_not_seen(coverage: float, style: ScanStyle) -> None:
    assert look(placed(coverage, 40, 50), flat(200, 300), style) is None


def test_a_mark_beyond_the_image_is_not_seen() -> None:
    assert look(placed(1.0, 900, 50), flat(200, 300), ScanStyle()) is None
