"""A retraining in several processes: the first one does it, and the others come in where a network is trained."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

import torch

from backend.training.classifier_loop import ClassifierProgress, fit, network_from
from backend.training.ranks import ranks
from backend.training.retraining.detector_retraining import PageLessons, teach
from backend.training.training_loop import Tell, nobody

if TYPE_CHECKING:
    from backend.training.classifier_recipe import Recipe
    from backend.training.detector.detector_loop import DetectorProgress
    from backend.training.pagestore import PageStore
    from backend.training.retraining.material import Material

__all__ = ["CropWork", "PageWork", "fit_together", "together"]

P_co = TypeVar("P_co", covariant=True)


class Work(Protocol[P_co]):
    """What all processes have to know to train a network."""

    def fit(self, tell: Tell) -> P_co:
        """Does this process's part."""
        ...


@dataclass(frozen=True, kw_only=True)
class CropWork:
    """Trains the classifier.

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

    def fit(self, tell: Tell) -> ClassifierProgress:
        """Does this process's part."""
        torch.set_num_threads(self.threads)
        return fit(
            self.recipe,
            self.material,
            self.run,
            build=lambda _: network_from(self.base),
            workers=self.workers,
            tell=tell,
        )


@dataclass(frozen=True, kw_only=True)
class PageWork:
    """Trains the detector.

    Attributes:
        lessons: Annotators' pages and the recipe; each process reads the pages itself.
        drawn: Drawn pages.
        run: Folder of the run, which the first one writes.
        workers: Processes that change pages, beside each.
        threads: That compute, in each.
    """

    lessons: PageLessons
    drawn: PageStore
    run: Path
    workers: int
    threads: int

    def fit(self, tell: Tell) -> DetectorProgress:
        """Does this process's part."""
        torch.set_num_threads(self.threads)
        return teach(self.lessons, self.drawn, self.run, workers=self.workers, tell=tell)


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
            work.fit(nobody)
        return os.EX_OK


def fit_together(work: Work[P_co], tell: Tell) -> P_co:
    """Trains a network with all processes that follow."""
    with ranks() as own:
        own.from_first(lambda: work)
        return work.fit(tell)


def _nothing() -> Work[object] | None:
    """What is said by those who are not asked."""
    return None
