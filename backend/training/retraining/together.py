"""A retraining in several processes: the first one does it, and the others come in where the classifier is trained."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from backend.training.classifier_loop import Progress, fit, network_from
from backend.training.loop_parts import Tell, nobody, ranks

if TYPE_CHECKING:
    from backend.training.classifier_recipe import Recipe
    from backend.training.retraining.material import Material

__all__ = ["Work", "fit_together", "together"]


@dataclass(frozen=True, kw_only=True)
class Work:
    """What all processes have to know to train the classifier.

    Attributes:
        recipe: What to do.
        material: To learn from; each reads the crops itself, so that they have to see the same folders.
        base: File of the first weights.
        run: Folder of the run, which the first one writes.
        workers: Processes that augment, beside each.
        threads: That compute, in each.
    """

    recipe: Recipe
    material: Material
    base: Path
    run: Path
    workers: int
    threads: int


def together(lead: Callable[[], int]) -> int:
    """Lets the first process do the whole and the others follow; gives the exit code, of those 0.

    One process alone just does it. Where the first one fails, torchrun ends the others.
    """
    with ranks() as own:
        if own.leads:
            code = lead()
            own.from_first(lambda: None)  # there is nothing more to train
            return code
        while (work := own.from_first(_nothing)) is not None:
            _fit(work, nobody)
        return os.EX_OK


def fit_together(work: Work, tell: Tell) -> Progress:
    """Trains the classifier with all processes that follow."""
    with ranks() as own:
        own.from_first(lambda: work)
        return _fit(work, tell)


def _fit(work: Work, tell: Tell) -> Progress:
    torch.set_num_threads(work.threads)
    return fit(
        work.recipe,
        work.material,
        work.run,
        build=lambda _: network_from(work.base),
        workers=work.workers,
        tell=tell,
    )


def _nothing() -> Work | None:
    """What is said by those who are not asked."""
    return None
