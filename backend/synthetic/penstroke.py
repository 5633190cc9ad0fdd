"""How a hand moves a pen: overlapping lognormal strokes towards targets (Plamondon's sigma-lognormal model).

Each stroke is an arc towards the next target whose speed is a lognormal pulse. Pulses overlap, so a quick hand rounds
and misses its targets and a careful one meets them. Speed falls in cusps and grows on long exits, which is what makes
width and darkness of real pen strokes vary (R. Plamondon, "A kinematic theory of rapid human movements", 1995).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Target", "Trace", "write"]

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
