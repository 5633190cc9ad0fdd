"""Annotations as Label Studio gives them, and refusals of what it never gives."""

from __future__ import annotations

from typing import Any

import pytest

from backend.errors import RequestError
from backend.labelstudio.annotations import read_annotation
from backend.labelstudio.protocol import task_ids

CONFIG = '<View><Image name="page" value="$image"/><RectangleLabels name="mark" toName="page"/></View>'


def read(**fields: Any) -> Any:
    body = {"id": 1, "task": 2, "project": 3, "created_at": "2026-01-01T00:00:00Z", "result": [], **fields}
    return read_annotation(body, task={"id": 2, "data": {"image": "a.png"}}, label_config=CONFIG)


@pytest.mark.parametrize(
    ("fields", "name", "value"),
    [
        ({"completed_by": 4}, "annotator", 4),
        ({"completed_by": {"id": 4, "email": "who@example.org"}}, "annotator", 4),
        ({"completed_by": None}, "annotator", None),
        ({"completed_by": {}}, "annotator", None),
        ({"lead_time": 3}, "lead_time", 3.0),
        ({"lead_time": 0.25}, "lead_time", 0.25),
        ({"lead_time": None}, "lead_time", None),
        ({"project": None}, "project", None),
    ],
)
def test_who_worked_on_what_for_how_long(fields: dict[str, Any], name: str, value: object) -> None:
    assert getattr(read(**fields), name) == value


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"id": 2**63}, "annotation: id is no number"),
        ({"task": -1}, "annotation 1: task is no number"),
        ({"project": 2**70}, "annotation 1: project is no number"),
        ({"project": {"id": 3}}, "annotation 1: project is no number"),
        ({"completed_by": 2**70}, "annotation 1: completed_by is no number"),
        ({"completed_by": [4]}, "annotation 1: completed_by is no number"),
        ({"completed_by": "ada"}, "annotation 1: completed_by is no number"),
        ({"completed_by": True}, "annotation 1: completed_by is no number"),
        ({"lead_time": "3.5"}, "annotation 1: lead_time is no number of seconds"),
        ({"lead_time": {}}, "annotation 1: lead_time is no number of seconds"),
        ({"lead_time": float("nan")}, "annotation 1: lead_time is no number of seconds"),
        ({"lead_time": float("inf")}, "annotation 1: lead_time is no number of seconds"),
        ({"lead_time": 10**400}, "annotation 1: lead_time is no number of seconds"),
    ],
)
def test_what_label_studio_never_gives_is_refused(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(RequestError, match=reason):
        read(**fields)


@pytest.mark.parametrize(("identity", "kept"), [("a" * 64, "a" * 64), ("a" * 65, "#0"), ("", "#0"), (None, "#0")])
def test_a_region_without_an_id_that_an_editor_gives_has_its_place_for_one(identity: Any, kept: str) -> None:
    assert read(result=[{"id": identity, "type": "rectanglelabels"}]).result[0]["id"] == kept


def test_ids_of_tasks_are_numbers_that_label_studio_gives() -> None:
    assert task_ids({"action": "TASKS_DELETED", "tasks": [{"id": 7}, {"id": 2**63 - 1}]}) == (7, 2**63 - 1)
    for bad in (2**63, 100000000000000000000, "7", None):
        with pytest.raises(RequestError, match="TASKS_DELETED"):
            task_ids({"action": "TASKS_DELETED", "tasks": [{"id": bad}]})
