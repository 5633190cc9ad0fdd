"""Pixels to percent and back, ids that stay, scores that sort."""

import re

import numpy as np
import pytest

from backend.errors import RequestError
from backend.labelstudio.labelling import Binding
from backend.labelstudio.results import drawn_box, prediction, refined, region_id, regions, regions_there, wants_ink
from backend.vision.ink import Inked
from tests.server.conftest import found


def binding(**changes) -> Binding:
    labels = {"signature": "signature", "stamp": "Seal"}
    return Binding(
        **{"control": "c", "image": "i", "field": "f", "paged": False, "labels": labels, "threshold": 0.5} | changes
    )


def shown(*marks, task=1, item=None, inks=(), **changes):
    return regions(found(*marks), width=400, height=200, binding=binding(**changes), task=task, item=item, inks=inks)


STAMP = ("stamp", (40, 20, 80, 60), 0.9)


def test_boxes_become_percent_of_the_upright_page():
    [region] = shown(STAMP)
    assert region["value"] == {
        "x": 10.0,
        "y": 10.0,
        "width": 10.0,
        "height": 20.0,
        "rotation": 0,
        "rectanglelabels": ["Seal"],
    }


def test_a_box_beyond_the_page_is_cut_to_it():
    [region] = shown(("stamp", (-10, 150, 500, 900), 0.9))
    value = region["value"]
    assert (value["x"], value["y"], value["width"], value["height"]) == (0.0, 75.0, 100.0, 25.0)


def test_marks_without_a_label_in_the_project_are_left_out():
    assert shown(("thumb", (0, 0, 9, 9), 0.99)) == []


@pytest.mark.parametrize(("threshold", "count"), [(0.9, 1), (0.91, 0), (0.0, 1)])
def test_marks_below_the_controls_threshold_are_left_out(threshold, count):
    assert len(shown(STAMP, threshold=threshold)) == count


@pytest.mark.parametrize(
    "other",
    [
        # each of these makes another region of it
        {"task": 2},
        {"item": 1},
        {"control": "d"},
        {"image": "j"},
        {"labels": {"stamp": "Stamp"}},
    ],
)
def test_ids_stay_for_the_same_region_and_differ_for_any_other(other):
    first, again, changed = shown(STAMP), shown(STAMP), shown(STAMP, **other)
    assert first[0]["id"] == again[0]["id"] != changed[0]["id"]


def test_ids_of_one_page_are_unique():
    boxes = np.random.default_rng(0).uniform(0, 200, (300, 4)).round()
    marks = [("stamp", (*sorted(box[:2]), *sorted(box[2:])), 0.9) for box in boxes.tolist()]
    marks = [(name, (a, c, b + 1, d + 1), score) for name, (a, b, c, d), score in marks]
    assert len({region["id"] for region in shown(*set(marks))}) == len(set(marks))


def test_ids_are_short_and_fit_into_an_address():
    assert re.fullmatch(r"[\w-]{10}", region_id("any", 1, None))


def test_a_page_of_a_list_carries_its_index_and_a_single_page_none():
    assert shown(STAMP, item=0)[0]["item_index"] == 0
    assert "item_index" not in shown(STAMP)[0]


@pytest.mark.parametrize(
    ("certainties", "score"),
    [
        # the least certain page speaks for its task
        ([0.99, 0.6, 0.8], 0.6),
        # a page on which nothing was near a mark
        ([1.0], 1.0),
        # a task without a readable page has nothing to teach
        ([], 1.0),
    ],
)
def test_the_score_of_a_task_is_its_least_certainty(certainties, score):
    assert prediction([], certainties=certainties, version="v") == {"result": [], "score": score, "model_version": "v"}


@pytest.mark.parametrize(
    ("value", "box"),
    [
        # as drawn
        ({"x": 10, "y": 10, "width": 20, "height": 30}, [40, 20, 120, 80]),
        ({"x": 10, "y": 10, "width": 20, "height": 30, "rotation": 0}, [40, 20, 120, 80]),
        # a quarter clockwise about the top left corner: width points down, height to the left
        ({"x": 50, "y": 10, "width": 20, "height": 30, "rotation": 90}, [140, 20, 200, 100]),
        # half a turn
        ({"x": 50, "y": 50, "width": 20, "height": 30, "rotation": 180}, [120, 40, 200, 100]),
        # 45 degrees: a square of 40 px stands on its corner
        ({"x": 50, "y": 10, "width": 10, "height": 20, "rotation": 45}, [171.716, 20, 228.284, 76.569]),
        # beyond the page
        ({"x": -10, "y": 90, "width": 20, "height": 30}, [0, 180, 40, 200]),
    ],
)
def test_a_drawn_rectangle_turned_or_not_becomes_the_upright_box_around_it(value, box):
    np.testing.assert_allclose(drawn_box({"value": value}, width=400, height=200), [box], atol=0.01)


def test_a_box_comes_back_as_the_pixels_it_was():
    [region] = regions(
        found(("stamp", (123, 457, 789, 1011), 0.9)), width=2480, height=3508, binding=binding(), task=1, item=None
    )
    np.testing.assert_allclose(drawn_box(region, width=2480, height=3508), [[123, 457, 789, 1011]], atol=0.01)


def test_a_refined_region_keeps_its_id_and_its_place():
    drawn = {"id": "abc", "item_index": 2, "value": {}}
    region = refined(found(STAMP), drawn, width=400, height=200, binding=binding())
    assert (region["id"], region["item_index"], region["value"]["rectanglelabels"]) == ("abc", 2, ["Seal"])


# A diagonal bar inside the stamp's box.
INK = Inked(40, 20, np.tri(40, 40, 3, dtype=bool) & ~np.tri(40, 40, -4, dtype=bool), 0.25)


def test_a_rectangle_that_holds_no_labels_stands_beside_its_labels_under_one_id():
    figure, labels = shown(STAMP, figure="box")
    assert figure["id"] == labels["id"]
    assert (figure["from_name"], figure["type"]) == ("box", "rectangle")
    assert (labels["from_name"], labels["type"], labels["value"]["labels"]) == ("c", "labels", ["Seal"])
    assert figure["value"] == {name: labels["value"][name] for name in ("x", "y", "width", "height", "rotation")}


@pytest.mark.parametrize("shape", ["polygon", "brush"])
def test_a_mark_is_shown_as_the_outline_or_the_mask_of_its_ink(shape):
    [region] = shown(STAMP, shape=shape, inks=[INK])
    assert region["type"] == f"{shape}labels"
    assert region["value"][f"{shape}labels"] == ["Seal"]
    # What annotators leave untouched is read as the box that it came from.
    np.testing.assert_allclose(drawn_box(region, width=400, height=200), [[40, 20, 80, 60]], atol=2)


def test_only_stamps_are_turned_and_only_where_the_control_allows_it():
    signature = ("signature", STAMP[1], 0.9)
    turned, upright = shown(STAMP, turns=True, inks=[INK])[0], shown(signature, turns=True, inks=[INK])[0]
    assert turned["value"]["rotation"] == pytest.approx(45, abs=2)
    assert upright["value"]["rotation"] == 0
    assert shown(STAMP, inks=[INK])[0]["value"]["rotation"] == 0
    np.testing.assert_allclose(drawn_box(turned, width=400, height=200), [[40, 20, 80, 60]], atol=4)


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [({}, False), ({"turns": True}, True), ({"shape": "polygon"}, True), ({"shape": "brush"}, True)],
)
def test_ink_is_looked_for_only_where_it_is_shown(changes, wanted):
    assert wants_ink([binding(), binding(**changes)]) is wanted


@pytest.mark.parametrize(
    "value",
    [
        {"points": []},
        {"points": "none"},
        {"points": [[1, 2], [3]]},
        {"points": [[1, 2], [3, float("inf")]]},
        {"points": [[1, 2], [3, 10**400]]},
        {"rle": [1, 2, 3]},
        {"x": 1, "y": 1, "width": 2},
        {},
    ],
)
def test_what_has_no_place_on_the_page_is_refused(value):
    with pytest.raises(RequestError):
        drawn_box({"value": value}, width=400, height=200)


def test_the_label_that_was_drawn_stands_and_the_score_says_the_doubt():
    drawn = {"id": "abc", "value": {"rectanglelabels": ["signature"]}}
    region = refined(found(STAMP), drawn, width=400, height=200, binding=binding())
    assert region["value"]["rectanglelabels"] == ["signature"]
    assert region["score"] < 0.5
    assert "meta" not in region


@pytest.mark.parametrize("kind", ["drafts", "annotations", "predictions"])
def test_the_regions_that_are_there_are_those_of_the_newest_state(kind):
    value = {"x": 10, "y": 20, "width": 30, "height": 40, "rotation": 0, "rectanglelabels": ["Seal"]}
    older = {"updated_at": "2026-01-01", "result": []}
    there = {"id": "there", "to_name": "page", "value": value}
    further = [
        {"id": "new", "to_name": "page", "value": value},  # what was just drawn
        {"id": "elsewhere", "to_name": "page", "item_index": 1, "value": value},
        {"id": "choice", "to_name": "page", "value": {"choices": ["yes"]}},
    ]
    task = {"predictions": [], kind: [older, {"updated_at": "2026-01-02", "result": [there, *further]}]}
    found_there = regions_there(task, {"id": "new", "to_name": "page"}, width=400, height=200)
    np.testing.assert_allclose(found_there, [[40, 40, 160, 120]])
