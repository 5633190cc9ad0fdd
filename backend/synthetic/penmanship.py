"""What a hand writes when it signs: letters, waves, ovals and flourishes as strokes of pen targets."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from backend.synthetic.letterforms import ARABIC, ARABIC_ENDS, CAPITALS, LETTERS, Shape, Target

__all__ = ["Composition", "Hand", "Stroke", "compose", "pick_hand", "pick_syllables"]

Composition = Literal["name", "scrawl", "initials", "arabic", "paraph"]
Stroke = list[Target]
_SYLLABLES = (
    "an", "ar", "el", "is", "ou", "er", "am", "ed", "al", "in", "us", "on", "mi", "ra",
    "ne", "ly", "ha", "so", "ki", "th", "gr", "ev", "wa", "zi", "co", "da", "ty", "le",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Hand:
    """A writer's habits.

    Attributes:
        haste: overlap of pen strokes, 0.15 careful to 0.6 a scrawl.
        slant: shear, positive to the right.
        rise: how the baseline climbs, radians.
        wobble: spread of the targets, in x-heights.
        capital: height of capitals over the usual.
        width: of letters over the usual.
        roundness: of the arcs; low for angular hands.
        small: height of small letters over the usual.
        decay: share of the x-height that is lost towards the end of a word.
    """

    haste: float
    slant: float
    rise: float
    wobble: float
    capital: float
    width: float
    roundness: float
    small: float
    decay: float


def pick_hand(rng: np.random.Generator) -> Hand:
    """The habits of one writer."""
    return Hand(
        haste=float(rng.uniform(0.15, 0.58)),
        slant=float(rng.normal(0.28, 0.25)),
        rise=float(rng.normal(0.08, 0.1)),
        wobble=float(rng.uniform(0.03, 0.14)),
        capital=float(rng.uniform(0.85, 1.7)),
        width=float(rng.uniform(0.65, 1.35)),
        roundness=float(rng.uniform(0.35, 1.1)),
        small=float(rng.uniform(0.5, 1.1)),
        decay=float(rng.beta(1.5, 2.0)) * 0.8,
    )


def pick_syllables(rng: np.random.Generator, count: int) -> str:
    """Letters that read like part of a name."""
    return "".join(_SYLLABLES[index] for index in rng.integers(len(_SYLLABLES), size=count))


def compose(rng: np.random.Generator, kind: Composition, hand: Hand) -> list[Stroke]:
    """The pen's targets for one signature of a kind, stroke by stroke, upright and unscaled."""
    return _COMPOSERS[kind](rng, hand)


def _placed(
    rng: np.random.Generator, shape: Shape, hand: Hand, x: float, *, tall: float = 1.0, wide: float = 1.0
) -> tuple[Stroke, float]:
    """A letter at x as this writer makes it today, and where the next begins."""
    targets, advance = shape
    size = hand.width * wide
    wobble = hand.wobble * min(tall, 1.5)
    stroke = [
        (
            x + px * size + rng.normal(0, wobble),
            py * tall + rng.normal(0, wobble),
            bend * hand.roundness * float(rng.normal(1, 0.15)),
        )
        for px, py, bend in targets
    ]
    return stroke, x + advance * size


def _pick(rng: np.random.Generator, shapes: Mapping[str, Shape]) -> Shape:
    return list(shapes.values())[rng.integers(len(shapes))]


def _capital(rng: np.random.Generator, hand: Hand, x: float) -> tuple[Stroke, float]:
    return _placed(rng, _pick(rng, CAPITALS), hand, x, tall=hand.capital, wide=hand.capital)


def _word(rng: np.random.Generator, hand: Hand, x: float, *, syllables: int) -> tuple[list[Stroke], float]:
    """A capital and cursive letters that shrink as the writer's patience does; t bars and i dots come after."""
    stroke, x = _capital(rng, hand, x)
    strokes = [stroke]
    if rng.random() < 0.4:
        stroke = []
        strokes.append(stroke)
    text = pick_syllables(rng, syllables)
    extras: list[Stroke] = []
    for index, letter in enumerate(text):
        tall = hand.small * (1 - hand.decay * index / len(text))
        targets, after = _placed(rng, LETTERS[letter], hand, x, tall=tall, wide=0.75 + 0.5 * tall)
        stroke.extend(targets)
        if letter == "t" and rng.random() < 0.8:
            extras.append([(x - 0.2, 1.4 * tall, 0), (x + rng.uniform(0.8, 2.2), 1.5 * tall + rng.normal(0, 0.1), 0.1)])
        if letter == "i" and rng.random() < 0.7:
            dot = (x + 0.5, 1.5 * tall + rng.normal(0, 0.1), 0.0)
            extras.append([dot, (dot[0] + rng.uniform(0.05, 0.3), dot[1] + rng.normal(0, 0.08), 0.3)])
        x = after
    return strokes + extras, x


def _exit(rng: np.random.Generator, stroke: Stroke, x: float, reach: float) -> None:
    """A long quick stroke out of the last letter: a line, a rise, a hook or a loop back under the name."""
    sort = rng.choice(4, p=[0.35, 0.3, 0.2, 0.15])
    if sort == 0:
        stroke.append((x + reach, rng.uniform(-0.3, 0.6), rng.normal(0.2, 0.25)))
    elif sort == 1:
        stroke.append((x + 0.7 * reach, rng.uniform(0.8, 2.4), rng.uniform(0.2, 0.8)))
    elif sort == 2:
        stroke.append((x + 0.5 * reach, 0.9, 0.9))
        stroke.append((x + 0.4 * reach, -1.1, -1.2))
        stroke.append((x + 0.1 * reach, -0.9, -2.0))
    else:
        stroke.append((x + 0.3 * reach, -0.7, -1.0))
        stroke.append((x - 0.7 * reach - 1.5, -0.9, rng.uniform(-1.2, -0.2)))
        stroke.append(
            (x + 0.6 * reach, -1.0 + rng.normal(0, 0.25), rng.uniform(0.1, 0.5) if rng.random() < 0.7 else 2.2)
        )


def _flourishes(rng: np.random.Generator, x0: float, x1: float) -> list[Stroke]:
    """Underlines, strike-throughs and encircling sweeps."""
    width = x1 - x0
    strokes: list[Stroke] = []
    if rng.random() < 0.28:
        y = rng.uniform(-1.4, -0.4)
        start, end = x0 + rng.uniform(-0.1, 0.4) * width, x1 + rng.uniform(-0.2, 0.25) * width
        line: Stroke = [(start, y, 0.0), (end, y + rng.normal(0.25, 0.3), rng.normal(0.05, 0.15))]
        if rng.random() < 0.4:
            line.append((start + 0.4 * width, y - rng.uniform(0.2, 0.6), rng.uniform(-1.5, -0.2)))
            line.append((end - 0.1 * width, y - rng.uniform(0.2, 0.5), rng.uniform(0.1, 0.8)))
        strokes.append(line)
    if rng.random() < 0.08:
        y = rng.uniform(0.2, 1.0)
        strokes.append([(x0 - 0.1 * width, y, 0.0), (x1 + 0.15 * width, y + rng.normal(0.2, 0.3), rng.normal(0, 0.15))])
    if rng.random() < 0.07:
        strokes.append(_encircling(rng, x0, x1, turns=rng.uniform(0.8, 2.2)))
    return strokes


def _encircling(rng: np.random.Generator, x0: float, x1: float, *, turns: float) -> Stroke:
    """A quick oval drawn round (or as) the name, counter-clockwise in half-turns."""
    middle, half = (x0 + x1) / 2, 0.55 * (x1 - x0)
    stroke: Stroke = [(middle + half, rng.uniform(0.2, 1.0), 0.0)]
    for index in range(math.ceil(2 * turns)):
        side = -1 if index % 2 == 0 else 1
        stroke.append((middle + side * half * rng.uniform(0.8, 1.1), rng.uniform(0.0, 1.1), rng.uniform(2.3, 2.9)))
    return stroke


def _compose_name(rng: np.random.Generator, hand: Hand) -> list[Stroke]:
    strokes: list[Stroke] = []
    x = 0.0
    for part in range(int(rng.integers(1, 3))):
        if part == 1 and rng.random() < 0.35:
            initial, x = _capital(rng, hand, x + 0.3)
            strokes.append(initial)
        word, x = _word(rng, hand, x + 0.4 * part, syllables=int(rng.integers(1, 4)))
        strokes += word
    longest = max(strokes, key=len)
    if rng.random() < 0.5:
        _exit(rng, longest, longest[-1][0], rng.uniform(1.5, 5.0))
    return strokes + _flourishes(rng, 0.0, x)


def _compose_scrawl(rng: np.random.Generator, hand: Hand) -> list[Stroke]:
    """A capital that runs into waves: humps, loops and flat lines, then a long exit."""
    stroke, x = _capital(rng, hand, 0.0)
    strokes = [stroke]
    if rng.random() < 0.3:
        stroke = []
        strokes.append(stroke)
        stroke.append((x, rng.uniform(0, 0.8), 0.0))
    count, tall = int(rng.integers(2, 9)), float(rng.uniform(0.5, 1.3))
    looped = rng.random()
    for index in range(count):
        height = tall * (1 - hand.decay * index / count) * rng.uniform(0.6, 1.3)
        if rng.random() < 0.15:
            height *= rng.uniform(1.8, 3.0)
        step = hand.width * rng.uniform(0.35, 0.8)
        if rng.random() < looped:
            stroke.append((x + 0.8 * step, 0.6 * height, 0.4))
            stroke.append((x + 0.5 * step, height, 1.9))
            stroke.append((x + 0.6 * step, 0.0 + rng.normal(0, 0.1), 1.0))
        else:
            stroke.append((x + 0.5 * step, height, rng.normal(-0.2, 0.4)))
            stroke.append((x + 0.8 * step, rng.normal(0, 0.12), rng.normal(-0.2, 0.5)))
        x += step
    if rng.random() < 0.3:
        stroke.append((x + 0.2, -rng.uniform(1.0, 2.2), 0.2))
        stroke.append((x - 0.5, -rng.uniform(0.8, 1.6), -2.0))
        x += 0.4
    _exit(rng, stroke, x, rng.uniform(1.5, 6.0))
    return strokes + _flourishes(rng, 0.0, x)


def _compose_initials(rng: np.random.Generator, hand: Hand) -> list[Stroke]:
    strokes: list[Stroke] = []
    x = 0.0
    joined = rng.random() < 0.5
    for index in range(int(rng.integers(1, 4))):
        letter, after = _capital(rng, hand, x)
        if joined and strokes:
            strokes[-1].extend(letter)
        else:
            strokes.append(letter)
        x = after - rng.uniform(0.1, 0.8) if index == 0 else after
    if rng.random() < 0.75:
        _exit(rng, strokes[-1], x, rng.uniform(1.0, 4.0))
    return strokes + _flourishes(rng, 0.0, x)


def _compose_arabic(rng: np.random.Generator, hand: Hand) -> list[Stroke]:
    """Joined strokes from right to left along a baseline, bowls and sweeps, dots, tall uprights."""
    strokes: list[Stroke] = []
    x = 0.0
    tall = float(rng.uniform(0.8, 1.4))
    for _ in range(int(rng.integers(1, 4))):
        stroke: Stroke = [(x + rng.normal(0, 0.1), rng.uniform(0.0, 0.8) * tall, 0.0)]
        for _ in range(int(rng.integers(1, 5))):
            targets, x = _placed(rng, _pick(rng, ARABIC), hand, x, tall=tall)
            stroke += targets
        end = "sweep" if rng.random() < 0.15 else list(ARABIC_ENDS)[rng.integers(len(ARABIC_ENDS))]
        targets, x = _placed(rng, ARABIC_ENDS[end], hand, x, tall=tall, wide=float(rng.uniform(0.8, 1.6)))
        strokes.append(stroke + targets)
        x -= rng.uniform(-0.6, 0.3)
    right, left = 0.3, min(point[0] for stroke in strokes for point in stroke)
    for _ in range(int(rng.integers(0, 3))):
        place = rng.uniform(left, right)
        foot = rng.uniform(-0.3, 0.5)
        strokes.append([(place, foot + rng.uniform(1.6, 3.0) * tall, 0.0), (place + rng.normal(0, 0.15), foot, 0.1)])
    for _ in range(int(rng.integers(0, 5))):
        strokes.append(_dot(rng, rng.uniform(left * 0.8, 0.0), rng.choice([1.3, -0.7]) * tall + rng.normal(0, 0.2)))
    if rng.random() < 0.45:
        strokes.append(_sweep(rng, left, right))
    return strokes


def _dot(rng: np.random.Generator, x: float, y: float) -> Stroke:
    """A dot, or two run together, as a short tick."""
    reach = rng.uniform(0.08, 0.4)
    return [(x, y, 0.0), (x - reach, y - rng.uniform(0.0, 0.15), 0.2)]


def _sweep(rng: np.random.Generator, left: float, right: float) -> Stroke:
    """A closing line under or through the name, often with a hook at its end."""
    y = rng.uniform(-1.6, 0.2)
    stroke: Stroke = [(right + rng.uniform(0, 1.0), y + rng.normal(0.2, 0.3), 0.0)]
    stroke.append((left - rng.uniform(0.0, 1.2), y, rng.normal(-0.1, 0.25)))
    if rng.random() < 0.5:
        stroke.append((left + rng.uniform(0.5, 2.5), y - rng.uniform(0.2, 0.9), rng.choice([2.2, -2.2])))
    return stroke


def _compose_paraph(rng: np.random.Generator, hand: Hand) -> list[Stroke]:
    """Quick ovals or a zigzag over one place with a long tail; a tall start or a crossing stroke."""
    stroke: Stroke = [(0.0, rng.uniform(0.5, 2.5), 0.0)]
    if rng.random() < 0.6:
        stroke, _ = _capital(rng, hand, 0.0)
    wide, drift, tall = rng.uniform(0.6, 2.6), rng.uniform(0.0, 0.9), rng.uniform(0.5, 1.6)
    turn = float(rng.choice([-1.0, 1.0])) * rng.uniform(1.2, 2.8)
    x = 0.5
    for _ in range(int(rng.integers(2, 6))):
        stroke.append((x + wide * rng.uniform(0.7, 1.1), tall * rng.uniform(0.7, 1.2), turn))
        stroke.append((x - 0.2 * wide + drift, rng.normal(0, 0.2), turn * rng.uniform(0.7, 1.1)))
        x += drift
    _exit(rng, stroke, x + wide, rng.uniform(1.5, 5.0))
    strokes = [stroke]
    if rng.random() < 0.4:
        place = rng.uniform(0.2, 1.0) * (x + wide)
        strokes.append([(place + rng.normal(0, 0.5), 3.2, 0.0), (place, -rng.uniform(0.5, 1.8), rng.normal(0, 0.2))])
    return strokes + _flourishes(rng, 0.0, x + wide)


_COMPOSERS: dict[Composition, Callable[[np.random.Generator, Hand], list[Stroke]]] = {
    "name": _compose_name,
    "scrawl": _compose_scrawl,
    "initials": _compose_initials,
    "arabic": _compose_arabic,
    "paraph": _compose_paraph,
}
