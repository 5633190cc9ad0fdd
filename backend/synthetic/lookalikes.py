"""What people take for a mark and is none: filled-in words, brands in a script face, smudges of ink and toner."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from backend.synthetic.lettering import fonts_of, render
from backend.synthetic.lexicons import ARABIC, ENGLISH
from backend.synthetic.marks import Ink, blotches, lay, levelled, pick_ink, pixels_of, trimmed
from backend.synthetic.penmanship import pick_hand, pick_syllables
from backend.synthetic.signatures import write_in_script
from backend.synthetic.texts import Writer, pick

__all__ = ["LOOKALIKES", "Lookalike", "draw_lookalike", "ink_lookalike"]

Layer = NDArray[np.float32]
Lookalike = Literal["entry", "brand", "smudge"]
LOOKALIKES: tuple[Lookalike, ...] = get_args(Lookalike)

_ENTRIES = ("date", "phone", "name", "address", "amount", "city", "role")
"""What forms ask for."""
_TONER = Ink("toner", (0.75, 0.75, 0.75))


def draw_lookalike(rng: np.random.Generator, kind: Lookalike, *, dpi: float) -> NDArray[np.uint8]:
    """One of them on white paper, (h, w, 3) RGB, trimmed to its ink.

    Args:
        rng: decides all that is not given.
        kind: an `entry` is what somebody fills into a form; a `brand` is a company's name in a script face, with a
            line of print below it; a `smudge` was left by a hand, a stamp pad or toner.
        dpi: resolution of the paper.
    """
    coverage, ink = ink_lookalike(rng, kind, dpi=dpi)
    paper = np.full((*coverage.shape, 3), 255, np.float32)
    return np.asarray(np.clip(np.round(lay(paper, coverage, ink)), 0, 255), np.uint8)


def ink_lookalike(rng: np.random.Generator, kind: Lookalike, *, dpi: float) -> tuple[Layer, Ink]:
    """The same before it meets its paper: (h, w) float32 coverage, trimmed, and its ink."""
    return _DRAWN[kind](rng, dpi)


def _entry(rng: np.random.Generator, dpi: float) -> tuple[Layer, Ink]:
    asked = pick(rng, _ENTRIES)
    # No script face has Arabic letters, but all have the digits that Arabic forms are filled in with as well.
    writer = Writer(ARABIC if asked == "phone" and rng.random() < 0.2 else ENGLISH, rng)
    text = writer.slot(asked)
    hand = replace(pick_hand(rng), rise=float(rng.normal(0.01, 0.02)))
    wide = len(text) * float(rng.uniform(2.0, 3.6))
    coverage = write_in_script(rng, text, pick(rng, fonts_of("script")), hand, width_mm=wide, dpi=dpi)
    return trimmed(levelled(coverage, float(rng.uniform(0.6, 1.05)))), pick_ink(rng, for_="signature")


def _brand(rng: np.random.Generator, dpi: float) -> tuple[Layer, Ink]:
    name = " ".join(pick_syllables(rng, int(rng.integers(2, 4))).capitalize() for _ in range(int(rng.integers(1, 3))))
    line = trimmed(render(name, pick(rng, fonts_of("script")), pixels_of(float(rng.uniform(9, 16)), dpi)))
    below = pick(rng, (f"since {rng.integers(1880, 2020)}", Writer(ENGLISH, rng).slot("company"), name.upper()))
    small = trimmed(render(below, pick(rng, fonts_of("serif", "sans")), pixels_of(float(rng.uniform(2.6, 3.6)), dpi)))
    if rng.random() < 0.5:
        small = _slanted(small)
    gap = round(pixels_of(float(rng.uniform(0.8, 3.0)), dpi))
    width = max(line.shape[1], small.shape[1])
    sheet = np.zeros((line.shape[0] + gap + small.shape[0], width), np.float32)
    for top, one in ((0, line), (line.shape[0] + gap, small)):
        left = int(rng.choice([0, (width - one.shape[1]) // 2, width - one.shape[1]]))
        sheet[top : top + one.shape[0], left : left + one.shape[1]] = one
    return np.asarray(sheet * np.float32(rng.uniform(0.7, 1.1)), np.float32), pick_ink(rng, for_="stamp")


def _slanted(line: Layer) -> Layer:
    """A line of print, as italics lean."""
    height, width = line.shape
    lean = 0.2 * height
    matrix = np.array([[1, -0.2, lean], [0, 1, 0]])
    return trimmed(np.asarray(cv2.warpAffine(line, matrix, (width + round(lean), height)), np.float32))


def _smudge(rng: np.random.Generator, dpi: float) -> tuple[Layer, Ink]:
    """A cloud of specks, streaked in the direction of the wipe; some have the stroke of a nail in them."""
    across, down = (pixels_of(float(side), dpi) for side in rng.uniform((8, 5), (30, 18)))
    height, width = round(2 * down), round(2 * across)
    y, x = np.mgrid[-2 : 2 : height * 1j, -2 : 2 : width * 1j].astype(np.float32)
    cloud = np.zeros((height, width), np.float32)
    for _ in range(int(rng.integers(1, 5))):
        middle, size = rng.normal(0, 0.45, 2), rng.uniform(0.3, 0.8, 2)
        cloud += np.exp(-(((x - middle[0]) / size[0]) ** 2 + ((y - middle[1]) / size[1]) ** 2)).astype(np.float32)
    cloud *= np.clip(0.7 + 0.5 * blotches(rng, (height, width), pixels_of(3.0, dpi)), 0, None)
    specks = np.clip(1 + float(rng.uniform(0.1, 0.7)) * blotches(rng, (height, width), pixels_of(0.25, dpi)), 0, None)
    wiped = _wiped(
        cloud * specks, length=pixels_of(float(rng.uniform(0.2, 4.0)), dpi), angle=float(rng.uniform(0, 180))
    )
    if rng.random() < 0.4:
        start, end = (rng.uniform(0.2, 0.8, 2) * [width, height] for _ in range(2))
        end = start + 0.4 * (end - start)
        thick = max(1, round(pixels_of(0.4, dpi)))
        cv2.line(wiped, start.astype(int).tolist(), end.astype(int).tolist(), float(wiped.max()), thick, cv2.LINE_AA)
    ink = _TONER if rng.random() < 0.55 else pick_ink(rng, for_="thumb")
    return trimmed(levelled(np.clip(wiped - 0.05, 0, None), float(rng.uniform(0.2, 0.9)))), ink


def _wiped(cloud: Layer, *, length: float, angle: float) -> Layer:
    """The cloud drawn out by so many pixels in one direction (degrees)."""
    side = max(3, 2 * round(length / 2) + 1)
    kernel = np.zeros((side, side), np.float32)
    kernel[side // 2] = 1
    turn = cv2.getRotationMatrix2D(((side - 1) / 2, (side - 1) / 2), angle, 1.0)
    kernel = np.asarray(cv2.warpAffine(kernel, turn, (side, side)), np.float32)
    return np.asarray(cv2.filter2D(cloud, -1, kernel / max(float(kernel.sum()), 1e-6)), np.float32)


_DRAWN: Mapping[Lookalike, Callable[[np.random.Generator, float], tuple[Layer, Ink]]] = {
    "entry": _entry,
    "brand": _brand,
    "smudge": _smudge,
}
