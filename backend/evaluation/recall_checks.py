"""Whether a class loses recall: what the gate asks of each, and what chance alone would take."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from backend.evaluation.bootstrap import LEAST_DOCUMENTS, Estimate, chance_of, estimate
from backend.evaluation.rates import rates
from backend.evaluation.verdict import EPSILON, Bounds, Check, documents_to_tell, points
from backend.vision.network_config import MARKS

if TYPE_CHECKING:
    from backend.evaluation.study import Match
    from backend.evaluation.truth import Truth

__all__ = ["lost_and_gained", "recall_checks"]


def lost_and_gained(truth: Truth, old: Sequence[Match], new: Sequence[Match]) -> NDArray[np.int64]:
    """The true marks of each class that only the champion finds, and only the challenger: (3, 2)."""
    labels = np.concatenate([page.labels for page in truth.pages])
    first, second = (np.concatenate([one.called for one in matches]) == labels for matches in (old, new))
    only = np.stack([first & ~second, second & ~first], axis=1)
    return np.stack([only[labels == place].sum(axis=0) for place in range(len(MARKS))])


def recall_checks(
    confusions: NDArray[np.float64], changed: NDArray[np.int64], drawn: NDArray[np.int64], bounds: Bounds
) -> Iterator[Check]:
    """No class may lose recall. A class that is on no gold page fails: nobody would see that it was forgotten.

    By chance alone, an equal model loses two marks of a few dozen now and then, and finds others. So a loss that chance
    explains is allowed where annotators have less work with that class all the same.

    Args:
        confusions: (D, 2, 4, 4) of each document, the champion's and the challenger's.
        changed: (3, 2) marks that only the champion finds, and only the challenger.
        drawn: The resamples of the bootstrap.
        bounds: What is allowed.
    """
    documents = drawn.shape[1]
    summed = confusions.sum(axis=0)
    for place, name in enumerate(MARKS):
        change = estimate(partial(_recall_change, place=place), confusions, drawn)
        kept, needs = False, documents_to_tell(change, -bounds.recall, documents)
        if change.value is None:
            sentence = (
                f"no gold page has a {name}, so that forgetting it would not be seen: add some, drawn ones will do"
            )
        else:
            before, after = rates(summed, len(MARKS))[:, place, 1]
            marks = int(summed[0, place].sum())
            sentence = (
                f"recall of {name} {before:.3f} → {after:.3f}, {points(change.value)} points{_between(change)} "
                f"on {marks} mark{'' if marks == 1 else 's'}"
            )
            kept = change.value >= -bounds.recall - EPSILON
            if not kept:
                kept, told = _by_chance(summed, changed[place], place, bounds)
                if not kept and change.value * marks >= -1 - EPSILON:
                    # One mark alone refuses where there are so few of them.
                    least = math.ceil(1 / bounds.recall)
                    needs = max(LEAST_DOCUMENTS, math.ceil(documents * least / marks))
                    told = f"one lost mark, which is too much where there are fewer than {least}"
                sentence += f": {told}"
        yield Check(
            name=f"{name} recall",
            figure=change.value,
            bound=-bounds.recall,
            passed=kept,
            sentence=sentence,
            needs=None if kept else needs,
        )


def _by_chance(summed: NDArray[np.float64], changed: NDArray[np.int64], place: int, bounds: Bounds) -> tuple[bool, str]:
    """Whether a loss may be: chance explains it, and the class is less work; and what tells it."""
    lost, gained = (int(count) for count in changed)
    likely = chance_of(lost, lost + gained, 0.5, alternative="greater") >= bounds.chance
    before, after = (_work(one, place) for one in summed)
    explained = "explains" if likely else "does not explain"
    return likely and after < before, (
        f"{lost} lost and {gained} gained, which chance {explained}; "
        f"the work, 2 for a missed mark and 1 for a false box, {before} → {after}"
    )


def _work(confusion: NDArray[np.float64], place: int) -> int:
    """What a class costs an annotator, from a (4, 4) confusion: a missed mark counts twice, a false box once."""
    right = confusion[place, place]
    return int(2 * (confusion[place].sum() - right) + confusion[:, place].sum() - right)


def _recall_change(summed: NDArray[np.float64], *, place: int) -> NDArray[np.float64]:
    recall = rates(summed, len(MARKS))[..., place, 1]
    return np.asarray(recall[:, 1] - recall[:, 0])


def _between(change: Estimate) -> str:
    if change.low is None or change.high is None:
        return ""
    return f" [{points(change.low)}, {points(change.high)}]"
