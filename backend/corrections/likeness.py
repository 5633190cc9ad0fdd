"""Whether two crops show the same thing: the same print, the same rubber or a copy of the page, and not the same sort.

Key points of one are found again in the other (SIFT; Lowe 2004). One turn and one scale explain them (RANSAC). Then the
ink lies on the ink: without their coarse shapes, both correlate. Two thumbs, or two signatures, share a shape and no
key points. `python -m benchmarks.recall` measures what comes of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from backend.pages.encoding import jpeg_bytes

__all__ = ["Likeness", "Look", "decoded", "encoded", "likeness", "look_at"]

_MARGIN = 0.25
"""Of a side, around the box: two boxes on one thing differ by less."""
_SIDE = 128
_QUALITY = 80
_MOST_POINTS = 300
_LEAST_CONTRAST = 0.02
_FEWEST_POINTS = 4
_SECOND = 0.95
"""A point is found again where the second best is this much further away."""
_OFF = 4.0
_TRIES = 500
_SEED = 0

_POINTS, _INK, _STROKES = 6, 0.45, 0.25
_POINTS_OF_PRINT, _INK_OF_PRINT, _STROKES_OF_PRINT, _TURN_OF_PRINT = 10, 0.75, 0.5, 3.0
_INK_WITH_STROKES = 0.7
"""Enough for print where the strokes correlate as much."""
_SMALLEST, _LARGEST = 0.5, 2.0
_LEAST_COVER = 0.5
_AROUND = 12.0
"""Pixels of the picture that a place has around it."""
_INKED = 0.15


@dataclass(frozen=True, eq=False)
class Look:
    """A crop as likeness looks at it.

    Attributes:
        ink: (h, w) darkness against the paper, 0 to 255, margin included; the box's longer side is 128 pixels.
        box: x1, y1, x2, y2 of the box in it.
    """

    ink: NDArray[np.uint8]
    box: tuple[float, float, float, float]

    @cached_property
    def points(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Places (P, 2) and descriptors (P, 128), as RootSIFT (Arandjelović and Zisserman 2012)."""
        sift = cv2.SIFT.create(nfeatures=_MOST_POINTS, contrastThreshold=_LEAST_CONTRAST)
        found, described = sift.detectAndCompute(self.ink, None)
        if described is None or not len(found):
            return np.zeros((0, 2), np.float32), np.zeros((0, 128), np.float32)
        shares = described / np.maximum(described.sum(axis=1, keepdims=True), 1e-9)
        return np.array([point.pt for point in found], np.float32), np.sqrt(shares).astype(np.float32)

    @cached_property
    def detail(self) -> NDArray[np.float32]:
        """The ink without its coarse shape and without noise, (h, w)."""
        return _between(self.ink, 1.0, 6.0)

    @cached_property
    def strokes(self) -> NDArray[np.float32]:
        """What is finer still: the single strokes, (h, w)."""
        return _between(self.ink, 0.7, 2.5)


@dataclass(frozen=True, kw_only=True)
class Likeness:
    """How alike two crops are.

    Attributes:
        points: Key points of the one that are found again in the other, in one arrangement.
        ink: Correlation of the ink once one lies on the other, −1 to 1.
        strokes: Correlation of the strokes around a place, which is lower at one in four of the inked places.
        turn: Degrees between them.
    """

    points: int = 0
    ink: float = -1.0
    strokes: float = -1.0
    turn: float = 0.0

    @property
    def same(self) -> bool:
        """Whether both show the same thing."""
        return self.points >= _POINTS and self.ink >= _INK and self.strokes >= _STROKES

    @property
    def print(self) -> bool:
        """Whether they are the same to the dot, as print and copies are, and no two impressions of a rubber."""
        precise = self.ink >= _INK_OF_PRINT and self.strokes >= _STROKES_OF_PRINT
        precise |= min(self.ink, self.strokes) >= _INK_WITH_STROKES
        return precise and self.points >= _POINTS_OF_PRINT and abs(self.turn) <= _TURN_OF_PRINT


def look_at(pixels: NDArray[np.uint8], box: NDArray[np.float64]) -> Look:
    """Looks at a box (4,) xyxy on an (H, W, 3) RGB page, or on a crop that has margin around the box."""
    height, width = pixels.shape[:2]
    x1, y1, x2, y2 = box.tolist()
    across, down = _MARGIN * (x2 - x1), _MARGIN * (y2 - y1)
    left = min(max(math.floor(x1 - across), 0), width - 1)
    top = min(max(math.floor(y1 - down), 0), height - 1)
    right = min(max(math.ceil(x2 + across), left + 1), width)
    bottom = min(max(math.ceil(y2 + down), top + 1), height)
    scale = _SIDE / max(x2 - x1, y2 - y1, 1.0)
    size = (max(round((right - left) * scale), 8), max(round((bottom - top) * scale), 8))
    # Ink of any colour is dark in one channel at least.
    light = np.ascontiguousarray(pixels[top:bottom, left:right].min(axis=2))
    resized = cv2.resize(light, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC).astype(np.float32)
    paper = max(float(np.percentile(resized, 90)), 1.0)
    ink = np.clip((paper - resized) / paper, 0, 1)
    darkest = max(float(np.percentile(ink, 99)), 0.05)
    inside = ((x1 - left) * scale, (y1 - top) * scale, (x2 - left) * scale, (y2 - top) * scale)
    return Look((255 * np.clip(ink / darkest, 0, 1)).astype(np.uint8), inside)


def encoded(look: Look) -> bytes:
    """The picture as a file of some kilobytes; its box is kept beside it."""
    return jpeg_bytes(look.ink, quality=_QUALITY)


def decoded(file: bytes, box: Sequence[float]) -> Look:
    """What `encoded` made a file of."""
    ink = cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_GRAYSCALE)
    x1, y1, x2, y2 = box
    return Look(np.asarray(ink, np.uint8), (x1, y1, x2, y2))


def likeness(one: Look, other: Look) -> Likeness:
    """Compares two crops; the order makes hardly a difference."""
    (places, described), (others, other_described) = one.points, other.points
    if len(places) < _FEWEST_POINTS or len(others) < _FEWEST_POINTS:
        return Likeness()
    cosines = described @ other_described.T
    ranked = np.argsort(-cosines, axis=1)[:, :2]
    rows = np.arange(len(cosines))
    best, second = cosines[rows, ranked[:, 0]], cosines[rows, ranked[:, 1]]
    clear = (1 - best) < _SECOND**2 * (1 - second)
    mutual = cosines.argmax(axis=0)[ranked[:, 0]] == rows
    pairs = np.flatnonzero(clear & mutual)
    if len(pairs) < _FEWEST_POINTS:
        return Likeness()
    cv2.setRNGSeed(_SEED)  # RANSAC draws: the same crops shall give the same answer
    moved, agreeing = cv2.estimateAffinePartial2D(
        places[pairs], others[ranked[pairs, 0]], method=cv2.RANSAC, ransacReprojThreshold=_OFF, maxIters=_TRIES
    )
    if moved is None or not _SMALLEST < math.hypot(moved[0, 0], moved[1, 0]) < _LARGEST:
        return Likeness()
    turn = math.degrees(math.atan2(moved[1, 0], moved[0, 0]))
    ink, strokes = _overlaid(one, other, np.asarray(moved, np.float64))
    return Likeness(points=int(agreeing.sum()), ink=ink, strokes=strokes, turn=turn)


def _overlaid(one: Look, other: Look, moved: NDArray[np.float64]) -> tuple[float, float]:
    """`ink` and `strokes` within the box of `one`, with `other` laid on it."""
    there = _laid(np.ones_like(other.detail), one, moved) > 0.5
    x1, y1, x2, y2 = (round(value) for value in one.box)
    window = (slice(max(y1 - 2, 0), y2 + 2), slice(max(x1 - 2, 0), x2 + 2))
    seen = there[window]
    if seen.mean() < _LEAST_COVER:
        return -1.0, -1.0
    a, b = one.detail[window][seen], _laid(other.detail, one, moved)[window][seen]
    a, b = a - a.mean(), b - b.mean()
    ink = float((a * b).sum() / max(math.sqrt(float((a * a).sum() * (b * b).sum())), 1e-9))
    return ink, _locally(one.strokes[window], _laid(other.strokes, one, moved)[window])


def _locally(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """The lower quartile of the correlations around each place where both have ink; −1 where there is none."""
    mean, others_mean = _around(one), _around(other)
    spread = np.maximum(_around(one * one) - mean * mean, 0)
    others_spread = np.maximum(_around(other * other) - others_mean * others_mean, 0)
    inked = (spread > _INKED * spread.mean()) & (others_spread > _INKED * others_spread.mean())
    if not inked.any():
        return -1.0
    shared = (_around(one * other) - mean * others_mean)[inked]
    return float(np.percentile(shared / np.sqrt(np.maximum(spread * others_spread, 1e-12))[inked], 25))


def _laid(picture: NDArray[np.float32], on: Look, moved: NDArray[np.float64]) -> NDArray[np.float32]:
    height, width = on.ink.shape
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(picture, moved, (width, height), flags=flags), np.float32)


def _around(values: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(cv2.GaussianBlur(values, (0, 0), _AROUND), np.float32)


def _between(ink: NDArray[np.uint8], fine: float, coarse: float) -> NDArray[np.float32]:
    values = ink.astype(np.float32) / 255
    return np.asarray(cv2.GaussianBlur(values, (0, 0), fine) - cv2.GaussianBlur(values, (0, 0), coarse), np.float32)
