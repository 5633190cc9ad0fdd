"""What paper goes through before it is scanned: folds, creases, stains, punched holes, staples, print from the back.

How a sheet lands on the image: skew, perspective and curl, as one map for the page and for every mark on it.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from backend.synthetic.sheet import Rect, Sheet, density_of, diluted
from backend.synthetic.texts import pick

__all__ = ["Warp", "draw_warp", "flat", "show_through", "uneven_toner", "wear"]

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


def wear(sheet: Sheet, rng: np.random.Generator) -> None:
    """Leaves the traces of use on a printed sheet; most sheets carry few."""
    if rng.random() < 0.14:
        _folds(sheet, rng)
    if rng.random() < 0.08:
        for _ in range(int(rng.integers(1, 5))):
            _crease(sheet, rng)
    if rng.random() < 0.07:
        for _ in range(int(rng.integers(1, 3))):
            _stain(sheet, rng)
    if rng.random() < 0.06:
        _holes(sheet, rng)
    if rng.random() < 0.10:
        _staple(sheet, rng)
    if rng.random() < 0.25:
        _specks(sheet, rng)


def show_through(sheet: Sheet, rng: np.random.Generator) -> None:
    """Adds the mirrored, blurred print of the sheet's other side; call it before the marks are laid."""
    step = 4
    back = cv2.resize(sheet.density.mean(axis=2), None, fx=1 / step, fy=1 / step, interpolation=cv2.INTER_AREA)
    back = cv2.GaussianBlur(back[:, ::-1], (0, 0), 0.25 * sheet.scale / step + 0.3)
    height, width = sheet.density.shape[:2]
    shift = rng.integers(-height // 30, height // 30)
    full = np.roll(cv2.resize(back, (width, height), interpolation=cv2.INTER_LINEAR), int(shift), axis=0)
    sheet.density += np.float32(rng.uniform(0.03, 0.10)) * full[..., None]


def uneven_toner(sheet: Sheet, rng: np.random.Generator) -> None:
    """Weakens the print in cloudy patches, streaks and grain; call it before the marks are laid."""
    height, width = sheet.density.shape[:2]
    clouds = rng.normal(1, rng.uniform(0.02, 0.15), (height // 60 + 2, width // 60 + 2))
    streaks = rng.normal(1, rng.uniform(0.0, 0.12), (1, width // 40 + 2))
    strength = cv2.resize(clouds, (width, height)) * cv2.resize(streaks, (width, 1))
    grain = cv2.resize(
        rng.normal(0, rng.uniform(0, 0.25), (height // 2, width // 2)).astype(np.float32), (width, height)
    )
    sheet.density *= np.clip(strength + grain, 0.15, 1.3).astype(np.float32)[..., None]


def _folds(sheet: Sheet, rng: np.random.Generator) -> None:
    """Straight folds across or along the sheet: a thin line, and a soft shadow on one side of it."""
    for share in pick(rng, ((0.5,), (1 / 3, 2 / 3), (0.5,), (0.25, 0.5, 0.75))):
        along = rng.random() < 0.3
        length = sheet.density.shape[1 if along else 0]
        at = (share + rng.normal(0, 0.01)) * length
        away = np.arange(length, dtype=np.float32) - np.float32(at)
        line = rng.uniform(-0.06, 0.10) * np.exp(-((away / (0.3 * sheet.scale)) ** 2))
        shade = rng.uniform(0.0, 0.07) * np.exp(-np.abs(away) / (9 * sheet.scale)) * (away > 0)
        profile = (line + shade).astype(np.float32)
        sheet.density += profile[None, :, None] if along else profile[:, None, None]


def _crease(sheet: Sheet, rng: np.random.Generator) -> None:
    """A short, wavering line of broken fibres."""
    size = sheet.pixels(rng.uniform(20, 70))
    canvas = np.zeros((size, size), np.uint8)
    points = np.cumsum(rng.normal(0, 0.05, (12, 2)), axis=0) + np.linspace((0.1, 0.1), (0.9, rng.uniform(0.2, 0.9)), 12)
    path = np.round(points * size * 16).astype(np.int32)
    cv2.polylines(canvas, [path], False, 255, max(round(0.15 * sheet.scale), 1), cv2.LINE_AA, 4)
    left, top = rng.uniform(0, sheet.width - 40), rng.uniform(0, sheet.height - 40)
    depth = rng.uniform(-0.08, 0.14)
    sheet.lay(canvas.astype(np.float32) / np.float32(255), sheet.pixels(left), sheet.pixels(top), (depth, depth, depth))


def _stain(sheet: Sheet, rng: np.random.Generator) -> None:
    """A coffee ring or a damp patch with a darker rim."""
    size, step = rng.uniform(20, 90), 4
    cells = max(sheet.pixels(size) // step, 8)
    rows, columns = np.mgrid[-1 : 1 : complex(cells), -1 : 1 : complex(cells)]
    rough = cv2.resize(rng.normal(0, 0.13, (6, 6)), (cells, cells), interpolation=cv2.INTER_CUBIC)
    radius = np.hypot(rows, columns * rng.uniform(0.8, 1.3)) + rough
    rim = np.exp(-(((radius - 0.72) / 0.05) ** 2)) * rng.uniform(0.1, 1)
    inside = rng.uniform(0, 0.6) / (1 + np.exp((radius - 0.72) * 30))
    patch = cv2.resize((rim + inside).astype(np.float32), None, fx=step, fy=step, interpolation=cv2.INTER_LINEAR)
    strength = rng.uniform(0.05, 0.3)
    place = sheet.pixels(rng.uniform(-20, sheet.width - 20)), sheet.pixels(rng.uniform(-20, sheet.height - 20))
    sheet.lay(np.asarray(patch, np.float32), *place, diluted(density_of(190, 150, 100), strength))


def _holes(sheet: Sheet, rng: np.random.Generator) -> None:
    """Two or four punched holes on the binding side: the scanner's lid shows, with a shadow."""
    left = pick(rng, (11.0, sheet.width - 11.0)) + rng.normal(0, 1)
    spread = pick(rng, ((-40.0, 40.0), (-120.0, -40.0, 40.0, 120.0)))
    depth = rng.uniform(0.1, 1.1)
    for offset in spread:
        top = sheet.height / 2 + offset
        sheet.ellipse(Rect(left - 3, top - 3, 6, 6), (depth, depth, depth))
        sheet.ellipse(Rect(left - 3, top - 3, 6, 6), (0.25, 0.25, 0.25), thickness=0.4)


def _staple(sheet: Sheet, rng: np.random.Generator) -> None:
    """A staple near an upper corner, or the two holes that it left."""
    x, y = pick(rng, (9.0, sheet.width - 20)) + rng.uniform(0, 5), rng.uniform(6, 14)
    rise = rng.uniform(-5, 5)
    grey = rng.uniform(0.4, 0.9)
    if rng.random() < 0.6:
        sheet.polygon([(x, y), (x + 10, y + rise), (x + 10, y + rise + 0.7), (x, y + 0.7)], (grey, grey, grey))
    for hole_x, hole_y in ((x, y), (x + 10, y + rise)):
        sheet.ellipse(Rect(hole_x - 0.5, hole_y - 0.3, 1, 1), (0.8, 0.8, 0.8))


def _specks(sheet: Sheet, rng: np.random.Generator) -> None:
    """Dust and toner spots."""
    for x, y, size in rng.uniform((0, 0, 0.15), (sheet.width, sheet.height, 0.6), (int(rng.integers(5, 90)), 3)):
        depth = rng.uniform(0.1, 1.0)
        sheet.fill(Rect(float(x), float(y), float(size), float(size)), (depth, depth, depth))
