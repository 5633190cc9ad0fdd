"""Small ornaments of stamps: stars, rosettes, crescents, shields, wheels and coats of arms that belong to nobody."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["draw_emblem", "draw_star"]

Layer = NDArray[np.float32]
_SHIFT = 4


def _fixed(points: NDArray[np.float64]) -> NDArray[np.int32]:
    """Fixed-point coordinates: OpenCV antialiases at sub-pixel places only in this form, and only on 8-bit images."""
    return np.round(points * (1 << _SHIFT)).astype(np.int32)


def _fill(canvas: NDArray[np.uint8], points: NDArray[np.float64], value: int = 255) -> None:
    cv2.fillPoly(canvas, [_fixed(points)], value, lineType=cv2.LINE_AA, shift=_SHIFT)


def draw_star(size: int, *, points: int = 5, sharpness: float = 0.4, turn: float = 0.0) -> Layer:
    """A filled star, (size, size) float32 coverage; `sharpness` is the inner radius over the outer one."""
    image = np.zeros((size, size), np.uint8)
    angle = np.arange(2 * points) * np.pi / points + turn
    radius = np.where(np.arange(2 * points) % 2 == 0, 0.48, 0.48 * sharpness) * size
    outline = np.column_stack([size / 2 + radius * np.sin(angle), size / 2 - radius * np.cos(angle)])
    _fill(image, outline)
    return _unit(image)


def draw_emblem(rng: np.random.Generator, size: int) -> Layer:
    """One ornament of a random sort, (size, size) float32 coverage."""
    size = max(size, 8)
    sort = rng.integers(6)
    if sort == 0:
        points = int(rng.choice([5, 5, 6, 8, 12]))
        return draw_star(
            size, points=points, sharpness=float(rng.uniform(0.38, 0.5) if points == 5 else rng.uniform(0.4, 0.8))
        )
    if sort == 1:
        return _rosette(rng, size)
    if sort == 2:
        return _crescent(size)
    if sort == 3:
        return _wheel(rng, size)
    return _arms(rng, size)


def _unit(image: NDArray[np.uint8]) -> Layer:
    return image.astype(np.float32) / np.float32(255)


def _rosette(rng: np.random.Generator, size: int) -> Layer:
    image = np.zeros((size, size), np.uint8)
    angle = np.linspace(0, 2 * np.pi, 361)
    petals, depth = int(rng.integers(4, 13)), rng.uniform(0.2, 0.5)
    for scale in (1.0, 0.62, 0.35):
        radius = size * 0.46 * scale * (1 - depth + depth * np.cos(petals * angle))
        outline = np.column_stack([size / 2 + radius * np.cos(angle), size / 2 + radius * np.sin(angle)])
        cv2.polylines(image, [_fixed(outline)], True, 255, max(size // 40, 1), cv2.LINE_AA, _SHIFT)
    return _unit(image)


def _crescent(size: int) -> Layer:
    image = np.zeros((size, size), np.uint8)
    cv2.circle(image, (size // 2, size // 2), int(size * 0.42), 255, -1, cv2.LINE_AA)
    cv2.circle(image, (int(size * 0.61), size // 2), int(size * 0.34), 0, -1, cv2.LINE_AA)
    layer = _unit(image)
    star = draw_star(max(size // 3, 6))
    top, left = (size - len(star)) // 2, int(size * 0.52)
    layer[top : top + len(star), left : left + len(star)] += star[:, : size - left]
    return np.minimum(layer, 1)


def _wheel(rng: np.random.Generator, size: int) -> Layer:
    image = np.zeros((size, size), np.uint8)
    centre, pen = (size // 2, size // 2), max(size // 24, 1)
    for scale in (0.45, 0.2):
        cv2.circle(image, centre, int(size * scale), 255, pen, cv2.LINE_AA)
    spokes = int(rng.integers(6, 25))
    for angle in np.arange(spokes) * 2 * np.pi / spokes:
        direction = np.array([np.cos(angle), np.sin(angle)])
        start, end = size / 2 + direction * size * 0.2, size / 2 + direction * size * 0.45
        cv2.line(image, start.astype(int).tolist(), end.astype(int).tolist(), 255, pen, cv2.LINE_AA)
    return _unit(image)


def _arms(rng: np.random.Generator, size: int) -> Layer:
    """Two mirrored wings about a shield: reads as a coat of arms."""
    image = np.zeros((size, size), np.uint8)
    feathers = int(rng.integers(6, 13))
    longest, lift = rng.uniform(0.36, 0.47), rng.uniform(0.3, 0.45) * np.pi
    for index in range(feathers):
        share = index / (feathers - 1)
        angle = -0.3 * np.pi + share * (lift + 0.3 * np.pi)
        length = size * longest * (0.45 + 0.55 * np.sin(np.pi * (0.15 + 0.75 * share)))
        root = np.array([size * 0.53, size * (0.7 - 0.3 * share)])
        tip = root + length * np.array([np.cos(angle), -np.sin(angle)])
        side = size * 0.022 * np.array([np.sin(angle), np.cos(angle)])
        _fill(image, np.array([root, 0.4 * root + 0.6 * tip + side, tip, 0.4 * root + 0.6 * tip - side]))
    shield = np.array([[0.5, 0.3], [0.66, 0.3], [0.66, 0.55], [0.6, 0.68], [0.5, 0.76]]) * size
    _fill(image, shield, 0 if rng.random() < 0.5 else 255)
    cv2.polylines(image, [_fixed(shield)], False, 255, max(size // 40, 1), cv2.LINE_AA, _SHIFT)
    _fill(image, np.array([[0.5, 0.12], [0.58, 0.2], [0.5, 0.28]]) * size)
    return _unit(np.maximum(image, image[:, ::-1]))
