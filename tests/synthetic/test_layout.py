"""Every kind of page is written in every language, and most have places to sign."""

from __future__ import annotations

import numpy as np
import pytest

from backend.synthetic.layout import write_page
from backend.synthetic.marks import LANGUAGES, Language
from backend.synthetic.sheet import Sheet


@pytest.mark.parametrize("language", LANGUAGES)
def test_pages_are_written_and_mostly_have_places_to_sign(language: Language) -> None:
    with_anchors = 0
    for seed in range(8):
        sheet = Sheet(50)
        anchors = write_page(sheet, np.random.default_rng(seed), language)
        inked = (sheet.density.max(axis=2) > 0.2).mean()
        assert 0.005 < inked < 0.5
        assert all(anchor.x >= 0 and anchor.x + anchor.width <= 211 for anchor in anchors)
        with_anchors += bool(anchors)
    assert with_anchors >= 4
