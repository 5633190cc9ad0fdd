"""What courses have in common whose networks learn from pages: what an epoch shows, and which layers learn.

The detector and the refiner look with the same kind of body, which learns more slowly than what is built on it.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from backend.training.batches import epoch_order, loaded, part_of_batches
from backend.training.detector.detector_network import BodiedNet
from backend.training.detector.scenes import Stock
from backend.training.ranks import Ranks
from backend.training.training_loop import Course, CourseFacts, RunProgress, Showing, adamw, rate_at

__all__ = ["PageCourse", "PageRecipe"]

_LARGEST_GRADIENT = 10.0

P = TypeVar("P", bound=RunProgress)
B = TypeVar("B")


class PageRecipe(Protocol):
    """What the course asks of a recipe; see `DetectorRecipe` for what each is."""

    @property
    def frozen(self) -> int: ...
    @property
    def body_rate(self) -> float: ...
    @property
    def epochs(self) -> int: ...
    @property
    def samples(self) -> int: ...
    @property
    def batch(self) -> int: ...
    @property
    def shares(self) -> Mapping[str, float]: ...
    @property
    def learning_rate(self) -> float: ...
    @property
    def weight_decay(self) -> float: ...
    @property
    def averaging(self) -> float: ...
    @property
    def seed(self) -> int: ...
    @property
    def digest(self) -> str: ...

    def fallen(self, epoch: float) -> float:
        """The share of its fall that the learning rate has behind it when `epoch` epochs are over."""
        ...


class PageCourse(Course[P, B]):
    """A network that learns from pages.

    Args:
        network: That learns; its body is frozen in part, and learns more slowly.
        recipe: What to do.
        train: Its pages teach.
        own: This process among those that train.
        workers: Processes that change pages.
        title: Of the run's bar.
        things: What a batch is counted in.
        losses: How many losses a step tells.
        files: Names of the checkpoint and of the average.
    """

    network: BodiedNet

    def __init__(
        self,
        network: BodiedNet,
        recipe: PageRecipe,
        train: Stock,
        own: Ranks,
        *,
        workers: int,
        title: str,
        things: str,
        losses: int,
        files: tuple[str, str],
    ) -> None:
        self._learns, self.train, self.ranks, self.workers = recipe, train, own, workers
        self.network = own.prepared(network)
        self.settled = CourseFacts(
            title=title,
            digest=recipe.digest,
            epochs=recipe.epochs,
            batch=recipe.batch,
            things=things,
            averaging=recipe.averaging,
            largest_gradient=_LARGEST_GRADIENT,
            losses=losses,
            checkpoint=files[0],
            average=files[1],
        )

    @abstractmethod
    def shown(self, order: NDArray[np.intp], positions: NDArray[np.intp], epoch: int) -> Dataset[Any]:
        """What an epoch shows: which page stands at each place of its order, and which places are this process's."""

    def behind(self, progress: P) -> int:
        """See `Course`."""
        return progress.epoch

    def optimiser(self, progress: P) -> torch.optim.AdamW:  # noqa: ARG002 - one for all epochs
        """See `Course`."""
        network = self.network
        body = [one for part in network.body for one in part.parameters()]
        bodily = {id(one) for one in body}
        rest = [one for one in network.parameters() if id(one) not in bodily]
        network.freeze(self._learns.frozen)
        return adamw(
            ([one for one in body if one.requires_grad], self._learns.body_rate),
            (rest, 1.0),
            learning_rate=self._learns.learning_rate,
            weight_decay=self._learns.weight_decay,
        )

    def showing(self, progress: P) -> Showing[B]:
        """See `Course`."""
        recipe, epoch, network = self._learns, progress.epoch, self.network
        network.train()
        network.freeze(recipe.frozen)
        steps = recipe.samples // recipe.batch
        order = epoch_order(self.train.groups, recipe.shares, samples=recipe.samples, seed=(recipe.seed, epoch))
        positions = part_of_batches(len(order), batch=recipe.batch, part=(self.ranks.rank, self.ranks.count))
        return Showing(
            batches=loaded(self.shown(order, positions, epoch), recipe.batch // self.ranks.count, workers=self.workers),
            steps=steps,
            title=f"epoch {epoch} of {recipe.epochs}",
            rate=lambda step: rate_at(recipe.learning_rate, recipe.fallen(epoch + step / steps)),
        )
