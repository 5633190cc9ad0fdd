"""A reviewer at the crop wall, in a real browser before a real Label Studio; each decision comes back as a sample."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from backend.labelstudio.client import LabelStudio
from tests.end_to_end.conftest import Project, Server, submit
from tests.end_to_end.learner import BASIC, Learner, call, drawn_jpeg, eventually, learning, learning_project

pytestmark = pytest.mark.label_studio


@pytest.fixture(scope="module")
def learner(server: Server) -> Iterator[Learner]:
    with learning(server, name="wall", recall_distance=0) as learner:
        yield learner


@pytest.fixture
def project(studio: LabelStudio, learner: Learner, request: pytest.FixtureRequest) -> Project:
    return learning_project(studio, learner, request.node.name)


@pytest.fixture
def reviewer(browser: BrowserContext, learner: Learner) -> Iterator[Page]:
    page = browser.new_page()
    page.set_extra_http_headers({"Authorization": _basic()})
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    yield page
    assert complaints == []
    page.close()


def _basic() -> str:
    return "Basic " + base64.b64encode(":".join(BASIC).encode()).decode()


def test_decisions_become_annotations_by_the_reviewer_and_samples_and_can_be_taken_back(
    project: Project, learner: Learner, reviewer: Page
) -> None:
    task = project.import_page("marks.jpg", drawn_jpeg(21))
    [prediction] = project.retrieved(task)
    names = {one["id"]: one["value"]["rectanglelabels"][0] for one in prediction["result"]}
    label = max(set(names.values()), key=list(names.values()).count)
    other = "stamp" if label != "stamp" else "signature"
    key = {"signature": "1", "stamp": "2", "thumb": "3"}[other]
    eventually(lambda: names.keys() <= learner.shown(task), True)

    reviewer.goto(f"{learner.url}/review?project={project.id}&class={label}")
    crops = reviewer.locator(".crop")
    expect(crops).to_have_count(list(names.values()).count(label))
    expect(reviewer.locator(".crop img")).to_have_count(list(names.values()).count(label))
    expect(reviewer.locator(".crop[data-loading]")).to_have_count(0)
    who = int(reviewer.locator("#reviewer").input_value())
    crops.first.focus()
    reviewer.keyboard.press(key)
    reviewer.keyboard.press("0")
    saved = reviewer.locator(".crop[data-saved=yes]")
    expect(saved).to_have_count(2)

    [annotation] = call(project.studio, "GET", f"/api/tasks/{task}/annotations/")
    assert (annotation["completed_by"], annotation["parent_prediction"]) == (who, prediction["id"])
    left = {one["id"]: one["value"]["rectanglelabels"][0] for one in annotation["result"]}
    [gone] = names.keys() - left.keys()
    [renamed] = [one for one in left if left[one] != names[one]]
    assert (names[renamed], left[renamed], names[gone]) == (label, other, label)
    expected = {one: ("accepted", None, name) for one, name in names.items()}
    expected |= {renamed: ("relabelled", label, other), gone: ("rejected", label, "none")}
    eventually(lambda: learner.outcomes(project.id), expected)

    reviewer.keyboard.press("z")
    expect(saved).to_have_count(1)
    eventually(lambda: learner.outcomes(project.id), expected | {gone: ("accepted", None, label)})
    reviewer.keyboard.press("z")
    expect(saved).to_have_count(0)
    assert call(project.studio, "GET", f"/api/tasks/{task}/annotations/") == []
    eventually(lambda: learner.outcomes(project.id), {})


def test_an_annotators_annotation_changed_meanwhile_is_left_alone(
    project: Project, learner: Learner, reviewer: Page
) -> None:
    task = project.import_page("marks.jpg", drawn_jpeg(22))
    [prediction] = project.retrieved(task)
    label = prediction["result"][0]["value"]["rectanglelabels"][0]
    eventually(lambda: {one["id"] for one in prediction["result"]} <= learner.shown(task), True)
    reviewer.goto(f"{learner.url}/review?project={project.id}&class={label}")
    expect(reviewer.locator(".crop").first).to_be_visible()
    expect(reviewer.locator(".crop[data-loading]")).to_have_count(0)
    reviewer.wait_for_load_state("networkidle")  # of a task that somebody annotated, the wall has no crops any more
    theirs = submit(project.studio, task, prediction["result"][:1], parent_prediction=prediction["id"])
    reviewer.locator(".crop").first.focus()
    reviewer.keyboard.press("0")
    expect(reviewer.locator(".crop[data-saved=no]")).to_contain_text("somebody annotated the task")
    [annotation] = call(project.studio, "GET", f"/api/tasks/{task}/annotations/")
    assert (annotation["id"], len(annotation["result"])) == (theirs, 1)

    # Loaded anew, the wall has the annotation, and may change it.
    eventually(lambda: bool(learner.outcomes(project.id)), True)
    reviewer.reload()
    crop = reviewer.locator(".crop")
    expect(crop).to_have_count(1)
    expect(reviewer.locator(".crop[data-loading]")).to_have_count(0)  # nobody can decide on what is not on the screen
    crop.focus()
    reviewer.keyboard.press("0")
    expect(reviewer.locator(".crop[data-saved=yes]")).to_have_count(1)
    [annotation] = call(project.studio, "GET", f"/api/tasks/{task}/annotations/")
    assert (annotation["id"], annotation["result"]) == (theirs, [])
