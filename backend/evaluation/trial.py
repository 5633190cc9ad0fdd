"""A challenger's trial: counted, run beside the champion on the gold pages, and judged."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from backend.evaluation.attempts import note_attempt
from backend.evaluation.gate import judge
from backend.evaluation.hard import HardExample, right_now
from backend.evaluation.running import fingerprints, race
from backend.evaluation.verdict import Verdict

if TYPE_CHECKING:
    from backend.evaluation.truth import Truth
    from backend.pipeline import Pipeline
    from backend.settings import Settings

__all__ = ["trial"]


def trial(
    champion: Pipeline,
    challenger: Pipeline,
    gold: Truth,
    *,
    trained_on: Collection[str] | None,
    hard: Iterable[HardExample],
    settings: Settings,
) -> Verdict:
    """Judges whether `challenger` may take the place of `champion`.

    Args:
        champion: What serves, without recalled corrections.
        challenger: What would serve.
        gold: Pages that no training saw.
        trained_on: Documents that the challenger's training or tuning saw, named as in `gold`, or SHA-256 of pixels of
            their pages; None where nobody says.
        hard: Earlier hard examples, as `hard_examples` gives them.
        settings: Limits for reading pages, and DATA_DIR, where attempts are counted.

    Raises:
        PageError: A gold page cannot be read.
        EvaluationError: Pages and boxes do not fit, or attempts cannot be counted.
    """
    # Counted before it is run: a trial that is stopped when it looks bad was a look all the same.
    pages = fingerprints(gold, settings)
    attempts = note_attempt(settings.data_dir, gold=gold.sha256, pages=pages, challenger=challenger.version)
    before, after = race(champion, challenger, gold, settings)
    right = right_now(challenger.classifier, hard)
    return judge(before, after, trained_on=trained_on, pages=pages, hard=right, attempts=attempts)
