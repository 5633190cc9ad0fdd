"""One retraining from samples to verdict: gathered, made, published, judged, and promoted where it may be.

From what is given to a candidate's folder: both networks trained, calibrated, and weighed against each other.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from backend.errors import PointerMoved
from backend.evaluation.trial import beside
from backend.models.promotion import Model, Models
from backend.models.published import Facts, Registry
from backend.models.publishing import add_documents, carry_refiner, documents_of
from backend.models.serving import Sources
from backend.training.pagestore import JoinedPages
from backend.training.retraining.base_weights import of_whole_numbers
from backend.training.retraining.candidate import add_detector, quantise_candidate, write_candidate
from backend.training.retraining.detector_retraining import write_taught
from backend.training.retraining.gathering_material import Given, gather, went_in
from backend.training.retraining.gold_trial import as_verdict, closed_set, judge_candidate
from backend.training.retraining.retraining_recipe import RetrainingRecipe
from backend.training.retraining.starting import PRIVATE
from backend.training.retraining.together import CropWork, PageWork, fit_together
from backend.training.training_loop import Tell, nobody
from backend.training.training_record import seconds_of, versions
from backend.vision.engine import DetectorConfig
from backend.vision.network_config import MARKS, ClassifierConfig
from backend.vision.weights import CONFIG_FILE, DETECTOR_CONFIG_FILE, FLOAT_WEIGHTS_FILE, Weights, home_of

if TYPE_CHECKING:
    from backend.corrections.service import Store
    from backend.models.published import Beside
    from backend.settings import Settings
    from backend.training.retraining.annotators_pages import PageOf

__all__ = ["Result", "Retraining", "make"]

_CANDIDATE, _DETECTOR = "candidate", "detector"
_BY = "train"


def make(
    given: Given, run: Path, *, kind: str, confidence: float, threads: int, workers: int, tell: Tell
) -> tuple[Path, int]:
    """Trains both networks, or goes on after the last whole epoch, and writes the candidate.

    Args:
        given: What to learn from, and how.
        run: Folder of this run.
        kind: The DETECTOR setting.
        confidence: The CONFIDENCE setting.
        threads: That may compute.
        workers: Processes that augment; 0 does it in this one.
        tell: Is told how far it is.

    Returns:
        The candidate's folder, and the seconds that training took.
    """
    candidate = run / _CANDIDATE
    shutil.rmtree(candidate, ignore_errors=True)  # what an attempt that was cut off left
    work = CropWork(
        recipe=given.recipe,
        material=given.material,
        base=given.base.path,
        run=run,
        workers=workers,
        threads=threads,
    )
    progress = fit_together(work, lambda far: tell(f"classifier: {far}"))
    seconds = seconds_of(progress)
    write_candidate(run, progress, given.recipe, given.material, candidate, plan=given.plan)
    add_documents(candidate, given.base.documents or ())
    if (given.parent.folder / FLOAT_WEIGHTS_FILE).is_file():
        quantise_candidate(candidate, given.material)
    place, judges = home_of("detector", given.parent.folder), JoinedPages((given.pages,))
    if given.finding is not None:
        pages = PageWork(
            lessons=given.finding, drawn=given.pages, run=run / _DETECTOR, workers=workers, threads=threads
        )
        seconds += _teach(given, pages, candidate, tell=tell)
        place, judges = candidate, JoinedPages((given.pages, given.finding.pages))
    tell("both networks are weighed against each other")
    add_detector(
        candidate,
        place,
        judges,
        serving=given.parent,
        kind=kind,
        confidence=confidence,
        plan=given.plan,
        threads=threads,
    )
    return candidate, round(seconds)


def _teach(given: Given, work: PageWork, candidate: Path, *, tell: Tell) -> float:
    """Trains the detector on annotators' pages, or goes on; gives the seconds it took."""
    progress, finding = fit_together(work, lambda far: tell(f"detector: {far}")), work.lessons
    place = home_of("detector", given.parent.folder)
    whole = of_whole_numbers(DetectorConfig.read(place / DETECTOR_CONFIG_FILE))
    write_taught(work.run, progress, finding, given.pages, candidate, whole_numbers=whole)
    if whole:
        carry_refiner(place, candidate)  # that of its base is in floating point
    seen = finding.pages.seen() | finding.replay.seen()
    add_documents(candidate, (*(documents_of(finding.base.folder) or ()), *seen))
    return seconds_of(progress)


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
class Retraining:
    """A retraining; run again after a kill, it goes on after the last whole epoch, if samples and pages are the same.

    Attributes:
        settings: Which model serves, where everything is, how pages are read.
        store: The ledger.
        page_of: Fetches a page of Label Studio, to learn from and for the trial.
        folder: Keeps drawn pages, the run until it has come to its end, and annotators' pages for as long.
        recipe: What to do; its sizes follow from the weights that it goes on from.
        threads: That compute.
        workers: Processes that augment; 0 does it in this one.
        say: Tells a person.
        tell: Is told how far it is.
    """

    settings: Settings
    store: Store
    page_of: PageOf
    folder: Path
    recipe: RetrainingRecipe
    threads: int
    workers: int = 0
    say: Callable[[object], None] = print
    tell: Tell = nobody

    def run(self, *, promote: bool) -> Result:
        """Retrains, and lets the gate decide.

        Args:
            promote: Whether a candidate that passes is promoted; else it waits.

        Raises:
            TrainingError: There are too few samples.
            BackendError: A part of the material, the base or the registry cannot be used.
            OSError: The disk is full, or annotators' pages could not be removed from it.
        """
        torch.set_num_threads(self.threads)
        private = self.folder / PRIVATE
        _remove(private)  # what one that was killed left
        try:
            private.mkdir(parents=True, mode=0o700)
            return self._run(private, promote=promote)
        finally:
            _remove(private)

    def _run(self, private: Path, *, promote: bool) -> Result:
        self.tell("samples and pages are brought together")
        given = gather(
            self.recipe,
            self.store,
            self.page_of,
            settings=self.settings,
            drawn=self.folder / "drawn",
            annotated=private / "annotated",
            threads=self.threads,
            say=self.say,
        )
        models = Models(self.settings.data_dir / "models")
        made = _made_before(models, given)
        if made is None:
            result = self._judge(models, self._publish(models, given), given, private / "gold", promote=promote)
        elif made.verdict is None:
            result = self._judge(models, made.name, given, private / "gold", promote=promote)
        else:
            result = self._again(models, made, promote=promote)
        self._clear(None)
        return result

    def _clear(self, kept: Path | None) -> None:
        """Removes runs: of samples that have changed since, none could go on."""
        for run in self.folder.glob("run-*"):
            if run != kept:
                shutil.rmtree(run)

    def _publish(self, models: Models, given: Given) -> str:
        """Makes and publishes a candidate; gives its name."""
        run = self.folder / f"run-{given.digest}"
        self._clear(run)
        candidate, seconds = make(
            given,
            run,
            kind=self.settings.detector,
            confidence=self.settings.confidence,
            threads=self.threads,
            workers=self.workers,
            tell=self.tell,
        )
        config = ClassifierConfig.read(candidate / CONFIG_FILE)
        bars = ", ".join(f"{name} {bar:.2f}" for name, bar in zip(MARKS, config.thresholds, strict=True))
        self.say(f"temperature {config.temperature:.3f}; thresholds {bars}")
        fresh = Weights.open(candidate, name="candidate")
        before, after = (closed_set(one, given.material, threads=self.threads) for one in (given.parent, fresh))
        self.say(f"macro F1 on {after['crops']} gold crops: {before['macro_f1']:.3f} → {after['macro_f1']:.3f}")
        table = went_in(given.material.side("train"), given.recipe)
        facts = Facts(
            source="retraining",
            parent=given.parent.name,
            recipe=given.recipe.as_json(),
            seed=given.recipe.seed,
            versions=versions(),
            dataset=given.data,
            seconds=seconds,
            told=given.told,
            metrics={
                "closed_set": after,
                "closed_set_before": before,
                "material": table.as_json(),
            },
        )
        record = models.publish(candidate, facts, by=_BY)
        self.say(f"{record.name}: a candidate, trained for {seconds} s from {given.base.name}")
        return record.name

    def _judge(self, models: Models, name: str, given: Given, gold_folder: Path, *, promote: bool) -> Result:
        """Asks the gate, beside what serves by now, notes its word, and promotes where it may."""
        registry = Registry(models.folder)
        champion = Sources.of(self.settings).at_once()
        if champion.name == name:
            return Result(outcome="nothing new", model=name, reason="it serves already")
        self.tell("the gate is asked")
        judgement, gold = judge_candidate(
            champion,
            Weights.open(registry.folder_of(name), name=name),
            given.pages,
            self.store,
            settings=self.settings,
            page_of=self.page_of,
            folder=gold_folder,
        )
        self.say(f"{gold}\n{judgement}")
        verdict = as_verdict(judgement, gold, beside=beside(champion))
        models.judge(name, verdict, by=_BY)
        reason = "; ".join(verdict.reasons)
        if not verdict.passed:
            return Result(outcome="refused", model=name, reason=reason)
        if not promote:
            return Result(outcome="candidate", model=name, reason="it passed the gate, and was not to be promoted")
        return self._promote(models, name, reason=reason, beside=beside(champion))

    def _again(self, models: Models, made: Model, *, promote: bool) -> Result:
        """Of a model that the gate has spoken about: what was cut off, or was not wanted then, may be done now."""
        same = "the same samples made it before"
        if made.verdict is None or not made.verdict.passed or made.promoted is not None:
            return Result(outcome="nothing new", model=made.name, reason=f"{same} ({made.status})")
        seen = made.verdict.beside
        if not promote or seen is None:
            waits = f"it passed the gate and waits: `models promote {made.name}`"
            return Result(outcome="nothing new", model=made.name, reason=f"{same}; {waits}")
        return self._promote(models, made.name, reason="; ".join(made.verdict.reasons), beside=seen)

    def _promote(self, models: Models, name: str, *, reason: str, beside: Beside) -> Result:
        try:
            models.promote(name, why="it passed the gate", by=_BY, beside=beside)
        except PointerMoved as moved:
            return Result(outcome="candidate", model=name, reason=f"it passed the gate; {moved}")
        return Result(outcome="promoted", model=name, reason=reason)


def _made_before(models: Models, given: Given) -> Model | None:
    """The model that the same recipe made of the same samples and pages, judged or not."""
    wanted = json.loads(json.dumps(given.recipe.as_json()))
    known = ((model, model.record) for model in models.all())
    same = (model for model, record in known if record and record.recipe == wanted and record.told == given.told)
    return next(same, None)


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
