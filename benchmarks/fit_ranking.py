"""Fits the weights that rank the detector's regions, by logistic regression; prints the table for `ranking.WEIGHTS`.

Usage: python -m benchmarks.fit_ranking [--drawn N]
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from backend.geometry import coverage, iou
from backend.vision.colour_detector import ColourDetector
from benchmarks.truth import REALDATA, TruePage, drawn_pages, real_pages

__all__ = ["fit", "main", "material"]

TUNING_SEED = 1000
"""Seeds from here on are for tuning; the benchmarks measure on others."""
_RIDGE = 1e-3
_STEPS = 30


def material(
    pages: Iterable[TruePage],
) -> tuple[list[str], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Features (N, F) with their names, the wanted probability (N,) and the weight (N,) of all regions of the pages."""
    detector = ColourDetector()
    names: list[str] = []
    rows, wanted, weights = [], [], []
    for page in pages:
        boxes, features = detector.proposals(page.pixels, page.dpi)
        if not len(boxes):
            continue
        names = list(features)
        rows.append(np.column_stack(list(features.values())))
        # A box that is nearly good enough is better than one that is far off.
        wanted.append(np.clip((iou(boxes, page.boxes).max(axis=1, initial=0) - 0.3) / 0.4, 0, 1))
        ignored = coverage(boxes, page.ignored).max(axis=1, initial=0) >= 0.5
        weights.append(np.where(ignored, 0, len(boxes) ** -0.5))
    return names, np.concatenate(rows), np.concatenate(wanted), np.concatenate(weights)


def fit(rows: NDArray[np.float64], wanted: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logistic regression by Newton's method with a small ridge; F weights, then the constant, (F + 1,)."""
    mean, spread = rows.mean(axis=0), rows.std(axis=0) + 1e-6
    x = np.column_stack([(rows - mean) / spread, np.ones(len(rows))])
    weights = weights / weights.sum()
    penalty = np.diag([2 * _RIDGE] * rows.shape[1] + [0.0])
    found = np.zeros(x.shape[1])
    for _ in range(_STEPS):
        guess = 1 / (1 + np.exp(-x @ found))
        slope = x.T @ (weights * (guess - wanted)) + penalty @ found
        bend = (x * (weights * guess * (1 - guess))[:, None]).T @ x + penalty
        found = found - np.linalg.solve(bend + 1e-9 * np.eye(len(bend)), slope)
    scaled = found[:-1] / spread
    return np.append(scaled, found[-1] - scaled @ mean)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--drawn", type=int, default=80, help="drawn pages to fit on")
    arguments = parser.parse_args()
    drawn = drawn_pages(range(TUNING_SEED, TUNING_SEED + arguments.drawn))
    real = chain.from_iterable(real_pages(subset) for subset in ("page_full", "page_photo_sig") if REALDATA.exists())
    pages = chain(drawn, (page for page in real if not page.held_out))
    names, rows, wanted, weights = material(pages)
    for name, value in zip([*names, "constant"], fit(rows, wanted, weights), strict=True):
        print(f'    "{name}": {value:.3f},')


if __name__ == "__main__":
    main()
