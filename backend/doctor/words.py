"""Moments, sizes and addresses as a finding tells them."""

from __future__ import annotations

import re

__all__ = ["bare", "span", "this_many", "volume"]

_UNITS = ((86400.0, "day"), (3600.0, "hour"), (60.0, "minute"))


def span(seconds: float) -> str:
    """A time in its largest unit, such as `3 hours`."""
    for size, name in _UNITS:
        if seconds >= size:
            return this_many(int(seconds // size), name)
    return this_many(max(0, int(seconds)), "second")


def this_many(number: int, thing: str) -> str:
    """`1 task`, `2 tasks`."""
    return f"{number} {thing}{'' if number == 1 else 's'}"


def volume(size: float) -> str:
    """Bytes, such as `1.5 GB`."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


def bare(text: str) -> str:
    """A text without the user names, passwords and queries of the addresses in it."""
    return re.sub(r"(https?://[^\s?#'\"]*)[?#][^\s'\"]*", r"\1", re.sub(r"//[^\s/@'\"]*@", "//", text))
