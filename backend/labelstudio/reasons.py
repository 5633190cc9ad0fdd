"""Why a prediction is empty, in words for the log and for whoever reads predictions as JSON.

Label Studio keeps nothing of a prediction but its result, score and version, and takes a further key without complaint.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from backend.labelstudio.labelling import Binding
    from backend.pipeline import Marks

__all__ = ["of_pages", "why_empty"]

_MOST_PAGES = 5


def why_empty(marks: Marks, bindings: Sequence[Binding]) -> str:
    """Why a page has no region, where it has none: what was looked at, what came nearest, and what it lacked.

    Args:
        marks: What the pipeline made of the page.
        bindings: The controls on it.
    """
    if len(marks):
        return _unlabelled(marks, bindings)
    if marks.nearest is None:
        return "no candidate: nothing on the page looks like a mark"
    one = marks.nearest
    best = f"{_counted(marks.candidates, 'candidate')}, the best of them a {one.name} at {_number(one.score)}"
    if one.score < one.bar:
        return f"{best}, under {_number(one.bar)}"
    return f"{best}, and more likely no mark ({_number(one.none)})"


def of_pages(reasons: Mapping[int, str], *, pages: int) -> str:
    """The reasons of a task's pages as one.

    Args:
        reasons: By index of the page.
        pages: How many pages the task has.
    """
    if pages == 1:
        return "".join(reasons.values())
    shown = [f"page {index + 1}: {reason}" for index, reason in sorted(reasons.items())]
    more = len(shown) - _MOST_PAGES
    return "; ".join([*shown[:_MOST_PAGES], *([f"and {more} more pages"] if more > 0 else [])])


def _unlabelled(marks: Marks, bindings: Sequence[Binding]) -> str:
    """Why none of the marks that were found is shown: the label config has no label for them, or a higher threshold."""
    bars = {mark: min(one.threshold for one in bindings if mark in one.labels) for mark in _labels(bindings)}
    found = _counted(len(marks), "mark")
    labelled = [(score, name) for name, score in zip(marks.names, marks.scores, strict=True) if name in bars]
    if not labelled:
        return f"{found} found, and no label for {', '.join(sorted(set(marks.names)))} in the label config"
    score, name = max(labelled)
    bar = _number(bars[name])
    return f"{found} found, the best with a label a {name} at {_number(score)}, under the label config's {bar}"


def _labels(bindings: Sequence[Binding]) -> set[str]:
    return {mark for binding in bindings for mark in binding.labels}


def _counted(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def _number(value: float) -> str:
    return f"{round(float(value), 4):g}"
