"""The review queue in a real Label Studio: the Data Manager finds what is doubted, and nothing else is touched."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from backend.cli import main
from backend.labelstudio.client import LabelStudio
from backend.labelstudio.projects import write_columns
from tests.commands.review.archive import Sheet, draw, regions
from tests.end_to_end.conftest import CONFIG, PAGES_CONFIG, Server, submit

pytestmark = pytest.mark.label_studio

Command = Callable[..., str]
# Two pages that nobody can doubt, one whose stamp is left out, one whose signature is called a stamp.
SEEDS = (308, 321, 362, 327)


@pytest.fixture(scope="module")
def sheets() -> dict[str, Sheet]:
    return {sheet.name: sheet for sheet in draw(SEEDS)}


@pytest.fixture
def command(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """What an operator types; it succeeds. Gives what was said on stderr."""
    for name, value in {
        "LABEL_STUDIO_URL": server.url,
        "LABEL_STUDIO_API_KEY": server.login.token,
        "DATA_DIR": str(tmp_path / "data"),
        "MODEL": "bundled",
    }.items():
        monkeypatch.setenv(name, value)

    def run(*arguments: str) -> str:
        code = main(list(arguments))
        _, err = capsys.readouterr()
        assert code == 0, err
        return err

    return run


class Leases:
    """A project with a contract of two pages, one of which has a mistake, and two contracts of one page."""

    def __init__(self, studio: LabelStudio, title: str, sheets: Mapping[str, Sheet]) -> None:
        self.studio = studio
        self.title = title
        self.id = studio.create_project(title, PAGES_CONFIG)
        overlooked, swapped = sheets["lease-362"].without(0), sheets["lease-327"].renamed(1, "stamp")
        self.overlooked = self.add([sheets["lease-308"], overlooked], document="long.pdf", page_numbers=[11, 12])
        self.swapped = self.add([swapped], document="عقد.pdf", language="ar", note=None)
        self.well = self.add([sheets["lease-321"]], tags=["a", {"b": 1.5}])

    def add(self, pages: Sequence[Sheet], **data: Any) -> int:
        """A task with what was annotated on it."""
        references = [self.studio.upload(self.id, f"{one.name}.png", one.data) for one in pages]
        [task] = self.studio.import_tasks(self.id, [{"pages": references, **data}])
        self.annotate(task, pages)
        return task

    def annotate(self, task: int, pages: Sequence[Sheet]) -> int:
        marks = [region for item, one in enumerate(pages) for region in regions(one, item=item)]
        return submit(self.studio, task, marks)

    def data(self) -> dict[int, dict[str, Any]]:
        return {int(task["id"]): task["data"] for task in self.studio.tasks(self.id)}

    def tab(self) -> list[int]:
        """Ids of the tasks that the tab shows, in its order."""
        views = self.studio.call("GET", "/api/dm/views/", params={"project": self.id})
        [view] = [one["id"] for one in views if one["data"]["title"] == "Review"]
        answer = self.studio.call("GET", "/api/tasks/", params={"project": self.id, "view": view})
        return [int(task["id"]) for task in answer["tasks"]]

    def filtered(self, column: str, operator: str, kind: str, value: Any) -> set[int]:
        """Ids of the tasks that a filter of the Data Manager finds."""
        one = {"filter": f"filter:tasks:data.{column}", "operator": operator, "type": kind, "value": value}
        query = json.dumps({"filters": {"conjunction": "and", "items": [one]}})
        answer = self.studio.call("GET", "/api/tasks/", params={"project": self.id, "query": query})
        return {int(task["id"]) for task in answer["tasks"]}


@pytest.fixture
def leases(studio: LabelStudio, sheets: dict[str, Sheet], request: pytest.FixtureRequest) -> Leases:
    return Leases(studio, request.node.name[:50], sheets)


def test_doubted_tasks_are_found_by_the_data_manager_and_all_else_stays(leases: Leases, command: Command) -> None:
    before = leases.data()
    said = command("review", "--project", leases.title, "--write")
    assert "3 tasks have a new review_score or review_kind; the tab 'Review' was made" in said
    after = leases.data()
    for task, data in after.items():
        assert {name: value for name, value in data.items() if not name.startswith("review_")} == before[task]
        assert 0 <= data["review_score"] <= 1
    assert "overlooked" in after[leases.overlooked]["review_kind"]
    assert "swapped" in after[leases.swapped]["review_kind"]
    assert "review_kind" not in after[leases.well]
    assert leases.tab() == sorted((leases.overlooked, leases.swapped), key=lambda task: after[task]["review_score"])
    assert leases.filtered("review_kind", "contains", "String", "overlooked") == {leases.overlooked}
    between = (after[leases.well]["review_score"] + after[leases.tab()[-1]]["review_score"]) / 2
    assert leases.filtered("review_score", "less", "Number", between) == {leases.overlooked, leases.swapped}


def test_again_nothing_is_written_and_what_was_mended_leaves_the_queue(
    leases: Leases, sheets: dict[str, Sheet], command: Command
) -> None:
    command("review", "--project", leases.title, "--write")
    assert "0 tasks have a new review_score or review_kind; the tab 'Review' is there already" in command(
        "review", "--project", leases.title, "--write"
    )
    assert leases.studio.tabs(leases.id) == ["Default", "Review"]
    # One is annotated anew, and is right; the annotations of the other are gone.
    leases.annotate(leases.swapped, [sheets["lease-327"]])
    for one in leases.studio.call("GET", f"/api/tasks/{leases.overlooked}/annotations/"):
        leases.studio.call("DELETE", f"/api/annotations/{one['id']}/")
    command("review", "--project", str(leases.id), "--write")
    assert leases.tab() == []
    after = leases.data()
    assert "review_score" in after[leases.swapped]
    assert not {"review_score", "review_kind"} & set(after[leases.overlooked])


@pytest.mark.browser
def test_an_annotator_sees_the_queue_as_a_tab(
    leases: Leases, command: Command, annotator: Page, server: Server
) -> None:
    command("review", "--project", leases.title, "--write")
    annotator.goto(f"{server.url}/projects/{leases.id}/data")
    annotator.get_by_text("Review", exact=True).click()
    expect(annotator.get_by_text("Tasks: 2 / 3")).to_be_visible()
    for words in ("review_score", "review_kind", "overlooked", "swapped"):
        expect(annotator.get_by_text(words, exact=True).first).to_be_visible()


def test_the_page_with_pictures_links_to_the_tasks(
    leases: Leases, command: Command, server: Server, tmp_path: Path
) -> None:
    command("review", "--project", leases.title, "--html", str(tmp_path / "review.html"))
    text = (tmp_path / "review.html").read_text()
    for task in (leases.overlooked, leases.swapped):
        assert f'href="{server.url}/projects/{leases.id}/data?task={task}"' in text
    assert f"task {leases.overlooked}, long.pdf, page 2" in text
    # Nothing was asked to be written.
    assert all("review_score" not in data for data in leases.data().values())
    assert leases.studio.tabs(leases.id) == []


def test_data_are_written_back_as_they_are_stored(studio: LabelStudio, sheets: dict[str, Sheet]) -> None:
    # A file that came before the label config stands under a name that nobody reads; cloud addresses are resolved.
    project = studio.create_project("stored as it came", "<View></View>")
    file = {"file": ("page.png", sheets["lease-308"].data, "image/png")}
    studio.call("POST", f"/api/projects/{project}/import", files=file)
    studio.call("PATCH", f"/api/projects/{project}/", json={"label_config": CONFIG})
    [cloud] = studio.import_tasks(project, [{"image": "s3://bucket/page.png", "document": "lease"}])
    [early] = [int(task["id"]) for task in studio.tasks(project) if task["id"] != cloud]
    values = {early: {"review_score": 0.25}, cloud: {"review_score": 1.0}, 10**9: {"review_score": 0.5}}
    assert write_columns(studio, project, values) == 2
    assert write_columns(studio, project, values) == 0
    names = studio.call("GET", f"/api/projects/{project}/summary/")["all_data_columns"]
    assert names == {"$undefined$": 1, "image": 1, "document": 1, "review_score": 2}
    listed = studio.call("GET", "/api/tasks/", params={"project": project, "resolve_uri": "false"})["tasks"]
    data = {int(task["id"]): task["data"] for task in listed}
    assert data[cloud] == {"image": "s3://bucket/page.png", "document": "lease", "review_score": 1.0}
    assert write_columns(studio, project, {task: {"review_score": None} for task in values}) == 2
    names = studio.call("GET", f"/api/projects/{project}/summary/")["all_data_columns"]
    assert names == {"$undefined$": 1, "image": 1, "document": 1}
