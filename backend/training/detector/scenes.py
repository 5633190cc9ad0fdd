"""Pages in memory at the detector's resolution, changed as scanners, pens and offices do, with real marks pasted.

Inks multiply: a pasted mark darkens the page by its optical density, D = -log(I / paper). Nothing is mirrored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from backend.geometry import Boxes, areas, as_boxes, clip, coverage
from backend.training.augment import hue_turn
from backend.training.detector.targets import Knowledge
from backend.training.pagestore import LabelledPage, Pages
from backend.vision.engine import PIXEL_MM
from backend.vision.network_config import MARKS
from backend.vision.network_detector import page_input

__all__ = ["CANVAS", "Changes", "PastedMark", "Scene", "Stock", "changed", "load_stock"]

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]
PastedMark = tuple[int, Floats]

CANVAS = (896, 640)
"""Height and width of a training page: A4 at the detector's resolution, in multiples of 32."""
_LOG = -np.log(np.maximum(np.arange(256, dtype=np.float32), 1) / 255).astype(np.float32)
_GREY = np.array([0.299, 0.587, 0.114], np.float32)
_SEEN = 0.5
"""Share of a mark that must be on the canvas for it to count as that mark."""
_FREE = 0.25
"""Share of a pasted mark that may lie on others, most times."""
_PAPER_NOISE = 0.06
_SIZES_MM = {"signature": (22.0, 65.0), "stamp": (22.0, 55.0), "thumb": (14.0, 26.0)}
"""Longer sides that pasted marks have."""


@dataclass(frozen=True, kw_only=True)
class Changes:
    """How often (probabilities) and how strongly pages are changed.

    Attributes:
        paste: How often real marks are pasted, at most `most_pasted` of them.
        most_pasted: See `paste`.
        zoom: Largest change of size, as a share.
        stretch: Largest change of the ratio of the sides.
        tilt: Standard deviation of the rotation, degrees.
        shift: Largest move, as a share of the page.
        grey: How often all colour is lost.
        hue: How often all inks turn their hue.
        fade: How often all ink is weakened, down to `weakest`.
        weakest: See `fade`.
        tint: How often the paper changes its colour or brightness.
        blur: How often it is blurred.
        noise: How often it gets noise.
        jpeg: How often it is compressed once more.
    """

    paste: float = 0.6
    most_pasted: int = 3
    zoom: float = 0.16
    stretch: float = 0.08
    tilt: float = 1.2
    shift: float = 0.06
    grey: float = 0.15
    hue: float = 0.2
    fade: float = 0.3
    weakest: float = 0.45
    tint: float = 0.4
    blur: float = 0.25
    noise: float = 0.3
    jpeg: float = 0.3


@dataclass(frozen=True, eq=False)
class Scene:
    """A page at the detector's resolution and what is known about it."""

    pixels: Pixels
    knowledge: Knowledge


@dataclass(frozen=True, eq=False)
class Stock:
    """What scenes are made of.

    Attributes:
        scenes: Pages as they are.
        groups: Their domains and sources, as `drawn` or `real/page_full`.
        marks: Single marks to paste, by where they come from, each with its class: (h, w, 3) optical densities.
    """

    scenes: tuple[Scene, ...]
    groups: tuple[str, ...]
    marks: tuple[tuple[PastedMark, ...], ...] = field(default=())


def load_stock(
    store: Pages, pages: Sequence[LabelledPage], marks: Mapping[str, Sequence[tuple[str, Pixels]]] | None = None
) -> Stock:
    """Reads pages at the detector's resolution, and marks as densities."""
    scenes, groups = [], []
    for page in pages:
        pixels = store.pixels(page)
        small, scale = page_input(pixels, page.dpi)
        # A logo is on paper to be seen, and is no mark: nothing needs to be said about it.
        scenes.append(
            Scene(
                small,
                Knowledge(
                    boxes=as_boxes(page.boxes) * scale,
                    labels=np.array([MARKS.index(label) for label in page.labels], np.intp),
                    ignored=as_boxes(page.ignored) * scale,
                    complete=np.array([mark in page.complete for mark in MARKS]),
                ),
            )
        )
        groups.append(page.domain if page.domain == "drawn" else f"{page.domain}/{page.source}")
    found = [
        tuple((MARKS.index(label), density) for label, mark in group if (density := _density(mark)).size)
        for group in (marks or {}).values()
    ]
    return Stock(tuple(scenes), tuple(groups), tuple(group for group in found if group))


def _density(mark: Pixels) -> Floats:
    """Optical density of a mark beyond its paper, cut to where there is ink; empty where there is none."""
    scale = 320 / max(mark.shape[:2])
    if scale < 1:
        mark = np.asarray(cv2.resize(mark, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
    paper = np.percentile(mark.reshape(-1, 3), 85, axis=0)
    density = np.maximum(_LOG[mark] - _LOG[np.clip(np.round(paper), 1, 255).astype(np.uint8)] - _PAPER_NOISE, 0)
    rows, columns = np.nonzero(density.max(axis=2) > 0.12)
    if len(rows) < 30:
        return np.zeros((0, 0, 3), np.float32)
    (top, bottom), (left, right) = (np.percentile(values, (0.3, 99.7)).astype(int) for values in (rows, columns))
    return np.asarray(density[top : bottom + 1, left : right + 1], np.float32)


def changed(scene: Scene, marks: Sequence[Sequence[PastedMark]], changes: Changes, rng: np.random.Generator) -> Scene:
    """A changed copy of a scene on the canvas; the same state of `rng` gives the same."""
    scene = _moved(scene, changes, rng)
    density = np.asarray(cv2.LUT(scene.pixels, _LOG), np.float32)
    knowledge = scene.knowledge
    if marks and rng.random() < changes.paste:
        for _ in range(int(rng.integers(1, changes.most_pasted, endpoint=True))):
            group = marks[int(rng.integers(len(marks)))]
            knowledge = _pasted(density, knowledge, *group[int(rng.integers(len(group)))], rng)
    return Scene(_captured(_inked(density, changes, rng), changes, rng), knowledge)


def _moved(scene: Scene, changes: Changes, rng: np.random.Generator) -> Scene:
    """The page turned a little, resized and moved on the canvas; beyond its edge there is more of the edge's paper."""
    height, width = CANVAS
    page_height, page_width = scene.pixels.shape[:2]
    zoom = 1 + rng.uniform(-changes.zoom, changes.zoom)
    stretch = np.sqrt(1 + rng.uniform(-changes.stretch, changes.stretch))
    angle = np.radians(rng.normal(0, changes.tilt))
    cos, sin = np.cos(angle), np.sin(angle)
    linear = np.array([[cos, -sin], [sin, cos]]) @ np.diag([zoom * stretch, zoom / stretch])
    # What is larger than the canvas shows any part of itself.
    slack = np.maximum(np.array([page_width, page_height]) * zoom - [width, height], 0) / 2
    moved = rng.uniform(-1, 1, 2) * (slack + changes.shift * np.array([width, height]))
    offset = np.array([width, height]) / 2 + moved - linear @ (np.array([page_width, page_height]) / 2)
    matrix = np.column_stack([linear, offset])
    pixels = cv2.warpAffine(
        scene.pixels, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    knowledge = scene.knowledge
    turned = _turned(knowledge.boxes, matrix)
    inside = clip(turned, width=width, height=height)
    shown = areas(inside) / np.maximum(areas(turned), 1)
    seen = shown >= _SEEN
    ignored = clip(_turned(knowledge.ignored, matrix), width=width, height=height)
    return Scene(
        np.asarray(pixels, np.uint8),
        Knowledge(
            boxes=inside[seen],
            labels=knowledge.labels[seen],
            ignored=np.concatenate([ignored[areas(ignored) > 0], inside[~seen & (shown > 0)]]),
            complete=knowledge.complete,
        ),
    )


def _turned(boxes: Boxes, matrix: NDArray[np.float64]) -> Boxes:
    """The boxes around (N, 4) boxes after an affine map (2, 3).

    Inscribed ellipses are mapped rather than corners, since ink seldom reaches the corners.
    """
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2 @ matrix[:, :2].T + matrix[:, 2]
    half = np.sqrt(((boxes[:, 2:] - boxes[:, :2]) / 2) ** 2 @ (matrix[:, :2] ** 2).T)
    return np.concatenate([middle - half, middle + half], axis=1)


def _pasted(density: Floats, knowledge: Knowledge, label: int, mark: Floats, rng: np.random.Generator) -> Knowledge:
    """Prints `mark` somewhere on `density`, which changes, and adds it to what is known."""
    height, width = density.shape[:2]
    longer = rng.uniform(*_SIZES_MM[MARKS[label]]) / PIXEL_MM
    scale = longer / max(mark.shape[:2])
    size = max(6, round(mark.shape[1] * scale)), max(6, round(mark.shape[0] * scale))
    if size[0] >= width or size[1] >= height:
        return knowledge
    small = np.asarray(cv2.resize(mark, size, interpolation=cv2.INTER_AREA), np.float32)
    box = as_boxes([])
    for _ in range(4):
        left, top = int(rng.integers(0, width - size[0])), int(rng.integers(0, height - size[1]))
        box = as_boxes([(left, top, left + size[0], top + size[1])])
        taken = np.concatenate([knowledge.boxes, knowledge.ignored])
        if coverage(box, taken).max(initial=0) <= _FREE:
            break
    else:
        if rng.random() < 0.5:
            return knowledge
    if rng.random() < 0.3:
        small = np.repeat((small @ _GREY)[..., None], 3, axis=2)
    elif rng.random() < 0.4:
        small = np.maximum(small @ hue_turn(rng.uniform(-180, 180)), 0)
    density[top : top + size[1], left : left + size[0]] += small * np.float32(rng.uniform(0.5, 1.4))
    return Knowledge(
        boxes=np.concatenate([knowledge.boxes, box]),
        labels=np.append(knowledge.labels, label),
        ignored=knowledge.ignored,
        complete=knowledge.complete,
    )


def _inked(density: Floats, changes: Changes, rng: np.random.Generator) -> Floats:
    """All ink, print included, of other colours and strength; the paper with it, as a scanner's settings do."""
    if rng.random() < changes.grey:
        density = np.repeat((density @ _GREY)[..., None], 3, axis=2)
    elif rng.random() < changes.hue:
        density = np.maximum(density @ hue_turn(rng.uniform(-180, 180)), 0)
    if rng.random() < changes.fade:
        density = density * np.float32(rng.uniform(changes.weakest, 1.3))
    return np.asarray(density, np.float32)


def _captured(density: Floats, changes: Changes, rng: np.random.Generator) -> Pixels:
    """What a scanner or a telephone, and saving, make of it."""
    light = np.asarray(cv2.exp(-density), np.float32) * 255
    if rng.random() < changes.tint:
        slope = rng.uniform(-0.12, 0.12, 2)
        down = np.linspace(-0.5, 0.5, light.shape[0], dtype=np.float32)[:, None, None]
        across = np.linspace(-0.5, 0.5, light.shape[1], dtype=np.float32)[None, :, None]
        tint = rng.uniform(0.75, 1.0) * rng.uniform(0.92, 1.0, 3)
        light = light * (1 + slope[0] * down + slope[1] * across).astype(np.float32) * tint.astype(np.float32)
    if rng.random() < changes.blur:
        light = np.asarray(cv2.GaussianBlur(light, (0, 0), rng.uniform(0.3, 1.3)), np.float32)
    if rng.random() < changes.noise:
        light = light + rng.standard_normal((*light.shape[:2], 1), np.float32) * np.float32(rng.uniform(1, 8))
    pixels = np.asarray(cv2.convertScaleAbs(np.maximum(light, 0)), np.uint8)
    if rng.random() < changes.jpeg:
        _, saved = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(45, 95))])
        pixels = np.asarray(cv2.imdecode(saved, cv2.IMREAD_COLOR_RGB), np.uint8)
    return pixels
