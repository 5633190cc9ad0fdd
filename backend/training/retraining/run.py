"""One retraining from samples to verdict: material, table, training, candidate, gate, promotion."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from backend.detection.choice import build_detector
from backend.errors import PointerMoved, TrainingError
from backend.nets.config import MARKS, ClassifierConfig
from backend.nets.registry import Registry
from backend.nets.sources import Sources
from backend.nets.weights import CONFIG_FILE, FLOAT_WEIGHTS_FILE, Weights
from backend.registry.candidates import add_documents, documents_of
from backend.registry.models import Model, Models
from backend.registry.record import Facts
from backend.training.loop import Progress, fit, network_from
from backend.training.publish import versions
from backend.training.recipe import Corrections, Recipe
from backend.training.retraining.base import Base, read_base, root_of
from backend.training.retraining.candidate import add_detector, quantise_candidate, write_candidate
from backend.training.retraining.judging import as_verdict, closed_set, judge_candidate
from backend.training.retraining.material import Lesson, Material, draw_base, lessons
from backend.training.retraining.recipe import fit_to
from backend.training.retraining.table import went_in

if TYPE_CHECKING:
    from backend.feedback.service import Store
    from backend.settings import Settings
    from backend.training.pagestore import PageStore
    from backend.training.retraining.gold import PageOf

__all__ = ["Result", "Retraining"]

_BY = "train"


@dataclass(frozen=True, kw_only=True)
class Result:
    """What came of a retraining.

    Attributes:
        outcome: `promoted`, `candidate`, `refused` or `nothing new`.
        model: The published model.
        reason: Why.
    """

    outcome: str
    model: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class _Lessons:
    """What one retraining rests on: it starts from the root, and takes the place of the parent."""

    recipe: Recipe
    plan: Corrections
    material: Material
    pages: PageStore
    parent: Weights
    root: Weights
    base: Base


@dataclass(frozen=True, kw_only=True)
class Retraining:
    """A retraining; run again after a kill, it goes on after the last whole epoch, if the samples are still the same.

    Attributes:
        settings: Which model serves, where everything is, how pages are read.
        store: The ledger.
        page_of: Fetches a page of Label Studio for the trial.
        folder: Keeps drawn pages, and the run until it has come to its end.
        recipe: What to do; its base and sizes follow from the weights that those which serve go back to.
        threads: That compute.
        workers: Processes that augment; 0 does it in this one.
        say: Tells a person.
    """

    settings: Settings
    store: Store
    page_of: PageOf
    folder: Path
    recipe: Recipe
    threads: int
    workers: int = 0
    say: Callable[[object], None] = print

    def run(self, *, promote: bool) -> Result:
        """Retrains, and lets the gate decide.

        Args:
            promote: Whether a candidate that passes is promoted; else it waits.

        Raises:
            TrainingError: There are too few samples.
            BackendError: A part of the material, the base or the registry cannot be used.
        """
        torch.set_num_threads(self.threads)
        given = self._gather()
        models = Models(self.settings.data_dir / "models")
        made = _made_before(models, given)
        if made is not None and made.verdict is not None:
            return Result(outcome="nothing new", model=made.name, reason="the same samples made it before")
        name = made.name if made is not None else self._publish(models, given)
        result = self._judge(models, name, given, promote=promote)
        shutil.rmtree(self._run_folder(given), ignore_errors=True)
        return result

    def _gather(self) -> _Lessons:
        plan = self.recipe.corrections or Corrections()
        taught = lessons(self.store.engine)
        _ask_enough(taught, plan)
        parent = Sources.of(self.settings).at_once()
        root = root_of(parent, self.settings)
        base = read_base(root)
        detector = build_detector(self.settings.detector, parent.folder, threads=self.threads)
        pages, drawn = draw_base(self.folder / "drawn", pages=plan.drawn_pages, detector=detector)
        material = Material({one.crop.file: one for one in taught}, self.store.crops, drawn)
        recipe = fit_to(dataclasses.replace(self.recipe, corrections=plan), base=base.name, pool=base.pool)
        self.say(went_in(material.side("train"), recipe))
        return _Lessons(recipe=recipe, plan=plan, material=material, pages=pages, parent=parent, root=root, base=base)

    def _run_folder(self, given: _Lessons) -> Path:
        key = hashlib.sha256(f"{given.recipe.digest} {given.material.checksum()}".encode()).hexdigest()[:12]
        return self.folder / f"run-{key}"

    def _fit(self, given: _Lessons) -> Progress:
        """Trains, or goes on, or just tells how a finished training went."""
        run = self._run_folder(given)
        for other in self.folder.glob("run-*"):
            if other != run:
                shutil.rmtree(other)  # of samples that have changed since: it could not go on
        return fit(
            given.recipe, given.material, run, build=lambda _: network_from(given.base.path), workers=self.workers
        )

    def _publish(self, models: Models, given: _Lessons) -> str:
        """Trains and publishes a candidate; gives its name."""
        progress = self._fit(given)
        run = self._run_folder(given)
        candidate = run / "candidate"
        shutil.rmtree(candidate, ignore_errors=True)  # what an attempt that was cut off left
        kind, parent = self.settings.detector, given.parent
        write_candidate(run, progress, given.recipe, given.material, candidate, plan=given.plan)
        add_documents(candidate, documents_of(given.root.folder) or ())
        if (parent.folder / FLOAT_WEIGHTS_FILE).is_file():
            quantise_candidate(candidate, given.material)
        add_detector(candidate, parent.folder, given.pages, kind=kind, plan=given.plan, threads=self.threads)
        config = ClassifierConfig.read(candidate / CONFIG_FILE)
        bars = ", ".join(f"{name} {bar:.2f}" for name, bar in zip(MARKS, config.thresholds, strict=True))
        self.say(f"temperature {config.temperature:.3f}; thresholds {bars}")
        fresh = Weights.open(candidate, name="candidate")
        before, after = (closed_set(one, given.material, threads=self.threads) for one in (parent, fresh))
        self.say(f"macro F1 on {after['crops']} gold crops: {before['macro_f1']:.3f} → {after['macro_f1']:.3f}")
        seconds = round(sum(line.seconds for line in progress.history))
        table = went_in(given.material.side("train"), given.recipe)
        facts = Facts(
            source="retraining",
            parent=parent.name,
            recipe=given.recipe.as_json(),
            seed=given.recipe.seed,
            versions=versions(),
            dataset=given.material.checksum(),
            seconds=seconds,
            metrics={"closed_set": after, "closed_set_before": before, "material": table.as_json()},
        )
        record = models.publish(candidate, facts, by=_BY)
        self.say(f"{record.name}: a candidate, trained for {seconds} s from {given.base.name}")
        return record.name

    def _judge(self, models: Models, name: str, given: _Lessons, *, promote: bool) -> Result:
        """Asks the gate, beside what serves by now, notes its word, and promotes where it may."""
        registry = Registry(models.folder)
        pointed = registry.pointed()
        champion = Sources.of(self.settings).at_once()
        if champion.name == name:
            return Result(outcome="nothing new", model=name, reason="it serves already")
        judgement, gold = judge_candidate(
            champion,
            Weights.open(registry.folder_of(name), name=name),
            given.pages,
            self.store,
            settings=self.settings,
            page_of=self.page_of,
            scratch=self.folder,
        )
        self.say(f"{gold}\n{judgement}")
        verdict = as_verdict(judgement, gold)
        models.judge(name, verdict, by=_BY)
        reason = "; ".join(verdict.reasons)
        if not verdict.passed:
            return Result(outcome="refused", model=name, reason=reason)
        if not promote:
            return Result(outcome="candidate", model=name, reason="it passed the gate, and was not to be promoted")
        try:
            models.promote(name, why="it passed the gate", by=_BY, pointed=pointed)
        except PointerMoved as moved:
            return Result(outcome="candidate", model=name, reason=f"it passed the gate; {moved}")
        return Result(outcome="promoted", model=name, reason=reason)


def _made_before(models: Models, given: _Lessons) -> Model | None:
    """The model that the same recipe made of the same material, judged or not."""
    data, wanted = given.material.checksum(), json.loads(json.dumps(given.recipe.as_json()))
    known = ((model, model.record) for model in models.all())
    same = (model for model, record in known if record and (record.dataset, record.recipe) == (data, wanted))
    return next(same, None)


def _ask_enough(taught: list[Lesson], plan: Corrections) -> None:
    """Refuses too few samples.

    Raises:
        TrainingError: There are fewer than the recipe asks for.
    """
    there = sum(lesson.crop.split == "train" for lesson in taught)
    if there < plan.least_samples:
        others = len(taught) - there
        raise TrainingError(
            f"{there} samples on the training side, {plan.least_samples} are needed: {plan.least_samples - there} are "
            f"missing ({others} more are kept for validation and gold); `samples` tells where they come from"
        )
