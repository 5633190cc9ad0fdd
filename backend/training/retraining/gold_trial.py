"""A candidate beside the champion: on gold crops, and on gold pages, where the gate decides.

The pages that judge a candidate: drawn ones, and those of annotators' gold documents, fetched anew for the trial.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from sqlalchemy import Engine

from backend.corrections.splits import GOLD
from backend.evaluation.bootstrap import by_document, estimate, weights
from backend.evaluation.rates import evaluate, macro_f1
from backend.evaluation.trial import alike, hard_examples, reasons_of, trial
from backend.evaluation.truth import Truth, read_coco
from backend.files import write_private
from backend.models.published import RecordedVerdict
from backend.models.publishing import documents_of
from backend.models.serving import build_pipeline
from backend.training.batches import CORRECTED
from backend.training.crops import box_within, truth_of_crops
from backend.training.retraining.annotators_pages import KnownPage, annotated_pages, first_and_last
from backend.vision.classifier import Classifies, load_classifier
from backend.vision.network_config import CLASSES, MARKS

if TYPE_CHECKING:
    from backend.corrections.service import Store
    from backend.evaluation.verdict import Verdict
    from backend.models.published import Beside
    from backend.settings import Settings
    from backend.training.crops import Crop
    from backend.training.pagestore import PageStore
    from backend.training.retraining.annotators_pages import PageOf
    from backend.training.retraining.material import Material
    from backend.vision.weights import Weights

__all__ = ["Gold", "as_verdict", "closed_set", "gold_pages", "judge_candidate"]

_GOLD = "gold"
_MOST_TASKS = 200
_MOST_PAGES = 600
"""Of annotators: at 300 dpi some 3 GB, for the time of a trial."""
_COCO_FILE = "gold.json"
_FEASIBLE = 5000
"""Documents; beyond that a number to annotate is no help."""


@dataclass(frozen=True, kw_only=True)
class Gold:
    """Gold pages and where they come from.

    Attributes:
        truth: The pages.
        annotated: How many of them annotators marked; the others are drawn.
        missing: Why tasks of gold documents could not be had, one sentence a task.
        partly: Pages that were left out, since their project does not ask for every class: what is not boxed there may
            be a mark all the same.
    """

    truth: Truth
    annotated: int
    missing: tuple[str, ...]
    partly: int

    @property
    def origins(self) -> str:
        """Whose documents they are, in words."""
        pages = self.truth.pages
        own, drawn = ({page.document for page in some} for some in (pages[: self.annotated], pages[self.annotated :]))
        lost = f" ({len(self.missing)} more tasks could not be had)" if self.missing else ""
        return f"annotators' documents: {len(own)}{lost}, drawn ones: {len(drawn)}"

    def __str__(self) -> str:
        drawn = len(self.truth.pages) - self.annotated
        lost = (
            f"; {len(self.missing)} tasks of gold documents could not be had, {first_and_last(self.missing)}"
            if self.missing
            else ""
        )
        partly = f"; {self.partly} left out whose project does not ask for every class" if self.partly else ""
        return f"gold pages: {self.annotated} of annotators' documents, {drawn} drawn{partly}{lost}"


def gold_pages(folder: Path, drawn: PageStore, engine: Engine, page_of: PageOf, *, insist: bool = False) -> Gold:
    """Writes the gold pages to `folder`, which only its owner may read and the caller removes after the trial.

    Of each task of a gold document the newest submitted annotation counts, with the task's pages; the newest tasks come
    first, to six hundred pages.

    Args:
        folder: Exists, and is empty.
        drawn: Drawn pages; those of gold documents are taken.
        engine: The ledger's database.
        page_of: Fetches a page.
        insist: Whether it is an error that nothing can be had for now: drawn pages alone would judge.

    Raises:
        PagesAway: That is so.
        EvaluationError: A box lies off its page.
        OSError: The disk is full.
    """
    missing: list[str] = []
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    annotated = partly = 0
    found = annotated_pages(
        engine, page_of, sides={_GOLD}, most=_MOST_TASKS, spool=folder, missing=missing, insist=insist
    )
    for known in found:
        if not set(MARKS) <= set(known.complete):
            partly += 1
            continue
        _add(known, folder, images, annotations)
        annotated += 1
        if annotated == _MOST_PAGES:
            break
    for known in _drawn(drawn):
        _add(known, folder, images, annotations)
    coco = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": number, "name": name} for number, name in enumerate(MARKS, 1)],
    }
    write_private(folder / _COCO_FILE, json.dumps(coco))
    return Gold(
        truth=read_coco(folder / _COCO_FILE, folder), annotated=annotated, missing=tuple(missing), partly=partly
    )


def _drawn(store: PageStore) -> Iterator[KnownPage]:
    for page in store.read():
        if page.split == _GOLD:
            marks = tuple(zip(page.labels, page.boxes, strict=True))
            yield KnownPage(
                name=page.name,
                document=page.document,
                side=_GOLD,
                pixels=store.pixels(page),
                marks=marks,
                dpi=page.dpi,
            )


def _add(known: KnownPage, folder: Path, images: list[dict[str, Any]], annotations: list[dict[str, Any]]) -> None:
    height, width = known.pixels.shape[:2]
    file = f"{known.name}.png"
    resolution: dict[str, Any] = {} if known.dpi is None else {"dpi": (known.dpi, known.dpi)}
    Image.fromarray(known.pixels).save(folder / file, compress_level=1, **resolution)
    image = len(images) + 1
    images.append({"id": image, "file_name": file, "width": width, "height": height, "document": known.document})
    boxes = [(box, MARKS.index(label) + 1, 0) for label, box in known.marks]
    boxes += [(box, 1, 1) for box in known.disputed]
    for (left, top, right, bottom), category, crowd in boxes:
        annotations.append(
            {
                "id": len(annotations) + 1,
                "image_id": image,
                "category_id": category,
                "bbox": [left, top, right - left, bottom - top],
                "iscrowd": crowd,
            }
        )


def closed_set(weights_: Weights, material: Material, *, threads: int) -> dict[str, Any]:
    """How often the classifier names gold crops rightly, all of them and annotators' alone, as plain JSON.

    Macro F1 has its 95 % interval, by resampling documents.
    """
    classifier = load_classifier(weights_, threads=threads)
    gold = material.side("gold")
    corrected = [crop for crop in gold if crop.domain == CORRECTED]
    figures = _closed_set(classifier, material, gold)
    return figures | ({"annotators": _closed_set(classifier, material, corrected)} if corrected else {})


def _closed_set(classifier: Classifies, material: Material, crops: Sequence[Crop]) -> dict[str, Any]:
    pictures = map(material.image, crops)
    said = np.concatenate([classifier.classify(one, box_within(one)).probabilities for one in pictures])
    truth = truth_of_crops(crops)
    one_hot = np.eye(len(CLASSES))
    confusions = one_hot[truth][:, :, None] * one_hot[said.argmax(axis=1)][:, None, :]
    counts = by_document(confusions, [crop.document for crop in crops])
    f1 = estimate(lambda summed: macro_f1(summed, len(CLASSES)), counts, weights(len(counts)))
    return evaluate(said, truth, CLASSES).as_json() | {
        "crops": len(crops),
        "macro": {"f1": {"value": f1.value, "low": f1.low, "high": f1.high}},
    }


def judge_candidate(
    champion: Weights,
    challenger: Weights,
    pages: PageStore,
    store: Store,
    *,
    settings: Settings,
    page_of: PageOf,
    folder: Path,
) -> tuple[Verdict, Gold]:
    """Asks the gate; what was fetched for it is deleted before this returns.

    Args:
        champion: What serves.
        challenger: What would; the file beside it names the documents that it learnt from.
        pages: The drawn pages.
        store: The ledger.
        settings: How pages are read and marks selected.
        page_of: Fetches a page of Label Studio.
        folder: Where the gold pages are for the time of the trial; made for it.

    Raises:
        PagesAway: Label Studio gives no page for now.
        EvaluationError: The gold pages cannot be used.
        BadWeights: One of the two cannot be loaded.
    """
    folder.mkdir(mode=0o700)
    try:
        gold = gold_pages(folder, pages, store.engine, page_of, insist=bool(settings.label_studio_api_key))
        judgement = trial(
            build_pipeline(champion, settings),
            build_pipeline(challenger, settings),
            gold.truth,
            paced=alike(champion, challenger, settings),
            trained_on=documents_of(challenger.folder),
            hard=hard_examples(store.engine, store.crops),
            settings=settings,
        )
    finally:
        shutil.rmtree(folder)
    return judgement, gold


def as_verdict(judgement: Verdict, gold: Gold, *, beside: Beside) -> RecordedVerdict:
    """The gate's word as the registry keeps it, with the model that the candidate was seen beside.

    Where gold documents are too few to tell, it says how many more to annotate: of every hundred, `GOLD` become gold.
    """
    more = math.ceil(100 * ((judgement.needs or 0) - judgement.documents) / GOLD)
    annotate = f"annotate about {_rounded(more)} more" if more <= _FEASIBLE else "annotate more"
    way_out = (
        f"{gold.origins}; {annotate} ({GOLD} % of documents become gold) and train again: a larger gain is also told "
        "by fewer. Or look at what it shows on your pages and promote it with --force"
    )
    figures = judgement.as_json() | {
        "annotated_pages": gold.annotated,
        "missing": list(gold.missing),
        "partly_known": gold.partly,
    }
    return RecordedVerdict(
        passed=judgement.promoted, reasons=reasons_of(judgement, way_out), figures=figures, beside=beside
    )


def _rounded(count: int) -> int:
    """Up to the next ten, or the next hundred from a thousand on: it is no more exact than that."""
    step = 10 if count < 1000 else 100
    return math.ceil(count / step) * step
