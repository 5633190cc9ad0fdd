"""Fields of Label Studio's JSON: what is read, and what is refused with the thing and the reason in the message."""

from __future__ import annotations

import json
from typing import Any

import pytest

from backend.errors import RequestError
from backend.labelstudio.json_fields import identity_if_any, identity_of, moment, parent_of, seconds_of, storable

NO_IDS: list[Any] = ["7", 7.0, True, -1, 2**63, [], {}]


@pytest.mark.parametrize("identity", [0, 7, 2**63 - 1])
def test_an_id_is_a_number_that_the_database_has_room_for(identity: int) -> None:
    assert identity_of({"task": identity}, "task", "annotation 1") == identity
    assert identity_if_any({"task": identity}, "task", "annotation 1") == identity
    assert parent_of(identity) == parent_of({"id": identity}) == identity


@pytest.mark.parametrize("wrong", NO_IDS)
def test_what_is_no_id_is_refused_by_name(wrong: Any) -> None:
    for read in (identity_of, identity_if_any):
        with pytest.raises(RequestError, match="annotation 1: task is no number that Label Studio gives"):
            read({"task": wrong}, "task", "annotation 1")


@pytest.mark.parametrize("wrong", [*NO_IDS, None, {"id": "7"}])
def test_an_annotation_never_fails_for_its_parent(wrong: Any) -> None:
    assert parent_of(wrong) is None


@pytest.mark.parametrize("value", [{}, {"task": None}])
def test_only_an_id_that_must_be_there_is_missed(value: dict[str, Any]) -> None:
    assert identity_if_any(value, "task", "annotation 1") is None
    with pytest.raises(RequestError, match="annotation 1 without task"):
        identity_of(value, "task", "annotation 1")


def test_a_duration_may_be_missing() -> None:
    assert seconds_of({}, "lead_time", "annotation 1") is None
    assert seconds_of({"lead_time": 3}, "lead_time", "annotation 1") == 3.0


def test_a_moment_that_names_no_zone_is_in_utc() -> None:
    assert moment("2026-01-01T00:00:00") == moment("2026-01-01T00:00:00Z") == moment("2026-01-01T02:00:00+02:00")


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01", None, 7.5])
def test_what_is_no_moment_is_refused(text: Any) -> None:
    with pytest.raises(RequestError, match="is no moment in ISO 8601"):
        moment(text)


@pytest.mark.parametrize(
    "text",
    [
        # of years that no clock shows, and that have no date in other zones
        "9999-12-31T23:59:59-14:00",
        "3000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+14:00",
        "1969-12-31T23:59:59Z",
        # no moments at all
        "99999-01-01",
        "",
        1e300,
        {"at": 5},
        "2026-13-01",
    ],
)
def test_a_moment_that_no_clock_shows_is_refused(text: object) -> None:
    with pytest.raises(RequestError, match="no moment"):
        moment(text)


def test_a_clock_that_is_wrong_by_centuries_is_read() -> None:
    assert moment("1970-01-01T00:00:00") == 0.0
    assert moment("2999-12-31T23:59:59.5+00:00") == 32_503_679_999.5


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ({"a": [1, "b", None, 0.5, True]}, {"a": [1, "b", None, 0.5, True]}),
        ("ختم 😀 \\u0000", "ختم 😀 \\u0000"),  # a backslash and five letters
        ({"a\0": ["\0b"]}, {"a\ufffd": ["\ufffdb"]}),
        ("x\ud800y", "x\ufffdy"),
        ("\ud83d\ude00", "😀"),  # two halves are whole
        ([float("nan"), float("-inf"), 1.5], [None, None, 1.5]),
        ({"deep": ({"er": "\0"},)}, {"deep": [{"er": "\ufffd"}]}),
    ],
)
def test_every_database_can_keep_and_search_what_is_stored(value: Any, kept: Any) -> None:
    assert storable(value) == kept
    json.dumps(storable(value), ensure_ascii=False, allow_nan=False).encode()
