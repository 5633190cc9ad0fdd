"""Letter shapes as pen targets: Latin cursive and capitals, Arabic-like strokes.

Units are x-heights, y up, the baseline at 0. A target is written x,y,turning (see `penstroke.Target`).

How a hand moves a pen: overlapping lognormal strokes towards targets (Plamondon's sigma-lognormal model).

Each stroke is an arc towards the next target whose speed is a lognormal pulse. Pulses overlap, so a quick hand rounds
and misses its targets and a careful one meets them. Speed falls in cusps and grows on long exits, which is what makes
width and darkness of real pen strokes vary (R. Plamondon, "A kinematic theory of rapid human movements", 1995).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["ARABIC", "ARABIC_ENDS", "CAPITALS", "LETTERS", "Shape", "Target", "Trace", "write"]

Target = tuple[float, float, float]
"""x, y (y up, in x-heights) and the turning of the arc that leads there, radians, positive to the left."""

_SAMPLES = 26
"""Points per stroke of average length."""


@dataclass(frozen=True)
class Trace:
    """The path of the pen between touching down and lifting: points (n, 2) and speed (n,), 1 on average."""

    points: NDArray[np.float64]
    speed: NDArray[np.float64]


def write(targets: Sequence[Target], *, overlap: float, sigma: float = 0.33) -> Trace:
    """Move the pen through targets.

    Args:
        targets: at least two; the first is where the pen touches down (its turning is not used).
        overlap: share of a stroke's duration in which the next has begun: 0.2 careful, 0.55 a scrawl.
        sigma: spread of the lognormal pulses.
    """
    aims = np.array(targets, dtype=np.float64)
    steps = np.diff(aims[:, :2], axis=0)
    chord = np.maximum(np.hypot(steps[:, 0], steps[:, 1]), 1e-6)
    turning = np.where(np.abs(aims[1:, 2]) < 0.02, 0.02, aims[1:, 2])
    heading = np.arctan2(steps[:, 1], steps[:, 0])
    start_angle = heading - turning / 2
    arc = chord * (turning / 2) / np.sin(np.clip(turning / 2, -3.0, 3.0))
    # Isochrony: long strokes are made faster, so that durations grow slowly with length.
    duration = 0.5 + arc**0.45
    onset = np.concatenate([[0.0], np.cumsum(duration[:-1] * (1 - overlap))])
    end = float((onset + 1.15 * duration).max())
    clock = np.linspace(0.0, end, max(int(_SAMPLES * end), 24))
    tau = np.maximum((clock[None, :] - onset[:, None]) / duration[:, None], 1e-4)
    done = _normal_cdf((np.log(tau) - np.log(0.5)) / sigma)
    angle = start_angle[:, None] + turning[:, None] * done
    radius = (arc / turning)[:, None]
    x = aims[0, 0] + (radius * (np.sin(angle) - np.sin(start_angle)[:, None])).sum(axis=0)
    y = aims[0, 1] - (radius * (np.cos(angle) - np.cos(start_angle)[:, None])).sum(axis=0)
    points = np.column_stack([x, y])
    speed = np.hypot(*np.gradient(points, axis=0).T)
    moving = speed > 0.02 * speed.mean()
    first, last = int(np.argmax(moving)), len(moving) - int(np.argmax(moving[::-1]))
    return Trace(points[first:last], speed[first:last] / speed[first:last].mean())


def _normal_cdf(z: NDArray[np.float64]) -> NDArray[np.float64]:
    """Normal distribution function, good to 3e-4 (tanh form)."""
    bounded = np.clip(z, -8, 8)
    return np.asarray(0.5 * (1 + np.tanh(0.7978845608 * (bounded + 0.044715 * bounded**3))))


Shape = tuple[tuple[Target, ...], float]
"""Targets relative to the letter's origin, and its advance. A letter is entered from where the pen is."""


def _shape(advance: float, targets: str) -> Shape:
    numbers = [[float(value) for value in target.split(",")] for target in targets.split()]
    return tuple((x, y, turning) for x, y, turning in numbers), advance


LETTERS: Mapping[str, Shape] = {
    "a": _shape(1.1, "0.75,0.95,0.5 0.35,0.95,1.4 0.1,0.4,0.9 0.45,0,1.3 0.8,0.95,0.6 0.85,0.1,0.1 1.15,0.3,1"),
    "c": _shape(0.8, "0.7,0.85,0.3 0.4,1,1.6 0.1,0.45,1 0.45,0,1.3 0.8,0.3,0.7"),
    "d": _shape(1.1, "0.75,0.9,0.5 0.3,0.95,1.4 0.1,0.4,0.8 0.45,0,1.3 0.85,2.1,0.4 0.85,0.1,0.1 1.15,0.3,1"),
    "e": _shape(0.8, "0.6,0.65,0.4 0.35,1,1.8 0.1,0.45,0.9 0.45,0,1.4 0.85,0.35,0.7"),
    "g": _shape(0.95, "0.75,0.95,0.5 0.35,0.95,1.4 0.1,0.4,0.9 0.75,0.9,1.6 0.7,-0.9,-0.2 0.3,-1.2,-1.5 0.9,0.2,-1"),
    "h": _shape(1, "0.45,1.7,0.4 0.3,2.2,2 0.2,0,0.4 0.55,1,-0.9 0.75,0.1,-0.9 1.05,0.3,1.2"),
    "i": _shape(0.65, "0.35,1,0.3 0.4,0.15,0.1 0.7,0.3,1.4"),
    "k": _shape(1, "0.45,1.7,0.4 0.3,2.2,2 0.2,0,0.4 0.7,1,-1 0.35,0.55,-2 0.9,0,0.6 1.1,0.3,0.9"),
    "l": _shape(0.65, "0.5,1.6,0.4 0.35,2.2,2 0.2,1,0.7 0.4,0,0.9 0.75,0.35,0.9"),
    "m": _shape(1.4, "0.2,1,-0.3 0.25,0,-0.4 0.5,1,-0.8 0.7,0,-0.9 0.95,1,-0.8 1.15,0.1,-0.9 1.45,0.3,1.2"),
    "n": _shape(1, "0.2,1,-0.3 0.25,0,-0.4 0.55,1,-0.8 0.75,0.1,-0.9 1.05,0.3,1.2"),
    "o": _shape(0.95, "0.55,1,0.4 0.15,0.5,1.7 0.45,0,1.4 0.8,0.6,1.3 0.5,1,1.3 1,0.85,0.9"),
    "r": _shape(0.8, "0.25,1,0.2 0.4,0.85,-0.8 0.65,0.9,0.6 0.6,0.1,-0.5 0.9,0.3,1.2"),
    "s": _shape(0.75, "0.5,1,0.3 0.6,0.35,-1 0.3,0,-1.6 0.85,0.3,0.8"),
    "t": _shape(0.7, "0.4,1.7,0.2 0.4,0.2,0.1 0.8,0.3,1.3"),
    "u": _shape(1.05, "0.25,1,0.2 0.35,0.05,0.5 0.8,1,1 0.85,0.1,0.1 1.15,0.3,1.1"),
    "v": _shape(1, "0.25,1,-0.4 0.5,0,0.3 0.85,1,0.5 1.1,0.85,0.8"),
    "w": _shape(1.3, "0.25,1,0.2 0.4,0,0.5 0.7,0.9,0.4 0.85,0,0.4 1.2,1,0.6 1.4,0.85,0.8"),
    "y": _shape(0.95, "0.25,1,0.2 0.4,0.1,0.6 0.8,1,0.9 0.7,-0.9,-0.2 0.3,-1.2,-1.5 0.95,0.3,-1"),
    "z": _shape(0.9, "0.2,1,-0.3 0.7,0.95,-0.4 0.2,0.05,0.2 0.5,0,-1 0.45,-1.1,-0.8 0.15,-1.1,-1.8 0.9,0.2,-0.9"),
}

CAPITALS: Mapping[str, Shape] = {
    "A": _shape(1.6, "0,0,0 0.9,2.4,0.5 1.3,0,0.1 0.5,0.9,2.2 1.6,0.8,-0.6"),
    "B": _shape(1.4, "0.3,2.3,0 0.2,0,0.1 0.3,2.2,-0.2 1.1,1.8,-1.5 0.5,1.2,-1.6 1.2,0.5,-1.7 0.2,0,-1.4 1.4,0.3,1.3"),
    "C": _shape(1.4, "1.3,1.9,0 0.8,2.4,1.8 0,1.1,1 0.7,0,1.3 1.5,0.5,0.9"),
    "D": _shape(1.6, "0.5,2.2,0 0.4,0.1,0.1 0,0.2,-2.4 0.8,0,0.6 1.5,1.2,1.4 0.4,2.4,1.6 0,1.9,1.4"),
    "E": _shape(1.3, "1.1,2.1,0 0.6,2.4,1.6 0.3,1.7,1.2 0.8,1.25,1.2 0.1,0.6,1.5 0.6,0,1.4 1.3,0.4,0.8"),
    "F": _shape(1.3, "0,2.2,0 1.5,2.4,-0.3 0.8,2.3,0.6 0.6,0.2,0.2 0,0.2,-1.9 0.9,1.1,-0.9"),
    "G": _shape(1.5, "1.2,1.9,0 0.7,2.4,1.8 0,1.1,1 0.6,0.2,1.2 1.3,1.2,1 1.1,-0.7,-0.3 0.3,-0.9,-1.9 1.5,0.3,-0.7"),
    "H": _shape(1.6, "0.2,2.3,0 0.1,0,0.2 0.4,1.1,-1 1.2,2.3,0.4 1.1,0,0.1 0.5,1.1,-2.2 1.7,0.9,-0.5"),
    "J": _shape(1.2, "0.2,2,0 1,2.4,-0.9 0.7,-0.8,-0.2 0.1,-1,-1.9 1.3,0.5,-0.9"),
    "K": _shape(1.5, "0.2,2.3,0 0.2,0,0.1 1.3,2.3,0.4 0.4,1.1,0.5 0.7,1.2,-2.2 1.4,0,0.4 1.7,0.3,0.9"),
    "L": _shape(1.4, "0.2,1.6,0 0.9,2.3,1.6 0.5,1.6,1.6 0.4,0.3,-0.3 0,0.1,-2.4 0.8,0.1,0.7 1.5,0.3,0.5"),
    "M": _shape(1.8, "0,0,0 0.4,2.3,0.2 0.6,0.1,-0.4 1.1,2.2,0.3 1.3,0,-0.5 1.8,0.3,1.2"),
    "N": _shape(1.5, "0,0,0 0.3,2.3,0.2 0.9,0,-0.2 1.3,2.5,0.3 1.7,2.3,-0.9"),
    "P": _shape(1.2, "0.4,2.2,0 0.3,-0.3,0.1 0.3,2.1,-0.2 1.3,1.8,-1.3 0.4,1,-1.7 1.2,0.2,1"),
    "R": _shape(1.4, "0.3,2.2,0 0.2,0,0.1 0.3,2.1,-0.2 1.2,1.8,-1.4 0.4,1.15,-1.6 1.3,0,0.3 1.6,0.3,1"),
    "S": _shape(1.3, "0.1,0.3,0 1.2,2,0.7 0.7,2.4,1.9 0.5,1.4,1.1 1,0.5,-0.9 0.3,0,-1.7 -0.2,0.4,-1 1.4,0.4,0.6"),
    "T": _shape(1.3, "0,2,0 0.6,2.4,-0.8 1.6,2.4,0.5 0.9,2.2,1 0.7,0.1,0.2 0.2,0.3,-1.9 1.1,0.5,0.5"),
    "V": _shape(1.4, "0,2,0 0.3,2.3,-0.9 0.7,0,0 1.4,2.4,0.3 1.8,2.3,-0.8"),
    "W": _shape(1.8, "0,2.1,0 0.4,0,0.3 0.9,2,0.2 1.2,0,0.2 1.8,2.4,0.4 2.1,2.2,-0.8"),
    "Z": _shape(
        1.3, "0.1,1.9,0 0.6,2.4,-0.8 1.3,2.2,0.3 0.3,0.2,0.3 0.8,0.1,-1.2 0.6,-1,-0.9 0.1,-0.9,-1.9 1.3,0.4,-0.6"
    ),
}

# Written from right to left: x falls.
ARABIC: Mapping[str, Shape] = {
    "tooth": _shape(-0.55, "-0.25,0.75,-0.3 -0.35,0,-0.4 -0.55,0,-0.3"),
    "lam": _shape(-0.6, "-0.2,2.1,-0.3 -0.3,0.05,-0.1 -0.6,0,-0.8"),
    "mim": _shape(-0.8, "-0.2,0.45,-1.4 -0.5,0.1,-1.8 -0.15,-0.1,-1.6 -0.8,0,-0.6"),
    "fa": _shape(-0.9, "-0.3,0.1,-0.3 -0.2,0.8,-1.6 -0.5,0.6,2 -0.35,0.15,1 -0.9,0,-0.6"),
    "ha": _shape(-1.2, "-0.1,0.8,0.5 -0.9,0.6,0.9 -0.2,0.1,-0.6 -1.2,0,-0.2"),
    "sin": _shape(-1.1, "-0.15,0.5,-0.3 -0.3,0,0.7 -0.45,0.45,-0.6 -0.6,0,0.7 -0.75,0.4,-0.6 -1.1,0,0.3"),
    "sad": _shape(-1.3, "-0.2,0.6,1.2 -1,0.15,1.3 -0.4,0,1.2 -1,0,-0.2 -1.1,0.5,-1 -1.3,0,-0.4"),
    "kashida": _shape(-2.2, "-1.5,-0.15,-0.25 -2.2,0,-0.3"),
    "ain": _shape(-1, "-0.5,0.55,1.2 -0.8,0.5,1.8 -0.4,0.05,0.8 -1,0,-0.5"),
    "alef": _shape(-0.7, "-0.1,0,0 -0.2,2,-0.2"),
}

ARABIC_ENDS: Mapping[str, Shape] = {
    "nun": _shape(-1.5, "-0.1,-0.6,-0.7 -0.9,-0.9,-1.4 -1.4,0.3,-1.4"),
    "ra": _shape(-0.8, "-0.2,-0.3,-0.5 -0.9,-1,-0.7"),
    "ya": _shape(-1.9, "-0.4,0.5,1.1 -0.7,0.1,1.4 -0.3,-0.6,-1.7 -1.6,-0.6,-1.7 -1.9,0.1,-0.9"),
    "ta": _shape(-1.9, "-1.2,-0.2,-0.5 -1.8,0.55,-1.3"),
    "sweep": _shape(-4, "-0.8,-1.1,-0.9 -3,-0.6,-0.8 -4.2,0.9,-0.4"),
    "return": _shape(-1.5, "-0.6,-0.8,-1 -1.4,-0.3,-1.9 0.5,-0.5,-1.7 3,-0.4,0.3"),
    "waw": _shape(-0.8, "-0.25,0.7,-1.5 -0.45,0.2,2.2 -0.2,0.1,1.6 -0.7,-0.9,-0.9"),
}
