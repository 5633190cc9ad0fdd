"""Filling a Label Studio again finishes what an earlier run began, and repeats nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from backend.commands.demo.demo_projects import Filled, connect, fill_project, retrieve_boxes
from backend.errors import DemoError
from tests.commands.import_documents.loopback import loopback


class MemoryStudio:
    """The part of Label Studio's API that the demo uses, kept in memory."""

    def __init__(self) -> None:
        self.titles: list[str] = []
        self.imported: list[dict[str, Any]] = []
        self.stored: dict[int, list[dict[str, Any]]] = {}
        self.answers: str | None = "v1"
        self.asked = 0
        self.options: dict[str, Any] = {}
        self.views: list[tuple[int, str]] = []

    def find_project(self, title: str) -> int | None:
        return self.titles.index(title) if title in self.titles else None

    def create_project(self, title: str, label_config: str, **options: Any) -> int:
        self.titles.append(title)
        self.options = options
        return len(self.titles) - 1

    def tabs(self, project: int) -> list[str]:
        return [title for of, title in self.views if of == project]

    def call(self, method: str, path: str, **request: Any) -> Any:
        match method, path.split("/")[2:-1]:
            case "POST", ["dm", "views"]:
                self.views.append((request["json"]["project"], request["json"]["data"]["title"]))
                return {"id": len(self.views)}
            case "GET", ["projects", _, "summary"]:
                return {"all_data_columns": []}
            case "GET", ["tasks"]:
                wanted = json.loads(request["params"]["query"])["selectedItems"]["included"]
                return {"tasks": [task for task in self.imported if task["id"] in wanted]}
            case "PATCH", ["tasks", task]:
                self.imported[int(task)]["data"] = request["json"]["data"]
                return None
        raise AssertionError((method, path))

    def tasks(self, project: int) -> Iterator[dict[str, Any]]:
        return (task for task in self.imported if task["project"] == project)

    def upload(self, project: int, name: str, data: bytes) -> str:
        return f"/data/upload/{project}/{name}"

    def import_tasks(self, project: int, tasks: Sequence[Mapping[str, Any]]) -> list[int]:
        first = len(self.imported)
        self.imported += [{"id": first + n, "project": project, "data": task} for n, task in enumerate(tasks)]
        return list(range(first, len(self.imported)))

    def predictions(self, task: int) -> list[dict[str, Any]]:
        return self.stored.get(task, [])

    def retrieve_predictions(self, project: int, tasks: Sequence[int]) -> None:
        self.asked += 1
        if self.answers:
            for task in tasks:
                self.stored.setdefault(task, []).append({"model_version": self.answers, "result": [{}, {}]})


@pytest.fixture
def studio() -> Any:
    return MemoryStudio()


@pytest.fixture
def pages(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{number}.jpg" for number in range(3)]
    for path in paths:
        path.write_bytes(b"a page")
    return paths


def fill(studio: Any, documents: list[list[Path]], field: str = "image") -> Filled:
    return fill_project(studio, title="Contracts", label_config="<View/>", field=field, documents=documents)


def test_a_page_is_one_reference_and_a_document_is_a_list(studio: Any, pages: list[Path]) -> None:
    fill(studio, [[pages[0]], pages[1:]], field="pages")
    assert [task["data"]["pages"] for task in studio.imported] == [
        "/data/upload/0/0.jpg",
        ["/data/upload/0/1.jpg", "/data/upload/0/2.jpg"],
    ]


def test_a_project_that_is_filled_stays_as_it_is(studio: Any, pages: list[Path]) -> None:
    documents = [[page] for page in pages]
    assert fill(studio, documents) == fill(studio, documents)
    assert len(studio.titles) == 1
    assert len(studio.imported) == 3


def test_a_project_that_was_left_empty_is_filled(studio: Any, pages: list[Path]) -> None:
    studio.create_project("Contracts", "<View/>")
    assert fill(studio, [pages[:1]]) == Filled(project=0, tasks=(0,))


def test_a_new_version_or_address_renews_the_connection_and_its_webhook() -> None:
    with loopback() as server, server.client() as client:
        project = server.add_project("<View/>")
        connect(client, project, "http://127.0.0.1:9090", version="v1")
        connect(client, project, "http://127.0.0.1:9090", version="v1")
        assert len(server.writes) == 1
        connect(client, project, "http://127.0.0.1:9091", version="v2")
        assert [(one["url"], one["title"]) for one in server.connections.values()] == [("http://127.0.0.1:9091", "v2")]
        assert "http://127.0.0.1:9091/webhook" in [one["url"] for one in server.webhooks.values()]


def test_only_tasks_without_boxes_of_this_version_are_asked_for(studio: Any) -> None:
    studio.stored = {0: [{"model_version": "v1", "result": [{}]}], 1: [{"model_version": "v0", "result": []}]}
    told: list[tuple[int, int]] = []
    filled = [Filled(project=0, tasks=(0, 1)), Filled(project=1, tasks=(2,))]
    boxes = retrieve_boxes(studio, filled, version="v1", done=lambda done, total: told.append((done, total)))
    assert boxes == 1 + 2 + 2
    assert studio.asked == 2
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_a_project_queues_doubtful_tasks_first_and_its_columns_are_for_people(studio: Any, pages: list[Path]) -> None:
    filled = fill(studio, [[pages[0]], pages[1:]], field="pages")
    fill(studio, [])
    assert studio.options["sampling"] == "Uncertainty sampling"
    assert "score" in studio.options["description"]
    assert studio.tabs(filled.project) == ["Default", "Doubtful first", "Nothing found", "Overlooked?", "Done"]
    retrieve_boxes(studio, [filled], version="v1", done=lambda *_: None)
    single, document = (task["data"] for task in studio.imported)
    assert (single["document"], single["page_numbers"], single["marks_found"]) == ("0.jpg", [1], 2)
    assert (document["preview"], document["page_numbers"]) == ("/data/upload/0/1.jpg", [1, 2])


class AskedTwice(MemoryStudio):
    """The server asks for each task at the same moment."""

    def retrieve_predictions(self, project: int, tasks: Sequence[int]) -> None:
        for _ in range(2):
            super().retrieve_predictions(project, tasks)
        for task in tasks:
            for place, one in enumerate(self.stored[task]):
                one["id"] = 100 * task + place

    def call(self, method: str, path: str, **request: Any) -> Any:
        match method, path.split("/")[2:-1]:
            case "GET", ["tasks", task]:
                return {"id": int(task), "project": 0, "data": {}, "predictions": self.stored[int(task)]}
            case "DELETE", ["predictions", number]:
                held = self.stored[int(number) // 100]
                held[:] = [one for one in held if one["id"] != int(number)]
                return None
        return super().call(method, path, **request)


def test_what_the_server_asked_for_as_well_is_there_once() -> None:
    studio = AskedTwice()
    filled: Any = Filled(project=0, tasks=(1, 2))
    assert retrieve_boxes(studio, [filled], version="v1", done=lambda *_: None) == 4  # type: ignore[arg-type]
    assert [[one["id"] for one in held] for held in studio.stored.values()] == [[100], [200]]


def test_a_task_that_gets_no_prediction_is_an_error_that_names_it(studio: Any) -> None:
    studio.answers = None
    with pytest.raises(DemoError, match="task 7 got no prediction of v1"):
        retrieve_boxes(studio, [Filled(project=0, tasks=(7,))], version="v1", done=lambda *_: None, patience=0)


class Late(MemoryStudio):
    """The backend's first answers come too late: Label Studio stores nothing, and does not say so."""

    def __init__(self, late: int) -> None:
        super().__init__()
        self._late = late
        self.requests: list[Sequence[int]] = []

    def retrieve_predictions(self, project: int, tasks: Sequence[int]) -> None:
        self.requests.append(tasks)
        if len(self.requests) > self._late:
            super().retrieve_predictions(project, tasks)


def test_a_task_whose_prediction_came_too_late_is_asked_for_again() -> None:
    studio = Late(2)
    filled = [Filled(project=0, tasks=(1, 2))]
    assert retrieve_boxes(studio, filled, version="v1", done=lambda *_: None) == 4  # type: ignore[arg-type]
    assert studio.requests == [[1], [1], [1], [2]]
