"""Windows of pages, changed as scanners, cameras, pens and offices change pages, with real marks printed onto them.

Inks multiply: a pasted mark darkens the page by its optical density, D = -log(I / paper). Nothing is mirrored.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from backend.geometry import Boxes, areas, as_boxes, clip
from backend.training.augment import hue_turn
from backend.training.detector.detector_network import TAUGHT
from backend.training.detector.pasting import GREY, paste_some, watermark, write_over
from backend.training.detector.rows import write_rows
from backend.training.detector.scenes import LOG_LIGHT, Knowledge, PastedMark, Scene

__all__ = ["Changes", "changed"]

Floats = NDArray[np.float32]
Pixels = NDArray[np.uint8]

_SEEN = 0.5
"""Share of a mark that must be in the window for it to count as that mark."""


@dataclass(frozen=True, kw_only=True)
class Changes:
    """How often (probabilities) and how strongly pages are changed.

    Attributes:
        window: Height and width of what is shown of a page, pixels, multiples of 32: several windows with marks teach
            more than one page of print, in the same time.
        beyond: Share of the window, at each of its sides, that may lie beyond the page.
        focus: How often the window lies about a mark, or about what is taken for one; else it lies anywhere.
        turn: How often the window is turned by a quarter, a half or three quarters, or by a half where it is not
            square: it then teaches which way is up, and nothing else.
        paste: How often real marks are pasted, at most `most_pasted` of them.
        most_pasted: See `paste`.
        over: How often a pasted signature is put on a stamp, or a stamp on a signature.
        zoom: Largest change of size, as a factor.
        stretch: Largest change of the ratio of the sides, as a share.
        tilt: Standard deviation of the rotation, degrees.
        camera: How often it is seen aslant, with a shadow, as by a telephone.
        fax: How often its greys become black or white.
        grey: How often all colour is lost.
        hue: How often all inks turn their hue.
        fade: How often all ink is weakened, down to `weakest`.
        weakest: See `fade`.
        tint: How often the paper changes its colour or brightness.
        blur: How often it is blurred.
        noise: How often it gets noise.
        jpeg: How often it is compressed once more.
        watermark: How often one emblem is printed pale all over it: what is printed so is no mark.
        written: How often it is filled with handwriting, up to `most_written` pieces: none is a signature.
        most_written: See `written`.
        rows: How often a free place of it has rows of handwriting: a form that is filled in, or a table of signatures.
    """

    window: tuple[int, int] = (384, 384)
    beyond: float = 0.06
    focus: float = 0.7
    turn: float = 0.12
    paste: float = 0.6
    most_pasted: int = 3
    over: float = 0.35
    zoom: float = 1.45
    stretch: float = 0.12
    tilt: float = 1.5
    camera: float = 0.08
    fax: float = 0.06
    grey: float = 0.15
    hue: float = 0.2
    fade: float = 0.3
    weakest: float = 0.45
    tint: float = 0.4
    blur: float = 0.25
    noise: float = 0.3
    jpeg: float = 0.3
    watermark: float = 0.0
    written: float = 0.0
    most_written: int = 9
    rows: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """The changes as plain JSON; without watermarks, handwriting and rows, as it was before there were any."""
        facts = dataclasses.asdict(self)
        if self.watermark == 0:
            del facts["watermark"]
        if self.written == 0:
            del facts["written"], facts["most_written"]
        if self.rows == 0:
            del facts["rows"]
        return facts


def changed(scene: Scene, marks: Sequence[Sequence[PastedMark]], changes: Changes, rng: np.random.Generator) -> Scene:
    """A changed window of a scene; the same state of `rng` gives the same."""
    turns = scene.turns
    if turns == 0 and rng.random() < changes.turn:
        height, width = changes.window
        turns = int(rng.integers(1, 4)) if height == width else 2
    scene = _moved(scene, changes, rng)
    density = np.asarray(cv2.LUT(scene.pixels, LOG_LIGHT), np.float32)
    knowledge = scene.knowledge
    # Nothing is drawn by lot where it never happens: a recipe of before shows what it showed.
    if marks and changes.watermark > 0 and rng.random() < changes.watermark:
        knowledge = watermark(density, knowledge, marks, rng)
    if marks and changes.written > 0 and rng.random() < changes.written:
        knowledge = write_over(density, knowledge, marks, rng, most=changes.most_written)
    if marks and changes.rows > 0 and rng.random() < changes.rows:
        knowledge = write_rows(density, knowledge, marks, rng)
    if marks and rng.random() < changes.paste:
        knowledge = paste_some(density, knowledge, marks, rng, most=changes.most_pasted, over=changes.over)
    pixels = _captured(_inked(density, changes, rng), changes, rng)
    if turns > 0:
        nothing = Knowledge(
            boxes=as_boxes([]),
            labels=np.zeros(0, np.intp),
            ignored=as_boxes([]),
            complete=np.zeros(len(TAUGHT), np.bool_),
        )
        return Scene(np.ascontiguousarray(np.rot90(pixels, turns)), nothing, turns)
    return Scene(pixels, knowledge, turns)


def _moved(scene: Scene, changes: Changes, rng: np.random.Generator) -> Scene:
    """A window of the page, resized, turned a little; beyond the page's edge there is more of the edge's paper."""
    height, width = changes.window
    page_height, page_width = scene.pixels.shape[:2]
    zoom = float(np.exp(rng.uniform(-1, 1) * np.log(changes.zoom)))
    stretch = np.sqrt(1 + rng.uniform(-changes.stretch, changes.stretch))
    angle = np.radians(rng.normal(0, changes.tilt))
    cos, sin = np.cos(angle), np.sin(angle)
    linear = np.array([[cos, -sin], [sin, cos]]) @ np.diag([zoom * stretch, zoom / stretch])
    boxes = scene.knowledge.boxes
    if len(boxes) and rng.random() < changes.focus:
        left, top, right, bottom = boxes[int(rng.integers(len(boxes)))]
        middle = np.array([left + right, top + bottom]) / 2
        place = rng.uniform(0.15, 0.85, 2) * [width, height]
    else:
        middle = rng.uniform(0, 1, 2) * [page_width, page_height]
        place = np.array([width, height]) / 2
    beyond = changes.beyond * np.array([width, height])
    corners = np.array([[0, 0], [page_width, 0], [0, page_height], [page_width, page_height]]) @ linear.T
    offset = _within(corners, place - linear @ middle, window=np.array([width, height]), beyond=beyond)
    matrix = np.vstack([np.column_stack([linear, offset]), [0, 0, 1]])
    if rng.random() < changes.camera:
        corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
        aslant = corners + rng.uniform(-0.07, 0.07, (4, 2)).astype(np.float32) * np.float32(max(width, height))
        matrix = cv2.getPerspectiveTransform(corners, aslant) @ matrix
    flags, border = cv2.INTER_LINEAR if zoom > 0.8 else cv2.INTER_AREA, cv2.BORDER_REPLICATE
    pixels = cv2.warpPerspective(scene.pixels, matrix, (width, height), flags=flags, borderMode=border)
    knowledge = scene.knowledge
    turned = _mapped(knowledge.boxes, matrix)
    inside = clip(turned, width=width, height=height)
    shown = areas(inside) / np.maximum(areas(turned), 1)
    seen = shown >= _SEEN
    ignored = clip(_mapped(knowledge.ignored, matrix), width=width, height=height)
    return Scene(
        np.asarray(pixels, np.uint8),
        Knowledge(
            boxes=inside[seen],
            labels=knowledge.labels[seen],
            ignored=np.concatenate([ignored[areas(ignored) > 0], inside[~seen & (shown > 0)]]),
            complete=knowledge.complete,
        ),
    )


def _within(
    corners: NDArray[np.float64],
    offset: NDArray[np.float64],
    *,
    window: NDArray[np.int_],
    beyond: NDArray[np.float64],
) -> NDArray[np.float64]:
    """The offset moved so that hardly anything beyond the page is in the window; a smaller page lies in its middle.

    Args:
        corners: (4, 2) of the page, before the offset.
        offset: (2,) that was chosen.
        window: Its width and height.
        beyond: (2,) what may lie beyond the page at each side.
    """
    least, most = corners.min(axis=0) + offset, corners.max(axis=0) + offset
    moved = np.where(least > beyond, beyond - least, np.where(most < window - beyond, window - beyond - most, 0))
    return np.asarray(offset + np.where(most - least < window - 2 * beyond, (window - least - most) / 2, moved))


def _mapped(boxes: Boxes, matrix: NDArray[np.float64]) -> Boxes:
    """The boxes around (N, 4) boxes after a projective map (3, 3), taken for linear about each box's middle.

    Inscribed ellipses are mapped rather than corners, since ink seldom reaches the corners.
    """
    middle = np.column_stack([(boxes[:, :2] + boxes[:, 2:]) / 2, np.ones(len(boxes))]) @ matrix.T
    depth = middle[:, 2:]
    middle = middle[:, :2] / depth
    slopes = (matrix[None, :2, :2] - middle[:, :, None] * matrix[None, 2:, :2]) / depth[:, :, None]
    half = np.sqrt((slopes**2 @ (((boxes[:, 2:] - boxes[:, :2]) / 2) ** 2)[:, :, None])[:, :, 0])
    return np.concatenate([middle - half, middle + half], axis=1)


def _inked(density: Floats, changes: Changes, rng: np.random.Generator) -> Floats:
    """All ink, print included, of other colours and strength; the paper with it, as a scanner's settings do."""
    if rng.random() < changes.grey:
        density = np.repeat((density @ GREY)[..., None], 3, axis=2)
    elif rng.random() < changes.hue:
        density = np.maximum(density @ hue_turn(rng.uniform(-180, 180)), 0)
    if rng.random() < changes.fade:
        density = density * np.float32(rng.uniform(changes.weakest, 1.3))
    return np.asarray(density, np.float32)


def _captured(density: Floats, changes: Changes, rng: np.random.Generator) -> Pixels:
    """What a scanner or a telephone, and saving, make of it."""
    light = np.asarray(cv2.exp(-density), np.float32) * 255
    if rng.random() < changes.fax:
        grey = light @ GREY
        black = 1 / (1 + np.exp((grey - rng.uniform(120, 200)) / rng.uniform(6, 25)))
        light = np.repeat((255 * (1 - black))[..., None], 3, axis=2).astype(np.float32)
    if rng.random() < changes.tint:
        tint = rng.uniform(0.75, 1.0) * rng.uniform(0.92, 1.0, 3)
        light = light * _slope(light.shape[:2], rng.uniform(-0.12, 0.12, 2)) * tint.astype(np.float32)
    if rng.random() < changes.camera:
        light = light * np.clip(_slope(light.shape[:2], rng.uniform(-1, 1, 2)) + rng.uniform(-0.2, 0.3), 0.35, 1.0)
    if rng.random() < changes.blur:
        light = np.asarray(cv2.GaussianBlur(light, (0, 0), rng.uniform(0.3, 1.2)), np.float32)
    if rng.random() < changes.noise:
        light = light + rng.standard_normal((*light.shape[:2], 1), np.float32) * np.float32(rng.uniform(1, 8))
    pixels = np.asarray(cv2.convertScaleAbs(np.maximum(light, 0)), np.uint8)
    if rng.random() < changes.jpeg:
        _, saved = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(45, 95))])
        pixels = np.asarray(cv2.imdecode(saved, cv2.IMREAD_COLOR_RGB), np.uint8)
    return pixels


def _slope(size: tuple[int, ...], slopes: NDArray[np.float64]) -> Floats:
    """Brightness (h, w, 1) that falls or rises by `slopes` down and across, 1 in the middle."""
    down = np.linspace(-0.5, 0.5, size[0], dtype=np.float32)[:, None, None]
    across = np.linspace(-0.5, 0.5, size[1], dtype=np.float32)[None, :, None]
    return np.asarray(1 + slopes[0] * down + slopes[1] * across, np.float32)
