"""What a review says, as values: of pages, of tasks, and for machines."""

from __future__ import annotations

from backend.commands.review.doubts import Doubt, DoubtKind, Named, PagePlace, Review, ReviewedPage, tasks_of

BOX = (1.0, 2.0, 30.125, 40.0)


def doubt(kind: DoubtKind, score: float) -> Doubt:
    given = None if kind is DoubtKind.OVERLOOKED else Named(box=BOX, label="thumb")
    return Doubt(kind=kind, score=score, given=given, seen=Named(box=BOX, label="stamp"), probability=1 - score)


def page(task: int | None, index: int, score: float, *doubts: Doubt) -> ReviewedPage:
    place = PagePlace(name=f"task {task}, page {index + 1}", source="", project=4, task=task, page=index)
    return ReviewedPage(place=place, score=score, doubts=doubts, given=())


def test_a_task_is_believed_as_its_least_believed_page_and_has_the_kinds_of_all() -> None:
    pages = [
        page(3, 0, 0.5, doubt(DoubtKind.SWAPPED, 0.4)),
        page(3, 1, 0.3, doubt(DoubtKind.OVERLOOKED, 0.1), doubt(DoubtKind.SWAPPED, 0.2)),
        page(4, 0, 0.9),
        page(None, 0, 0.1, doubt(DoubtKind.SWAPPED, 0.1)),
    ]
    assert tasks_of(pages) == {3: (0.3, (DoubtKind.OVERLOOKED, DoubtKind.SWAPPED)), 4: (0.9, ())}


def test_doubts_as_people_read_them() -> None:
    assert str(doubt(DoubtKind.OVERLOOKED, 0.1)) == "stamp without a box (0.90)"
    assert str(doubt(DoubtKind.SWAPPED, 0.1)) == "thumb, but the model says stamp (0.90)"
    assert str(doubt(DoubtKind.BADLY_PLACED, 0.25)) == "stamp elsewhere: boxes agree by 0.25 (model 0.75)"


def test_counts_and_json() -> None:
    one = page(3, 1, 0.31234567, doubt(DoubtKind.OVERLOOKED, 0.1), doubt(DoubtKind.SWAPPED, 0.2))
    found = Review(version="v", pages=(one, page(4, 0, 1.0)), missing=(), told=())
    assert found.doubted == (one,)
    assert [found.count(kind) for kind in DoubtKind] == [1, 1, 0]
    facts = one.as_json()
    assert (facts["task"], facts["index"], facts["score"]) == (3, 1, 0.3123)
    assert facts["doubts"][0] == {
        "kind": "overlooked",
        "score": 0.1,
        "given": None,
        "seen": {"label": "stamp", "box": [1.0, 2.0, 30.12, 40.0]},
        "probability": 0.9,
    }
