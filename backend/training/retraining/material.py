"""Collects what a retraining learns from: annotators' samples, and drawn pages so that nothing is forgotten.

Stores annotators' pages for the detector: what is on them, and whether it had to be corrected.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import count, islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Engine, select

from backend.corrections.outcomes import Outcome
from backend.corrections.tables import document, prediction, sample
from backend.errors import TrainingError
from backend.training.batches import CORRECTED, HARD
from backend.training.crops import SPLITS, Crop, CropFolder, cut, split_of
from backend.training.harvest import harvest_pages
from backend.training.pagestore import LabelledPage, PageStore
from backend.training.retraining.annotators_pages import annotated_pages
from backend.training.training_pages import draw_into, draw_seeds

if TYPE_CHECKING:
    from backend.corrections.crop_store import CropStore as Pictures
    from backend.training.retraining.annotators_pages import KnownPage, PageOf
    from backend.vision.finders import Detects

__all__ = [
    "ACCEPTED_PAGE",
    "CORRECTED_PAGE",
    "RETRAINING_SEED",
    "Lesson",
    "Material",
    "collect_pages",
    "draw_base",
    "draw_replay",
    "lessons",
]

CORRECTED_PAGE, ACCEPTED_PAGE = "corrected", "accepted"
"""Sources of pages: something was changed on them, or nothing was."""
_MOST_PAGES = 1000
"""Of the newest tasks; as many are some 2 GB of memory."""
_MOST_BARE = 2
"""So many pages of a document teach although they have no mark and nothing was corrected: a lease has many of these."""
RETRAINING_SEED = 2_001_000
"""Seed of the first page that is drawn for retraining: away from those of the bundled weights, tests, benchmarks."""
_REPLAY_SEED = 2_100_000
"""Seed of the first page that is drawn for the detector alone."""
_HARD = (Outcome.RELABELLED, Outcome.REJECTED)


def collect_pages(
    folder: Path, engine: Engine, page_of: PageOf, *, insist: bool = False
) -> tuple[PageStore, tuple[str, ...]]:
    """Fetches the pages that annotators submitted, except those of gold documents, to a folder that holds nothing else.

    Only its owner may read it, and the caller removes it after the training. A page teaches where it tells its document
    in the ledger: where marks are on it or were shown on it, or if the document has none. So a gold document that has
    the same page is known to have it. Pages of a blind task do not teach: people overlook marks, and saw no boxes
    there.

    Args:
        folder: Made for it.
        engine: The ledger's database.
        page_of: Fetches a page.
        insist: Whether it is an error that nothing can be had for now.

    Returns:
        The pages, and a sentence for each task that could not be had.

    Raises:
        PagesAway: That is so.
        OSError: The disk is full.
    """
    folder.mkdir(parents=True, mode=0o700)
    store, missing, there = PageStore(folder), list[str](), 0
    hard, blind, bare = _corrected(engine), _blind(engine), Counter[str]()
    sides = {"train", "validation"}
    found = annotated_pages(
        engine, page_of, sides=sides, most=_MOST_PAGES, spool=folder, missing=missing, without=blind, insist=insist
    )
    for known in found:
        if there == _MOST_PAGES:
            break
        if known.sha256 not in _telling(engine, known.document):
            continue
        corrected = known.sha256 in hard
        if not (known.marks or known.disputed or corrected):
            bare[known.document] += 1
            if bare[known.document] > _MOST_BARE:
                continue
        store.add(_facts(known, CORRECTED_PAGE if corrected else ACCEPTED_PAGE), known.pixels)
        there += 1
    return store, tuple(missing)


def _facts(known: KnownPage, source: str) -> LabelledPage:
    return LabelledPage(
        name=known.name,
        document=known.document,
        split=known.side,
        domain="real",
        source=source,
        licence="not to be passed on",
        dpi=known.dpi,
        boxes=tuple((box[0], box[1], box[2], box[3]) for _, box in known.marks),
        labels=tuple(label for label, _ in known.marks),
        ignored=tuple((box[0], box[1], box[2], box[3]) for box in known.disputed),
        complete=known.complete,
        sha256=known.sha256,
    )


def _telling(engine: Engine, key: str) -> set[str]:
    """The pages that identify a document, by the SHA-256 of their pixels; none that another document had first."""
    with engine.connect() as connection:
        return set(connection.execute(select(document.c.page_sha256).where(document.c.key == key)).scalars())


def _blind(engine: Engine) -> set[int]:
    """Tasks that were served without the boxes found for them."""
    with engine.connect() as connection:
        return set(connection.execute(select(prediction.c.task).where(prediction.c.blind).distinct()).scalars())


def _corrected(engine: Engine) -> set[str]:
    """Pages, by the SHA-256 of their pixels, on which an annotator changed something."""
    changed = (Outcome.MOVED, Outcome.RELABELLED, Outcome.REJECTED, Outcome.DUPLICATE, Outcome.MISSED)
    wanted = select(sample.c.page_sha256).where(sample.c.outcome.in_(changed), sample.c.weak.is_(False)).distinct()
    with engine.connect() as connection:
        return set(connection.execute(wanted).scalars())


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """One sample of the ledger, as training sees it.

    Attributes:
        crop: Its line of the index; the source is its outcome, the origin tells whether it is hard.
        wrong: What was shown instead; None where nothing else was.
        page: SHA-256 of the pixels of the page it is on.
        key: Of the stored picture.
        box: The mark within the picture, xyxy pixels.
    """

    crop: Crop
    wrong: str | None
    page: str
    key: str
    box: tuple[float, float, float, float]


def lessons(engine: Engine) -> list[Lesson]:
    """What the ledger's samples teach, in the order of their ids.

    Places where annotators contradict each other are left out. So is the second box on one mark, which is no crop of a
    mark as it should be boxed. A rejection by somebody who may never have seen the box teaches, but is not hard.
    """
    wanted = (
        select(sample).where(sample.c.quarantine.is_(None), sample.c.outcome != Outcome.DUPLICATE).order_by(sample.c.id)
    )
    with engine.connect() as connection:
        rows = connection.execute(wanted).all()
    return [
        Lesson(
            crop=Crop(
                file=row.id,
                document=row.document,
                split=row.split,
                label=row.label,
                domain=CORRECTED,
                source=row.outcome,
                origin=HARD if row.outcome in _HARD and not row.weak else "seen",
                licence="not to be passed on",
            ),
            wrong=row.wrong,
            page=row.page_sha256,
            key=row.crop,
            box=(row.x1 - row.margin[0], row.y1 - row.margin[1], row.x2 - row.margin[0], row.y2 - row.margin[1]),
        )
        for row in rows
    ]


def draw_base(folder: Path, *, pages: int, detector: Detects) -> tuple[PageStore, CropFolder]:
    """Pages drawn afresh, and the crops that the serving detector finds on them; what is there already is kept.

    Args:
        folder: Where both are cached; more of them than are asked for stay there, and have no part.
        pages: How many.
        detector: Proposes the crops; those of another one are thrown away.

    Raises:
        TrainingError: So few pages leave a side of the split empty.
    """
    names = {f"drawn-{RETRAINING_SEED + number}" for number in range(pages)}
    drawn = PageStore(folder / "pages", only=names)
    draw_into(drawn, pages=pages, first=RETRAINING_SEED)
    missing = set(SPLITS) - {page.split for page in drawn.read()}
    if missing:
        raise TrainingError(f"{pages} drawn pages leave no document for {', '.join(sorted(missing))}: draw more")
    digest = hashlib.sha256(json.dumps([detector.name, detector.facts], sort_keys=True).encode()).hexdigest()[:8]
    crops = CropFolder(folder / f"crops-{digest}", only=names)
    for other in folder.glob("crops-*"):
        if other != crops.folder:
            shutil.rmtree(other)
    harvest_pages(crops, drawn, detector)
    return drawn, crops


def draw_replay(folder: Path, *, pages: int) -> PageStore:
    """More drawn pages of the training side, for the detector alone; what is there already is kept.

    It would learn a few of them by heart, and forget how others look.

    Args:
        folder: Where they are cached.
        pages: How many.
    """
    of_training = (seed for seed in count(_REPLAY_SEED) if split_of(f"drawn-{seed}") == "train")
    seeds = list(islice(of_training, pages))
    store = PageStore(folder, only={f"drawn-{seed}" for seed in seeds})
    draw_seeds(store, seeds)
    return store


@dataclass(frozen=True)
class Material:
    """Lessons and drawn crops as one store; pictures of samples are read from the ledger's own, never copied.

    Attributes:
        samples: By the file of their crop.
        pictures: The ledger's.
        drawn: Crops of drawn pages.
    """

    samples: Mapping[str, Lesson]
    pictures: Pictures
    drawn: CropFolder

    @property
    def folder(self) -> Path:
        return self.drawn.folder

    @cached_property
    def _index(self) -> tuple[Crop, ...]:
        return (*(lesson.crop for lesson in self.samples.values()), *self.drawn.read())

    def read(self) -> list[Crop]:
        """The index: the samples, then the drawn crops."""
        return list(self._index)

    def image(self, crop: Crop) -> NDArray[np.uint8]:
        """The (h, w, 3) RGB pixels of a crop, its margin included.

        Raises:
            LedgerError: The picture of a sample is missing or damaged.
            TrainingError: That of a drawn crop is.
        """
        if crop.domain != CORRECTED:
            return self.drawn.image(crop)
        lesson = self.samples[crop.file]
        return cut(self.pictures.get(lesson.key), np.array(lesson.box))

    def checksum(self) -> str:
        """Names the data: SHA-256 over every sample, by the hash of its picture, and over the drawn crops."""
        return self._checksum

    def samples_checksum(self) -> str:
        """Names annotators' samples alone."""
        digest = hashlib.sha256()
        for lesson in self.samples.values():
            digest.update(json.dumps(dataclasses.asdict(lesson), sort_keys=True).encode())
        return digest.hexdigest()

    @cached_property
    def _checksum(self) -> str:
        digest = hashlib.sha256(self.drawn.checksum().encode())
        for lesson in self.samples.values():
            digest.update(json.dumps(dataclasses.asdict(lesson), sort_keys=True).encode())
        return digest.hexdigest()

    def side(self, split: str) -> list[Crop]:
        """The crops of one side of the split."""
        return [crop for crop in self._index if crop.split == split]

    def seen(self) -> set[str]:
        """What training or tuning sees: names of documents, and the SHA-256 of the pixels of annotators' pages."""
        pages = {lesson.page for lesson in self.samples.values() if lesson.crop.split != "gold"}
        return {crop.document for crop in self._index if crop.split != "gold"} | pages
