"""What an annotation holds that cannot be read, or is read another way, is never taken for a box that was deleted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Engine, select

from backend.corrections.counts import count
from backend.corrections.samples import teaches_hard
from backend.corrections.tables import event, sample
from backend.labelstudio.project_annotations import turned_page
from backend.labelstudio.protocol import read_event
from backend.labelstudio.results import drawn_box
from tests.corrections.annotating import CONFIG, HEIGHT, WIDTH, drawn, saved
from tests.corrections.test_label_history import A, B, Ledger, named

SEAL = '<Label value="Seal" predicted_values="stamp"/>'
KEPT = drawn("b", "signature", B, origin="prediction")
FULL = {"a": ("accepted", "stamp", None), "b": ("accepted", "signature", None)}


@pytest.fixture
def ledger(engine: Engine, tmp_path: Path) -> Ledger:
    made = Ledger(engine, tmp_path)
    made.show()
    return made


def beside(*tags: str) -> str:
    """The label config with further controls for the same mark."""
    more = "".join(f'<{tag} name="{tag}" toName="page">{SEAL}</{tag}>' for tag in tags)
    return CONFIG.replace("</View>", f"{more}</View>")


def shape(region: str, tag: str, **value: Any) -> dict[str, Any]:
    kind = tag.lower()
    return {
        "id": region,
        "type": kind,
        "from_name": tag,
        "to_name": "page",
        "item_index": 0,
        "value": {**value, kind: ["Seal"]},
        "origin": "manual",
    }


def percent(box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = box
    return 100 * x1 / WIDTH, 100 * y1 / HEIGHT, 100 * x2 / WIDTH, 100 * y2 / HEIGHT


X1, Y1, X2, Y2 = percent(A)
ELLIPSE = {"x": (X1 + X2) / 2, "y": (Y1 + Y2) / 2, "radiusX": (X2 - X1) / 2, "radiusY": (Y2 - Y1) / 2, "rotation": 0}
OUTLINE = {"points": [[X1, Y1], [X2, Y1], [X2, Y2], [X1, Y2]], "closed": True}


@pytest.mark.parametrize(("tag", "value"), [("EllipseLabels", ELLIPSE), ("PolygonLabels", OUTLINE)])
def test_a_box_that_is_replaced_by_another_shape_is_accepted(ledger: Ledger, tag: str, value: dict[str, Any]) -> None:
    result = [shape("z", tag, **value), KEPT]
    ledger.send(saved(1, task=7, at=950, result=result, config=beside(tag)))
    assert ledger.outcomes() == {"z": FULL["a"], "b": FULL["b"]}


def test_a_mark_that_is_boxed_and_outlined_is_one(ledger: Ledger) -> None:
    result = [drawn("a", "stamp", A, origin="prediction"), shape("z", "PolygonLabels", **OUTLINE), KEPT]
    ledger.send(saved(1, task=7, at=950, result=result, config=beside("PolygonLabels")))
    assert ledger.outcomes() == FULL


@pytest.mark.parametrize(
    ("tag", "value"),
    [
        ("KeyPointLabels", {"x": 10.0, "y": 10.0, "width": 0.5}),
        ("BitmaskLabels", {"imageDataURL": "data:image/png;base64,AAAA"}),
        ("VectorLabels", {"vertices": [{"x": 1, "y": 2}]}),
    ],
)
def test_a_mark_of_a_shape_without_a_box_may_be_what_was_deleted_on_its_page(
    ledger: Ledger, tag: str, value: dict[str, Any]
) -> None:
    ledger.send(saved(1, task=7, at=950, result=[shape("z", tag, **value), KEPT], config=beside(tag)))
    assert ledger.outcomes() == {"b": FULL["b"]}
    ledger.send(saved(2, task=7, at=951, result=[{**shape("z", tag, **value), "item_index": 1}], config=beside(tag)))
    assert ledger.outcomes()["a"] == ("rejected", "none", "stamp"), "the point is on the other page"


def test_an_ellipse_beside_labels_is_read_and_a_point_does_not_park_the_annotation(ledger: Ledger) -> None:
    config = CONFIG.replace("RectangleLabels", "Labels").replace(
        "</View>", '<Rectangle name="r" toName="page"/><Ellipse name="e" toName="page"/></View>'
    )

    def of(figure: str, **value: Any) -> list[dict[str, Any]]:
        both = {"id": "z", "to_name": "page", "item_index": 0, "origin": "manual"}
        labels = {**both, "from_name": "mark", "type": "labels", "value": {**value, "labels": ["Seal"]}}
        return [{**both, "from_name": figure[0], "type": figure, "value": value}, labels]

    ledger.send(saved(1, task=7, at=950, result=of("ellipse", **ELLIPSE), config=config))
    assert ledger.outcomes() == {"z": FULL["a"], "b": ("rejected", "none", "signature")}
    ledger.send(saved(1, task=7, at=951, result=of("keypoint", x=10.0, y=10.0, width=0.5), config=config))
    assert not ledger.outcomes()


def test_an_unnamed_rectangle_beside_labels_that_were_renamed_is_what_was_shown(ledger: Ledger) -> None:
    config = CONFIG.replace("RectangleLabels", "Labels").replace("Seal", "Stempel")
    config = config.replace("</View>", '<Rectangle name="r" toName="page"/></View>')
    bare = {**drawn("a", "stamp", A, origin="prediction"), "type": "rectangle", "from_name": "r"}
    del bare["value"]["rectanglelabels"]
    ledger.send(saved(1, task=7, at=950, result=[bare], config=config))
    assert ledger.outcomes()["a"] == FULL["a"]


@pytest.mark.parametrize(
    ("names", "outcome"),
    [
        (["signature", "Seal"], None),  # it can be either
        (["Seal", "signature"], None),
        (["logo", "Seal"], FULL["a"]),  # the other label stands for no mark
        (["Seal", "Seal"], FULL["a"]),
        (["Foo", "Seal"], FULL["a"]),
    ],
)
def test_a_region_with_two_labels_of_different_marks_teaches_nothing(
    ledger: Ledger, names: list[str], outcome: object
) -> None:
    one = drawn("a", "stamp", A, origin="prediction-changed")
    one["value"]["rectanglelabels"] = names
    ledger.send(saved(1, task=7, at=950, result=[one, KEPT]))
    assert ledger.outcomes().get("a") == outcome
    assert [told.label for told in count(ledger.engine).unknown] == ([] if outcome else [" + ".join(names)])


def without(key: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda region: {name: value for name, value in region.items() if name != key}


@pytest.mark.parametrize(
    "spoilt",
    [
        without("type"),
        without("value"),
        lambda region: {**region, "value": None},
        lambda region: {**region, "value": {**region["value"], "width": 0}},  # of no size
        lambda region: {**region, "value": {**region["value"], "x": 120}},  # beside the page
        lambda region: {**region, "value": {"rectanglelabels": ["Seal"]}},  # nowhere
        lambda region: {**region, "item_index": 9},  # on a page that the task does not have
        lambda region: {**region, "item_index": "second"},
    ],
)
def test_a_region_that_cannot_be_placed_is_no_deletion(ledger: Ledger, spoilt: Callable[[Any], Any]) -> None:
    ledger.send(saved(1, task=7, at=950, result=[spoilt(drawn("a", "stamp", A)), KEPT]))
    assert ledger.outcomes() == {"b": FULL["b"]}


@pytest.mark.parametrize("index", ["0", 0.0, None, ""])
def test_the_place_of_a_page_is_read_however_it_is_written(ledger: Ledger, index: object) -> None:
    ledger.send(saved(1, task=7, at=950, result=[{**drawn("a", "stamp", A), "item_index": index}, KEPT]))
    assert ledger.outcomes() == FULL


@pytest.mark.parametrize("result", [None, "[]", {}, ["a", KEPT], 5])
def test_an_event_without_its_regions_deletes_no_box(ledger: Ledger, result: Any) -> None:
    payload = saved(1, task=7, at=950, result=[])
    payload["annotation"]["result"] = result
    ledger.send(payload)
    del payload["annotation"]["result"]
    ledger.send(payload)
    assert not ledger.outcomes()
    with ledger.engine.connect() as connection:
        reasons = connection.execute(select(event.c.reason)).scalars().all()
    assert reasons == ["annotation 1: result is no list of regions, so nobody knows what was left"] * 2


@pytest.mark.parametrize("result", [None, {}])
def test_a_skipped_task_needs_no_regions(ledger: Ledger, result: Any) -> None:
    payload = saved(1, task=7, at=950, result=[], was_cancelled=True)
    payload["annotation"]["result"] = result
    [state] = read_event(payload).saved
    assert (state.skipped, state.result) == (True, ())


TWO = CONFIG.replace('<Image name="page" valueList="$pages"/>', '<Image name="front" value="$f"/>').replace(
    "</View>", '<Image name="back" value="$b"/></View>'
)
TWO = TWO.replace('toName="page"', 'toName="front,back"')


def on(image: str, region: dict[str, Any]) -> dict[str, Any]:
    return {**region, "to_name": image}


def test_one_control_on_two_images_is_read_on_the_image_that_a_region_names() -> None:
    payload = saved(1, task=7, at=950, result=[on("front", named("n", "Seal", A)), on("back", named("m", "Seal", B))])
    payload["task"]["data"] = {"f": "/data/upload/1/f.png", "b": "/data/upload/1/b.png"}
    payload["project"]["label_config"] = TWO
    [left] = read_event(payload).saved
    sizes = dict.fromkeys(range(2), (WIDTH, HEIGHT))
    assert {one.id: (one.page, one.label) for one in left.regions(sizes)} == {"n": (0, "stamp"), "m": (1, "stamp")}


def test_a_page_that_lies_on_its_side_does_not_make_another_image_of_the_control_do_so() -> None:
    lying = {**on("back", named("m", "Seal", B)), "original_width": HEIGHT, "original_height": WIDTH}
    payload = saved(1, task=7, at=950, result=[on("front", named("n", "Seal", A)), lying])
    payload["task"]["data"] = {"f": "/data/upload/1/f.png", "b": "/data/upload/1/b.png"}
    payload["project"]["label_config"] = TWO
    [left] = read_event(payload).saved
    assert turned_page(left, 0, width=WIDTH, height=HEIGHT) is None
    assert turned_page(left, 1, width=WIDTH, height=HEIGHT) is not None


@pytest.mark.parametrize(
    ("turn", "box"),
    [(0, (20.0, 40.0, 60.0, 60.0)), (90, (30.0, 30.0, 50.0, 70.0)), (180, (20.0, 40.0, 60.0, 60.0))],
)
def test_an_ellipse_is_boxed_by_what_it_covers(turn: float, box: tuple[float, ...]) -> None:
    value = {"x": 40, "y": 50, "radiusX": 20, "radiusY": 10, "rotation": turn}
    found = drawn_box({"value": value}, width=100, height=100)
    np.testing.assert_allclose(found, [box], atol=1e-9)


def test_who_deletes_a_box_contradicts_whoever_moved_it_however_far(ledger: Ledger) -> None:
    moved = drawn("a", "stamp", (80.0, 10.0, 180.0, 110.0), origin="prediction-changed")
    ledger.send(saved(1, task=7, at=950, result=[KEPT]), saved(2, task=7, at=951, result=[moved, KEPT]))
    with ledger.engine.connect() as connection:
        assert not connection.execute(select(sample).where(teaches_hard())).all()
    ledger.send(saved(2, task=7, at=952, created=951, result=[KEPT], action="ANNOTATION_UPDATED"))
    with ledger.engine.connect() as connection:
        assert len(connection.execute(select(sample).where(teaches_hard())).all()) == 2


def test_an_annotation_that_was_moved_to_another_task_goes_on_there(ledger: Ledger) -> None:
    ledger.send(saved(1, task=7, at=950, result=[KEPT]), saved(2, task=7, at=951, result=[named("a", "Seal", A), KEPT]))
    with ledger.engine.connect() as connection:
        assert not connection.execute(select(sample).where(teaches_hard())).all(), "they contradict each other"
    there = saved(2, task=8, at=952, created=951, result=[drawn("n", "thumb", B)], action="ANNOTATION_UPDATED")
    ledger.send(there)
    with ledger.engine.connect() as connection:
        rows = connection.execute(select(sample.c.id, sample.c.task, sample.c.quarantine).order_by(sample.c.id)).all()
    assert rows == [("1-a", 7, None), ("1-b", 7, None), ("2-n", 8, None)]
