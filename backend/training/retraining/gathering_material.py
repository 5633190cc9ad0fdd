"""What one retraining rests on: samples, drawn pages, annotators' pages, and the networks that it goes on from.

What goes into a retraining, by class, in the original model card's table and beside its figures.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from backend.errors import BadWeights, TrainingError
from backend.models.serving import Sources
from backend.training.batches import CORRECTED, HARD
from backend.training.classifier_loop import shown_in
from backend.training.classifier_recipe import Corrections, Recipe
from backend.training.crops import Crop
from backend.training.detector.detector_recipe import SHAPES
from backend.training.retraining.annotators_pages import first_and_last
from backend.training.retraining.base_weights import Base, base_of, detector_base
from backend.training.retraining.detector_retraining import PageLessons, page_lessons
from backend.training.retraining.material import Lesson, Material, collect_pages, draw_base, lessons
from backend.training.retraining.retraining_recipe import RetrainingRecipe, fit_to
from backend.vision.engine import DetectorConfig
from backend.vision.finders import build_detector
from backend.vision.network_config import CLASSES
from backend.vision.weights import DETECTOR_CONFIG_FILE, Weights, home_of

if TYPE_CHECKING:
    from backend.corrections.service import Store
    from backend.settings import Settings
    from backend.training.pagestore import PageStore
    from backend.training.retraining.annotators_pages import PageOf

__all__ = ["ORIGINAL", "Given", "Row", "Table", "gather", "went_in"]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One class; `total` counts as the original training did, originals and augmented ones together."""

    original: int
    augmented: int
    misclassified: int
    augmented_misclassified: int

    @property
    def total(self) -> int:
        return self.original + self.augmented + self.misclassified + self.augmented_misclassified


ORIGINAL: Mapping[str, Row] = {
    "signature": Row(original=279, augmented=1104, misclassified=29, augmented_misclassified=116),
    "stamp": Row(original=100, augmented=600, misclassified=27, augmented_misclassified=108),
    "thumb": Row(original=111, augmented=783, misclassified=61, augmented_misclassified=265),
}
"""What the original model card says of its training."""
_HEAD = ("", "original", "augmented", "misclassified", "augmented", "total")
_NOTE = (
    "misclassified: shown under another name, or where nothing is; augmented: how often an epoch shows them, each time",
    "changed anew, where the original training wrote its copies to disk once; total: originals and augmented, as the "
    "original model card counted",
)


@dataclass(frozen=True, kw_only=True)
class Table:
    """What went in.

    Attributes:
        rows: Annotators' samples by class.
        drawn: Crops of drawn pages that there are, by class.
        drawn_shown: How many of them an epoch shows.
    """

    rows: Mapping[str, Row]
    drawn: Mapping[str, int]
    drawn_shown: Mapping[str, int]

    def as_json(self) -> dict[str, object]:
        rows = {name: asdict(row) | {"total": row.total} for name, row in self.rows.items()}
        return {"samples": rows, "drawn": dict(self.drawn), "drawn_shown": dict(self.drawn_shown)}

    def __str__(self) -> str:
        lines: list[tuple[object, ...]] = [_HEAD]
        for name in CLASSES:
            lines.append((name, *_cells(self.rows[name])))
            if name in ORIGINAL:
                lines.append(("  original card", *_cells(ORIGINAL[name])))
        lines += [("all", *_cells(_sum(self.rows))), ("  original card", *_cells(_sum(ORIGINAL)))]
        widths = [max(len(_cell(line[place])) for line in lines) for place in range(len(_HEAD))]
        text = [
            "  ".join(
                _cell(cell).rjust(width) if place else _cell(cell).ljust(width)
                for place, (cell, width) in enumerate(zip(line, widths, strict=True))
            )
            for line in lines
        ]
        shown = ", ".join(f"{self.drawn_shown[name]} {name}" for name in CLASSES)
        base = f"beside them, so that nothing is forgotten, an epoch shows crops of drawn pages: {shown}"
        return "\n".join([*text, *_NOTE, base])


def went_in(crops: Sequence[Crop], recipe: Recipe) -> Table:
    """The table of the first epoch of the last stage.

    Args:
        crops: Those of the training side.
        recipe: How often each is shown.
    """
    shown = [crops[place] for place in shown_in(recipe, crops, stage=len(recipe.stages) - 1, epoch=0)]
    there, often = (Counter(map(_kind, members)) for members in (crops, shown))
    rows = {
        name: Row(
            original=there["seen", name],
            augmented=often["seen", name],
            misclassified=there[HARD, name],
            augmented_misclassified=often[HARD, name],
        )
        for name in CLASSES
    }
    drawn, drawn_shown = ({name: counted["drawn", name] for name in CLASSES} for counted in (there, often))
    return Table(rows=rows, drawn=drawn, drawn_shown=drawn_shown)


def _kind(crop: Crop) -> tuple[str, str]:
    if crop.domain != CORRECTED:
        return "drawn", crop.label
    return HARD if crop.origin == HARD else "seen", crop.label


def _sum(rows: Mapping[str, Row]) -> Row:
    return Row(
        original=sum(row.original for row in rows.values()),
        augmented=sum(row.augmented for row in rows.values()),
        misclassified=sum(row.misclassified for row in rows.values()),
        augmented_misclassified=sum(row.augmented_misclassified for row in rows.values()),
    )


def _cells(row: Row) -> tuple[int, ...]:
    return row.original, row.augmented, row.misclassified, row.augmented_misclassified, row.total


def _cell(cell: object) -> str:
    return f"{cell:,}" if isinstance(cell, int) else str(cell)


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
        config = DetectorConfig.read(home_of("detector", self.parent.folder) / DETECTOR_CONFIG_FILE)
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
            start = detector_base(parent, settings, shapes=(recipe.detector.shape, *SHAPES))
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
