"""How the classifier learns from crops, stage after stage, by the loop that trains both networks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional
from torchvision.models import ResNet, resnet18

from backend.errors import BadWeights
from backend.evaluation.rates import evaluate, softmax
from backend.training import training_loop
from backend.training.batches import CropArrays, Crops, epoch_order, plain_batches, pooled_order, training_batches
from backend.training.classifier_recipe import Recipe
from backend.training.crops import Crop
from backend.training.export import state_dict_from_onnx
from backend.training.ranks import Ranks, ranks
from backend.training.training_loop import Course, CourseFacts, EpochEnd, Showing, Tell, adamw, nobody, rate_at
from backend.vision.network_config import CLASSES

__all__ = [
    "BEST_FILE",
    "CHECKPOINT_FILE",
    "ClassifierProgress",
    "Epoch",
    "first_network",
    "fit",
    "logits_of",
    "network_from",
    "shown_in",
]

CHECKPOINT_FILE = "checkpoint.safetensors"
BEST_FILE = "best.safetensors"
_LARGEST_GRADIENT = 5.0
_JUDGED = 3000
"""Most validation crops of a domain that judge an epoch."""


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """One line of the history: `score` is the mean macro F1 of the domains on validation documents."""

    stage: int
    epoch: int
    loss: float
    score: float
    by_domain: dict[str, float]
    seconds: float


@dataclass(frozen=True, kw_only=True)
class ClassifierProgress:
    """Where a run stands.

    Attributes:
        recipe: Digest of its recipe.
        stage: Index of the stage that comes next.
        epoch: Number, in that stage, of the epoch that comes next.
        best: Best score of this stage, and of those before it that it goes on from.
        stale: Epochs since then.
        history: All epochs so far.
    """

    recipe: str
    stage: int = 0
    epoch: int = 0
    best: float = -1.0
    stale: int = 0
    history: tuple[Epoch, ...] = field(default_factory=tuple)


Build = Callable[[Recipe], nn.Module]
Batch = Sequence[torch.Tensor]


def fit(
    recipe: Recipe,
    store: Crops,
    folder: Path,
    *,
    build: Build | None = None,
    workers: int = 0,
    stop_after: int | None = None,
    tell: Tell = nobody,
) -> ClassifierProgress:
    """Trains by `recipe` on the crops of `store`; `folder` keeps the checkpoint and the best weights.

    A run that was stopped goes on after its last whole epoch. On a processor it ends with the weights of one that was
    not stopped; a GPU adds up in no fixed order. It runs on a GPU where torch sees one, and on several where torchrun
    starts a process for each. Then each has its part of every batch, and the first one judges and writes.

    Args:
        recipe: What to do.
        store: Its train crops teach, its validation crops judge.
        folder: Made when missing.
        build: Gives the first network; `first_network` when left out.
        workers: Processes that augment.
        stop_after: Epochs after which this call returns even if there are more.
        tell: Is told after each epoch how far it is.

    Raises:
        TrainingError: `folder` holds a checkpoint of another recipe, `store` has no crops, or a batch cannot be divided
            among the processes.
    """
    with ranks() as own:
        torch.manual_seed(recipe.seed)
        course = _Course((build or first_network)(recipe), recipe, store, own, workers=workers)
        return training_loop.train(course, folder, own, stop_after=stop_after, tell=tell)


def first_network(recipe: Recipe) -> ResNet:
    """The network that training starts from, with one output for each of `CLASSES`.

    A base with three outputs keeps what it knows of the marks; its output for `none` starts at zero.

    Raises:
        BadWeights: The base is missing, or not a ResNet18 with three or four outputs.
    """
    if recipe.base == "scratch":
        return resnet18(num_classes=len(CLASSES))
    return network_from(Path(recipe.base))


def network_from(path: Path) -> ResNet:
    """The network of weights that this program wrote, grown to `CLASSES` where it has three outputs.

    Raises:
        BadWeights: The file is missing, or not a ResNet18 with three or four outputs.
    """
    network = resnet18(num_classes=len(CLASSES))
    try:
        state = state_dict_from_onnx(path) if path.suffix == ".onnx" else load_file(path)
        network.load_state_dict(_grown(state))
    except (OSError, KeyError, RuntimeError, SafetensorError) as error:
        raise BadWeights(f"{path} cannot be the base of a training: {error}") from error
    return network


def _grown(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    missing = len(CLASSES) - len(state["fc.bias"])
    grown = {
        name: torch.cat([state[name], state[name].new_zeros(missing, *state[name].shape[1:])])
        for name in ("fc.weight", "fc.bias")
    }
    return state | grown


@torch.inference_mode()
def logits_of(network: nn.Module, memory: CropArrays) -> NDArray[np.float32]:
    """The network's outputs (N, C) for all crops, unchanged."""
    network.eval()
    device = next(network.parameters()).device
    outputs = [network(pixels.to(device)) for pixels in plain_batches(memory)]
    return np.asarray(torch.cat(outputs).float().cpu().numpy(), np.float32)


def shown_in(recipe: Recipe, crops: Sequence[Crop], *, stage: int, epoch: int) -> NDArray[np.intp]:
    """Which of the training side's crops an epoch shows, in order, as indices into `crops`."""
    seed = (recipe.seed, stage, epoch)
    shares = recipe.stages[stage].shares or recipe.shares
    groups = [f"{crop.domain}/{crop.label}" for crop in crops]
    order = epoch_order(groups, shares, samples=recipe.samples, seed=seed)
    if recipe.corrections is None:
        return order
    return pooled_order(order, crops, recipe.corrections, batch=recipe.batch, seed=seed)


class _Course(Course[ClassifierProgress, Batch]):
    """A classifier that learns from crops, stage after stage."""

    def __init__(self, network: nn.Module, recipe: Recipe, store: Crops, own: Ranks, *, workers: int) -> None:
        self.recipe, self.store, self.ranks, self.workers = recipe, store, own, workers
        self.network = own.prepared(network)
        self._loaded: dict[int, tuple[CropArrays, CropArrays]] = {}
        self.settled = CourseFacts(
            title="training",
            digest=recipe.digest,
            epochs=sum(stage.epochs for stage in recipe.stages),
            batch=recipe.batch,
            things="crops",
            averaging=recipe.averaging,
            largest_gradient=_LARGEST_GRADIENT,
            losses=1,
            checkpoint=CHECKPOINT_FILE,
            average=BEST_FILE,
        )

    def progress(self, facts: dict[str, Any] | None) -> ClassifierProgress:
        """See `Course`."""
        if facts is None:
            return ClassifierProgress(recipe=self.recipe.digest)
        return ClassifierProgress(**facts | {"history": tuple(Epoch(**line) for line in facts["history"])})

    def behind(self, progress: ClassifierProgress) -> int:
        """See `Course`; the epochs of a stage that ended early are among them."""
        return sum(stage.epochs for stage in self.recipe.stages[: progress.stage]) + progress.epoch

    def optimiser(self, progress: ClassifierProgress) -> torch.optim.AdamW:
        """See `Course`."""
        stage = self.recipe.stages[progress.stage]
        for name, parameter in self.network.named_parameters():
            parameter.requires_grad_(not stage.head_only or name.startswith("fc."))
        parameters = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        return adamw((parameters, 1.0), learning_rate=stage.learning_rate, weight_decay=self.recipe.weight_decay)

    def showing(self, progress: ClassifierProgress) -> Showing[Batch]:
        """See `Course`."""
        recipe, stage = self.recipe, self.recipe.stages[progress.stage]
        train, _ = self._crops(progress)
        order = shown_in(recipe, train.crops, stage=progress.stage, epoch=progress.epoch)
        steps = len(order) // recipe.batch
        self.network.train(not stage.head_only)
        batches = training_batches(
            train,
            order,
            batch=recipe.batch,
            strength=recipe.augmentation,
            seed=(recipe.seed, progress.stage, progress.epoch),
            workers=self.workers,
            part=(self.ranks.rank, self.ranks.count),
        )
        return Showing(
            batches=batches,
            steps=steps,
            title=f"stage {progress.stage} epoch {progress.epoch} of {stage.epochs} at {stage.size} px",
            rate=lambda step: rate_at(stage.learning_rate, (progress.epoch * steps + step) / (stage.epochs * steps)),
        )

    def losses(self, network: nn.Module, batch: Batch) -> tuple[torch.Tensor, Sequence[torch.Tensor]]:
        """See `Course`."""
        pixels, labels = (part.to(self.ranks.device) for part in batch)
        with torch.autocast(self.ranks.device.type, torch.bfloat16, enabled=self.recipe.half):
            outputs = network(pixels)
        loss = functional.cross_entropy(outputs.float(), labels, label_smoothing=self.recipe.label_smoothing)
        return loss, (loss,)

    def scores(self, progress: ClassifierProgress, average: nn.Module) -> dict[str, float]:
        """See `Course`."""
        return _scores(average, self._crops(progress)[1])

    def judged(
        self, progress: ClassifierProgress, losses: Sequence[float], scores: dict[str, float], seconds: float
    ) -> EpochEnd[ClassifierProgress]:
        """See `Course`; a stage ends early where nothing became better for as long as the recipe has patience."""
        [loss], score = losses, float(np.mean(list(scores.values())))
        line = Epoch(
            stage=progress.stage, epoch=progress.epoch, loss=loss, score=score, by_domain=scores, seconds=seconds
        )
        better = score > progress.best
        stale = 0 if better else progress.stale + 1
        ended = progress.epoch + 1 >= self.recipe.stages[progress.stage].epochs or stale >= self.recipe.patience
        by_domain = ", ".join(f"{domain} {value:.4f}" for domain, value in scores.items())
        return EpochEnd(
            progress=ClassifierProgress(
                recipe=progress.recipe,
                stage=progress.stage + ended,
                epoch=0 if ended else progress.epoch + 1,
                best=-1.0 if ended and not self._goes_on(progress.stage) else max(score, progress.best),
                stale=0 if ended else stale,
                history=(*progress.history, line),
            ),
            said=f"stage {line.stage} epoch {line.epoch}: loss {loss:.3f}, macro F1 {by_domain}, {seconds:.0f} s",
            kept={"score": str(score)} if better else None,
        )

    def _crops(self, progress: ClassifierProgress) -> tuple[CropArrays, CropArrays]:
        """The crops that teach and those that judge, at the stage's size; in memory until a stage has another one."""
        size = self.recipe.stages[progress.stage].size
        if size not in self._loaded:
            train = CropArrays.load(self.store, "train", size)
            self._loaded = {size: (train, CropArrays.load(self.store, "validation", size, most=_JUDGED))}
        return self._loaded[size]

    def _goes_on(self, stage: int) -> bool:
        """Whether the next stage has to beat this one; at another resolution or other shares, scores do not compare."""
        one, *others = self.recipe.stages[stage:]
        return bool(others) and (one.size, one.shares) == (others[0].size, others[0].shares)


def _scores(network: nn.Module, memory: CropArrays) -> dict[str, float]:
    """Macro F1 on each domain of the validation crops."""
    probabilities = softmax(logits_of(network, memory))
    domains = np.array([crop.domain for crop in memory.crops])
    return {
        str(domain): evaluate(probabilities[domains == domain], memory.labels[domains == domain], CLASSES).macro_f1
        for domain in np.unique(domains)
    }
