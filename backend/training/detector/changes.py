"""Windows of pages, changed as scanners, cameras, pens and offices change pages, with real marks printed onto them.

Inks multiply: a pasted mark darkens the page by its optical density, D = -log(I / paper). Nothing is mirrored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from backend.geometry import Boxes, areas, as_boxes, clip, coverage
from backend.training.augment import hue_turn
from backend.training.detector.detector_network import TAUGHT
from backend.training.detector.scenes import LOG_LIGHT, Knowledge, PastedMark, Scene, cut_to_ink
from backend.vision.engine import PIXEL_MM

__all__ = ["Changes", "changed"]

Floats = NDArray[np.float32]

GREY = np.array([0.299, 0.587, 0.114], np.float32)
_FREE = 0.25
"""Share of a pasted mark that may lie on others where it is to stand free."""
_SIZES_MM = {
    "signature": (10.0, 70.0),
    "stamp": (12.0, 60.0),
    "thumb": (13.0, 28.0),
    "handwriting": (8.0, 70.0),
    "print": (8.0, 60.0),
}
"""Longer sides that pasted marks have."""
_OVER = {"signature": "stamp", "stamp": "signature"}
"""What a mark is put on where it is put on another."""
_SIDEWAYS = 0.08
"""How often a signature or handwriting stands sideways, as names in margins do."""
_TURNED = 0.35
"""How often a stamp, a thumb or a printed thing is turned to any angle."""
_TILT = 7.0
"""Standard deviation of the angle of all others, degrees."""
_SHIFT = 0.28
"""How far a mark's middle is from that of the mark below, as a share of the latter's sides: standard deviation."""


def paste_some(
    density: Floats,
    knowledge: Knowledge,
    marks: Sequence[Sequence[PastedMark]],
    rng: np.random.Generator,
    *,
    most: int,
    over: float,
) -> Knowledge:
    """Prints one to `most` marks on an (h, w, 3) density, which changes; gives what is known then.

    Args:
        density: Of the window.
        knowledge: What is known of it.
        marks: To choose from: a group first, then one of its marks.
        rng: Decides.
        most: Marks at most.
        over: How often a signature is put on a stamp, or a stamp on a signature.
    """
    for _ in range(int(rng.integers(1, most, endpoint=True))):
        label, mark = _any(marks, rng)
        if TAUGHT[label] in _OVER and rng.random() < over:
            knowledge = _on_another(density, knowledge, (label, mark), marks, rng)
        else:
            small = _printed(label, mark, rng)
            placed = _free_place(knowledge, small, density.shape[:2], rng)
            if placed is not None:
                knowledge = _put(density, knowledge, (label, small), placed, rng)
    return knowledge


def _any(marks: Sequence[Sequence[PastedMark]], rng: np.random.Generator) -> PastedMark:
    group = marks[int(rng.integers(len(marks)))]
    return group[int(rng.integers(len(group)))]


def _on_another(
    density: Floats,
    knowledge: Knowledge,
    mark: PastedMark,
    marks: Sequence[Sequence[PastedMark]],
    rng: np.random.Generator,
) -> Knowledge:
    """Puts a signature on a stamp, or a stamp on a signature: one that lies free there, else one printed first."""
    below = TAUGHT.index(_OVER[TAUGHT[mark[0]]])
    there = knowledge.boxes[knowledge.labels == below]
    others = knowledge.boxes[knowledge.labels == mark[0]]
    there = there[coverage(there, others).max(axis=1, initial=0) < _FREE]
    if not len(there):
        candidates = [one for group in marks for one in group if one[0] == below]
        if not candidates:
            return knowledge
        small = _printed(*candidates[int(rng.integers(len(candidates)))], rng)
        placed = _free_place(knowledge, small, density.shape[:2], rng)
        if placed is None:
            return knowledge
        knowledge = _put(density, knowledge, (below, small), placed, rng)
        there = knowledge.boxes[-1:]
    left, top, right, bottom = there[int(rng.integers(len(there)))]
    small = _printed(*mark, rng)
    height, width = small.shape[:2]
    x = (left + right) / 2 + rng.normal(0, _SHIFT) * (right - left) - width / 2
    y = (top + bottom) / 2 + rng.normal(0, _SHIFT) * (bottom - top) - height / 2
    if not (0 <= x <= density.shape[1] - width and 0 <= y <= density.shape[0] - height):
        return knowledge
    return _put(density, knowledge, (mark[0], small), (int(x), int(y)), rng)


def _printed(label: int, mark: NDArray[np.floating], rng: np.random.Generator) -> Floats:
    """The mark in a size and at an angle that such marks have, cut to its ink; empty where nothing is left of it."""
    name = TAUGHT[label]
    smallest, largest = np.log(_SIZES_MM[name])
    scale = float(np.exp(rng.uniform(smallest, largest))) / PIXEL_MM / max(mark.shape[:2])
    angle = rng.normal(0, _TILT)
    if name in ("signature", "handwriting"):
        angle += 90 * float(rng.choice([-1, 1])) if rng.random() < _SIDEWAYS else 0
    elif rng.random() < _TURNED:
        angle = rng.uniform(-180, 180)
    squeezed = np.sqrt(np.exp(rng.normal(0, 0.1)))
    size = max(4, round(mark.shape[1] * scale * squeezed)), max(4, round(mark.shape[0] * scale / squeezed))
    small = np.asarray(cv2.resize(mark.astype(np.float32), size, interpolation=cv2.INTER_AREA), np.float32)
    radians = np.radians(angle)
    cos, sin = abs(np.cos(radians)), abs(np.sin(radians))
    width, height = int(size[0] * cos + size[1] * sin) + 2, int(size[0] * sin + size[1] * cos) + 2
    matrix = cv2.getRotationMatrix2D((size[0] / 2, size[1] / 2), angle, 1.0)
    matrix = matrix + np.array([[0, 0, (width - size[0]) / 2], [0, 0, (height - size[1]) / 2]])
    return cut_to_ink(np.asarray(cv2.warpAffine(small, matrix, (width, height), flags=cv2.INTER_LINEAR), np.float32))


def _free_place(
    knowledge: Knowledge, mark: Floats, window: tuple[int, ...], rng: np.random.Generator
) -> tuple[int, int] | None:
    """Left and top of a place where hardly anything else is; None where none was found."""
    height, width = mark.shape[:2]
    if not mark.size or height >= window[0] or width >= window[1]:
        return None
    taken = np.concatenate([knowledge.boxes, knowledge.ignored])
    for _ in range(5):
        left, top = int(rng.integers(0, window[1] - width)), int(rng.integers(0, window[0] - height))
        if coverage(as_boxes([(left, top, left + width, top + height)]), taken).max(initial=0) <= _FREE:
            return left, top
    return None


def _put(
    density: Floats, knowledge: Knowledge, printed: PastedMark, place: tuple[int, int], rng: np.random.Generator
) -> Knowledge:
    """Prints a mark, in an ink of its own now and then, and adds it to what is known."""
    label, mark = printed
    if not mark.size:
        return knowledge
    (left, top), (height, width) = place, mark.shape[:2]
    if rng.random() < 0.35:
        mark = np.repeat((mark @ GREY)[..., None], 3, axis=2)
    elif rng.random() < 0.4:
        mark = np.maximum(mark @ hue_turn(rng.uniform(-180, 180)), 0)
    density[top : top + height, left : left + width] += mark * np.float32(rng.uniform(0.45, 1.5))
    box: Boxes = as_boxes([(left, top, left + width, top + height)])
    hidden = (coverage(knowledge.boxes, box)[:, 0] > 0.9) & (knowledge.labels == label) & (areas(knowledge.boxes) > 0)
    return Knowledge(
        boxes=np.concatenate([knowledge.boxes[~hidden], box]),
        labels=np.append(knowledge.labels[~hidden], label),
        ignored=knowledge.ignored,
        complete=knowledge.complete,
    )


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


def changed(scene: Scene, marks: Sequence[Sequence[PastedMark]], changes: Changes, rng: np.random.Generator) -> Scene:
    """A changed window of a scene; the same state of `rng` gives the same."""
    turns = scene.turns
    if turns == 0 and rng.random() < changes.turn:
        height, width = changes.window
        turns = int(rng.integers(1, 4)) if height == width else 2
    scene = _moved(scene, changes, rng)
    density = np.asarray(cv2.LUT(scene.pixels, LOG_LIGHT), np.float32)
    knowledge = scene.knowledge
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
