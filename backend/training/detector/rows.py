"""Rows of handwriting laid onto a window of a page: a form that is filled in, or a table that several people signed.

Both look alike but for what stands before the writing. In a narrow table, each name reaches into the next row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from backend.geometry import areas, as_boxes, coverage
from backend.synthetic.lettering import Font, fonts_of, render
from backend.synthetic.lexicons import ARABIC, ENGLISH
from backend.synthetic.texts import pick
from backend.training.detector.detector_network import TAUGHT
from backend.training.detector.pasting import in_some_ink
from backend.training.detector.scenes import Knowledge, PastedMark, cut_to_ink
from backend.vision.engine import PIXEL_MM

__all__ = ["write_rows"]

Floats = NDArray[np.float32]

_PITCH_MM = (8.0, 14.0)
"""From one row to the next."""
_WIDE_MM = (45.0, 80.0)
_MOST_ROWS = 7
_TRIES = 12
_TALL = {"handwriting": (0.45, 0.9), "signature": (0.8, 1.5)}
"""Height of what is written, in rows: names are larger than what is filled in."""
_LONGEST = 0.96
"""Of a column."""
_PAPER = 10.0
"""Percentile of a window's density that is its paper."""
_OF_SIGNING = frozenset({"Signature", "Stamp", "التوقيع", "الختم"})
_ASKED = tuple(one for words in (ENGLISH, ARABIC) for one in words.fields if one not in _OF_SIGNING)
_SIGNED = (*ENGLISH.slots["role"], *ARABIC.slots["role"], *ENGLISH.slots["given"], *ARABIC.slots["given"])


def write_rows(
    density: Floats, knowledge: Knowledge, marks: Sequence[Sequence[PastedMark]], rng: np.random.Generator
) -> Knowledge:
    """Clears a place of an (h, w, 3) density, which changes, and fills it with such rows; gives what is known then.

    Where nothing is free, or no handwriting and no signature are among `marks`, all stays as it is.
    """
    kind = "signature" if rng.random() < 0.5 else "handwriting"
    written = [group for group in ([one for one in some if TAUGHT[one[0]] == kind] for some in marks) if group]
    pitch = float(rng.uniform(*_PITCH_MM)) / PIXEL_MM
    rows = int(rng.integers(2, _MOST_ROWS, endpoint=True))
    wide = float(rng.uniform(*_WIDE_MM)) / PIXEL_MM
    place = _free(density.shape[:2], (round(rows * pitch), round(wide)), knowledge, rng)
    if not written or place is None:
        return knowledge
    left, top, right, bottom = place
    density[top:bottom, left:right] = np.percentile(density.reshape(-1, 3), _PAPER, axis=0)
    begin = left + round(rng.uniform(0.3, 0.55) * wide)
    from_right = bool(rng.random() < 0.3)
    words, column = (left + 2, begin - 2), (begin + 2, right - 2)
    if from_right:  # as Arabic forms have it
        words, column = (right - (begin - left) + 2, right - 2), (left + 2, right - (begin - left) - 2)
    _rule(density, place, column, rows=rows, pitch=pitch, boxed=kind == "signature" or rng.random() < 0.25, rng=rng)
    boxes = []
    for row in range(rows):
        middle = top + (row + 0.5) * pitch
        _print(
            density,
            pick(rng, _SIGNED if kind == "signature" else _ASKED),
            words,
            middle,
            from_right=from_right,
            rng=rng,
        )
        if rng.random() < 0.9:
            group = pick(rng, written)
            mark = _fitted(pick(rng, group)[1], (column[1] - column[0], pitch), _TALL[kind], rng)
            boxes += _laid(density, mark, column, middle + rng.normal(0, 0.06) * pitch, rng)
    return replace(
        knowledge,
        boxes=np.concatenate([knowledge.boxes, as_boxes(boxes)]),
        labels=np.append(knowledge.labels, np.full(len(boxes), TAUGHT.index(kind), np.intp)),
    )


def _free(
    window: tuple[int, ...], size: tuple[int, int], knowledge: Knowledge, rng: np.random.Generator
) -> tuple[int, int, int, int] | None:
    """A place of that height and width on which nothing known or ignored lies; None where none was found."""
    (height, width), taken = size, np.concatenate([knowledge.boxes, knowledge.ignored])
    taken = taken[areas(taken) > 0]
    if height >= window[0] or width >= window[1]:
        return None
    for _ in range(_TRIES):
        left, top = int(rng.integers(0, window[1] - width)), int(rng.integers(0, window[0] - height))
        place = (left, top, left + width, top + height)
        if coverage(taken, as_boxes([place])).max(initial=0) == 0:
            return place
    return None


def _rule(
    density: Floats,
    place: tuple[int, int, int, int],
    column: tuple[int, int],
    *,
    rows: int,
    pitch: float,
    boxed: bool,
    rng: np.random.Generator,
) -> None:
    """The lines of a table, or one below each entry."""
    left, top, right, bottom = place
    ink = np.float32(rng.uniform(0.3, 1.6))
    start, end = (left, right) if boxed else column
    for row in range(0 if boxed else 1, rows + 1):
        line = min(round(top + row * pitch), bottom) - 1
        density[max(line, top), start:end] = np.maximum(density[max(line, top), start:end], ink)
    if boxed:
        for x in (left, column[0] - 2, min(column[1] + 2, right) - 1, right - 1):
            density[top:bottom, x] = np.maximum(density[top:bottom, x], ink)


def _print(
    density: Floats, text: str, words: tuple[int, int], middle: float, *, from_right: bool, rng: np.random.Generator
) -> None:
    line = _set(text, pick(rng, fonts_of("serif", "sans", arabic=None)), round(float(rng.uniform(2.6, 4.2)) / PIXEL_MM))
    line = line[:, : max(1, words[1] - words[0])]
    x = words[1] - line.shape[1] if from_right else words[0]
    _add(density, np.repeat(line[..., None], 3, axis=2) * np.float32(rng.uniform(0.8, 2.0)), x, middle)


@lru_cache(maxsize=512)
def _set(text: str, font: Font, size: int) -> Floats:
    return render(text, font, size)


def _fitted(
    mark: NDArray[np.floating], room: tuple[int, float], tall: tuple[float, float], rng: np.random.Generator
) -> Floats:
    """A mark in a row's size, at the angle of a hurried hand, cut to its ink."""
    scale = min(room[1] * float(rng.uniform(*tall)) / mark.shape[0], _LONGEST * room[0] / mark.shape[1], 1.5)
    size = max(4, round(mark.shape[1] * scale)), max(4, round(mark.shape[0] * scale))
    small = np.asarray(cv2.resize(mark.astype(np.float32), size, interpolation=cv2.INTER_AREA), np.float32)
    return cut_to_ink(small)


def _laid(
    density: Floats, mark: Floats, column: tuple[int, int], middle: float, rng: np.random.Generator
) -> list[tuple[float, float, float, float]]:
    """Prints a mark into its column, in an ink of its own now and then; gives its box, if there is any ink."""
    if not mark.size:
        return []
    mark = in_some_ink(mark, rng)
    x = column[0] + int(rng.integers(0, max(1, column[1] - column[0] - mark.shape[1])))
    return _add(density, mark * np.float32(rng.uniform(0.6, 1.4)), x, middle)


def _add(density: Floats, ink: Floats, x: int, middle: float) -> list[tuple[float, float, float, float]]:
    """Adds ink whose left edge and middle row are given; what is beyond the window is lost. Gives its box."""
    top = round(middle - ink.shape[0] / 2)
    cut = ink[max(0, -top) : density.shape[0] - top, max(0, -x) : density.shape[1] - x]
    top, x = max(0, top), max(0, x)
    density[top : top + cut.shape[0], x : x + cut.shape[1]] += cut
    return [(x, top, x + cut.shape[1], top + cut.shape[0])] if cut.size else []
