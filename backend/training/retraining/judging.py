"""A candidate beside the champion: on gold crops as the seed measured, and on gold pages, where the gate decides."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from backend.classification.classifier import Classifies, load_classifier
from backend.evaluation.bootstrap import by_document, estimate, weights
from backend.evaluation.closed_set import evaluate
from backend.evaluation.hard import hard_examples
from backend.evaluation.rates import macro_f1
from backend.evaluation.trial import trial
from backend.nets.config import CLASSES
from backend.registry.candidates import documents_of
from backend.registry.record import BESIDE, Verdict
from backend.serving import build_pipeline
from backend.training.batches import CORRECTED
from backend.training.retraining.gold import Gold, gold_pages
from backend.training.served import box_within, truth_of_crops

if TYPE_CHECKING:
    from backend.evaluation.verdict import Verdict as Judgement
    from backend.feedback.service import Store
    from backend.nets.weights import Weights
    from backend.settings import Settings
    from backend.training.crops import Crop
    from backend.training.pagestore import PageStore
    from backend.training.retraining.annotated import PageOf
    from backend.training.retraining.material import Material

__all__ = ["as_verdict", "closed_set", "judge_candidate"]


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
) -> tuple[Judgement, Gold]:
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
            trained_on=documents_of(challenger.folder),
            hard=hard_examples(store.engine, store.crops),
            settings=settings,
        )
    finally:
        shutil.rmtree(folder)
    return judgement, gold


def as_verdict(judgement: Judgement, gold: Gold, *, beside: str | None) -> Verdict:
    """The gate's word as the registry keeps it, with the model that the candidate was seen beside."""
    said = judgement.reasons or tuple(check.sentence for check in judgement.checks)
    figures = judgement.as_json() | {
        BESIDE: beside,
        "annotated_pages": gold.annotated,
        "missing": list(gold.missing),
        "partly_known": gold.partly,
    }
    return Verdict(passed=judgement.promoted, reasons=said, figures=figures)
