"""The training loop of both networks: epochs, a checkpoint after each, the average of the weights, how far it is.

A course says what differs: the network, what an epoch shows, the losses, and how it is judged.
"""

from __future__ import annotations

import json
import math
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import nn
from torch.optim.swa_utils import AveragedModel
from tqdm import tqdm

from backend.errors import OutputError, TrainingError
from backend.files import writing
from backend.training.ranks import Ranks

__all__ = [
    "Course",
    "EpochEnd",
    "RunProgress",
    "Showing",
    "Tell",
    "adamw",
    "averaged",
    "how_far",
    "nobody",
    "part",
    "rate_at",
    "save",
    "train",
]

Tell = Callable[[str], None]
"""Is told how far a training is, after each epoch and when a part begins."""
_MINUTE = 60.0
_WARM_UP = 0.1
_FINAL = 0.01


class EpochLine(Protocol):
    """What every history notes of an epoch."""

    @property
    def seconds(self) -> float: ...


class RunProgress(Protocol):
    """Where every run stands: its recipe's digest, the epoch that comes next, and all epochs so far."""

    @property
    def recipe(self) -> str: ...

    @property
    def epoch(self) -> int: ...

    @property
    def history(self) -> tuple[EpochLine, ...]: ...


P = TypeVar("P", bound=RunProgress)
B = TypeVar("B")


@dataclass(frozen=True, kw_only=True)
class Showing(Generic[B]):
    """What one epoch shows.

    Attributes:
        batches: This process's part of each batch.
        steps: How many they are.
        title: Of the epoch's bar.
        rate: The learning rate of a step, counted from 0.
    """

    batches: Iterable[B]
    steps: int
    title: str
    rate: Callable[[int], float]


@dataclass(frozen=True, kw_only=True)
class EpochEnd(Generic[P]):
    """What is known when an epoch is over.

    Attributes:
        progress: Where the run stands now.
        said: A line for a person.
        kept: Stands in the file of the average, which is written now; None where an earlier one was better.
    """

    progress: P
    said: str
    kept: Mapping[str, str] | None


@dataclass(frozen=True, kw_only=True)
class CourseFacts:
    """What a course settles once for all its epochs.

    Attributes:
        title: Of the run's bar.
        digest: Of the recipe.
        epochs: At most.
        batch: What a step shows, of all processes together.
        things: What a batch is counted in.
        averaging: Weight of the past in the average of the weights, at each step.
        largest_gradient: Norm to which longer gradients are cut.
        losses: How many losses a step tells.
        checkpoint: File of what a run goes on from.
        average: File of the average.
    """

    title: str
    digest: str
    epochs: int
    batch: int
    things: str
    averaging: float
    largest_gradient: float
    losses: int
    checkpoint: str
    average: str


class Course(ABC, Generic[P, B]):
    """What differs from one network to another.

    Attributes:
        network: That learns, on its device.
        settled: What stays the same for all epochs.
    """

    network: nn.Module
    settled: CourseFacts

    @abstractmethod
    def progress(self, facts: dict[str, Any] | None) -> P:
        """Where a run stands that wrote these facts; where one begins, without."""

    @abstractmethod
    def behind(self, progress: P) -> int:
        """Epochs that are over, of the most that there can be."""

    @abstractmethod
    def optimiser(self, progress: P) -> torch.optim.AdamW:
        """A fresh one for what comes next; it says which parameters learn."""

    @abstractmethod
    def showing(self, progress: P) -> Showing[B]:
        """What the next epoch shows; puts the network in the state in which it learns."""

    @abstractmethod
    def losses(self, network: nn.Module, batch: B) -> tuple[torch.Tensor, Sequence[torch.Tensor]]:
        """The loss that a step makes smaller, and the losses that it reports.

        Args:
            network: To be called in place of the course's own: its gradients are those of all processes.
            batch: This process's part.
        """

    @abstractmethod
    def scores(self, progress: P, average: nn.Module) -> dict[str, float]:
        """How good the average of the weights is, by domain; the first process alone is asked."""

    @abstractmethod
    def judged(self, progress: P, losses: Sequence[float], scores: dict[str, float], seconds: float) -> EpochEnd[P]:
        """What comes of an epoch, from its mean losses and its scores."""


def train(
    course: Course[P, B], folder: Path, own: Ranks, *, stop_after: int | None = None, tell: Callable[[str], None]
) -> P:
    """Trains, or goes on after the last whole epoch; `folder` keeps the checkpoint and the average of the weights.

    Args:
        course: What is learnt.
        folder: Made when missing.
        own: This process among those that train: each has its part of every batch, the first one judges and writes.
        stop_after: Epochs after which this call returns even if there are more.
        tell: Is told after each epoch how far it is.

    Raises:
        TrainingError: `folder` holds a checkpoint of another recipe, or a batch cannot be divided among the processes.
    """
    settled = course.settled
    if settled.batch % own.count:
        raise TrainingError(
            f"a batch of {settled.batch} {settled.things} cannot be divided among {own.count} processes"
        )
    folder.mkdir(parents=True, exist_ok=True)
    run = _Run(course, folder, own)
    progress = run.resume()
    behind = course.behind(progress)
    hidden = None if own.leads else True
    with tqdm(total=settled.epochs, initial=behind, unit="epoch", desc=settled.title, disable=hidden) as bar:
        for _ in range(settled.epochs if stop_after is None else stop_after):
            if behind >= settled.epochs:
                break
            progress = run.epoch(progress)
            behind = course.behind(progress)
            bar.update(behind - bar.n)
            tell(how_far(behind, settled.epochs, seconds=progress.history[-1].seconds))
    return progress


class _Run(Generic[P, B]):
    """A network in training, the average of its weights, and its optimiser."""

    def __init__(self, course: Course[P, B], folder: Path, own: Ranks) -> None:
        self.course, self.folder, self.ranks = course, folder, own
        self.average = averaged(course.network, course.settled.averaging)
        self.optimiser: torch.optim.AdamW | None = None

    def resume(self) -> P:
        """Takes everything from a checkpoint, if there is one with epochs to come, and tells where the run stands."""
        settled = self.course.settled
        path = self.folder / settled.checkpoint
        if not path.exists():
            return self.course.progress(None)
        with safe_open(path, "pt") as file:
            progress = self.course.progress(json.loads(file.metadata()["progress"]))
        if progress.recipe != settled.digest:
            raise TrainingError(
                f"{path} belongs to recipe {progress.recipe}, not to {settled.digest}: choose another folder"
            )
        if self.course.behind(progress) < settled.epochs:
            self.optimiser = self.course.optimiser(progress)
            _restore(load_file(path), self.course.network, self.average.module, self.optimiser)
        return progress

    def epoch(self, progress: P) -> P:
        """Trains one epoch, judges it and saves everything."""
        course, average = self.course, self.average.module
        if self.optimiser is None or progress.epoch == 0:
            self.optimiser = course.optimiser(progress)
        began = time.monotonic()
        losses = self._train(course.showing(progress), self.optimiser)
        scores = self.ranks.from_first(lambda: course.scores(progress, average))
        judged = course.judged(progress, losses, scores, time.monotonic() - began)
        if self.ranks.leads:
            tqdm.write(judged.said, file=sys.stderr)
            if judged.kept is not None:
                save(average.state_dict(), self.folder / course.settled.average, judged.kept)
            state = _state_of(course.network, average, self.optimiser)
            facts = {"progress": json.dumps(asdict(judged.progress))}  # type: ignore[call-overload]  # each is a dataclass
            save(state, self.folder / course.settled.checkpoint, facts)
        self.ranks.wait()
        return judged.progress

    def _train(self, showing: Showing[B], optimiser: torch.optim.AdamW) -> list[float]:
        """Takes all steps of an epoch; gives the mean of each loss."""
        settled, own = self.course.settled, self.course.network
        network, hidden = self.ranks.together(own), None if self.ranks.leads else True
        losses = []
        bar = tqdm(showing.batches, total=showing.steps, desc=showing.title, leave=False, disable=hidden)
        for step, batch in enumerate(bar):
            for group in optimiser.param_groups:
                group["lr"] = showing.rate(step) * group["share"]
            loss, told = self.course.losses(network, batch)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(own.parameters(), settled.largest_gradient)
            optimiser.step()
            self.average.update_parameters(own)
            losses.append([one.item() for one in told])
        means = np.mean(losses, axis=0) if losses else np.full(settled.losses, math.nan)
        return [self.ranks.mean(float(mean)) for mean in means]


def nobody(_: str) -> None:
    """Where nobody is to be told."""


def how_far(over: int, of: int, *, seconds: float) -> str:
    """After an epoch: which comes next, and how long the rest takes; it may end sooner.

    Args:
        over: Epochs that are over.
        of: Epochs in all, if none ends early.
        seconds: Seconds that the last epoch took.

    Example:
        >>> how_far(3, 13, seconds=50)
        'epoch 4 of 13, 9 min left at most'
        >>> how_far(13, 13, seconds=50)
        'all 13 epochs are over'
    """
    if over >= of:
        return f"all {of} epochs are over"
    return f"epoch {over + 1} of {of}, {max(1, -int(-(of - over) * seconds // _MINUTE))} min left at most"


def rate_at(top: float, done: float) -> float:
    """Learning rate when the share `done` of a stage is over: up for a tenth, then half a cosine down."""
    if done < _WARM_UP:
        return top * max(_FINAL, done / _WARM_UP)
    fall = (1 + math.cos(math.pi * (done - _WARM_UP) / (1 - _WARM_UP))) / 2
    return top * (_FINAL + (1 - _FINAL) * fall)


def averaged(network: nn.Module, averaging: float) -> AveragedModel:
    """The moving average of a network's weights and BatchNorm statistics; it begins with the network as it is.

    Args:
        network: Copied.
        averaging: Weight of the past at each step.
    """

    def step(slow: torch.Tensor, fast: torch.Tensor, _: torch.Tensor | int) -> torch.Tensor:
        return torch.lerp(slow, fast, 1 - averaging) if slow.is_floating_point() else fast

    average = AveragedModel(network, avg_fn=step, use_buffers=True)
    average.requires_grad_(False)
    average.n_averaged.fill_(1)  # else its first step would replace the weights that it begins with
    return average


def adamw(*parts: tuple[Sequence[nn.Parameter], float], learning_rate: float, weight_decay: float) -> torch.optim.AdamW:
    """AdamW with weight decay on kernels only: on biases and BatchNorm it does harm.

    Args:
        parts: Parameters, and the share of the learning rate that is theirs; each group keeps it as `share`.
        learning_rate: Of a share of 1.
        weight_decay: Of kernels.
    """
    groups = [
        {"params": found, "weight_decay": decay, "lr": learning_rate * share, "share": share}
        for parameters, share in parts
        for decay, found in (
            (weight_decay, [one for one in parameters if one.ndim > 1]),
            (0.0, [one for one in parameters if one.ndim <= 1]),
        )
    ]
    return torch.optim.AdamW(groups, lr=learning_rate)


def _state_of(network: nn.Module, average: nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """Everything that a training goes on from, as the tensors of one file."""
    tensors = {f"network.{name}": value for name, value in network.state_dict().items()}
    tensors |= {f"average.{name}": value for name, value in average.state_dict().items()}
    for name, parameter in network.named_parameters():
        for slot, value in optimiser.state.get(parameter, {}).items():
            tensors[f"optimiser.{name}.{slot}"] = value
    tensors["random.cpu"] = torch.get_rng_state()
    if torch.cuda.is_available():
        tensors["random.cuda"] = torch.cuda.get_rng_state()
    return tensors


def _restore(
    tensors: dict[str, torch.Tensor], network: nn.Module, average: nn.Module, optimiser: torch.optim.Optimizer
) -> None:
    """Puts back what `_state_of` gave; the optimiser gets the state of those parameters that it trains."""
    network.load_state_dict(part(tensors, "network."))
    average.load_state_dict(part(tensors, "average."))
    for name, parameter in network.named_parameters():
        if parameter.requires_grad and (state := part(tensors, f"optimiser.{name}.")):
            # AdamW counts its steps on the processor, wherever the moments are.
            moved = {slot: one if one.ndim == 0 else one.to(parameter.device) for slot, one in state.items()}
            optimiser.state[parameter] = moved
    # Blocks are left out at random; a checkpoint of an older program lacks the state of that generator.
    if "random.cpu" in tensors:
        torch.set_rng_state(tensors["random.cpu"])
    if "random.cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["random.cuda"])


def part(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    """Those tensors whose names begin with `prefix`, without it."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def save(tensors: dict[str, torch.Tensor], path: Path, metadata: Mapping[str, str]) -> None:
    """Writes aside, then renames, so that a kill leaves the old file or the new one.

    Raises:
        OutputError: It cannot be written; the old file stays.
    """
    aside = path.with_suffix(".part")
    try:
        with writing(path):
            save_file({name: value.contiguous() for name, value in tensors.items()}, aside, dict(metadata))
            aside.replace(path)
    except SafetensorError as error:  # its own, of a disk that is full, too
        raise OutputError(f"{path} cannot be written ({error}): is there room on its disk?") from error
    finally:
        aside.unlink(missing_ok=True)
