"""How a sheet lands on the image: skew, perspective and curl, as one map for the page and for every mark on it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["Warp", "draw_warp", "flat"]

_GRID = 16


@dataclass(frozen=True, kw_only=True, eq=False)
class Warp:
    """For every image pixel, the sheet position that it shows.

    Attributes:
        x: Sheet column, (H, W) float32 pixels.
        y: Sheet row, (H, W) float32 pixels.
    """

    x: NDArray[np.float32]
    y: NDArray[np.float32]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the image in pixels."""
        return self.x.shape[1], self.x.shape[0]

    def page(self, sheet: NDArray[np.float32], *, outside: float) -> NDArray[np.float32]:
        """The whole `sheet` as the image shows it; beyond its edge the image holds `outside`."""
        border = (outside,) * 4
        warped = cv2.remap(sheet, self.x, self.y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=border)
        return np.asarray(warped, np.float32)

    def patch(self, coverage: NDArray[np.float32], x: int, y: int) -> tuple[NDArray[np.float32], int, int]:
        """What the image shows of a patch that lies at pixel (x, y) of the sheet.

        Returns:
            The patch on the image and its column and row there; an empty patch when nothing of it is visible.
        """
        height, width = coverage.shape
        # A coarse look over the image finds the rows and columns that can show the patch; the slack makes up for it.
        slack = 2 * _GRID
        near_x, near_y = self.x[::_GRID, ::_GRID], self.y[::_GRID, ::_GRID]
        seen = (
            (near_x > x - slack) & (near_x < x + width + slack) & (near_y > y - slack) & (near_y < y + height + slack)
        )
        rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
        if not len(rows):
            return np.zeros((0, 0), np.float32), 0, 0
        top, left = max(int(rows[0]) - 1, 0) * _GRID, max(int(columns[0]) - 1, 0) * _GRID
        window = np.s_[top : (int(rows[-1]) + 2) * _GRID, left : (int(columns[-1]) + 2) * _GRID]
        local_x, local_y = self.x[window] - np.float32(x), self.y[window] - np.float32(y)
        warped = cv2.remap(coverage, local_x, local_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=0)
        return np.asarray(warped, np.float32), left, top


def flat(width: int, height: int) -> Warp:
    """The image shows the sheet exactly."""
    columns, rows = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return Warp(x=columns, y=rows)


def draw_warp(
    rng: np.random.Generator,
    width: int,
    height: int,
    *,
    skew: float,
    perspective: float,
    curl: float,
    zoom: float = 1.0,
) -> Warp:
    """A random warp of a sheet of `width` x `height` pixels onto an image of the same size.

    Args:
        rng: Where the randomness comes from.
        width: Pixels.
        height: Pixels.
        skew: Standard deviation of the rotation in degrees, cut at 2.
        perspective: How far a corner may move inwards or outwards, as a share of the page.
        curl: Amplitude of smooth waves across the page, as a share of its width.
        zoom: Size of the sheet on the image; below 1 its surroundings show, above 1 its edges are cut.
    """
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    angle = float(np.clip(rng.normal(0, skew), -2, 2)) if skew else 0.0
    zoom *= 1 + rng.normal(0, 0.004) * bool(skew)
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), angle, zoom)
    moved = corners @ turn[:, :2].T + turn[:, 2] + rng.normal(0, 0.003, 2) * (width, height) * bool(skew)
    moved = moved + rng.uniform(-perspective, perspective, (4, 2)) * (width, height)
    to_sheet = cv2.getPerspectiveTransform(moved.astype(np.float32), corners)
    columns, rows = np.meshgrid(_knots(width), _knots(height))
    points = np.stack([columns, rows, np.ones_like(rows)], axis=-1) @ to_sheet.T
    x, y = points[..., 0] / points[..., 2], points[..., 1] / points[..., 2]
    if curl:
        phase = rng.uniform(0, 2 * np.pi, 4)
        waves = rng.uniform(0.5, 1.6, 2) * 2 * np.pi
        x = x + curl * width * np.sin(waves[0] * y / height + phase[0]) * np.sin(3 * x / width + phase[1])
        y = y + curl * width * np.sin(waves[1] * x / width + phase[2]) * np.cos(2 * y / height + phase[3])
    return Warp(x=_dense(x, width, height), y=_dense(y, width, height))


def _knots(length: int) -> NDArray[np.float64]:
    """Middles of cells of 16 pixels, one more on either side: where `cv2.resize` takes coarse pixels to lie."""
    return np.asarray((np.arange(-1, length // _GRID + 2) + 0.5) * _GRID - 0.5, np.float64)


def _dense(grid: NDArray[np.float64], width: int, height: int) -> NDArray[np.float32]:
    """Linear interpolation of a map known at the knots."""
    size = grid.shape[1] * _GRID, grid.shape[0] * _GRID
    full = cv2.resize(grid.astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
    return np.ascontiguousarray(full[_GRID : _GRID + height, _GRID : _GRID + width], np.float32)
