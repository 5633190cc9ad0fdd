"""What paper goes through before it is scanned: folds, creases, stains, punched holes, staples, print from the back."""

from __future__ import annotations

import cv2
import numpy as np

from backend.synthetic.sheet import Rect, Sheet, density_of, diluted
from backend.synthetic.texts import pick

__all__ = ["show_through", "uneven_toner", "wear"]


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
