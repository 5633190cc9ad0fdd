"""The blank sheet that print is laid on: optical density per channel, drawn in millimetres."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from backend.synthetic.lettering import Coverage
from backend.synthetic.marks import MM_PER_INCH

__all__ = ["A4", "BLACK", "MM_PER_POINT", "Density", "Rect", "Sheet", "density_of", "diluted"]

Density = tuple[float, float, float]

A4 = (210.0, 297.0)
MM_PER_POINT = MM_PER_INCH / 72
BLACK: Density = (1.3, 1.3, 1.3)
_SUBPIXEL_BITS = 4


def density_of(red: int, green: int, blue: int) -> Density:
    """The optical density (R, G, B) that makes white paper show this 8-bit colour."""
    shares = np.maximum(np.array([red, green, blue]) / 255.0, 0.03)
    red_density, green_density, blue_density = (float(value) for value in -np.log10(shares))
    return red_density, green_density, blue_density


def diluted(density: Density, share: float) -> Density:
    """That share of an ink's density; a negative share takes print of this colour away, as white letters do."""
    red, green, blue = density
    return red * share, green * share, blue * share


@dataclass(frozen=True)
class Rect:
    """A rectangle on a sheet in mm: top left corner and size."""

    x: float
    y: float
    width: float
    height: float


class Sheet:
    """A page of optical density, (H, W, 3) float32: 0 is bare paper, inks over each other add up.

    All positions and sizes are millimetres from the top left corner unless they are called pixels.
    """

    def __init__(self, dpi: float, size: tuple[float, float] = A4) -> None:
        self.dpi = dpi
        self.width, self.height = size
        self.scale = dpi / MM_PER_INCH
        self.density = np.zeros((self.pixels(self.height), self.pixels(self.width), 3), np.float32)

    def pixels(self, millimetres: float) -> int:
        return round(millimetres * self.scale)

    def lay(self, coverage: Coverage, x: int, y: int, density: Density) -> None:
        """Prints `coverage` (h, w) of an ink with its top left at pixel (x, y); what falls off the sheet is cut."""
        target, part = self._overlap(coverage, x, y)
        for channel, strength in enumerate(density):
            if strength:
                target[..., channel] += part * np.float32(strength)

    def knock_out(self, coverage: Coverage, x: int, y: int) -> None:
        """Takes print away where `coverage` lies, as white letters on a coloured bar do."""
        target, part = self._overlap(coverage, x, y)
        target *= 1 - part[..., None]

    def picture(self, density: NDArray[np.float32], x: float, y: float) -> None:
        """Prints a picture, (h, w, 3) of density, with its top left at (x, y)."""
        target, part = self._overlap(density, self.pixels(x), self.pixels(y))
        target += part

    def fill(self, rect: Rect, density: Density) -> None:
        """A filled rectangle; one thinner than a pixel becomes a paler pixel."""
        wide, high = rect.width * self.scale, rect.height * self.scale
        share = min(wide, 1.0) * min(high, 1.0)
        shape = (max(round(high), 1), max(round(wide), 1))
        self.lay(np.full(shape, np.float32(share)), self.pixels(rect.x), self.pixels(rect.y), density)

    def frame(self, rect: Rect, density: Density, *, thickness: float) -> None:
        """Four ruled lines around a rectangle."""
        for top in (rect.y, rect.y + rect.height):
            self.fill(Rect(rect.x, top, rect.width, thickness), density)
        for left in (rect.x, rect.x + rect.width):
            self.fill(Rect(left, rect.y, thickness, rect.height), density)

    def dots(self, x: float, y: float, width: float, density: Density, *, pitch: float = 1.2) -> None:
        """A dotted leader."""
        for left in np.arange(x, x + width, pitch):
            self.fill(Rect(float(left), y, 0.35, 0.35), density)

    def polygon(
        self, points: Sequence[tuple[float, float]], density: Density, *, thickness: float | None = None
    ) -> None:
        """A filled polygon, or with a `thickness` its closed outline."""
        outline = np.array(points, dtype=np.float64) * self.scale
        margin = 2 + (thickness or 0) * self.scale
        left, top = np.floor(outline.min(axis=0) - margin).astype(int)
        right, bottom = np.ceil(outline.max(axis=0) + margin).astype(int)
        canvas = np.zeros((bottom - top, right - left), np.uint8)
        path = np.round((outline - (left, top)) * (1 << _SUBPIXEL_BITS)).astype(np.int32)
        if thickness is None:
            cv2.fillPoly(canvas, [path], 255, cv2.LINE_AA, _SUBPIXEL_BITS)
        else:
            width = max(round(thickness * self.scale), 1)
            cv2.polylines(canvas, [path], True, 255, width, cv2.LINE_AA, _SUBPIXEL_BITS)
        self.lay(canvas.astype(np.float32) / np.float32(255), int(left), int(top), density)

    def ellipse(self, rect: Rect, density: Density, *, thickness: float | None = None) -> None:
        """An ellipse inside that rectangle, filled or as an outline."""
        turn = np.linspace(0, 2 * np.pi, 73)[:-1]
        across, down = rect.width / 2, rect.height / 2
        ring = np.column_stack([rect.x + across * (1 + np.cos(turn)), rect.y + down * (1 + np.sin(turn))])
        self.polygon([(float(x), float(y)) for x, y in ring], density, thickness=thickness)

    def _overlap(self, patch: NDArray[np.float32], x: int, y: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        height, width = self.density.shape[:2]
        left, top = max(x, 0), max(y, 0)
        right, bottom = min(x + patch.shape[1], width), min(y + patch.shape[0], height)
        right, bottom = max(right, left), max(bottom, top)
        return self.density[top:bottom, left:right], patch[top - y : bottom - y, left - x : right - x]
