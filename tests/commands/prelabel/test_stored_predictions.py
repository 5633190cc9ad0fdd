"""Lists of tasks, as Label Studio's Data Manager answers them (its real server is asked in tests/end_to_end)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from backend.labelstudio.client import LabelStudio
from backend.labelstudio.stored_predictions import (
    delete_prediction,
    importable,
    list_current_tasks,
    list_tasks,
    read_tasks,
    store,
)
from benchmarks.loopback_studio import LoopbackStudio

FIRST = {"lacking": True, "alone": False, "unannotated": False, "after": 0, "most": 10}
SECOND = FIRST | {"lacking": False}


@pytest.fixture
def client(studio: LoopbackStudio) -> Iterator[LabelStudio]:
    with studio.serving() as url, LabelStudio(url, "token") as client:
        yield client


@pytest.fixture(autouse=True)
def stored(studio: LoopbackStudio) -> None:
    """Of six tasks: 1 has none, 2 an older one, 3 the new one, 4 both, 5 the new one twice, 6 one called alike."""
    for task, version in ((2, "v1"), (3, "v2"), (4, "v1"), (4, "v2"), (5, "v2"), (5, "v2"), (6, "v2-t0.3")):
        studio.add(task, version)


@pytest.mark.parametrize(
    ("wanted", "ids"),
    [
        # all that surely lack one
        (FIRST, (1, 2)),
        # those that have predictions, as after a promotion
        (FIRST | {"unannotated": True}, (2,)),
        # from where an earlier page of the list ended
        (FIRST | {"after": 1}, (2,)),
        # what has more than it should, or only seems to have one
        (SECOND, (5, 6)),
        # and what has other versions beside it
        (SECOND | {"alone": True}, (4, 5, 6)),
    ],
)
def test_lists(client: LabelStudio, wanted: dict, ids: tuple[int, ...]) -> None:
    assert list_tasks(client, 1, "v2", **wanted).ids == ids


def test_a_page_of_a_list_says_where_it_ended_and_what_is_left(client: LabelStudio) -> None:
    page = list_tasks(client, 1, "v2", **(FIRST | {"most": 1}))
    assert (page.ids, page.last, page.total) == ((1,), 1, 2)
    end = list_tasks(client, 1, "v2", **(FIRST | {"after": 6}))
    assert (end.ids, end.last, end.total) == ((), None, 0)
    # A page on which all is well is not the end.
    well = list_tasks(client, 1, "v2", **(SECOND | {"most": 2}))
    assert (well.ids, well.last) == ((), 4)


def test_open_tasks_of_a_version_are_listed_page_by_page(client: LabelStudio, studio: LoopbackStudio) -> None:
    studio.annotations[4] = [{"id": 1, "parent_prediction": None}]
    first = list_current_tasks(client, 1, "v2", after=0, most=2)
    assert (first.ids, first.last, first.total) == ((3, 5), 5, 3)
    # Label Studio takes v2-t0.3 for v2; whoever reads the task sees that it is not.
    assert list_current_tasks(client, 1, "v2", after=5, most=2).ids == (6,)
    assert list_current_tasks(client, 1, "v2", after=6, most=2).last is None


def test_tasks_are_read_with_what_is_stored(client: LabelStudio, studio: LoopbackStudio) -> None:
    studio.annotations[4] = [{"id": 1, "parent_prediction": 4}]
    found = read_tasks(client, 1, [4, 1, 77])
    assert sorted(found) == [1, 4]
    assert found[1].body == {"id": 1, "data": {"image": "/data/upload/1/1.png"}}
    assert [(one.version, one.used) for one in found[4].predictions] == [("v1", False), ("v2", True)]


def test_predictions_are_stored_together_and_deleted_one_by_one(client: LabelStudio, studio: LoopbackStudio) -> None:
    store(client, 1, {task: {"result": [], "score": 1.0, "model_version": "v3"} for task in (1, 2)})
    assert (studio.versions(1), studio.versions(2), studio.imports) == (["v3"], ["v1", "v3"], 1)
    delete_prediction(client, studio.predictions[2][0]["id"])
    assert studio.versions(2) == ["v3"]


def test_a_task_to_be_imported() -> None:
    assert importable({"image": "a"}, [{"score": 1.0}]) == {"data": {"image": "a"}, "predictions": [{"score": 1.0}]}
