"""Single fields of Label Studio's JSON, read and checked: ids, moments, durations; of a region its kind and names."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from backend.errors import RequestError
from backend.escaping import printable

__all__ = [
    "FIGURES",
    "has_extent",
    "identity_if_any",
    "identity_of",
    "is_drawn",
    "may_be_drawn",
    "moment",
    "names_of",
    "needed",
    "parent_of",
    "place_in_list",
    "seconds_of",
    "storable",
]

_LARGEST_ID = 2**63
_MOST_SECONDS = 1e12
# As JSON spells it.
_NUL = r"\u0000"
_LATEST = 32_503_680_000.0
"""The year 3000: a clock may be wrong, but what is beyond cannot be shown as a date everywhere."""


def needed(value: Mapping[str, Any], key: str, what: str) -> Any:
    """The value under a key that must be there.

    Args:
        value: The JSON.
        key: Such as `task`.
        what: What the JSON describes, for the message.

    Raises:
        RequestError: It is missing or null.
    """
    if value.get(key) is None:
        raise RequestError(f"{what} without {key}")
    return value[key]


def identity_of(value: Mapping[str, Any], key: str, what: str) -> int:
    """An id that the database has room for.

    Args:
        value: The JSON.
        key: Such as `task`.
        what: What the JSON describes, for the message.

    Raises:
        RequestError: There is none, or it is no number that Label Studio gives.
    """
    found = needed(value, key, what)
    if not _is_id(found):
        raise RequestError(f"{what}: {key} is no number that Label Studio gives")
    return int(found)


def identity_if_any(value: Mapping[str, Any], key: str, what: str) -> int | None:
    """As `identity_of`, or None where the key is missing or null."""
    return None if value.get(key) is None else identity_of(value, key, what)


def parent_of(found: object) -> int | None:
    """The id of an annotation's parent prediction, which Label Studio gives as a number or as an object.

    Anything else is None: the parent only helps to find what was shown, so no annotation fails for it.
    """
    if isinstance(found, Mapping):
        found = found.get("id")
    return found if isinstance(found, int) and _is_id(found) else None


def seconds_of(value: Mapping[str, Any], key: str, what: str) -> float | None:
    """A duration in seconds, or None where the key is missing or null.

    Args:
        value: The JSON.
        key: Such as `lead_time`.
        what: What the JSON describes, for the message.

    Raises:
        RequestError: It is no number of seconds.
    """
    found = value.get(key)
    if found is None:
        return None
    if isinstance(found, bool) or not isinstance(found, int | float) or not abs(found) < _MOST_SECONDS:
        raise RequestError(f"{what}: {key} is no number of seconds")
    return float(found)


def moment(text: Any) -> float:
    """A moment in ISO 8601 as seconds since the epoch; without a time zone it is in UTC, as Label Studio's are.

    Label Studio leaves microseconds out where they are zero, so moments are compared as numbers, never as text.

    Raises:
        RequestError: It is no such moment, or none of the years 1970 to 2999.
    """
    try:
        found = datetime.fromisoformat(str(text))
        seconds = (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except ValueError as error:
        raise RequestError(f"{printable(text)!r} is no moment in ISO 8601") from error
    if not 0 <= seconds < _LATEST:
        raise RequestError(f"{printable(text)!r} is no moment of the years 1970 to 2999")
    return seconds


def moment_if_told(text: Any) -> float | None:
    """As `moment`; None where nothing is told, or what is told is no moment."""
    try:
        return None if text is None else moment(text)
    except RequestError:
        return None


def storable(value: Any) -> Any:
    r"""JSON as every database can keep and search it: PostgreSQL reads no text with a NUL or half a character in it.

    These become U+FFFD, and numbers that are none become null.

    Example:
        >>> storable({"text": ["a\0b"], "x": float("nan")})
        {'text': ['a\ufffdb'], 'x': None}
    """
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        text.encode()
    except ValueError:
        return _mended(value)
    return _mended(value) if _NUL in text else value


def _mended(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("\0", "\ufffd").encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {_mended(key): _mended(one) for key, one in value.items()}
    return [_mended(one) for one in value] if isinstance(value, list | tuple) else value


def _is_id(found: object) -> bool:
    return isinstance(found, int) and not isinstance(found, bool) and 0 <= found < _LARGEST_ID


FIGURES = ("rectangle", "polygon", "brush", "ellipse", "keypoint", "bitmask", "vector")
_LABELLED = ("labels", *(f"{figure}labels" for figure in FIGURES))
"""Types of regions that bear labels, under a key of that name; `labels` are those of a figure beside them."""
_EXTENTS = ({"x", "y", "width", "height"}, {"x", "y", "radiusX", "radiusY"}, {"points"}, {"rle"})
"""Keys of the values that a box can be read from; a point, a bitmask and a vector have none."""
_MOST_DIGITS = 6


def may_be_drawn(region: Mapping[str, Any]) -> bool:
    """Whether a part of a result is something on a page, as far as can be said, and no answer, text or relation."""
    return region.get("type") in (None, *FIGURES, *_LABELLED)


def is_drawn(region: Mapping[str, Any]) -> bool:
    """Whether a region is a box, an outline or a mask: with a label, or one that has lost it."""
    return region.get("type") in (*FIGURES, *_LABELLED) and isinstance(region.get("value"), Mapping)


def has_extent(region: Mapping[str, Any]) -> bool:
    """Whether a box can be read from a region, well or badly."""
    return any(extent <= region["value"].keys() for extent in _EXTENTS)


def names_of(region: Mapping[str, Any]) -> tuple[str, ...]:
    """A region's labels, most often one."""
    value = region.get("value")
    names = value.get(str(region.get("type"))) if isinstance(value, Mapping) else None
    return tuple(str(name) for name in names if name) if isinstance(names, list | tuple) else ()


def place_in_list(index: object) -> int | None:
    """The place of a page in a list, as a region names it, the first where it names none; None for what is no place."""
    if not index:
        return 0
    if isinstance(index, str):
        return int(index) if index.isdecimal() and len(index) <= _MOST_DIGITS else None
    return int(index) if isinstance(index, int | float) and index % 1 == 0 else None
