"""A published model asked by the gate, detector and classifier together, beside what serves; its word is kept."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from backend.errors import RegistryError
from backend.evaluation.trial import trial
from backend.nets.registry import RESERVED, Registry
from backend.nets.sources import Sources
from backend.nets.weights import Weights
from backend.registry.candidates import documents_of
from backend.registry.record import BESIDE, Verdict
from backend.serving import build_pipeline

if TYPE_CHECKING:
    from backend.evaluation.hard import HardExample
    from backend.evaluation.truth import Truth
    from backend.evaluation.verdict import Verdict as Judgement
    from backend.registry.models import Models
    from backend.settings import Settings

__all__ = ["beside", "judge_model"]


def beside(champion: Weights) -> str | None:
    """What a verdict says of the weights that serve: a published model's name, None for any others."""
    return None if champion.name in RESERVED else champion.name


def judge_model(
    models: Models,
    name: str,
    gold: Truth,
    *,
    settings: Settings,
    hard: Iterable[HardExample] = (),
    trained_on: Collection[str] | None = None,
    by: str,
    why: str = "",
) -> Judgement:
    """Runs a published model beside the one that serves, on whole pages, and notes what the gate says of it.

    The DETECTOR setting stands for both: with `colour`, no network that detects is judged.

    Args:
        models: The registry.
        name: Which model.
        gold: Pages that no training saw.
        settings: Which weights serve, how they find and select, and how pages are read.
        hard: Earlier hard examples.
        trained_on: Documents that its training saw, besides those that the file beside its weights names; None where
            there is nothing to add.
        by: Which command or program asks.
        why: Goes into the history, such as how somebody knows what it was trained on.

    Raises:
        RegistryError: There is no such model, it serves already, or its verdict cannot be noted.
        BadWeights: One of the two cannot be loaded.
        PageError: A gold page cannot be read.
        EvaluationError: Pages and boxes do not fit, or attempts cannot be counted.
    """
    models.get(name)
    champion = Sources.of(settings).at_once()
    if champion.name == name:
        raise RegistryError(f"{name} serves already: there is nothing to judge it beside")
    folder = Registry(models.folder).folder_of(name)
    known = documents_of(folder)
    judgement = trial(
        build_pipeline(champion, settings),
        build_pipeline(Weights.open(folder, name=name), settings),
        gold,
        trained_on=known if trained_on is None else frozenset(trained_on) | (known or frozenset()),
        hard=hard,
        settings=settings,
    )
    said = judgement.reasons or tuple(check.sentence for check in judgement.checks)
    verdict = Verdict(passed=judgement.promoted, reasons=said, figures=judgement.as_json() | {BESIDE: beside(champion)})
    models.judge(name, verdict, by=by, why=why)
    return judgement
