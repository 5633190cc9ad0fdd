"""The token: of which kind it is, and whether Label Studio accepts it."""

from __future__ import annotations

import base64
import binascii
import json
import time
from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from backend.doctor.findings import Checked, doubtful, failed, well
from backend.doctor.words import span
from backend.errors import LabelStudioError
from backend.labelstudio.probing import whoami

if TYPE_CHECKING:
    from backend.labelstudio.client import LabelStudio

__all__ = ["NAME", "Kind", "check_token", "kind_of"]

NAME = "token"
_NEW = "make a personal access token (Label Studio, Account & Settings) and set LABEL_STUDIO_API_KEY to it"
_UNAUTHORIZED = 401


class Kind(StrEnum):
    """The kinds of Label Studio's tokens."""

    NONE = "no token"
    PERSONAL = "a personal access token"
    BEARER = "a bearer"
    LEGACY = "a legacy token"


def kind_of(token: str) -> Kind:
    """Which kind a token is of, by its form; whether it is accepted is another question."""
    if not token:
        return Kind.NONE
    if token.count(".") != 2:
        return Kind.LEGACY
    return Kind.BEARER if _claims(token).get("token_type") == "access" else Kind.PERSONAL


def check_token(studio: LabelStudio, token: str, *, now: float | None = None) -> Checked[Kind]:
    """Whether Label Studio accepts LABEL_STUDIO_API_KEY; gives its kind.

    Args:
        studio: Label Studio, reached with this token.
        token: The token.
        now: Seconds since the epoch; this moment when None.
    """
    kind = kind_of(token)
    if kind is Kind.NONE:
        return doubtful(
            NAME,
            "LABEL_STUDIO_API_KEY is empty: pages are fetched with the token that Label Studio sends with /setup, "
            "which works with one serving process and legacy tokens only; nothing behind it can be looked at here",
            remedy=_NEW,
        )
    if not token.isascii() or not token.isprintable() or " " in token:
        return failed(
            NAME, "LABEL_STUDIO_API_KEY has a character in it that no token has", remedy="copy the token once more"
        )
    if kind is Kind.BEARER:
        return failed(NAME, "LABEL_STUDIO_API_KEY is a bearer, which lives for some minutes only", remedy=_NEW)
    over = (time.time() if now is None else now) - float(_claims(token).get("exp") or "inf")
    if over > 0:
        return failed(NAME, f"LABEL_STUDIO_API_KEY is {kind} that ran out {span(over)} ago", remedy=_NEW)
    try:
        whoami(studio)
    except LabelStudioError as error:
        if error.answered == _UNAUTHORIZED:
            return failed(
                NAME, f"Label Studio does not accept LABEL_STUDIO_API_KEY, {kind}", remedy=_remedy(kind, error)
            )
        raise
    return well(NAME, f"Label Studio accepts LABEL_STUDIO_API_KEY, {kind}", kind)


def _remedy(kind: Kind, error: LabelStudioError) -> str:
    if kind is Kind.LEGACY and "legacy token authentication has been disabled" in str(error):
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
