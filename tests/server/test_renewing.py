"""A correction is felt in the project: open tasks that show the very thing are predicted anew, and no others."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from backend.cli import main
from backend.commands.prelabel.settling import ProjectJob, Settler, Wanted
from backend.commands.samples_like import chosen_of
from backend.corrections.memory import forget_verdict
from backend.corrections.renewals import due_renewals, plan_renewals, ruled_among
from backend.corrections.service import Feedback, Store
from backend.corrections.shown import shown_before
from backend.corrections.sights import Alike, NearRows, find_alike
from backend.errors import SettingsError
from backend.geometry import Boxes, as_boxes
from backend.labelstudio.client import LabelStudio
from backend.labelstudio.connections import Connections
from backend.labelstudio.labelling import bind
from backend.labelstudio.stored_predictions import read_open_task, rewrite, tidy_open_task
from backend.pages.source import PageSource
from backend.server.application import Application
from backend.server.renewing import renew_open_tasks
from backend.settings import Settings
from backend.vision.candidates import Candidates
from backend.vision.classifier import Classification
from backend.vision.engine import Fusion
from backend.vision.network_config import CLASSES
from backend.vision.pipeline import Pipeline
from benchmarks.loopback_studio import LoopbackStudio
from tests.patience import eventually

CONFIG = (
    '<View><Image name="page" value="$image"/><RectangleLabels name="mark" toName="page">'
    '<Label value="stamp"/><Label value="signature"/></RectangleLabels></View>'
)
LOGO, SEAL = (20.0, 20.0, 220.0, 160.0), (150.0, 320.0, 350.0, 460.0)
Region = dict[str, Any]


def page(*, logo: int, seal: int) -> NDArray[np.uint8]:
    """A page with a logo and a seal; equal numbers are the very same thing."""
    pixels = np.full((600, 420, 3), 255, np.uint8)
    for (left, top, right, bottom), seed in ((LOGO, logo), (SEAL, seal)):
        drawing = np.random.default_rng(seed)
        cv2.rectangle(pixels, (int(left) + 3, int(top) + 3), (int(right) - 3, int(bottom) - 3), (30, 30, 150), 3)
        for line in range(3):
            word = "".join(chr(int(letter)) for letter in drawing.integers(65, 91, 7))
            place = (int(left) + int(drawing.integers(8, 40)), int(top) + 45 + 40 * line)
            size = float(drawing.uniform(0.6, 1.1))
            cv2.putText(pixels, word, place, cv2.FONT_HERSHEY_SIMPLEX, size, (30, 30, 150), 2)
    return pixels


def png(pixels: NDArray[np.uint8]) -> bytes:
    return cv2.imencode(".png", pixels[..., ::-1])[1].tobytes()


class BothPlaces:
    """A detector of the two places, and a classifier that takes whatever is there for a stamp."""

    name = "both-places"
    version = "told-1"
    thresholds = (0.0, 0.0, 0.0)
    facts: dict[str, str] = {}  # noqa: RUF012 - what a detector has
    fusion = Fusion()

    def __call__(self, pixels: NDArray[np.uint8], dpi: float | None = None) -> Candidates:
        del pixels, dpi
        return Candidates(as_boxes([LOGO, SEAL]), np.ones(2), np.zeros((2, 3)))

    def classify(self, pixels: NDArray[np.uint8], boxes: Boxes) -> Classification:
        del pixels
        probabilities = np.full((len(boxes), 4), 0.03)
        probabilities[:, CLASSES.index("stamp")] = 0.91
        return Classification(probabilities, np.ones((len(boxes), 512), np.float32))


class Held:
    """Serves one pipeline."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    def pipeline(self, *, timeout: float) -> Pipeline:
        del timeout
        return self._pipeline

    def state(self) -> dict[str, Any]:
        return {"model": "told", "model_state": "ready", "model_version": self._pipeline.version}


@dataclass
class Place:
    """A Label Studio and a server that knows it."""

    studio: LoopbackStudio
    application: Application
    url: str

    def show(self, task: int) -> None:
        """What Label Studio does when a task without a prediction is opened: asks, and stores the answer."""
        body = {"tasks": [self.studio.task(task, whole=False)], "project": "1.17", "label_config": CONFIG}
        answer = self.application.flask.test_client().post("/predict", json=body)
        assert answer.status_code == 200, answer.text
        [found] = answer.json["results"]
        self.studio.add(task, found["model_version"], result=found["result"], score=found["score"])

    def places(self, task: int) -> list[tuple[float, float]]:
        """Top left corners of what was stored last, in pixels."""
        stored = self.studio.predictions[task][-1]
        corners = [(one["value"]["x"] * 4.2, one["value"]["y"] * 6.0) for one in stored["result"]]
        return sorted((round(x), round(y)) for x, y in corners)

    def submit(self, task: int, left: Callable[[Region], bool]) -> None:
        """What Label Studio sends when an annotator submits those regions of a prediction that are to be left."""
        [stored] = self.studio.predictions[task]
        now = datetime.fromtimestamp(time.time(), UTC).isoformat()
        annotation = {
            "id": 100 + task,
            "task": task,
            "project": 1,
            "result": [{**one, "origin": "prediction"} for one in stored["result"] if left(one)],
            "was_cancelled": False,
            "created_at": now,
            "updated_at": now,
            "completed_by": 1,
            "parent_prediction": stored["id"],
        }
        self.studio.annotations[task] = [annotation]
        whole = self.studio.task(task, whole=False)
        project = {"id": 1, "label_config": CONFIG}
        body = {"action": "ANNOTATION_CREATED", "annotation": annotation, "task": whole, "project": project}
        assert self.application.flask.test_client().post("/webhook", json=body).status_code == 200


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    pages = [
        page(logo=1, seal=1),
        page(logo=9, seal=2),
        page(logo=9, seal=3),
        page(logo=5, seal=4),
        page(logo=9, seal=6),
    ]
    studio = LoopbackStudio(CONFIG, tasks=4, pages=tuple(map(png, pages)))
    with studio.serving() as address:
        settings = Settings(data_dir=tmp_path, label_studio_url=address, label_studio_api_key="key")
        connections = Connections(settings, source=lambda access: PageSource(settings, access))
        feedback = Feedback(Store.open(settings), connections, recall_distance=settings.recall_distance)
        both = BothPlaces()
        serving = Held(Pipeline(both, feedback.recalling(both)))
        application = Application.build(settings, serving=serving, connections=connections, feedback=feedback)
        feedback.start()
        application.renewer.start()
        yield Place(studio, application, address)
        application.stop()
        connections.studio("1").close()


def until(wanted: Callable[[], bool]) -> None:
    eventually(wanted, "what was wanted")


def test_open_tasks_that_show_what_was_deleted_lose_it_by_themselves(place: Place) -> None:
    for task in (1, 2, 3, 4):
        place.show(task)
    both = [(20, 20), (150, 320)]
    assert [place.places(task) for task in (1, 2, 3, 4)] == [both] * 4
    place.studio.annotations[4] = [{"id": 104, "result": []}]
    untouched = place.studio.predictions[3][0]["id"]
    # Task 1 shows the logo that 2 and 4 show; 3 shows another.
    place.submit(1, left=lambda one: one["value"]["y"] > 10)
    opened = place.studio.predictions[2][0]["id"]
    until(lambda: place.places(2) == [(150, 320)])
    assert [one["id"] for one in place.studio.predictions[2]] == [opened], "whoever has it open submits by its id"
    assert place.places(3) == both
    assert place.studio.predictions[3][0]["id"] == untouched
    assert place.places(4) == both, "an annotator is at it"
    engine = place.application.feedback.store.engine
    until(lambda: not due_renewals(engine, now=time.time() + 1e6, most=10))


def test_a_stored_prediction_of_no_shape_keeps_no_other_task_from_being_renewed(place: Place) -> None:
    """Through its API, Label Studio takes predictions of any shape."""
    for task in (1, 2, 4):
        place.show(task)
    [stored] = place.studio.predictions[4]
    stored["result"] = 5
    place.submit(1, left=lambda one: one["value"]["y"] > 10)
    until(lambda: place.places(2) == [(150, 320)])
    assert stored["result"] == 5


def test_look_alikes_are_found_with_pictures_the_very_thing_first(place: Place) -> None:
    for task in (1, 2, 3):
        place.show(task)
    place.submit(1, left=lambda one: one["value"]["y"] > 10)
    feedback = place.application.feedback
    until(lambda: place.places(2) == [(150, 320)])
    rows = NearRows(feedback.store.engine, feedback.store.lookalikes, network=BothPlaces.version)
    [logo] = [f"101-{one['id']}" for one in place.studio.predictions[1][0]["result"] if one["value"]["y"] < 10]

    def alike() -> list[Alike]:
        return find_alike(feedback.store.engine, rows, logo, network=BothPlaces.version, distance=0.1, most=100)

    # How the renewed task looks is written down a moment after it is shown.
    until(lambda: [one.task for one in alike() if one.same] == [1])
    found = alike()
    assert found[0].same
    assert {one.task for one in found if not one.same} >= {3}
    assert all(one.picture.startswith(b"\xff\xd8") for one in found)
    planned = plan_renewals(feedback.store.engine, rows, logo, network=BothPlaces.version, distance=0.1, due=0.0)
    assert planned == 0, "the only other task is renewed already, and the first is annotated"


def logo_deleted(place: Place, monkeypatch: pytest.MonkeyPatch) -> str:
    """Shows tasks 1 and 3, deletes the logo of task 1, and lets commands speak to the same place: the sample's name."""
    for task in (1, 3):
        place.show(task)
    place.submit(1, left=lambda one: one["value"]["y"] > 10)
    [logo] = [f"101-{one['id']}" for one in place.studio.predictions[1][0]["result"] if one["value"]["y"] < 10]
    monkeypatch.setenv("DATA_DIR", str(place.application.feedback.store.lookalikes.parent))
    monkeypatch.setenv("LABEL_STUDIO_URL", place.url)
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "key")
    return logo


@pytest.mark.parametrize(
    ("words", "left"),
    [("none", [(20, 20), (150, 320)]), ("1", [(150, 320)])],
)
def test_what_merely_looks_alike_is_a_question_that_a_person_answers(
    place: Place,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: str,
    left: list[tuple[float, float]],
) -> None:
    """Tasks 1 and 3 show logos that are not the very same; 2 is not shown."""
    logo = logo_deleted(place, monkeypatch)
    page = place.application.feedback.store.lookalikes.parent / "alike.html"
    until(lambda: main(["samples", "like", logo, "--html", str(page)]) == 0)
    listed = capsys.readouterr().out.splitlines()
    [number] = [line.split()[0] for line in listed if "task 3, page 1: stamp, looks alike" in line][:1]
    assert page.read_text().count("data:image/jpeg;base64,") == sum("task " in line for line in listed)
    [before] = place.studio.predictions[3]
    assert main(["samples", "like", logo, "--follow", number if words == "1" else words]) == 0
    [after] = place.studio.predictions[3]
    assert len(after["result"]) == len(left)
    assert (after["score"], after["model_version"]) == (before["score"], before["model_version"])
    with place.application.feedback.store.engine.connect() as connection:
        ids = [one["id"] for one in after["result"]]
        known = shown_before(connection, task=3, regions=ids, moment=time.time() + 60)
    assert known is not None
    assert len(known.proposals) == len(left), "who is shown this prediction did not delete what is gone from it"


def test_what_a_person_answered_is_not_undone_by_a_refresh(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for task in (1, 3):
        place.show(task)
    place.submit(1, left=lambda one: one["value"]["y"] > 10)
    [logo] = [f"101-{one['id']}" for one in place.studio.predictions[1][0]["result"] if one["value"]["y"] < 10]
    engine = place.application.feedback.store.engine
    monkeypatch.setenv("DATA_DIR", str(place.application.feedback.store.lookalikes.parent))
    monkeypatch.setenv("LABEL_STUDIO_URL", place.url)
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "key")
    until(lambda: main(["samples", "like", logo]) == 0)
    listed = capsys.readouterr().out.splitlines()
    [number] = [line.split()[0] for line in listed if "task 3, page 1: stamp, looks alike" in line][:1]
    assert main(["samples", "like", logo, "--follow", number]) == 0
    answered = list(place.studio.predictions[3])
    place.show(4)
    place.studio.predictions[4][0]["result"] = []
    settler = Settler(
        ProjectJob(project=1, label_config=CONFIG, refresh=True),
        place.application.predictor,
        {},
        ruled=lambda tasks, version: ruled_among(engine, tasks, version=version),
    )
    assert settler([Wanted(task=3), Wanted(task=4)]).predicted == 1
    assert place.studio.predictions[3] == answered
    assert place.places(4) == [(150, 320)], "the logo is the one that was deleted"


def test_second_predictions_of_a_version_go_where_nobody_is_at_the_task(place: Place) -> None:
    studio = place.studio
    first, other, *_ = (studio.add(1, version) for version in ("v2", "v1", "v2", "v2"))
    twice = [studio.add(2, "v2"), studio.add(2, "v2")]
    studio.drafts[2] = [{"id": 1}]
    with LabelStudio(place.url, "key") as client:
        assert [tidy_open_task(client, task, "v2") for task in (1, 2, 3)] == [2, 0, 0]
    assert [one["id"] for one in studio.predictions[1]] == [first, other]
    assert [one["id"] for one in studio.predictions[2]] == twice


def test_a_second_prediction_that_somebody_may_have_open_stays_and_becomes_like_the_other(place: Place) -> None:
    """Label Studio refuses work whose prediction is gone; a second one comes of somebody's opening the task."""
    studio, now = place.studio, time.time()
    place.show(1)
    [shown] = studio.predictions[1]
    nothing: list[Region] = []
    for result in (nothing, shown["result"]):
        studio.add(1, shown["model_version"], result=result, created_at=datetime.fromtimestamp(now, UTC).isoformat())
    with LabelStudio(place.url, "key") as client:
        assert tidy_open_task(client, 1, shown["model_version"], now=now) == 0
        task = read_open_task(client, 1)
        assert task is not None
        bindings = bind(CONFIG, confidence=place.application.predictor.confidence)
        renewed = renew_open_tasks(place.application.predictor, client, 1, {1: task}, bindings, now=now)
        assert (renewed.changed, renewed.replaced) == ({1}, 2)
        first, second = studio.predictions[1]
        assert shown["id"] < first["id"] < second["id"]
        assert first["result"] == second["result"] == shown["result"]
        assert tidy_open_task(client, 1, shown["model_version"], now=now + 2 * 24 * 3600) == 1


def follow(place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[[], int]:
    """Task 3 shows what looks like the logo that was deleted from task 1: a function that removes it there."""
    logo = logo_deleted(place, monkeypatch)
    until(lambda: main(["samples", "like", logo]) == 0)
    listed = capsys.readouterr().out.splitlines()
    [number] = [line.split()[0] for line in listed if "task 3, page 1: stamp, looks alike" in line][:1]
    return lambda: main(["samples", "like", logo, "--follow", number])


def test_a_decision_that_was_cut_off_half_way_is_finished_by_the_same_command(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    decide, studio = follow(place, monkeypatch, capsys), place.studio
    [before] = studio.predictions[3]
    studio.troubles[f"PATCH /api/predictions/{before['id']}/"] = [None, None]
    assert decide() != 0
    assert len(place.places(3)) == 2
    engine = place.application.feedback.store.engine
    assert ruled_among(engine, [3], version=before["model_version"]) == {3}, "nothing puts the box back meanwhile"
    studio.troubles.clear()
    assert decide() == 0
    assert place.places(3) == [(150, 320)]
    assert decide() == 0, "once more changes nothing"
    assert place.places(3) == [(150, 320)]
    assert [one["id"] for one in studio.predictions[3]] == [before["id"]], "whoever has it open submits by its id"


def test_what_a_person_decides_while_a_task_is_predicted_anew_stays(place: Place) -> None:
    place.show(3)
    [before] = place.studio.predictions[3]
    whole, before["result"] = before["result"], []
    with LabelStudio(place.url, "key") as client:
        task = read_open_task(client, 3)
        assert task is not None
        # Since it was read, somebody put other regions into it.
        assert rewrite(client, before["id"], task=3, content=before | {"result": whole[1:]})
        renewed = renew_open_tasks(place.application.predictor, client, 1, {3: task}, bind(CONFIG))
        assert not rewrite(client, 999, task=3, content=before), "there is no such prediction"
    assert not renewed.changed
    assert [one["result"] for one in place.studio.predictions[3]] == [whole[1:]]


def test_open_tasks_get_back_what_a_correction_took_once_it_is_taken_back(place: Place) -> None:
    for task in (1, 2):
        place.show(task)
    place.submit(1, left=lambda one: one["value"]["y"] > 10)
    until(lambda: place.places(2) == [(150, 320)])
    [logo] = [f"101-{one['id']}" for one in place.studio.predictions[1][0]["result"] if one["value"]["y"] < 10]
    forget_verdict(place.application.feedback.store.engine, logo, at=time.time())
    until(lambda: place.places(2) == [(20, 20), (150, 320)] and len(place.studio.predictions[2]) == 1)


def test_numbers_that_the_list_has_not_are_refused() -> None:
    with pytest.raises(SettingsError, match="the list has 0 boxes"):
        chosen_of([], "3")
    with pytest.raises(SettingsError, match="neither all nor none nor numbers"):
        chosen_of([], "some")
