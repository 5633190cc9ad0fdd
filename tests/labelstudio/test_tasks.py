"""A task's data is read as Label Studio's editor reads it: keys, paths, and lists of pages."""

from __future__ import annotations

from typing import Any

import pytest

from backend.errors import LimitExceeded, RequestError
from backend.labelstudio.labelling import Binding
from backend.labelstudio.tasks import task_pages


def binding(field: str, *, paged: bool = False) -> Binding:
    return Binding(control="label", image="page", field=field, paged=paged, labels={"stamp": "stamp"}, threshold=0.5)


def named(data: Any, field: str, *, paged: bool = False) -> list[tuple[str, int | None]]:
    """Reference and place of each page."""
    found = task_pages(0, {"id": 7, "data": data}, [binding(field, paged=paged)])
    return [(task_page.reference, task_page.item) for task_page in found]


@pytest.mark.parametrize(
    ("field", "data", "reference"),
    [
        ("image", {"image": "a.png"}, "a.png"),
        ("doc.image", {"doc": {"image": "a.png"}}, "a.png"),
        ("doc.image", {"doc.image": "a.png", "doc": {"image": "b.png"}}, "a.png"),  # a key with a dot comes first
        ("images[0]", {"images": ["a.png", "b.png"]}, "a.png"),
        ("images.1", {"images": ["a.png", "b.png"]}, "b.png"),
        ("docs[1].pages[0].file", {"docs": [{}, {"pages": [{"file": "a.png"}]}]}, "a.png"),
        ("صورة", {"صورة": "a.png"}, "a.png"),
        ("my-image", {"my-image": "a.png"}, "a.png"),
        ("image", {"$undefined$": "a.png"}, "a.png"),  # uploaded before the project had a label config
        ("doc.image", {"$undefined$": "a.png"}, "a.png"),
    ],
)
def test_a_field_is_found_where_the_editor_finds_it(field: str, data: dict[str, Any], reference: str) -> None:
    assert named(data, field) == [(reference, None)]


@pytest.mark.parametrize("paged", [False, True], ids=["value", "valueList"])
@pytest.mark.parametrize(("field", "data"), [("pages", ["a.png", "b.png"]), ("doc.pages", ["a.png", "b.png"])])
def test_a_list_is_pages_behind_value_too(field: str, data: list[str], paged: bool) -> None:
    nested: Any = data
    for key in reversed(field.split(".")):
        nested = {key: nested}
    assert named(nested, field, paged=paged) == [("a.png", 0), ("b.png", 1)]


def test_one_reference_behind_value_list_is_its_first_page() -> None:
    assert named({"pages": "a.png"}, "pages", paged=True) == [("a.png", 0)]


@pytest.mark.parametrize(
    ("field", "data", "reason"),
    [
        ("image", None, "no data"),
        ("image", {}, "no field 'image'"),
        ("doc.image", {"doc": "a.png"}, "no field 'doc.image'"),  # a reference where an object belongs
        ("doc.image", {"doc": {"picture": "a.png"}}, "no field"),
        ("images[2]", {"images": ["a.png"]}, "no field"),
        ("images[-1]", {"images": ["a.png"]}, "no field"),
        ("images[" + "9" * 5000 + "]", {"images": ["a.png"]}, "no field"),
        ("doc.__class__", {"doc": {}}, "no field"),
        ("doc..image", {"doc": {"": {"image": "a.png"}}}, "no field"),
        ("image", {"image": {"url": "a.png"}}, "no reference"),
        ("image", {"image": ["a.png", 3]}, "no reference"),
    ],
)
def test_data_without_a_page_says_which_field_it_lacks(field: str, data: Any, reason: str) -> None:
    with pytest.raises(RequestError, match=reason):
        named(data, field)


def test_a_task_of_more_pages_than_are_read_is_refused_and_not_taken_for_empty() -> None:
    with pytest.raises(LimitExceeded, match=r"1001 pages: a task of more than MAX_TASK_PAGES \(1000\)"):
        named({"pages": ["a.png"] * 1001}, "pages")
