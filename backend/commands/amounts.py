"""Numbers on the command line: what an option can mean, refused with the reason where it is typed."""

from __future__ import annotations

import argparse
import math

__all__ = ["above_zero", "between_zero_and_one", "none_or_more", "one_or_more", "port_number", "zero_or_above"]

_LAST_PORT = 65_535


def one_or_more(text: str) -> int:
    """A whole number of things, of which there is at least one.

    Raises:
        argparse.ArgumentTypeError: It is none.
    """
    found = _whole(text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number above 0")
    return found


def none_or_more(text: str) -> int:
    """A whole number of things, of which there may be none.

    Raises:
        argparse.ArgumentTypeError: It is none.
    """
    found = _whole(text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number: write 0 or more")
    return found


def above_zero(text: str) -> float:
    """A measure, such as dots an inch.

    Raises:
        argparse.ArgumentTypeError: It is none, or not above 0.
    """
    found = _measure(text)
    if not found > 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")
    return found


def zero_or_above(text: str) -> float:
    """A measure that may be nothing, such as minutes.

    Raises:
        argparse.ArgumentTypeError: It is none, or below 0.
    """
    found = _measure(text)
    if not found >= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no number: write 0 or more")
    return found


def between_zero_and_one(text: str) -> float:
    """A probability that something is held against: neither 0, which all reach, nor 1, which none does.

    Raises:
        argparse.ArgumentTypeError: It is none.
    """
    found = _measure(text)
    if not 0 < found < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no probability between 0 and 1, such as 0.5")
    return found


def port_number(text: str) -> int:
    """A port to listen at; 0 for any that is free.

    Raises:
        argparse.ArgumentTypeError: It is none.
    """
    found = _whole(text)
    if found is None or found > _LAST_PORT:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: write 1 to {_LAST_PORT}, or 0 for any that is free")
    return found


def _measure(text: str) -> float:
    """The finite number that a text says; NaN for none."""
    try:
        found = float(text)
    except ValueError:
        return math.nan
    return found if math.isfinite(found) else math.nan


def _whole(text: str) -> int | None:
    return int(text) if text.isdecimal() else None
