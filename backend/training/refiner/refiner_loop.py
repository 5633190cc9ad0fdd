"""How the refiner learns, by the loop that trains all networks; it begins with a refiner, or with a detector's body."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.utils.data import Dataset

from backend.geometry import iou
from backend.training import training_loop
from backend.training.detector.changes import Changes
from backend.training.detector.lite_network import LITE0, LiteShape
from backend.training.detector.scenes import Stock
from backend.training.page_course import PageCourse
from backend.training.ranks import Ranks, ranks
from backend.training.refiner.refiner_network import RefinerNet, chance_loss, place_loss, places_of
from backend.training.refiner.refiner_samples import Lesson, Lessons, Proposals, lessons_of
from backend.training.training_loop import EpochEnd, Tell, nobody
from backend.training.training_record import digest_of
from backend.vision.network_config import MARKS

__all__ = [
    "AVERAGE_FILE",
    "BUNDLED_REFINER",
    "CHECKPOINT_FILE",
    "RefinerEpoch",
    "RefinerProgress",
    "RefinerRecipe",
    "fit_refiner",
    "mean_overlap",
]

CHECKPOINT_FILE = "refiner-checkpoint.safetensors"
AVERAGE_FILE = "refiner.safetensors"
_JUDGED_OF_A_PAGE = 8

Batch = list[torch.Tensor]


@dataclass(frozen=True, kw_only=True)
class RefinerRecipe:
    """How a refiner is made.

    Attributes:
        base: Name of the network that it begins with, and its checksum.
        shape: Of the body and the pyramid; as the detector's.
        side: Pixels of a side of its input.
        margin: Share of a candidate's sides that is seen beyond it.
        frozen: Stages of the body that keep their weights and statistics, the stem with them.
        dropped: How often the last block of the body is left out; earlier ones less.
        body_rate: Learning rate of the body, as a share of that of the head.
        epochs: Passes over `samples` windows; the learning rate falls over all of them.
        samples: Windows that an epoch shows.
        each: Candidates of a window.
        batch: Windows of a step.
        shares: How much of an epoch each group of pages makes, as `drawn` or `real/subset`.
        learning_rate: At the top of its curve.
        weight_decay: Of AdamW.
        blend: Part of the trained weights in the result; the rest is the base's, as in `DetectorRecipe`.
        averaging: Weight of the past in the moving average of the weights.
        seed: Of the first weights, the order and the changes.
        changes: What happens to each page.
    """

    base: str = ""
    shape: LiteShape = LITE0
    side: int = 160
    margin: float = 0.5
    frozen: int = 2
    dropped: float = 0.1
    body_rate: float = 0.25
    epochs: int = 8
    samples: int = 1200
    each: int = 6
    batch: int = 8
    shares: Mapping[str, float] = field(
        default_factory=lambda: {
            "drawn": 0.2,
            "real/page_full": 0.66,
            "real/page_stamp_only": 0.03,
            "real/page_photo_sig": 0.04,
            "real/page_semireal": 0.02,
            "real/neg_receipt": 0.02,
            "real/neg_born_digital": 0.02,
            "real/neg_qr": 0.01,
        }
    )
    learning_rate: float = 8e-4
    weight_decay: float = 0.03
    blend: float = 1.0
    averaging: float = 0.99
    seed: int = 1
    changes: Changes = field(
        default_factory=lambda: Changes(window=(416, 416), focus=1.0, turn=0.0, tilt=0.6, camera=0.0)
    )

    def as_json(self) -> dict[str, Any]:
        """The recipe as plain JSON."""
        return dataclasses.asdict(self) | {"changes": self.changes.as_json()}

    @property
    def digest(self) -> str:
        """Twelve hexadecimal digits that change exactly when the recipe does."""
        return digest_of(self.as_json())

    def fallen(self, epoch: float) -> float:
        """The share of its fall that the learning rate has behind it when `epoch` epochs are over."""
        return epoch / self.epochs


BUNDLED_REFINER = RefinerRecipe(
    epochs=6,
    learning_rate=5e-4,
    blend=0.5,
    changes=dataclasses.replace(RefinerRecipe().changes, rows=0.15, written=0.06, watermark=0.05),
)


@dataclass(frozen=True, kw_only=True)
class RefinerEpoch:
    """One line of the history; `loss`: of the edges; `score`: mean IoU of refined boxes on validation pages."""

    epoch: int
    loss: float
    score: dict[str, float]
    seconds: float


@dataclass(frozen=True, kw_only=True)
class RefinerProgress:
    """Where a run stands: its recipe's digest, the epochs that are over, and their history."""

    recipe: str
    epoch: int = 0
    history: tuple[RefinerEpoch, ...] = field(default_factory=tuple)


def fit_refiner(
    recipe: RefinerRecipe,
    train: Stock,
    judge: Stock,
    folder: Path,
    *,
    base: Mapping[str, torch.Tensor] | None = None,
    proposes: Proposals | None = None,
    workers: int = 0,
    stop_after: int | None = None,
    tell: Tell = nobody,
) -> RefinerProgress:
    """Trains by `recipe`; `folder` keeps the checkpoint and the average of the weights.

    A run that was stopped goes on after its last whole epoch.

    Args:
        recipe: What to do.
        train: Its pages teach, those on which a mark lies whole.
        judge: Its pages tell how well, unchanged.
        folder: Made when missing.
        base: State dict of a trained refiner or detector: a new run takes what they have in common. Random weights
            where None.
        proposes: Gives the candidates that are not made from marks.
        workers: Processes that change pages.
        stop_after: Epochs after which this call returns even if there are more.
        tell: Is told after each epoch how far it is.

    Raises:
        TrainingError: `folder` holds a checkpoint of another recipe.
    """
    with ranks() as own:
        torch.manual_seed(recipe.seed)
        course = _Course(recipe, train, judge, own, base=base, proposes=proposes, workers=workers)
        return training_loop.train(course, folder, own, stop_after=stop_after, tell=tell)


@torch.inference_mode()
def mean_overlap(network: RefinerNet, lessons: Sequence[Lesson]) -> float:
    """The mean IoU of the boxes that a network in evaluation mode gives, seen from within each window."""
    overlaps = []
    device = next(network.parameters()).device
    for start in range(0, len(lessons), 32):
        these = lessons[start : start + 32]
        pixels = torch.from_numpy(np.stack([lesson.pixels for lesson in these])).to(device)
        logits, _ = network(pixels.permute(0, 3, 1, 2).float().div(255))
        found = places_of(logits).view(len(these), len(MARKS), 4).cpu().numpy().astype(float)
        overlaps += [
            float(iou(boxes[lesson.label][None], lesson.edges[lesson.label][None].astype(float))[0, 0])
            for boxes, lesson in zip(found, these, strict=True)
        ]
    return float(np.mean(overlaps))


def _by_kind(stock: Stock, recipe: RefinerRecipe) -> dict[str, list[Lesson]]:
    """Lessons of unchanged pages, by domain and mark; always the same."""
    found: dict[str, list[Lesson]] = {}
    for number, (scene, group) in enumerate(zip(stock.scenes, stock.groups, strict=True)):
        rng = np.random.default_rng([recipe.seed, 2, number])
        for lesson in lessons_of(
            scene, most=_JUDGED_OF_A_PAGE, side=recipe.side, margin=recipe.margin, mirrored=False, rng=rng
        ):
            if lesson.there[lesson.label] > 0:
                found.setdefault(f"{group.split('/')[0]} {MARKS[lesson.label]}", []).append(lesson)
    return found


class _Course(PageCourse[RefinerProgress, Batch]):
    """A refiner that learns from pages."""

    network: RefinerNet

    def __init__(
        self,
        recipe: RefinerRecipe,
        train: Stock,
        judge: Stock,
        own: Ranks,
        *,
        base: Mapping[str, torch.Tensor] | None,
        proposes: Proposals | None,
        workers: int,
    ) -> None:
        self.recipe, self.judges, self._proposes = recipe, _by_kind(judge, recipe), proposes
        network = RefinerNet(recipe.side, recipe.shape, dropped=recipe.dropped)
        if base is not None:
            known = network.state_dict()
            network.load_state_dict({name: base.get(name, tensor) for name, tensor in known.items()})
        super().__init__(
            network,
            recipe,
            train,
            own,
            workers=workers,
            title="training the refiner",
            things="windows",
            losses=2,
            files=(CHECKPOINT_FILE, AVERAGE_FILE),
        )

    def progress(self, facts: dict[str, Any] | None) -> RefinerProgress:
        """See `Course`."""
        if facts is None:
            return RefinerProgress(recipe=self.recipe.digest)
        return RefinerProgress(**facts | {"history": tuple(RefinerEpoch(**line) for line in facts["history"])})

    def shown(self, order: NDArray[np.intp], positions: NDArray[np.intp], epoch: int) -> Dataset[Any]:
        """See `PageCourse`."""
        recipe = self.recipe
        return Lessons(
            self.train,
            order,
            positions,
            recipe.changes,
            each=recipe.each,
            side=recipe.side,
            margin=recipe.margin,
            seed=(recipe.seed, epoch),
            proposes=self._proposes,
        )

    def losses(self, network: nn.Module, batch: Batch) -> tuple[torch.Tensor, Sequence[torch.Tensor]]:
        """See `Course`."""
        pixels, edges, there = (part.to(self.ranks.device).flatten(0, 1) for part in batch)
        logits, chances = network(pixels.permute(0, 3, 1, 2).float().div(255))
        placed, told = place_loss(logits, edges, there), chance_loss(chances, logits, edges, there)
        return placed + told, (placed, told)

    def scores(self, progress: RefinerProgress, average: nn.Module) -> dict[str, float]:  # noqa: ARG002 - each epoch
        """See `Course`."""
        average.eval()
        return {name: mean_overlap(cast(RefinerNet, average), lessons) for name, lessons in self.judges.items()}

    def judged(
        self, progress: RefinerProgress, losses: Sequence[float], scores: dict[str, float], seconds: float
    ) -> EpochEnd[RefinerProgress]:
        """See `Course`."""
        line = RefinerEpoch(epoch=progress.epoch, loss=losses[0], score=scores, seconds=seconds)
        by_domain = ", ".join(f"mean IoU {name} {value:.3f}" for name, value in scores.items())
        return EpochEnd(
            progress=dataclasses.replace(progress, epoch=progress.epoch + 1, history=(*progress.history, line)),
            said=f"epoch {line.epoch}: loss {line.loss:.3f}, {seconds:.0f} s {by_domain}",
            kept={"recipe": json.dumps(self.recipe.as_json())},
        )
