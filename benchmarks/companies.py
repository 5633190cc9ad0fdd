"""Contract pages of invented companies: each has one logo and one rubber stamp, which come back page after page."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from backend.synthetic.drawn_page import PlacedMark, look, place_marks
from backend.synthetic.layout import write_page
from backend.synthetic.lexicons import ENGLISH
from backend.synthetic.marks import LANGUAGES, Layer, Mark, ink_box, pick_impression, pick_ink, press, trimmed
from backend.synthetic.ornaments import PRINT_COLOURS, logo
from backend.synthetic.paper import draw_warp
from backend.synthetic.scan import develop, draw_style
from backend.synthetic.sheet import Rect, Sheet
from backend.synthetic.stamp_faces import engrave
from backend.synthetic.stamp_parts import pick_words
from backend.synthetic.texts import Writer

__all__ = ["CompanyPage", "company_page"]

Box = tuple[float, float, float, float]
COMPANY = "company"
OTHER_MARKS = 2


@dataclass(frozen=True, kw_only=True, eq=False)
class CompanyPage:
    """A page with what is on it.

    Attributes:
        pixels: (H, W, 3) uint8 RGB.
        logo: Box of the company's logo, xyxy in pixels; None where the scan shows nothing of it.
        stamp: Box of the company's stamp, likewise.
        marks: Label and box of every true mark, the company's stamp among them.
    """

    pixels: NDArray[np.uint8]
    dpi: float
    logo: Box | None
    stamp: Box | None
    marks: tuple[tuple[str, Box], ...]


def company_page(company: int, number: int, *, dpi: float = 150, seal: bool = False) -> CompanyPage:
    """Page `number` of a company: its logo and its stamp, pressed and scanned anew, among other text and marks.

    With `seal`, the logo is a printed seal, which whoever does not know the company takes for a stamp.
    """
    house = np.random.default_rng([company])
    printing, pressing, scanning = map(np.random.default_rng, np.random.SeedSequence([company, number]).spawn(3))
    sheet = Sheet(dpi)
    anchors = write_page(sheet, printing, LANGUAGES[company % len(LANGUAGES)])
    sign = _seal(house, dpi) if seal else _logo(house, dpi)
    where = (round(float(house.uniform(0.06, 0.75)) * sheet.density.shape[1]), sheet.pixels(house.uniform(8, 16)))
    placed_logo = _lay_logo(sheet, sign, *where)
    placed = [_press_stamp(sheet, house, pressing), *place_marks(sheet, pressing, anchors, OTHER_MARKS)]
    for one in placed:
        sheet.lay(one.mark.coverage, one.x, one.y, one.mark.ink.density)
    style = draw_style(scanning)
    height, width = sheet.density.shape[:2]
    warp = draw_warp(scanning, width, height, skew=0.3, perspective=0.0, curl=0.0)
    pixels = develop(warp.page(sheet.density, outside=style.surround), scanning, style, dpi=dpi)
    seen_logo = look(placed_logo, warp, style)
    seen = [(one.mark, found) for one in placed if (found := look(one, warp, style)) is not None]
    return CompanyPage(
        pixels=pixels,
        dpi=dpi,
        logo=_floats(seen_logo.box) if seen_logo else None,
        stamp=next((_floats(found.box) for mark, found in seen if mark.kind == COMPANY), None),
        marks=tuple((mark.label, _floats(found.box)) for mark, found in seen),
    )


def _logo(house: np.random.Generator, dpi: float) -> NDArray[np.float32]:
    """The density of a company's logo alone, (h, w, 3)."""
    size = float(house.uniform(18, 32))
    sheet = Sheet(dpi, (size + 4, size + 4))
    colour = PRINT_COLOURS[int(house.integers(len(PRINT_COLOURS)))]
    logo(sheet, house, Writer(ENGLISH, house), Rect(2, 2, size, size), colour)
    return sheet.density


def _seal(house: np.random.Generator, dpi: float) -> NDArray[np.float32]:
    """The density of a seal as it is printed in a letterhead, (h, w, 3): of one strength, and never turned."""
    coverage = engrave(house, "round", pick_words(house), dpi=dpi)
    return np.asarray(coverage[..., None] * np.array(pick_ink(house, for_="stamp").density), np.float32)


def _lay_logo(sheet: Sheet, sign: NDArray[np.float32], x: int, y: int) -> PlacedMark:
    """Prints the logo, on ground cleared of other print; gives it as a mark is given, for its box on the scan."""
    coverage = np.asarray(sign.max(axis=2) > 0.1, np.float32)
    sheet.knock_out(np.ones_like(coverage), x, y)
    for channel in range(3):
        density = [0.0, 0.0, 0.0]
        density[channel] = 1.0
        sheet.lay(np.ascontiguousarray(sign[..., channel]), x, y, (density[0], density[1], density[2]))
    ink = pick_ink(np.random.default_rng(0), for_="stamp")
    return PlacedMark(mark=Mark(label="stamp", coverage=coverage, ink=ink, kind="logo"), x=x, y=y)


def _press_stamp(sheet: Sheet, house: np.random.Generator, pressing: np.random.Generator) -> PlacedMark:
    """The company's rubber, pressed anew: other pressure, a little turned, somewhere in the lower half."""
    rubber = engrave(house, "round" if house.random() < 0.5 else "rectangular", pick_words(house), dpi=sheet.dpi)
    ink = pick_ink(house, for_="stamp")
    print_ = press(
        pressing, _turned(rubber, pressing.normal(0, 5)), pick_impression(pressing, faded=False), dpi=sheet.dpi
    )
    mark = Mark(label="stamp", coverage=trimmed(print_), ink=ink, kind=COMPANY)
    height, width = sheet.density.shape[:2]
    x = int(pressing.integers(10, max(width - mark.coverage.shape[1] - 10, 11)))
    y = int(pressing.integers(height // 2, max(height - mark.coverage.shape[0] - 10, height // 2 + 1)))
    assert ink_box(mark.coverage) != (0, 0, 0, 0)
    return PlacedMark(mark=mark, x=x, y=y)


def _turned(layer: Layer, degrees: float) -> Layer:
    height, width = layer.shape
    reach = math.ceil(math.hypot(height, width)) + 8
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), float(degrees), 1.0)
    turn[:, 2] += [(reach - width) / 2, (reach - height) / 2]
    return np.asarray(cv2.warpAffine(layer, turn, (reach, reach)), np.float32)


def _floats(box: tuple[int, int, int, int]) -> Box:
    return float(box[0]), float(box[1]), float(box[2]), float(box[3])
