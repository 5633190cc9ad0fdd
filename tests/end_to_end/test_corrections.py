"""An annotator corrects boxes in a real Label Studio; each correction becomes the sample that the table says."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from backend.corrections.crop_store import CropStore
from backend.labelstudio import client
from backend.labelstudio.client import LabelStudio
from backend.labelstudio.json_fields import moment
from tests.end_to_end.conftest import Project, Server, submit
from tests.end_to_end.learner import Learner, Outcome, call, drawn_jpeg, eventually, learning, learning_project
from tests.forked import Command, load
from tests.patience import SECONDS

load("backend.commands.sync")
pytestmark = pytest.mark.label_studio


@pytest.fixture(scope="module")
def learner(server: Server) -> Iterator[Learner]:
    with learning(server, name="learner", recall_distance=0) as learner:
        yield learner


@pytest.fixture
def project(studio: LabelStudio, learner: Learner, request: pytest.FixtureRequest) -> Project:
    return learning_project(studio, learner, request.node.name)


@pytest.fixture(scope="module")
def pages() -> list[tuple[str, bytes]]:
    """Drawn pages with so many marks that four boxes lie far from each other."""
    return [(f"marks-{seed}.jpg", drawn_jpeg(seed)) for seed in (21, 22, 27)]


def shown(project: Project, page: tuple[str, bytes]) -> tuple[int, dict[str, Any], list[dict[str, Any]]]:
    """A task with the boxes that an annotator sees: its id, its prediction, and four boxes far from each other."""
    task = project.import_page(*page)
    [prediction] = project.retrieved(task)
    apart: list[dict[str, Any]] = []
    for region in prediction["result"]:
        if all(distant(region["value"], other["value"]) for other in apart):
            apart.append(region)
    assert len(apart) >= 4, "a drawn page has more candidates than that"
    return task, prediction, apart[:4]


def distant(one: dict[str, float], other: dict[str, float]) -> bool:
    """Whether two boxes do not touch, not even when one is moved by half its width."""
    across = abs(one["x"] - other["x"]) > max(one["width"], other["width"]) * 1.6
    return across or abs(one["y"] - other["y"]) > max(one["height"], other["height"]) * 1.1


def other_label(region: dict[str, Any]) -> tuple[str, str]:
    [label] = region["value"]["rectanglelabels"]
    return label, "stamp" if label != "stamp" else "signature"


def corrected(regions: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], dict[str, Outcome]]:
    """One accepted, one relabelled, one deleted, one moved, one added, in this order; and what that means."""
    accepted, renamed, deleted, moved = regions
    was, becomes = other_label(renamed)
    relabelled = renamed | {"value": renamed["value"] | {"rectanglelabels": [becomes]}, "origin": "prediction-changed"}
    value = moved["value"]
    aside = 0.5 * value["width"] if value["x"] + 1.5 * value["width"] < 100 else -0.5 * value["width"]
    shifted = moved | {"value": value | {"x": value["x"] + aside}, "origin": "prediction-changed"}
    added = accepted | {"id": "added-here", "origin": "manual"}
    added["value"] = {"x": 0.1, "y": 0.1, "width": 1.5, "height": 1.0, "rotation": 0, "rectanglelabels": ["thumb"]}
    names = [region["value"]["rectanglelabels"][0] for region in regions]
    return [accepted, relabelled, shifted, added], {
        accepted["id"]: ("accepted", None, names[0]),
        renamed["id"]: ("relabelled", was, becomes),
        deleted["id"]: ("rejected", names[2], "none"),
        moved["id"]: ("moved", None, names[3]),
        "added-here": ("missed", None, "thumb"),
    }


def test_each_correction_becomes_its_sample_and_a_deleted_annotation_takes_them_along(
    project: Project, learner: Learner, pages: list[tuple[str, bytes]]
) -> None:
    task, prediction, regions = shown(project, pages[0])
    others = {region["id"]: region for region in prediction["result"]} | {}
    left, expected = corrected(regions)
    untouched = [region for identity, region in others.items() if identity not in {one["id"] for one in regions}]
    annotation = submit(project.studio, task, [*left, *untouched], parent_prediction=prediction["id"], lead_time=12.5)
    expected |= {one["id"]: ("accepted", None, one["value"]["rectanglelabels"][0]) for one in untouched}
    eventually(lambda: learner.outcomes(project.id), expected)

    row = learner.samples()[regions[1]["id"]]
    assert (row.annotation, row.task, row.version, row.lead_time) == (annotation, task, learner.version, 12.5)
    assert CropStore(str(learner.folder)).get(row.crop).size

    call(project.studio, "DELETE", f"/api/annotations/{annotation}/")
    eventually(lambda: learner.outcomes(project.id), {})
    assert {"ANNOTATION_CREATED", "ANNOTATIONS_DELETED"} <= set(learner.events(project.id))


def test_an_update_replaces_what_the_first_submission_said(
    project: Project, learner: Learner, pages: list[tuple[str, bytes]]
) -> None:
    task, prediction, regions = shown(project, pages[1])
    annotation = submit(project.studio, task, prediction["result"], parent_prediction=prediction["id"])
    everything = {
        region["id"]: ("accepted", None, region["value"]["rectanglelabels"][0]) for region in prediction["result"]
    }
    eventually(lambda: learner.outcomes(project.id), everything)
    gone = regions[0]
    left = [region for region in prediction["result"] if region["id"] != gone["id"]]
    call(project.studio, "PATCH", f"/api/annotations/{annotation}/", json={"result": left})
    rejected = {gone["id"]: ("rejected", gone["value"]["rectanglelabels"][0], "none")}
    eventually(lambda: learner.outcomes(project.id), everything | rejected)


def test_sync_finds_what_the_webhooks_did_not_tell(
    project: Project, learner: Learner, server: Server, pages: list[tuple[str, bytes]]
) -> None:
    for webhook in call(project.studio, "GET", "/api/webhooks/", params={"project": project.id}):
        call(project.studio, "DELETE", f"/api/webhooks/{webhook['id']}/")
    task, prediction, regions = shown(project, pages[2])
    left, expected = corrected(regions)
    kept = {region["id"] for region in regions}
    untouched = [region for region in prediction["result"] if region["id"] not in kept]
    expected |= {one["id"]: ("accepted", None, one["value"]["rectanglelabels"][0]) for one in untouched}
    annotation = submit(project.studio, task, [*left, *untouched], parent_prediction=prediction["id"])
    second = submit(project.studio, task, [], was_cancelled=True)

    said = sync(project, learner, server)
    assert f"project {project.id}: 1 tasks looked at, 2 annotations new or newer, 0 gone" in said
    assert learner.outcomes(project.id) == expected

    call(project.studio, "DELETE", f"/api/annotations/{annotation}/")
    call(project.studio, "DELETE", f"/api/annotations/{second}/")
    assert "1 tasks looked at, 0 annotations new or newer, 2 gone" in sync(project, learner, server)
    assert learner.outcomes(project.id) == {}
    assert "ANNOTATION_CREATED" not in learner.events(project.id)


def test_sync_over_everything_forgets_what_label_studio_says_is_gone(
    project: Project, learner: Learner, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for webhook in call(project.studio, "GET", "/api/webhooks/", params={"project": project.id}):
        call(project.studio, "DELETE", f"/api/webhooks/{webhook['id']}/")
    tasks = project.studio.import_tasks(project.id, [{"image": f"/data/upload/{n}.jpg"} for n in range(5)])
    for task in tasks:
        submit(project.studio, task, [])
    monkeypatch.setattr(client, "_PAGE_SIZE", 2)
    assert [task["id"] for task in project.studio.tasks(project.id)] == sorted(tasks)
    assert [task["id"] for task in project.studio.tasks(project.id, since=0.0, annotated=True)] == sorted(tasks)
    newest = max(moment(task["updated_at"]) for task in project.studio.tasks(project.id))
    assert moment(project.studio.newest_change(project.id)) == newest

    assert "5 tasks looked at, 5 annotations new or newer, 0 gone" in sync(project, learner, server, "--all")
    call(project.studio, "DELETE", f"/api/tasks/{tasks[1]}/")
    assert [project.studio.has_task(task) for task in tasks[:3]] == [True, False, True]
    assert "4 tasks looked at, 0 annotations new or newer, 1 gone" in sync(project, learner, server, "--all")
    assert "4 tasks looked at, 0 annotations new or newer, 0 gone" in sync(project, learner, server, "--all")


def test_start_training_reconciles(project: Project, learner: Learner, pages: list[tuple[str, bytes]]) -> None:
    task, prediction, _ = shown(project, pages[0])
    webhooks = call(project.studio, "GET", "/api/webhooks/", params={"project": project.id})
    for webhook in webhooks:
        call(project.studio, "PATCH", f"/api/webhooks/{webhook['id']}/", json={"is_active": False})
    submit(project.studio, task, prediction["result"], parent_prediction=prediction["id"])
    assert learner.outcomes(project.id) == {}
    for webhook in webhooks:
        call(project.studio, "PATCH", f"/api/webhooks/{webhook['id']}/", json={"is_active": True})
    [connection] = project.studio.backends(project.id)
    call(project.studio, "POST", f"/api/ml/{connection['id']}/train")
    eventually(lambda: set(learner.outcomes(project.id)), {region["id"] for region in prediction["result"]})
    assert "START_TRAINING" in learner.events(project.id)
    assert "ANNOTATION_CREATED" not in learner.events(project.id)


def sync(project: Project, learner: Learner, server: Server, *options: str) -> str:
    """What `python -m backend sync` says."""
    environment = {
        **os.environ,
        "LABEL_STUDIO_URL": server.url,
        "LABEL_STUDIO_API_KEY": server.login.token,
        "DATA_DIR": str(learner.folder),
    }
    with Command("sync", "--project", str(project.id), *options, environment=environment) as command:
        out, err = command.communicate(timeout=SECONDS)
        assert command.returncode == 0, err
    return out
