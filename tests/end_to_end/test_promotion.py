"""A model is promoted: a real Label Studio shows its version, and its boxes on the tasks that nobody annotated yet."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from backend.commands.demo.services import LOOPBACK, backend_service
from backend.labelstudio.client import LabelStudio
from backend.labelstudio.stored_predictions import store
from backend.models.promotion import Models
from backend.models.published import Facts
from tests.end_to_end.conftest import CONFIG, PATIENT_BACKEND, DrawnFile, Server, retrieved, submit
from tests.end_to_end.learner import until
from tests.http_client import HTTP
from tests.models.tiny import says
from tests.patience import SECONDS
from tests.ports import port_for_later

pytestmark = pytest.mark.label_studio

BASIC = ("label-studio", "knows-this")


@dataclass(frozen=True, kw_only=True)
class Backend:
    """A running backend that follows what is promoted."""

    url: str
    models: Models
    old: str
    new: str


@pytest.fixture(scope="module")
def following(server: Server) -> Iterator[Backend]:
    folder, port = server.folder / "following", port_for_later()
    models = Models(folder / "models")
    old, new = (
        models.publish(says(label, server.folder / label), Facts(source="training")).name
        for label in ("stamp", "signature")
    )
    models.promote(old, why="a test", by="tests", force=True)
    url = f"http://{LOOPBACK}:{port}"
    service = backend_service(
        port=port,
        studio_url=server.url,
        token=server.login.token,
        data_dir=folder,
        log=server.folder / "following.log",
        MODEL="auto",
        DETECTOR="colour",  # what is swapped here is told by its classifier
        RECALL_DISTANCE="0",
        BASIC_AUTH_USER=BASIC[0],
        BASIC_AUTH_PASS=BASIC[1],
        WORKERS="2",
        **PATIENT_BACKEND,
    )
    with service:
        service.wait_until_answers(f"{url}/", seconds=SECONDS)
        yield Backend(url=url, models=models, old=old, new=new)


def health(url: str) -> dict[str, str]:
    found: dict[str, str] = HTTP.get(f"{url}/health", auth=BASIC).json()
    return found


def eventually(reached: Callable[[], bool]) -> None:
    until(lambda: reached() or None, "such state")


def version(url: str, model: str) -> str:
    """The version of a model, once it serves; of two processes, the one that answers may still be loading it."""

    def found() -> str | None:
        state = health(url)
        ready = state.get("model_state") == "ready" and state["model_version"].startswith(model)
        return state["model_version"] if ready else None

    return until(found, f"process that serves {model}")


def shown(studio: LabelStudio, project: int, task: int) -> set[str]:
    """The labels of a task's prediction of the version that the project shows."""
    current = studio.project(project)["model_version"]
    regions = [one["result"] for one in studio.predictions(task) if one["model_version"] == current]
    # Two, and equal, where a process predicted by the old model that another had given up a moment before.
    assert regions, f"task {task} has no prediction of {current}"
    assert all(len(one) == len(regions[0]) for one in regions)
    return {label for region in regions[0] for label in region["value"]["rectanglelabels"]}


def test_titles_move_and_open_tasks_are_predicted_anew(
    studio: LabelStudio, following: Backend, drawn: list[DrawnFile]
) -> None:
    first = version(following.url, following.old)
    project = studio.create_project("promotion", CONFIG, show_collab_predictions=True)
    studio.create_tab(project, "Default")
    studio.connect_backend(project, following.url, title=first, basic_auth=BASIC)
    files = [drawn[0], *drawn, *drawn]  # more than fit into one request
    pages = [studio.upload(project, f"{index}-{file.name}", file.data) for index, file in enumerate(files)]
    tasks = studio.import_tasks(project, [{"image": page} for page in pages])
    annotated, never_shown = tasks[0], tasks[-1]
    retrieved(studio, project, tasks[:-1])
    assert all(shown(studio, project, task) == {"stamp"} for task in tasks[:-1])
    submit(studio, annotated, [])

    following.models.promote(following.new, why="a test", by="tests", force=True)

    def title() -> str:
        [connection] = studio.backends(project)
        return str(connection["title"])

    def project_version() -> str:
        return str(studio.project(project)["model_version"])

    second = version(following.url, following.new)
    assert second != first
    eventually(lambda: title() == second)
    eventually(lambda: project_version() == second)  # scores and sampling go by the project's own version
    eventually(lambda: studio.outdated_tasks(project, second) == [])
    assert all(shown(studio, project, task) == {"signature"} for task in tasks[1:-1])
    assert [one["model_version"] for one in studio.predictions(annotated)] == [first], "work that is done is left alone"
    assert studio.predictions(never_shown) == [], "what nobody asked for is predicted when it is opened"

    following.models.rollback(why="a test", by="tests")
    eventually(lambda: title() == first)
    eventually(lambda: project_version() == first)
    assert all(shown(studio, project, task) == {"stamp"} for task in tasks[1:-1]), "its boxes are still there"


def test_a_task_that_has_a_longer_version_alone_is_outdated(studio: LabelStudio) -> None:
    """As after a threshold of the project's own was taken back."""
    project = studio.create_project("longer versions", CONFIG)
    versions = [["v1"], ["v1-t0.3"], ["v1-t0.3", "v1"], ["v0"], [], ["V1-T0.3"]]
    tasks = studio.import_tasks(project, [{"image": f"{index}"} for index in range(len(versions))])
    for task, stored in zip(tasks, versions, strict=True):
        for one in stored:
            store(studio, project, {task: {"result": [], "score": 1.0, "model_version": one}})
    assert studio.outdated_tasks(project, "v1") == [tasks[1], tasks[3], tasks[5]]
    assert studio.outdated_tasks(project, "v1", after=tasks[1], most=1) == [tasks[3]]
    assert studio.outdated_tasks(project, "v1-t0.3") == [tasks[0], tasks[3], tasks[5]]
