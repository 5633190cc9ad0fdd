"""What a prediction says in the columns of its task."""

from __future__ import annotations

from typing import Any

import pytest

from backend.labelstudio.labelling import bind
from backend.labelstudio.projects import label_config
from backend.labelstudio.tabs import page_columns, task_columns
from backend.labelstudio.tasks import task_pages

PAGES = ["/p/1.png", "/p/2.png", "/p/3.png"]


def box(identity: str, page: int, score: float) -> dict[str, Any]:
    told = {"id": identity, "type": "rectanglelabels", "from_name": "mark", "to_name": "page", "value": {}}
    return told | {"item_index": page, "score": score}


@pytest.mark.parametrize(
    ("result", "found", "preview"),
    [
        ([], 0, "/p/1.png"),
        ([box("a", 1, 0.9)], 1, "/p/2.png"),
        ([box("a", 0, 0.9), box("b", 2, 0.6), box("c", 1, 0.8)], 3, "/p/3.png"),
        # of equal doubts the first
        ([box("a", 1, 0.6), box("b", 2, 0.6)], 2, "/p/2.png"),
        # an answer about the whole task is no box
        ([{"id": "c", "type": "choices", "from_name": "state", "to_name": "page", "value": {}}], 0, "/p/1.png"),
    ],
)
def test_boxes_are_counted_and_a_document_shows_its_most_doubtful_page(
    result: list[dict[str, Any]], found: int, preview: str
) -> None:
    pages = task_pages(0, {"id": 1, "data": {"pages": PAGES}}, bind(label_config(paged=True)))
    assert task_columns(result, pages) == {"marks_found": found, "preview": preview}


def test_a_single_page_is_its_own_picture_and_a_figure_with_labels_is_one_box() -> None:
    xml = (
        '<View><Image name="page" value="$image"/><Labels name="mark" toName="page"><Label value="stamp"/></Labels>'
        '<Rectangle name="box" toName="page"/></View>'
    )
    pages = task_pages(0, {"id": 1, "data": {"image": PAGES[0]}}, bind(xml))
    labelled = {"id": "a", "type": "labels", "from_name": "mark", "score": 0.9}
    result = [labelled | {"type": "rectangle", "from_name": "box"}, labelled]
    assert task_columns(result, pages) == {"marks_found": 1}


@pytest.mark.parametrize(
    ("numbers", "told"),
    [
        # a page of a document
        ([7], "7"),
        # the last two
        ([11, 12], "11–12"),
        # one that could not be decoded is not there
        ([1, 2, 3, 5, 7, 8], "1–3, 5, 7–8"),
    ],
)
def test_pages_are_told_to_people_by_their_first_and_last(numbers: list[int], told: str) -> None:
    assert page_columns(numbers) == {"page_numbers": numbers, "page_range": told}
