"""The one shape of an answer that says no."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from flask import jsonify

if TYPE_CHECKING:
    from flask import Response

__all__ = ["refusal"]

_LONGEST_PHRASE = 300


def refusal(status: int, kind: str, message: str) -> Response:
    """A JSON error, whose reason also stands in the status line: that is all that Label Studio shows of it."""
    response = jsonify({"error": kind, "message": message})
    phrase = "".join(letter if " " <= letter <= "~" else "?" for letter in message)[:_LONGEST_PHRASE]
    response.status = f"{status} {phrase or HTTPStatus(status).phrase}"
    return response
