"""Label Studio itself: whether it is there, and which one.

The token: of which kind it is, and whether Label Studio accepts it.

The project: whether it is there, and whether it shows what this backend predicts.

The label config: where marks go in the project, and which of its labels stands for which mark.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import shlex
import time
from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeAlias

from backend.commands.doctor.findings import Checked, Fields, doubtful, failed, span, this_many, well
from backend.errors import LabelConfigError, LabelStudioError
from backend.labelstudio.labelling import Binding, bind
from backend.labelstudio.probing import release, whoami
from backend.labelstudio.projects import find_project
from backend.labelstudio.visibility import awaited_answers
from backend.vision.network_config import MARKS

if TYPE_CHECKING:
    from backend.labelstudio.client import LabelStudio

__all__ = [
    "ACCESS_CHECK",
    "LABELS_CHECK",
    "PROJECT_CHECK",
    "SHOWN",
    "Bindings",
    "TokenKind",
    "check_labels",
    "check_project",
    "check_server",
    "check_shown",
    "check_token",
    "judge_release",
    "token_kind",
]

ACCESS_CHECK = "token"
_NEW = "make a personal access token (Label Studio, Account & Settings) and set LABEL_STUDIO_API_KEY to it"
_UNAUTHORIZED = 401
PROJECT_CHECK = "project"
SHOWN = "shown boxes"
_REFUSED = (403, 404)
Bindings: TypeAlias = tuple[Binding, ...]
LABELS_CHECK = "label config"
SERVER_CHECK = "Label Studio"
_TESTED = (1, 23)
_REMEDY = "start Label Studio, and set LABEL_STUDIO_URL to the address that a browser on this machine opens it at"


class TokenKind(StrEnum):
    """The kinds of Label Studio's tokens."""

    NONE = "no token"
    PERSONAL = "a personal access token"
    BEARER = "a bearer"
    LEGACY = "a legacy token"


def token_kind(token: str) -> TokenKind:
    """Which kind a token is of, by its form; whether it is accepted is another question."""
    if not token:
        return TokenKind.NONE
    if token.count(".") != 2:
        return TokenKind.LEGACY
    return TokenKind.BEARER if _claims(token).get("token_type") == "access" else TokenKind.PERSONAL


def check_token(studio: LabelStudio, token: str, *, now: float | None = None) -> Checked[TokenKind]:
    """Whether Label Studio accepts LABEL_STUDIO_API_KEY; gives its kind.

    Args:
        studio: Label Studio, reached with this token.
        token: The token.
        now: Seconds since the epoch; this moment when None.
    """
    kind = token_kind(token)
    if kind is TokenKind.NONE:
        return doubtful(
            ACCESS_CHECK,
            "LABEL_STUDIO_API_KEY is empty: pages are fetched with the token that Label Studio sends with /setup, "
            "which works with one serving process and legacy tokens only; nothing behind it can be looked at here",
            remedy=_NEW,
        )
    if not token.isascii() or not token.isprintable() or " " in token:
        return failed(
            ACCESS_CHECK,
            "LABEL_STUDIO_API_KEY has a character in it that no token has",
            remedy="copy the token once more",
        )
    if kind is TokenKind.BEARER:
        return failed(ACCESS_CHECK, "LABEL_STUDIO_API_KEY is a bearer, which lives for some minutes only", remedy=_NEW)
    over = (time.time() if now is None else now) - float(_claims(token).get("exp") or "inf")
    if over > 0:
        return failed(ACCESS_CHECK, f"LABEL_STUDIO_API_KEY is {kind} that ran out {span(over)} ago", remedy=_NEW)
    try:
        whoami(studio)
    except LabelStudioError as error:
        if error.answered == _UNAUTHORIZED:
            return failed(
                ACCESS_CHECK, f"Label Studio does not accept LABEL_STUDIO_API_KEY, {kind}", remedy=_remedy(kind, error)
            )
        raise
    return well(ACCESS_CHECK, f"Label Studio accepts LABEL_STUDIO_API_KEY, {kind}", kind)


def _remedy(kind: TokenKind, error: LabelStudioError) -> str:
    if kind is TokenKind.LEGACY and "legacy token authentication has been disabled" in str(error):
        return f"{_NEW}; or turn legacy tokens on (Label Studio, Organization, API Tokens Settings)"
    return _NEW


def _claims(token: str) -> Mapping[str, Any]:
    """What a JWT says of itself, unverified; empty where it cannot be read."""
    body = token.split(".")[1] if token.count(".") == 2 else ""
    try:
        claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    except (binascii.Error, ValueError):
        return {}
    return claims if isinstance(claims, dict) else {}


def check_project(studio: LabelStudio, named: str) -> Checked[Fields]:
    """Whether the token's user sees a project of that id or title; gives its fields."""
    try:
        number = find_project(studio, named)
        state = None if number is None else studio.project(number)
    except LabelStudioError as error:
        if error.answered not in _REFUSED:
            raise
        state = None
    if state is None:
        kind = "id" if named.isdecimal() else "title"
        return failed(
            PROJECT_CHECK,
            f"there is no project of the {kind} {named!r} that the token's user may see",
            remedy=f"name one that is there; or make it: python -m backend connect --project {shlex.quote(named)}",
        )
    tasks, annotations = int(state.get("task_number") or 0), int(state.get("total_annotations_number") or 0)
    amount = f"{this_many(tasks, 'task')}, {this_many(annotations, 'annotation')}"
    return well(PROJECT_CHECK, f"{studio.base_url}/projects/{state['id']}, {state['title']!r}: {amount}", state)


def check_shown(state: Fields, version: str) -> Checked[bool]:
    """Whether annotations in the project begin with this version's boxes, and tasks are sorted by their scores."""
    where = f"{PROJECT_CHECK} {state['id']}, Settings, Annotation"
    if not state.get("show_collab_predictions"):
        return doubtful(
            SHOWN,
            "annotations in the project begin without boxes, which stay in a list beside them",
            remedy=f"{where}: turn on to use predictions to prelabel tasks",
        )
    shown = str(state.get("model_version") or "")
    if shown != version:
        return failed(
            SHOWN,
            f"the project shows and sorts by the predictions of {shown or 'no version'}, not of {version}",
            remedy=f"{where}: choose {version}",
        )
    return well(SHOWN, f"annotations begin with the boxes of {version}", value=True)


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
            LABELS_CHECK,
            str(error),
            remedy=f"change it in {place}; or python -m backend connect --project {state['id']} --replace-config",
        )
    found = "; ".join(map(_in_words, bindings))
    missing = [mark for mark in MARKS if not any(mark in binding.labels for binding in bindings)]
    if missing:
        labels = " ".join(f'<Label value="{mark.capitalize()}" predicted_values="{mark}"/>' for mark in missing)
        return doubtful(
            LABELS_CHECK,
            f"no label stands for {' or '.join(missing)}, which are never shown: {found}",
            remedy=f"add {labels} in {place}, where such marks are to be found",
            value=bindings,
        )
    if waiting := awaited_answers(str(state.get("label_config") or "")):
        control, asked = next(iter(waiting.items()))
        names = " or ".join(f'"{one}"' for one in sorted(asked))
        return doubtful(
            LABELS_CHECK,
            f'control "{control}" is in a View that awaits an answer to {names}: where nobody answers, Label Studio '
            f"submits none of its boxes; {found}",
            remedy=f'give the Choices {names} required="true" in {place}, or take visibleWhen off the View',
            value=bindings,
        )
    return well(LABELS_CHECK, found, bindings)


def _in_words(binding: Binding) -> str:
    labels = ", ".join(f"{mark} → {label}" for mark, label in binding.shown.items())
    if others := [mark for mark in MARKS if mark in binding.elsewhere]:
        labels += f"{'; ' if labels else ''}{' and '.join(others)} in the control before"
    pages = "pages" if binding.paged else "page"
    return f'control "{binding.control}" on the {pages} in ${binding.field} from {binding.threshold:g} up: {labels}'


def check_server(studio: LabelStudio) -> Checked[str]:
    """Whether a Label Studio answers at LABEL_STUDIO_URL; gives its release.

    Args:
        studio: Without a token: its release is told to anybody, and a wrong token is another finding.
    """
    try:
        found = release(studio)
    except LabelStudioError as error:
        return failed(SERVER_CHECK, str(error), remedy=_REMEDY)
    if found is None:
        return failed(SERVER_CHECK, f"{studio.base_url} answers, but is another program", remedy=_REMEDY)
    return judge_release(found, studio.base_url)


def judge_release(found: str, url: str) -> Checked[str]:
    """Whether this release is known to work."""
    numbers = tuple(int(number) for number in re.findall(r"\d+", found)[:2])
    tested = ".".join(map(str, _TESTED))
    if numbers < _TESTED:
        return doubtful(
            SERVER_CHECK,
            f"{url} is Label Studio {found}; this backend is tested with {tested}",
            remedy=f"pip install --upgrade 'label-studio>={tested}', or pull a newer image",
            value=found,
        )
    newer = "" if numbers == _TESTED else f", newer than {tested}, which this backend is tested with"
    return well(SERVER_CHECK, f"{url} is Label Studio {found}{newer}", found)
