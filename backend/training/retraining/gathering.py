"""What one retraining rests on: samples, drawn pages, annotators' pages, and the networks that it goes on from."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from backend.detection.choice import build_detector
from backend.errors import BadWeights, TrainingError
from backend.nets.detector import DetectorConfig
from backend.nets.sources import Sources
from backend.nets.weights import DETECTOR_CONFIG_FILE, Weights
from backend.training.quantise import detector_folder
from backend.training.recipe import Corrections
from backend.training.retraining.annotated import first_and_last
from backend.training.retraining.base import Base, base_of, detector_base
from backend.training.retraining.corrected import collect_pages
from backend.training.retraining.detector import PageLessons, page_lessons
from backend.training.retraining.material import Lesson, Material, draw_base, lessons
from backend.training.retraining.recipe import RetrainingRecipe, fit_to
from backend.training.retraining.table import went_in

if TYPE_CHECKING:
    from backend.feedback.service import Store
    from backend.settings import Settings
    from backend.training.pagestore import PageStore
    from backend.training.retraining.annotated import PageOf

__all__ = ["Given", "gather"]


@dataclass(frozen=True, kw_only=True)
class Given:
    """What a retraining is given: it starts from the base, and takes the place of the parent.

    Attributes:
        recipe: What to do, as it fits the base and the pages.
        plan: The recipe's corrections.
        material: Annotators' samples and drawn crops, for the classifier.
        pages: Drawn ones.
        finding: What annotators' own pages teach the detector; None where it stays as it is.
        parent: What serves.
        base: The classifier that is gone on from.
    """

    recipe: RetrainingRecipe
    plan: Corrections
    material: Material
    pages: PageStore
    finding: PageLessons | None
    parent: Weights
    base: Base

    @cached_property
    def data(self) -> str:
        """Names everything that is learnt from, as hexadecimal digits."""
        return _named(self.material.checksum(), *self._pages)

    @cached_property
    def told(self) -> str:
        """Names what people told; drawn crops are left out, since each detector proposes others."""
        config = DetectorConfig.read(detector_folder(self.parent) / DETECTOR_CONFIG_FILE)
        return _named(self.material.samples_checksum(), *(self._pages or (config.sha256,)))

    @cached_property
    def digest(self) -> str:
        """Twelve hexadecimal digits that change when what is learnt from does, or how."""
        return hashlib.sha256(f"{self.recipe.digest} {self.data}".encode()).hexdigest()[:12]

    @cached_property
    def _pages(self) -> tuple[str, ...]:
        return (self.finding.pages.checksum(),) if self.finding else ()


def gather(
    recipe: RetrainingRecipe,
    store: Store,
    page_of: PageOf,
    *,
    settings: Settings,
    drawn: Path,
    annotated: Path,
    threads: int,
    say: Callable[[object], None],
) -> Given:
    """Brings together what a retraining learns from.

    Args:
        recipe: Its sizes are replaced by those that its base wants.
        store: The ledger.
        page_of: Fetches a page of Label Studio.
        settings: Which model serves, and which kind of detector.
        drawn: Folder that keeps drawn pages.
        annotated: Folder for annotators' pages, which the caller removes.
        threads: That may compute.
        say: Tells a person what went in.

    Raises:
        TrainingError: There are too few samples, or Label Studio gives no page for now.
        BackendError: A part of the material or the base cannot be used.
    """
    plan = recipe.corrections or Corrections()
    taught = lessons(store.engine)
    _ask_enough(taught, plan)
    parent = Sources.of(settings).at_once()
    base = base_of(parent, settings, wanted=recipe.base)
    if base.documents is None:
        say(f"nobody says what {base.name} was trained on: it is taken to have seen none of the documents here")
    detector = build_detector(settings.detector, parent.folder, threads=threads)
    pages, crops = draw_base(drawn, pages=plan.drawn_pages, detector=detector)
    material = Material({one.crop.file: one for one in taught}, store.crops, crops)
    fitting = fit_to(dataclasses.replace(recipe, corrections=plan), base=base.name, pool=base.pool)
    say(went_in(material.side("train"), fitting))

    def find() -> PageLessons | None:
        """What annotators' pages teach the detector, where it is a network and the recipe wants that."""
        if recipe.detector is None or settings.detector == "colour":
            return None
        try:
            start = detector_base(parent, settings, shape=recipe.detector.shape)
        except BadWeights as reason:
            say(f"the detector stays as it is: {reason}")
            return None
        found, missing = collect_pages(annotated, store.engine, page_of, insist=bool(settings.label_studio_api_key))
        if missing:
            say(f"{len(missing)} tasks teach the detector nothing, {first_and_last(missing)}")
        return page_lessons(found, recipe.detector, plan, start, folder=drawn, say=say)

    finding = find()
    return Given(
        recipe=dataclasses.replace(fitting, detector=finding.recipe if finding else None),
        plan=plan,
        material=material,
        pages=pages,
        finding=finding,
        parent=parent,
        base=base,
    )


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


def _named(*checksums: str) -> str:
    return checksums[0] if len(checksums) == 1 else hashlib.sha256(" ".join(checksums).encode()).hexdigest()
