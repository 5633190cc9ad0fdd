"""Small pages with known ink, drawn for the tests of detection; places are in inches."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Page = NDArray[np.uint8]
Colour = tuple[int, int, int]

BLUE = (40, 60, 200)
RED = (210, 40, 50)
PALE_RED = (240, 200, 200)
BLACK = (20, 20, 20)


def paper(colour: Colour = (255, 255, 255), dpi: int = 100) -> Page:
    """An empty A4 page."""
    return np.full((round(11.69 * dpi), round(8.27 * dpi), 3), colour, np.uint8)


def print_on(page: Page, mask: Page, ink: Colour) -> None:
    """Multiplies the ink onto the page, as real ink does."""
    share = (mask / 255.0)[..., None]
    page[:] = np.round(page * (1 - share * (1 - np.array(ink) / 255.0)))


def ring(page: Page, centre: tuple[float, float], radius: float, ink: Colour, dpi: int = 100) -> list[float]:
    """A round stamp: two rings and a bar. Returns its box in pixels."""
    mask = np.zeros(page.shape[:2], np.uint8)
    x, y = (round(v * dpi) for v in centre)
    for share in (1.0, 0.7):
        cv2.circle(mask, (x, y), round(radius * share * dpi), 255, max(1, round(0.025 * dpi)), cv2.LINE_AA)
    half = round(radius * 0.5 * dpi)
    cv2.rectangle(mask, (x - half, y - half // 4), (x + half, y + half // 4), 255, -1)
    print_on(page, mask, ink)
    edge = (radius + 0.0125) * dpi
    return [x - edge, y - edge, x + edge, y + edge]


def stroke(page: Page, box: tuple[float, float, float, float], ink: Colour, dpi: int = 100) -> list[float]:
    """A pen's zigzag that fills a box. Returns the box in pixels."""
    x1, y1, x2, y2 = (v * dpi for v in box)
    steps = np.linspace(0, 1, 9)
    points = np.column_stack([x1 + (x2 - x1) * steps, np.where(np.arange(9) % 2, y1, y2)]).astype(np.int32)
    mask = np.zeros(page.shape[:2], np.uint8)
    cv2.polylines(mask, [points], False, 255, max(1, round(0.025 * dpi)), cv2.LINE_AA)
    print_on(page, mask, ink)
    return [x1, y1, x2, y2]


def text(page: Page, dpi: int = 100, top: float = 1.0, bottom: float = 10.5) -> None:
    """Black lines of print over the whole page."""
    mask = np.zeros(page.shape[:2], np.uint8)
    for y in np.arange(top, bottom, 0.25):
        words = "The parties agree to the terms set out below, as of this day"
        cv2.putText(
            mask, words, (round(0.8 * dpi), round(y * dpi)), cv2.FONT_HERSHEY_SIMPLEX, 0.0045 * dpi, 255, 1, cv2.LINE_AA
        )
    print_on(page, mask, BLACK)


def shade(page: Page) -> None:
    """The light of a lamp on the right: the left side of the page is half as bright."""
    page[:] = np.round(page * np.linspace(0.5, 1, page.shape[1])[None, :, None])


def blotted_page(height: int, width: int, seed: int = 1) -> NDArray[np.uint8]:
    """A page of blots, so that a network has something to say."""
    blots = np.random.default_rng(seed).integers(0, 256, (-(-height // 9), -(-width // 9), 3), dtype=np.uint8)
    return np.kron(blots, np.ones((9, 9, 1), np.uint8))[:height, :width]
