"""Colour in the terminal: where somebody reads along, and where they did not ask for none."""

from __future__ import annotations

import os
import sys
from typing import Literal, TextIO, TypeAlias

__all__ = ["Colour", "in_colour", "painted"]

Colour: TypeAlias = Literal["red", "green", "yellow", "dim"]
_CODES: dict[Colour, str] = {"red": "31", "green": "32", "yellow": "33", "dim": "2"}


def in_colour(stream: TextIO) -> bool:
    """Whether a stream shows colours: a terminal, without NO_COLOR (no-color.org), that is not `dumb`."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def painted(text: str, colour: Colour, stream: TextIO | None = None) -> str:
    """A text in a colour, as a stream shows it; as it is where the stream shows none.

    Args:
        text: What is to be shown.
        colour: Its colour.
        stream: Where it goes; stdout when None.
    """
    shown = in_colour(sys.stdout if stream is None else stream)
    return f"\033[{_CODES[colour]}m{text}\033[0m" if shown else text
