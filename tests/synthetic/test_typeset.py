"""Lines and paragraphs: Arabic runs from the right, English from the left, columns keep their width."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from backend.synthetic import lettering
from backend.synthetic.lexicons import ENGLISH
from backend.synthetic.sheet import Align, Sheet, Type, line_width, set_line, set_paragraph
from backend.synthetic.texts import Writer

AMIRI = next(font for font in lettering.FONTS if font.name == "amiri")
TINOS = next(font for font in lettering.FONTS if font.name == "tinos")
LATIN = Type(font=TINOS, points=14)
ARABIC_TYPE = Type(font=AMIRI, points=14, rtl=True)


def ink_columns(sheet: Sheet) -> tuple[float, float]:
    """Leftmost and rightmost print in mm."""
    columns = np.flatnonzero(sheet.density.max(axis=(0, 2)) > 0.2)
    return columns[0] / sheet.scale, columns[-1] / sheet.scale


@pytest.mark.parametrize(
    ("style", "text", "align", "left", "right"),
    [
        # English starts on the left
        (LATIN, "First Party", "start", 50, None),
        # and ends on the right when told to
        (LATIN, "First Party", "end", None, 150),
        # Arabic starts on the right
        (ARABIC_TYPE, "الطرف الأول", "start", None, 150),
        # and ends on the left when told to
        (ARABIC_TYPE, "الطرف الأول", "end", 50, None),
        # a justified line fills the column
        (LATIN, "First Party signs", "justify", 50, 150),
    ],
)
def test_a_line_keeps_to_its_side(
    style: Type, text: str, align: Align, left: float | None, right: float | None
) -> None:
    sheet = Sheet(100)
    set_line(sheet, text, 50, 100, style, width=100, align=align)
    first, last = ink_columns(sheet)
    assert left is None or abs(first - left) < 1.5
    assert right is None or abs(last - right) < 1.5
    assert left is not None or first > 100
    assert right is not None or last < 100


def test_words_of_an_arabic_line_go_from_right_to_left() -> None:
    whole, first_word = Sheet(100), Sheet(100)
    set_line(whole, "العقد (أ)", 50, 100, ARABIC_TYPE, width=100)
    set_line(first_word, "العقد", 50, 100, ARABIC_TYPE, width=100)
    shown = first_word.density > 0
    np.testing.assert_array_equal(whole.density[shown], first_word.density[shown])


def test_latin_words_inside_an_arabic_line_keep_their_own_order() -> None:
    latin = replace(ARABIC_TYPE, rtl=False)
    one, other = Sheet(100), Sheet(100)
    set_line(one, "Gulf Horizon", 50, 100, ARABIC_TYPE, width=100, align="end")
    set_line(other, "Gulf Horizon", 50, 100, latin, width=100)
    np.testing.assert_array_equal(one.density, other.density)


def test_a_paragraph_stays_in_its_column() -> None:
    sheet = Sheet(100)
    style = Type(font=TINOS, points=11)
    text = Writer(ENGLISH, np.random.default_rng(0)).paragraph(6)
    bottom = set_paragraph(sheet, text, 40, 50, style, width=90, align="justify")
    first, last = ink_columns(sheet)
    assert first > 39
    assert last < 131.5
    lines = (bottom - 50) / style.pitch
    assert lines >= line_width(sheet, text, style) / 90
