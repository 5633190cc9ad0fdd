"""Drawn pages for training, as offices would scan, shrink or squash them, put into a page store."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from tqdm import tqdm

from backend.nets.config import MARKS
from backend.synthetic.page import draw_page
from backend.training.crops import split_of
from backend.training.pagestore import LabelledPage, PageStore

__all__ = ["DRAWN_SEED", "draw_into", "draw_seeds"]

DRAWN_SEED = 1_000_000
"""Seed of the first drawn page: far from those that tests and benchmarks draw."""
_MOST_MARKS = 9
"""Fuller pages than most contracts, since they teach more for the time they take to draw."""
_RESOLUTIONS = {100: 0.35, 150: 0.40, 200: 0.25}
_SQUASHED = 0.35
_SQUARE = (640, 640)
_SAID = 0.5
"""How often a file says its resolution."""


def draw_into(store: PageStore, *, pages: int, first: int = DRAWN_SEED, step: int = 1, offset: int = 0) -> None:
    """Draws `pages` pages into `store`; those that are in it are passed over.

    Args:
        store: Where they go.
        pages: How many there are in all.
        first: Seed of the first one.
        step: Of several processes, how many there are.
        offset: Which of them this is.
    """
    draw_seeds(store, range(first + offset, first + pages, step))


def draw_seeds(store: PageStore, seeds: Sequence[int]) -> None:
    """Draws the pages of some seeds into `store`; those that are in it are passed over."""
    for seed in tqdm(seeds, unit="page", desc="drawn", disable=None):
        name = f"drawn-{seed}"
        if name not in store:
            _draw(store, name, seed)


def _draw(store: PageStore, name: str, seed: int) -> None:
    rng = np.random.default_rng([seed, 1])
    dpi = int(rng.choice(list(_RESOLUTIONS), p=list(_RESOLUTIONS.values())))
    squashed, said = rng.random(2) < (_SQUASHED, _SAID)
    count = int(rng.integers(0, _MOST_MARKS, endpoint=True))
    page = draw_page(seed, dpi=dpi, marks=count, size=_SQUARE if squashed else None)
    facts = LabelledPage(
        name=name,
        document=name,
        split=split_of(name),
        domain="drawn",
        source="drawn",
        licence="Apache-2.0",
        dpi=page.dpi if said and not squashed else None,
        boxes=tuple(mark.box for mark in page.marks),
        labels=tuple(mark.label for mark in page.marks),
        complete=MARKS,
    )
    store.add(facts, page.pixels)
