"""What rules in a task, read from what Label Studio lists."""

from __future__ import annotations

from typing import Any

import pytest

from backend.labelstudio.annotations import Annotation, read_annotation
from backend.labelstudio.project_annotations import turned_page, turns

MARK = '<RectangleLabels name="mark" toName="page"><Label value="stamp"/></RectangleLabels>'
ONE = f'<Image name="page" value="$image"/>{MARK}'
TWO = ONE.replace("page", "back").replace("mark", "behind").replace("$image", "$back")
PAGED = ONE.replace('value="$image"', 'valueList="$pages"')


def left(config: str, *regions: dict[str, Any]) -> Annotation:
    body = {"id": 1, "created_at": "2026-01-01T00:00:00Z", "result": list(regions)}
    data = {"image": "a.png", "back": "b.png", "pages": ["a.png", "b.png"]}
    return read_annotation(body, task={"id": 2, "data": data}, label_config=f"<View>{config}</View>")


def region(across: Any, down: Any, *, control: str = "mark", **more: Any) -> dict[str, Any]:
    return {"id": "a", "from_name": control, "original_width": across, "original_height": down, **more}


@pytest.mark.parametrize(
    ("config", "one", "page", "turned"),
    [
        (ONE, region(600, 800), 0, False),
        (ONE, region(800, 600), 0, True),
        (ONE, region(300, 400), 0, False),  # the same page, smaller
        (ONE, region(100, 100), 0, False),  # a made-up size says nothing
        (ONE, region(900, 600), 0, False),  # nor does another shape
        (ONE, region(None, 600), 0, False),
        (ONE, region(0, 600), 0, False),
        (ONE, region(10**400, 1), 0, False),
        (PAGED, region(800, 600, item_index=1), 1, True),
        (PAGED, region(800, 600, item_index="1"), 1, True),
        (PAGED, region(800, 600, item_index=1), 0, False),  # about the other page
        (PAGED, region(800, 600), 0, True),  # without an index it is the first
        (ONE + TWO, region(800, 600, control="behind"), 1, True),
        (ONE + TWO, region(800, 600, control="behind"), 0, False),
        (ONE, region(800, 600, control="other"), 0, False),  # of a control that marks are not read from
    ],
)
def test_a_page_that_lay_on_its_side_is_told_by_its_regions(
    config: str, one: dict[str, Any], page: int, turned: bool
) -> None:
    told = turned_page(left(config, one), page, width=600, height=800)
    assert told == ("annotated at 800 x 600 pixels, but it is 600 x 800 now: was it replaced?" if turned else None)


def test_a_square_page_has_no_side_to_lie_on() -> None:
    assert turned_page(left(ONE, region(600, 600)), 0, width=600, height=600) is None


@pytest.mark.parametrize(
    ("rotation", "degrees"), [(0, None), (360, None), (12.5, 12.5), (-90, 270.0), ("x", None), (10**400, None)]
)
def test_turns_are_degrees_clockwise_of_what_was_turned(rotation: Any, degrees: float | None) -> None:
    found = turns(left(ONE, region(600, 800, value={"rotation": rotation})))
    assert found == ({} if degrees is None else {"a": degrees})


def test_a_region_that_a_program_posted_without_an_id_is_a_mark_like_others() -> None:
    value = {"x": 10, "y": 20, "width": 30, "height": 40, "rotation": 0, "rectanglelabels": ["stamp"]}
    posted = region(100, 100, type="rectanglelabels", value=value)
    del posted["id"]
    found = left(ONE, region(100, 100, type="rectanglelabels", value=value), posted, posted).regions({0: (100, 100)})
    assert [one.id for one in found] == ["a", "#1", "#2"]
    assert {one.box for one in found} == {(10.0, 20.0, 40.0, 60.0)}
