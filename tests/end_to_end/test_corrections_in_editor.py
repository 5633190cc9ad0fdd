"""An annotator corrects boxes with mouse and keyboard in the real editor; each correction becomes its sample."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from backend.corrections.crop_store import CropStore
from backend.labelstudio.client import LabelStudio
from tests.end_to_end.conftest import ROOT, Project, Server, submit
from tests.end_to_end.editor import Editor
from tests.end_to_end.learner import Learner, Outcome, drawn_jpeg, eventually, learning, learning_project, until

pytestmark = [pytest.mark.label_studio, pytest.mark.browser]

Region = dict[str, Any]
Value = Mapping[str, float]

PICTURES = ROOT / "out" / "end_to_end"
# Of these drawn pages, most boxes lie alone, so that a click is on one box and no other.
CORRECTED, COMES_BACK = 27, 22
AIR = 0.5
"""Percent of the page between boxes that lie alone."""


@pytest.fixture(scope="module")
def learner(server: Server) -> Iterator[Learner]:
    with learning(server, name="learner-in-editor", recall_distance=0.05) as learner:
        yield learner


@pytest.fixture
def project(studio: LabelStudio, learner: Learner, request: pytest.FixtureRequest) -> Project:
    return learning_project(studio, learner, request.node.name)


@pytest.fixture
def editor(annotator: Page, server: Server) -> Editor:
    return Editor(annotator, server.url)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What the annotator is going to do; the boxes not named here are accepted.

    Attributes:
        aside: How far the moved box goes to the right, in percent of the page.
        empty: Where nothing was shown: the place of the box that is added.
    """

    relabelled: Region
    deleted: Region
    moved: Region
    aside: float
    empty: Value

    @classmethod
    def of(cls, shown: list[Region]) -> Plan:
        """Chooses boxes that lie alone, the largest first: they are the easiest to hit."""
        alone = [one for one in shown if reachable(one["value"]) and not touches(one["value"], others(shown, one))]
        alone.sort(key=lambda one: (-one["value"]["width"] * one["value"]["height"], one["id"]))
        assert len(alone) >= 3, f"of {len(shown)} boxes only {len(alone)} lie alone: choose another page"
        moved, *rest = alone
        value = moved["value"]
        aside = value["width"] / 2 if value["x"] + 1.5 * value["width"] < 100 else -value["width"] / 2
        away = [one for one in rest if not touches(one["value"], [value | {"x": value["x"] + aside}])]
        assert len(away) >= 2, "the box that is moved comes to lie on the others: choose another page"
        taken = [one["value"] for one in shown] + [value | {"x": value["x"] + aside}]
        corners = product(range(5, 90, 3), range(5, 90, 3))
        places = ({"x": float(x), "y": float(y), "width": 7.0, "height": 5.0} for y, x in corners)
        empty = next(place for place in places if not touches(place, taken))
        return cls(relabelled=away[0], deleted=away[1], moved=moved, aside=aside, empty=empty)


def others(shown: list[Region], one: Region) -> list[Value]:
    return [other["value"] for other in shown if other is not one]


def reachable(value: Value) -> bool:
    """Whether a box is large enough for a hand that misses its handles."""
    return value["width"] > 2.5 and value["height"] > 2.5


def touches(one: Value, boxes: list[Value]) -> bool:
    """Whether a box meets any of the others, or nearly so."""
    return any(
        one["x"] < other["x"] + other["width"] + AIR
        and other["x"] < one["x"] + one["width"] + AIR
        and one["y"] < other["y"] + other["height"] + AIR
        and other["y"] < one["y"] + one["height"] + AIR
        for other in boxes
    )


def label_of(region: Region) -> str:
    [label] = region["value"]["rectanglelabels"]
    return str(label)


def other_label(region: Region) -> str:
    return "stamp" if label_of(region) != "stamp" else "signature"


def shown_on(project: Project, name: str, data: bytes) -> tuple[int, list[Region]]:
    """A new task and the boxes that it comes with."""
    task = project.import_page(name, data)
    [prediction] = project.retrieved(task)
    return task, prediction["result"]


def boxes_of(regions: list[Region]) -> list[tuple[str, list[float]]]:
    return sorted((label_of(one), sides(one["value"])) for one in regions)


def percent_box(row: Any) -> list[float]:
    """A sample's box as x, y, width and height in percent of its page."""
    width, height = row.page_width / 100, row.page_height / 100
    return [row.x1 / width, row.y1 / height, (row.x2 - row.x1) / width, (row.y2 - row.y1) / height]


def sides(value: Value) -> list[float]:
    return [value["x"], value["y"], value["width"], value["height"]]


def test_what_an_annotator_does_in_the_editor_becomes_samples_until_the_annotation_is_deleted(
    project: Project, learner: Learner, editor: Editor
) -> None:
    task, shown = shown_on(project, "contract.jpg", drawn_jpeg(CORRECTED))
    plan = Plan.of(shown)
    renamed, moved, deleted = plan.relabelled, plan.moved, plan.deleted

    editor.open(project.id, task, regions=len(shown))
    editor.relabel(renamed, other_label(renamed))
    editor.delete(deleted)
    editor.drag(moved, across=plan.aside)
    editor.draw(plan.empty, "thumb")
    editor.page.screenshot(path=PICTURES / "corrected.png")
    stored = editor.submit()

    [added] = [region for region in stored["result"] if region["origin"] == "manual"]
    expected: dict[str, Outcome] = {one["id"]: ("accepted", None, label_of(one)) for one in shown}
    expected |= {
        renamed["id"]: ("relabelled", label_of(renamed), other_label(renamed)),
        deleted["id"]: ("rejected", label_of(deleted), "none"),
        moved["id"]: ("moved", None, label_of(moved)),
        added["id"]: ("missed", None, "thumb"),
    }
    eventually(lambda: learner.outcomes(project.id), expected)

    samples = learner.samples()
    drawn_there = sides(plan.empty)
    dragged_there = sides(moved["value"] | {"x": moved["value"]["x"] + plan.aside})
    assert percent_box(samples[moved["id"]]) == pytest.approx(dragged_there, abs=0.5)
    assert percent_box(samples[added["id"]]) == pytest.approx(drawn_there, abs=0.5)
    assert percent_box(samples[deleted["id"]]) == pytest.approx(sides(deleted["value"]), abs=0.5)
    for region in expected:
        row = samples[region]
        assert (row.annotation, row.task, row.annotator) == (stored["id"], task, stored["completed_by"])
        assert row.lead_time == stored["lead_time"]
        assert CropStore(str(learner.folder)).get(row.crop).size

    editor.relabel(added, "signature")
    editor.update(stored["id"])
    expected[added["id"]] = ("missed", None, "signature")
    eventually(lambda: learner.outcomes(project.id), expected)

    editor.delete_annotation(stored["id"])
    eventually(lambda: learner.outcomes(project.id), {})
    assert {"ANNOTATION_CREATED", "ANNOTATION_UPDATED", "ANNOTATIONS_DELETED"} <= set(learner.events(project.id))


def test_a_page_that_comes_back_and_an_open_task_follow_the_correction_and_the_editor_says_whose(
    project: Project, learner: Learner, editor: Editor
) -> None:
    task, shown = shown_on(project, "first.jpg", drawn_jpeg(COMES_BACK))
    waiting, _ = shown_on(project, "waiting.jpg", drawn_jpeg(COMES_BACK))
    [stored] = project.studio.predictions(waiting)
    plan = Plan.of(shown)
    wrong, rejected = plan.relabelled, plan.deleted
    right = wrong | {"value": wrong["value"] | {"rectanglelabels": [other_label(wrong)]}}
    left = [right if one is wrong else one for one in shown if one is not rejected]
    [prediction] = project.studio.predictions(task)
    annotation = submit(project.studio, task, left, parent_prediction=prediction["id"])
    origin = f"as corrected in annotation {annotation}"

    def again() -> tuple[int, list[Region]] | None:
        found = shown_on(project, "again.jpg", drawn_jpeg(COMES_BACK))
        return found if any("meta" in region for region in found[1]) else None

    def corrections() -> set[str]:
        return {row.id for row in learner.samples().values() if row.project == project.id and row.wrong}

    eventually(lambda: len(corrections()), 2)
    eventually(lambda: corrections() <= learner.remembered(), True)
    second, recalled = until(again, "box that follows the correction")

    def renewed() -> Region | None:
        [found] = project.studio.predictions(waiting)
        return found if any("meta" in region for region in found["result"]) else None

    # Nobody asks for the open task again: its stored prediction changes by itself, and keeps its id.
    found = until(renewed, "stored prediction that follows the correction")
    assert found["id"] == stored["id"]
    assert boxes_of(found["result"]) == boxes_of(recalled)

    [place] = [n for n, one in enumerate(recalled) if sides(one["value"]) == sides(wrong["value"])]
    assert label_of(recalled[place]) == other_label(wrong)
    assert sides(rejected["value"]) not in [sides(one["value"]) for one in recalled]
    editor.open(project.id, second, regions=len(recalled))
    editor.pick_in_list(place, recalled[place])
    expect(editor.details).to_contain_text(origin)
    editor.page.screenshot(path=PICTURES / "recalled.png")
