"""The label config: where marks go in the project, and which of its labels stands for which mark."""

from __future__ import annotations

from typing import TypeAlias

from backend.doctor.findings import Checked, Fields, doubtful, failed, well
from backend.errors import LabelConfigError
from backend.labelstudio.labelling import Binding, bind
from backend.nets.config import MARKS

__all__ = ["NAME", "Bindings", "check_labels"]

Bindings: TypeAlias = tuple[Binding, ...]
NAME = "label config"


def check_labels(state: Fields, *, confidence: float) -> Checked[Bindings]:
    """Whether a project's label config has a place for each mark; gives the places.

    Args:
        state: The project's fields.
        confidence: The threshold of controls that set none.
    """
    place = f"project {state['id']}, Settings, Labeling Interface"
    try:
        bindings = bind(str(state.get("label_config") or ""), confidence=confidence)
    except LabelConfigError as error:
        return failed(
            NAME,
            str(error),
            remedy=f"change it in {place}; or python -m backend connect --project {state['id']} --replace-config",
        )
    found = "; ".join(map(_in_words, bindings))
    missing = [mark for mark in MARKS if not any(mark in binding.labels for binding in bindings)]
    if missing:
        labels = " ".join(f'<Label value="{mark.capitalize()}" predicted_values="{mark}"/>' for mark in missing)
        return doubtful(
            NAME,
            f"no label stands for {' or '.join(missing)}, which are never shown: {found}",
            remedy=f"add {labels} in {place}, where such marks are to be found",
            value=bindings,
        )
    return well(NAME, found, bindings)


def _in_words(binding: Binding) -> str:
    labels = ", ".join(f"{mark} → {label}" for mark, label in binding.labels.items())
    pages = "pages" if binding.paged else "page"
    return f'control "{binding.control}" on the {pages} in ${binding.field} from {binding.threshold:g} up: {labels}'
