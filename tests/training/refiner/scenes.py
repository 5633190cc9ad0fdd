"""Drawn scenes that the refiner's tests share."""

from __future__ import annotations

import numpy as np

from backend.training.detector.scenes import Stock
from backend.vision.network_config import MARKS
from tests.training.detector.conftest import plain_scene

__all__ = ["PAGES", "SIDE", "SIGNATURE", "SIGNED_STAMP", "STAMP", "rng"]

SIDE = 32
SIGNATURE, STAMP = MARKS.index("signature"), MARKS.index("stamp")
PAGES = Stock(
    tuple(plain_scene([("stamp", (60.0 * place, 100.0, 60.0 * place + 80, 180.0))]) for place in range(1, 4)),
    ("drawn",) * 3,
)
SIGNED_STAMP = plain_scene([("stamp", (100.0, 100.0, 200.0, 200.0)), ("signature", (130.0, 140.0, 170.0, 160.0))])


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)
