"""Words written in by hand: names, dates and notes in a pen, wavering and slanted; they are no marks."""

from __future__ import annotations

import cv2
import numpy as np

from backend.synthetic import lettering
from backend.synthetic.lettering import Coverage, Font
from backend.synthetic.sheet import MM_PER_POINT, Density, Sheet, density_of
from backend.synthetic.texts import pick

__all__ = ["PEN_COLOURS", "pick_hand_font", "write_by_hand"]

PEN_COLOURS: tuple[Density, ...] = (density_of(30, 45, 130), density_of(25, 60, 160), density_of(45, 45, 55))


def pick_hand_font(rng: np.random.Generator) -> Font:
    """The letters of one writer."""
    return pick(rng, lettering.fonts_of("script"))


def write_by_hand(
    sheet: Sheet,
    rng: np.random.Generator,
    text: str,
    font: Font,
    *,
    points: float,
    pen: Density,
    at: tuple[float, float],
) -> float:
    """Writes `text` on one line from `at`, the left end of its upper edge in mm.

    Returns:
        The width in mm.
    """
    size = points * MM_PER_POINT * sheet.scale
    words = _wavering(lettering.render(text, font, size), rng, size)
    sheet.lay(words, sheet.pixels(at[0]), sheet.pixels(at[1]), pen)
    return float(words.shape[1] / sheet.scale)


def _wavering(line: Coverage, rng: np.random.Generator, size: float) -> Coverage:
    """Bends printed letters as a hand would: slant, a rising line, uneven letters and uneven pressure."""
    slant, rise = rng.normal(0.08, 0.12), rng.normal(0, 0.025)
    margin = round(size * 0.4)
    padded = cv2.copyMakeBorder(line, margin, margin, margin, margin, cv2.BORDER_CONSTANT, value=0)
    height, width = padded.shape
    columns, rows = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    cells = max(round(width / (0.45 * size)), 2), max(round(height / (0.6 * size)), 2)
    bend_x, bend_y, pressure = (
        cv2.resize(rng.standard_normal(cells[::-1], np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
        for _ in range(3)
    )
    reach = np.float32(0.05 * size)
    from_x = columns + np.float32(slant) * (rows - height / 2) + reach * bend_x
    from_y = rows + np.float32(rise) * (columns - width / 2) + reach * bend_y
    bent = cv2.remap(padded, from_x.astype(np.float32), from_y.astype(np.float32), cv2.INTER_LINEAR)
    return np.asarray(bent * np.clip(0.85 + 0.12 * pressure, 0.4, 1), np.float32)
