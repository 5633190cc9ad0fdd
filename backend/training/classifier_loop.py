"""The training loop: stages, checkpoint after every epoch, and a result that an interruption does not change."""

from __future__ import annotations

import copy
import json
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import nn
from torchvision.models import ResNet, resnet18
from tqdm import tqdm

from backend.errors import BadWeights, TrainingError
from backend.evaluation.closed_set import evaluate, softmax
from backend.training.batches import CropArrays, Crops, epoch_order, plain_batches, pooled_order, training_batches
from backend.training.classifier_recipe import Recipe, Stage
from backend.training.crops import Crop
from backend.training.export import state_dict_from_onnx
from backend.training.loop_parts import (
    Ranks,
    Tell,
    adamw,
    follow,
    how_far,
    nobody,
    ranks,
    rate_at,
    restore,
    save,
    state_of,
)
from backend.vision.network_config import CLASSES

__all__ = [
    "BEST_FILE",
    "CHECKPOINT_FILE",
    "Epoch",
    "Progress",
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
class Progress:
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


def fit(
    recipe: Recipe,
    store: Crops,
    folder: Path,
    *,
    build: Build | None = None,
    workers: int = 0,
    stop_after: int | None = None,
    tell: Tell = nobody,
) -> Progress:
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
        if recipe.batch % own.count:
            raise TrainingError(f"a batch of {recipe.batch} crops cannot be divided among {own.count} processes")
        return _fit(
            recipe,
            store,
            folder,
            own,
            build=build or first_network,
            workers=workers,
            stop_after=stop_after,
            tell=tell,
        )


def _fit(
    recipe: Recipe,
    store: Crops,
    folder: Path,
    own: Ranks,
    *,
    build: Build,
    workers: int,
    stop_after: int | None,
    tell: Tell,
) -> Progress:
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(recipe.seed)
    run = _Run(build(recipe), recipe, own)
    progress = run.resume(folder / CHECKPOINT_FILE)
    train = judge = None
    epochs = sum(stage.epochs for stage in recipe.stages)
    hidden = None if own.leads else True
    with tqdm(total=epochs, initial=_behind(recipe, progress), unit="epoch", desc="training", disable=hidden) as bar:
        for _ in range(stop_after if stop_after is not None else epochs):
            if progress.stage >= len(recipe.stages):
                break
            stage = recipe.stages[progress.stage]
            if train is None or judge is None or train.size != stage.size:
                train = CropArrays.load(store, "train", stage.size)
                judge = CropArrays.load(store, "validation", stage.size, most=_JUDGED)
            progress = run.epoch(progress, train, judge, folder, workers)
            behind = _behind(recipe, progress)
            bar.update(behind - bar.n)
            tell(how_far(behind, epochs, seconds=progress.history[-1].seconds))
    return progress


def _behind(recipe: Recipe, progress: Progress) -> int:
    """Epochs that are over, those of a stage that ended early among them."""
    return sum(stage.epochs for stage in recipe.stages[: progress.stage]) + progress.epoch


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


class _Run:
    """A network in training, its moving average, and its optimiser."""

    def __init__(self, network: nn.Module, recipe: Recipe, own: Ranks) -> None:
        self.recipe = recipe
        self.ranks = own
        self.device = own.device
        self.network = own.prepared(network)
        self.average = copy.deepcopy(self.network).requires_grad_(False)
        self.optimiser = self._fresh_optimiser(recipe.stages[0])

    def _fresh_optimiser(self, stage: Stage) -> torch.optim.AdamW:
        for name, parameter in self.network.named_parameters():
            parameter.requires_grad_(not stage.head_only or name.startswith("fc."))
        parameters = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        return adamw((parameters, 1.0), learning_rate=stage.learning_rate, weight_decay=self.recipe.weight_decay)

    def epoch(self, progress: Progress, train: CropArrays, judge: CropArrays, folder: Path, workers: int) -> Progress:
        """Trains one epoch, judges it and saves everything."""
        stage = self.recipe.stages[progress.stage]
        if progress.epoch == 0:
            self.optimiser = self._fresh_optimiser(stage)
        began = time.monotonic()
        loss = self._train(progress, stage, train, workers)
        by_domain = self.ranks.from_first(lambda: _scores(self.average, judge))
        score = float(np.mean(list(by_domain.values())))
        line = Epoch(
            stage=progress.stage,
            epoch=progress.epoch,
            loss=loss,
            score=score,
            by_domain=by_domain,
            seconds=time.monotonic() - began,
        )
        better = score > progress.best
        if better and self.ranks.leads:
            save(self.average.state_dict(), folder / BEST_FILE, {"score": str(score)})
        stale = 0 if better else progress.stale + 1
        ended = progress.epoch + 1 >= stage.epochs or stale >= self.recipe.patience
        progress = Progress(
            recipe=progress.recipe,
            stage=progress.stage + ended,
            epoch=0 if ended else progress.epoch + 1,
            best=-1.0 if ended and not self._goes_on(progress.stage) else max(score, progress.best),
            stale=0 if ended else stale,
            history=(*progress.history, line),
        )
        if self.ranks.leads:
            scores = ", ".join(f"{domain} {value:.4f}" for domain, value in by_domain.items())
            tqdm.write(
                f"stage {line.stage} epoch {line.epoch}: loss {loss:.3f}, macro F1 {scores}, {line.seconds:.0f} s",
                file=sys.stderr,
            )
            state = state_of(self.network, self.average, self.optimiser)
            save(state, folder / CHECKPOINT_FILE, {"progress": json.dumps(asdict(progress))})
        self.ranks.wait()
        return progress

    def _goes_on(self, stage: int) -> bool:
        """Whether the next stage has to beat this one; at another resolution or other shares, scores do not compare."""
        one, *others = self.recipe.stages[stage:]
        return bool(others) and (one.size, one.shares) == (others[0].size, others[0].shares)

    def _train(self, progress: Progress, stage: Stage, train: CropArrays, workers: int) -> float:
        recipe = self.recipe
        seed = (recipe.seed, progress.stage, progress.epoch)
        order = shown_in(recipe, train.crops, stage=progress.stage, epoch=progress.epoch)
        steps = len(order) // recipe.batch
        criterion = nn.CrossEntropyLoss(label_smoothing=recipe.label_smoothing)
        batches = training_batches(
            train,
            order,
            batch=recipe.batch,
            strength=recipe.augmentation,
            seed=seed,
            workers=workers,
            part=(self.ranks.rank, self.ranks.count),
        )
        losses = []
        self.network.train(not stage.head_only)
        network, hidden = self.ranks.together(self.network), None if self.ranks.leads else True
        title = f"stage {progress.stage} epoch {progress.epoch} of {stage.epochs} at {stage.size} px"
        for step, (pixels, labels) in enumerate(tqdm(batches, total=steps, desc=title, leave=False, disable=hidden)):
            rate = rate_at(stage.learning_rate, (progress.epoch * steps + step) / (stage.epochs * steps))
            for group in self.optimiser.param_groups:
                group["lr"] = rate
            with torch.autocast(self.device.type, torch.bfloat16, enabled=recipe.half):
                outputs = network(pixels.to(self.device))
            loss = criterion(outputs.float(), labels.to(self.device))
            self.optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(self.network.parameters(), _LARGEST_GRADIENT)
            self.optimiser.step()
            follow(self.average, self.network, self.recipe.averaging)
            losses.append(loss.item())
        return self.ranks.mean(float(np.mean(losses)) if losses else math.nan)

    def resume(self, path: Path) -> Progress:
        """Takes everything from a checkpoint, if there is one, and tells where the run stands."""
        if not path.exists():
            return Progress(recipe=self.recipe.digest)
        with safe_open(path, "pt") as file:
            facts = json.loads(file.metadata()["progress"])
        facts["history"] = tuple(Epoch(**line) for line in facts["history"])
        progress = Progress(**facts)
        if progress.recipe != self.recipe.digest:
            raise TrainingError(
                f"{path} belongs to recipe {progress.recipe}, not to {self.recipe.digest}: choose another folder"
            )
        if progress.stage < len(self.recipe.stages):
            self.optimiser = self._fresh_optimiser(self.recipe.stages[progress.stage])
        restore(load_file(path), self.network, self.average, self.optimiser)
        return progress


def _scores(network: nn.Module, memory: CropArrays) -> dict[str, float]:
    """Macro F1 on each domain of the validation crops."""
    probabilities = softmax(logits_of(network, memory))
    domains = np.array([crop.domain for crop in memory.crops])
    return {
        str(domain): evaluate(probabilities[domains == domain], memory.labels[domains == domain], CLASSES).macro_f1
        for domain in np.unique(domains)
    }
