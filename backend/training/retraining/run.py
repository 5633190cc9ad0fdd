"""One retraining from samples to verdict: material, table, training, candidate, gate, promotion."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from backend.detection.choice import build_detector
from backend.errors import BadWeights, PointerMoved, TrainingError
from backend.nets.config import MARKS, ClassifierConfig
from backend.nets.detector import DetectorConfig
from backend.nets.registry import Registry
from backend.nets.sources import Sources
from backend.nets.weights import CONFIG_FILE, DETECTOR_CONFIG_FILE, FLOAT_WEIGHTS_FILE, Weights
from backend.registry.candidates import add_documents, documents_of
from backend.registry.models import Model, Models
from backend.registry.record import Facts
from backend.training.loop import Progress, fit, network_from
from backend.training.pagestore import JoinedPages
from backend.training.publish import versions
from backend.training.quantise import detector_folder
from backend.training.recipe import Corrections
from backend.training.retraining.base import Base, detector_base, of_whole_numbers, read_base, root_of
from backend.training.retraining.candidate import add_detector, quantise_candidate, write_candidate
from backend.training.retraining.corrected import collect_pages
from backend.training.retraining.detector import PageLessons, page_lessons, teach, write_taught
from backend.training.retraining.judging import as_verdict, closed_set, judge_candidate
from backend.training.retraining.material import Lesson, Material, draw_base, lessons
from backend.training.retraining.recipe import RetrainingRecipe, fit_to
from backend.training.retraining.table import went_in

if TYPE_CHECKING:
    from backend.feedback.service import Store
    from backend.settings import Settings
    from backend.training.pagestore import PageStore
    from backend.training.retraining.annotated import PageOf

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
    """What one retraining rests on: it starts from the root, and takes the place of the parent.

    `pages` are drawn ones; `finding` is what annotators' own pages teach the detector, None where it stays as it is.
    """

    recipe: RetrainingRecipe
    plan: Corrections
    material: Material
    pages: PageStore
    finding: PageLessons | None
    parent: Weights
    root: Weights
    base: Base

    @cached_property
    def data(self) -> str:
        """Names everything that is learnt from, as hexadecimal digits."""
        return _named(self.material.checksum(), *self._pages)

    @cached_property
    def given(self) -> str:
        """Names what was given: drawn crops are not, for another detector proposes others once the candidate serves."""
        config = DetectorConfig.read(detector_folder(self.parent) / DETECTOR_CONFIG_FILE)
        return _named(self.material.samples_checksum(), *(self._pages or (config.sha256,)))

    @cached_property
    def _pages(self) -> tuple[str, ...]:
        return (self.finding.pages.checksum(),) if self.finding else ()


@dataclass(frozen=True, kw_only=True)
class Retraining:
    """A retraining; run again after a kill, it goes on after the last whole epoch, if samples and pages are the same.

    Attributes:
        settings: Which model serves, where everything is, how pages are read.
        store: The ledger.
        page_of: Fetches a page of Label Studio, to learn from and for the trial.
        folder: Keeps drawn pages, the run until it has come to its end, and annotators' pages for as long.
        recipe: What to do; its base and sizes follow from the weights that those which serve go back to.
        threads: That compute.
        workers: Processes that augment; 0 does it in this one.
        say: Tells a person.
    """

    settings: Settings
    store: Store
    page_of: PageOf
    folder: Path
    recipe: RetrainingRecipe
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
        try:
            return self._run(self._gather(), promote=promote)
        finally:
            shutil.rmtree(self._annotated, ignore_errors=True)

    @property
    def _annotated(self) -> Path:
        """Annotators' pages, for as long as a training takes."""
        return self.folder / "annotated"

    def _run(self, given: _Lessons, *, promote: bool) -> Result:
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
        finding = self._page_lessons(plan, parent)
        return _Lessons(
            recipe=dataclasses.replace(recipe, detector=finding.recipe if finding else None),
            plan=plan,
            material=material,
            pages=pages,
            finding=finding,
            parent=parent,
            root=root,
            base=base,
        )

    def _page_lessons(self, plan: Corrections, parent: Weights) -> PageLessons | None:
        """What annotators' pages teach the detector, where it is a network and the recipe wants that."""
        if self.recipe.detector is None or self.settings.detector == "colour":
            return None
        try:
            base = detector_base(parent, self.settings, shape=self.recipe.detector.shape)
        except BadWeights as reason:
            self.say(f"the detector stays as it is: {reason}")
            return None
        store, missing = collect_pages(self._annotated, self.store.engine, self.page_of)
        if missing:
            self.say(f"{len(missing)} tasks teach the detector nothing, the first of them: {missing[0]}")
        return page_lessons(store, self.recipe.detector, plan, base, folder=self.folder / "drawn", say=self.say)

    def _run_folder(self, given: _Lessons) -> Path:
        key = hashlib.sha256(f"{given.recipe.digest} {given.data}".encode()).hexdigest()[:12]
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

    def _trained(self, given: _Lessons, candidate: Path) -> int:
        """Trains both networks, or goes on, and puts them into the candidate's folder; gives the seconds it took."""
        shutil.rmtree(candidate, ignore_errors=True)  # what an attempt that was cut off left
        progress = self._fit(given)
        seconds = sum(line.seconds for line in progress.history)
        write_candidate(candidate.parent, progress, given.recipe, given.material, candidate, plan=given.plan)
        add_documents(candidate, documents_of(given.root.folder) or ())
        if (given.parent.folder / FLOAT_WEIGHTS_FILE).is_file():
            quantise_candidate(candidate, given.material)
        place, judges = detector_folder(given.parent), JoinedPages((given.pages,))
        if given.finding is not None:
            seconds += self._teach_detector(given, given.finding, candidate)
            place, judges = candidate, JoinedPages((given.pages, given.finding.pages))
        add_detector(
            candidate,
            place,
            judges,
            serving=given.parent,
            kind=self.settings.detector,
            plan=given.plan,
            threads=self.threads,
        )
        return round(seconds)

    def _teach_detector(self, given: _Lessons, finding: PageLessons, candidate: Path) -> float:
        """Trains the detector on annotators' pages, or goes on; gives the seconds it took."""
        run = candidate.with_name("detector")
        progress = teach(finding, given.pages, run, workers=self.workers)
        serving = DetectorConfig.read(detector_folder(given.parent) / DETECTOR_CONFIG_FILE)
        whole = of_whole_numbers(serving)
        write_taught(run, progress, finding, given.pages, candidate, whole_numbers=whole)
        seen = finding.pages.seen() | finding.replay.seen()
        add_documents(candidate, (*(documents_of(finding.base.folder) or ()), *seen))
        return sum(line.seconds for line in progress.history)

    def _publish(self, models: Models, given: _Lessons) -> str:
        """Trains and publishes a candidate; gives its name."""
        candidate, parent = self._run_folder(given) / "candidate", given.parent
        seconds = self._trained(given, candidate)
        config = ClassifierConfig.read(candidate / CONFIG_FILE)
        bars = ", ".join(f"{name} {bar:.2f}" for name, bar in zip(MARKS, config.thresholds, strict=True))
        self.say(f"temperature {config.temperature:.3f}; thresholds {bars}")
        fresh = Weights.open(candidate, name="candidate")
        before, after = (closed_set(one, given.material, threads=self.threads) for one in (parent, fresh))
        self.say(f"macro F1 on {after['crops']} gold crops: {before['macro_f1']:.3f} → {after['macro_f1']:.3f}")
        table = went_in(given.material.side("train"), given.recipe)
        facts = Facts(
            source="retraining",
            parent=parent.name,
            recipe=given.recipe.as_json(),
            seed=given.recipe.seed,
            versions=versions(),
            dataset=given.data,
            seconds=seconds,
            metrics={
                "given": given.given,
                "closed_set": after,
                "closed_set_before": before,
                "material": table.as_json(),
            },
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
    """The model that the same recipe made of the same samples and pages, judged or not."""
    wanted = json.loads(json.dumps(given.recipe.as_json()))
    known = ((model, model.record) for model in models.all())
    same = (
        model
        for model, record in known
        if record and record.recipe == wanted and record.metrics.get("given") == given.given
    )
    return next(same, None)


def _named(*checksums: str) -> str:
    return checksums[0] if len(checksums) == 1 else hashlib.sha256(" ".join(checksums).encode()).hexdigest()


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
