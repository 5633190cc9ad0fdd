"""Pages go into a real Label Studio, and come back boxed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest

from backend.commands.demo.demo_projects import connect
from backend.geometry import as_boxes, iou
from backend.labelstudio.client import LabelStudio
from backend.settings import Settings
from tests.end_to_end.conftest import ARCHIVE, CONFIG, DrawnFile, Project, Server, retrieved
from tests.http_client import HTTP

pytestmark = pytest.mark.label_studio

LABELS = {"signature", "stamp", "thumb"}


def boxes_in_pixels(result: list[dict[str, Any]]) -> list[list[float]]:
    """The regions of a result as x1, y1, x2, y2 of the page that they name themselves."""
    found = []
    for region in result:
        value, width, height = region["value"], region["original_width"] / 100, region["original_height"] / 100
        x1, y1 = value["x"] * width, value["y"] * height
        found.append([x1, y1, x1 + value["width"] * width, y1 + value["height"] * height])
    return found


def test_connecting_gives_the_project_the_version_and_a_healthy_backend(project: Project, version: str) -> None:
    (connection,) = project.studio.backends(project.id)
    assert connection["state"] == "CO"
    assert connection["model_version"] == version
    assert project.studio.project(project.id)["model_version"] == version


def test_retrieve_predictions_stores_boxes_with_scores_and_the_version(
    project: Project, version: str, drawn: list[DrawnFile]
) -> None:
    tasks = [project.import_page(file.name, file.data) for file in drawn]
    for prediction in project.retrieved(*tasks):
        assert prediction["model_version"] == version
        assert 0 <= prediction["score"] <= 1
        assert prediction["result"], "a page with marks came back without a box"
        for region in prediction["result"]:
            assert (region["from_name"], region["to_name"], region["type"]) == ("mark", "page", "rectanglelabels")
            assert set(region["value"]["rectanglelabels"]) <= LABELS
            assert Settings().confidence <= region["score"] <= 1
        assert len({region["id"] for region in prediction["result"]}) == len(prediction["result"])


def test_the_boxes_lie_on_the_marks_that_are_plain_to_see(project: Project, drawn: list[DrawnFile]) -> None:
    found = total = 0
    for file in drawn:
        task = project.import_page(file.name, file.data)
        (prediction,) = project.retrieved(task)
        boxes = as_boxes(boxes_in_pixels(prediction["result"]))
        overlaps = iou(as_boxes([mark.box for mark in file.clear]), boxes)
        found += int((overlaps.max(axis=1, initial=0) >= 0.5).sum())
        total += len(file.clear)
    assert found >= total / 2, f"{found} of {total} clear marks are boxed"


def test_asking_again_stores_nothing_twice(project: Project, drawn: list[DrawnFile]) -> None:
    task = project.import_page(drawn[0].name, drawn[0].data)
    project.retrieved(task)
    project.studio.retrieve_predictions(project.id)
    assert len(project.studio.predictions(task)) == 1


def test_an_unreadable_page_does_not_cost_its_neighbours_their_boxes(project: Project, drawn: list[DrawnFile]) -> None:
    good = project.import_page(drawn[0].name, drawn[0].data)
    bad = project.import_page("broken.jpg", b"this is no image")
    after = project.import_page(drawn[1].name, drawn[1].data)
    project.studio.retrieve_predictions(project.id)
    assert len(project.retrieved(good, after)) == 2
    assert all(not prediction["result"] for prediction in project.studio.predictions(bad))


def test_a_page_that_was_cut_short_stays_open_and_is_boxed_once_it_is_whole(
    project: Project, drawn: list[DrawnFile], server: Server
) -> None:
    file = drawn[0]
    task = project.import_page("cut.jpg", file.data[: len(file.data) // 2])
    project.studio.retrieve_predictions(project.id, [task])
    assert project.studio.predictions(task) == []
    [stored] = server.folder.rglob("*cut.jpg")
    stored.write_bytes(file.data)
    [prediction] = project.retrieved(task)
    assert prediction["result"]


PLACES: dict[str, Callable[[str], dict[str, Any]]] = {
    "$image": lambda page: {"image": [page]},
    "$doc.image": lambda page: {"doc": {"image": page}},
    "$images[0]": lambda page: {"images": [page]},
}


@pytest.mark.parametrize("value", PLACES)
def test_a_page_is_found_where_the_editor_finds_it(
    studio: LabelStudio, backend_url: str, version: str, drawn: list[DrawnFile], value: str
) -> None:
    made = studio.create_project(f"pages behind {value}", CONFIG.replace("$image", value))
    studio.create_tab(made, "Default")
    connect(studio, made, backend_url, version=version)
    page = studio.upload(made, drawn[0].name, drawn[0].data)
    [prediction] = retrieved(studio, made, studio.import_tasks(made, [PLACES[value](page)]))
    assert prediction["result"]


def test_local_files_are_found_by_names_as_people_give_them(
    studio: LabelStudio, backend_url: str, version: str, drawn: list[DrawnFile], server: Server
) -> None:
    """Raw spaces, Arabic letters, accents, quotes and brackets, as the editor shows them."""
    folder = server.folder / ARCHIVE / "docs"
    folder.mkdir()
    names = ("my contract.jpg", "عقد إيجار.jpg", "Übergabe é.jpg", "it's (1).jpg", "100%, a&b.jpg")
    for name in names:
        (folder / name).write_bytes(drawn[0].data)
    made = studio.create_project("files by name", CONFIG)
    studio.create_tab(made, "Default")
    connect(studio, made, backend_url, version=version)
    studio.call("POST", "/api/storages/localfiles", json={"project": made, "path": str(folder)})
    references = [f"/data/local-files/?d=docs/{name}" for name in names[:-1]]
    references.append(f"/data/local-files/?d=docs/{quote(names[-1])}")
    tasks = studio.import_tasks(made, [{"image": reference} for reference in references])
    assert all(prediction["result"] for prediction in retrieved(studio, made, tasks))


def test_a_document_of_several_pages_is_boxed_on_each(document_project: Project, drawn: list[DrawnFile]) -> None:
    references = [document_project.studio.upload(document_project.id, file.name, file.data) for file in drawn]
    (task,) = document_project.studio.import_tasks(document_project.id, [{"pages": references}])
    (prediction,) = document_project.retrieved(task)
    assert {region["item_index"] for region in prediction["result"]} == set(range(len(drawn)))


def test_a_rough_box_comes_back_tight_and_labelled(project: Project, drawn: list[DrawnFile]) -> None:
    file, mark = drawn[0], drawn[0].clear[0]
    task = project.import_page(file.name, file.data)
    (connection,) = project.studio.backends(project.id)
    x1, y1, x2, y2 = mark.box
    x, y = 100 / file.width, 100 / file.height
    rough = {"x": (x1 - 15) * x, "y": (y1 - 15) * y, "width": (x2 - x1 + 30) * x, "height": (y2 - y1 + 30) * y}
    region = {
        "id": "rough",
        "type": "rectanglelabels",
        "from_name": "mark",
        "to_name": "page",
        "original_width": file.width,
        "original_height": file.height,
        "value": rough | {"rectanglelabels": [mark.label]},
    }
    answer = interactive(project.studio, connection["id"], task, [region])
    (tight,) = answer["data"]["result"]
    assert tight["value"]["rectanglelabels"] == [mark.label], "the annotator has said what it is"
    truth, drawn_roughly = as_boxes([mark.box]), as_boxes(boxes_in_pixels([region]))
    closer = iou(truth, as_boxes(boxes_in_pixels([tight])))[0, 0]
    assert closer > iou(truth, drawn_roughly)[0, 0]


def interactive(studio: LabelStudio, connection: int, task: int, result: list[dict[str, Any]]) -> dict[str, Any]:
    """What the editor asks while Auto-Annotation is on."""
    answer = HTTP.post(
        f"{studio.base_url}/api/ml/{connection}/interactive-annotating",
        headers=studio.headers(),
        json={"task": task, "context": {"result": result}},
    )
    stored: dict[str, Any] = answer.raise_for_status().json()
    return stored
