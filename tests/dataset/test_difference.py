"""What changed between two versions, mark by mark."""

from __future__ import annotations

import pytest

from backend.dataset.manifest import FrozenMark, FrozenPage, Manifest, difference

Box = tuple[float, float, float, float]
A, NEAR_A, B = (10.0, 10.0, 50.0, 50.0), (20.0, 10.0, 60.0, 50.0), (100.0, 100.0, 140.0, 130.0)


def mark(identity: str, label: str, box: Box) -> FrozenMark:
    return FrozenMark(id=identity, label=label, box=box)


def leaf(name: str, *marks: FrozenMark, sha256: str = "1", split: str = "train") -> FrozenPage:
    return FrozenPage(name=name, document="d", split=split, sha256=sha256, width=200, height=200, marks=marks)


def manifest(*pages: FrozenPage) -> Manifest:
    return Manifest.of("coco", pages)


@pytest.mark.parametrize(
    ("before", "after", "kinds"),
    [
        ([("a", "stamp", A)], [("a", "stamp", A)], []),  # untouched
        ([("a", "stamp", A)], [("z", "stamp", A)], []),  # another id, as a second import gives it
        ([("a", "stamp", A)], [("a", "stamp", (10.3, 10.0, 50.0, 49.8))], []),  # rounding
        ([("a", "stamp", A)], [("a", "stamp", NEAR_A)], ["moved"]),
        ([("a", "stamp", A)], [("a", "stamp", B)], ["moved"]),  # far, but the same region
        ([("a", "stamp", A)], [("z", "stamp", NEAR_A)], ["moved"]),  # by its place
        ([("a", "stamp", A)], [("a", "thumb", A)], ["relabelled"]),
        ([("a", "stamp", A)], [("a", "thumb", NEAR_A)], ["relabelled"]),  # moved as well: the name weighs more
        ([("a", "stamp", A)], [], ["removed"]),
        ([], [("a", "stamp", A)], ["added"]),
        ([("a", "stamp", A)], [("z", "stamp", B)], ["added", "removed"]),  # elsewhere, another region
        ([("a", "stamp", A), ("b", "stamp", NEAR_A)], [("a", "stamp", A)], ["removed"]),  # a second box on one mark
    ],
)
def test_kinds_of_change(
    before: list[tuple[str, str, Box]], after: list[tuple[str, str, Box]], kinds: list[str]
) -> None:
    found = difference(
        manifest(leaf("p", *(mark(*one) for one in before))), manifest(leaf("p", *(mark(*one) for one in after)))
    )
    assert sorted(one.kind for one in found.changes) == kinds
    assert all(str(one).startswith("p: stamp") or one.kind == "added" for one in found.changes)


def test_pages_are_the_same_when_their_pixels_are() -> None:
    before = manifest(leaf("old"), leaf("kept", sha256="2"), leaf("gone", sha256="3"))
    after = manifest(leaf("new", mark("a", "stamp", A)), leaf("kept", sha256="2"), leaf("came", sha256="4"))
    found = difference(before, after)
    assert (found.pages_added, found.pages_removed) == (("came",), ("gone",))
    assert [(one.kind, one.page) for one in found.changes] == [("added", "new")]


def test_of_copies_those_of_one_name_belong_together() -> None:
    before = manifest(leaf("one", mark("a", "stamp", A)), leaf("two", mark("b", "thumb", B)))
    after = manifest(leaf("two", mark("b", "thumb", B)), leaf("three"))
    found = difference(before, after)
    assert (found.pages_added, found.pages_removed) == ((), ())
    assert [str(one) for one in found.changes] == ["three: stamp removed at 10, 10, 50, 50"]


def test_counts_by_class_and_split_of_both_and_a_document_that_changed_its_side() -> None:
    before = manifest(leaf("p", mark("a", "stamp", A)))
    after = manifest(leaf("p", mark("a", "stamp", A), mark("b", "thumb", B), split="gold"))
    found = difference(before, after)
    assert found.changed_sides == ("p",)
    assert (found.before["train"]["stamp"], found.after["train"]["stamp"], found.after["gold"]["thumb"]) == (1, 0, 1)
    assert found.as_json()["changes"] == [
        {"kind": "added", "page": "p", "before": None, "after": {"label": "thumb", "box": list(B)}}
    ]
