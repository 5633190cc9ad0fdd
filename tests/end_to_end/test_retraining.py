"""The loop closes: what annotators corrected in a real Label Studio makes a better model, and the next page shows it.

The champion is damaged on purpose: it takes signatures for stamps and stamps for signatures. A short training then has
something to gain that the gate, which is the real one, can see on a handful of pages.
"""

from __future__ import annotations

import io
import itertools
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from backend.commands.demo.demo_projects import connect
from backend.commands.demo.services import LOOPBACK, backend_service, wait_for_model
from backend.corrections.counts import LedgerCounts as Counts
from backend.corrections.counts import count
from backend.corrections.database import default_url, open_database
from backend.corrections.splits import document_key, split_of
from backend.geometry import as_boxes, iou
from backend.labelstudio.client import LabelStudio
from backend.models.promotion import Models
from backend.models.published import Facts
from backend.synthetic.drawn_page import draw_page
from backend.synthetic.marks import DrawnMark
from backend.synthetic.scan import ScanStyle
from backend.training.retraining.starting import LOG_FILE, START_TRAINING, Training, folder_of, last_training
from tests.end_to_end.conftest import CONFIG, PATIENT_BACKEND, Server, retrieved, submit
from tests.end_to_end.learner import call
from tests.models.spoiled import mistakes
from tests.patience import SECONDS
from tests.ports import port_for_later

pytestmark = pytest.mark.label_studio

RECIPE = {
    "stages": [
        {"size": 224, "epochs": 1, "learning_rate": 1e-3, "head_only": True},
        {"size": 224, "epochs": 1, "learning_rate": 1e-4},
    ],
    "samples": 192,
    "batch": 32,
    "averaging": 0.8,
    "corrections": {"drawn_pages": 11, "least_samples": 8},
}
SIDES = ("train", "train", "train", "validation", "gold", "gold", "gold")
"""Of the documents that are annotated."""


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A drawn page as a file, and the marks on it."""

    file: bytes
    width: int
    height: int
    marks: tuple[DrawnMark, ...]


def drawn(seed: int) -> Drawn:
    page = draw_page(seed, dpi=100, marks=6, style=ScanStyle(paper=(0.98, 0.98, 0.96), noise=1.5, blur=0.4))
    file = io.BytesIO()
    Image.fromarray(page.pixels).save(file, format="JPEG", quality=90, dpi=(page.dpi, page.dpi))
    height, width = page.pixels.shape[:2]
    return Drawn(file=file.getvalue(), width=width, height=height, marks=tuple(page.marks))


@dataclass(frozen=True, kw_only=True)
class Backend:
    """A running backend with a damaged champion."""

    url: str
    folder: Path
    champion: str

    def counts(self) -> Counts:
        engine = open_database(default_url(self.folder))
        try:
            return count(engine)
        finally:
            engine.dispose()

    def training(self) -> Training | None:
        return last_training(folder_of(self.folder))

    def log(self) -> str:
        file = folder_of(self.folder) / LOG_FILE
        return file.read_text(encoding="utf-8", errors="replace")[-4000:] if file.exists() else "no training has a log"


@pytest.fixture(scope="module")
def backend(server: Server) -> Iterator[Backend]:
    folder, port = server.folder / "retraining", port_for_later()
    models = Models(folder / "models")
    # Made of the bundled weights and damaged since, so that the retraining starts from those.
    facts = Facts(source="a test", parent="bundled")
    champion = models.publish(mistakes("signature", "stamp", server.folder / "damaged"), facts).name
    models.promote(champion, why="a test", by="tests", force=True)
    recipe = folder / "recipe.json"
    recipe.write_text(json.dumps(RECIPE))
    url = f"http://{LOOPBACK}:{port}"
    service = backend_service(
        port=port,
        studio_url=server.url,
        token=server.login.token,
        data_dir=folder,
        log=server.folder / "retraining.log",
        MODEL="auto",
        DETECTOR="colour",  # what is damaged is the classifier, and a detector network would say better
        RECALL_DISTANCE="0",  # nor shall the memory of corrections
        RETRAIN_RECIPE=str(recipe),
        RETRAIN_AFTER="0",
        **PATIENT_BACKEND,
    )
    with service:
        service.wait_until_answers(f"{url}/health", seconds=SECONDS)
        yield Backend(url=url, folder=folder, champion=champion)


def document_on(side: str, number: int) -> str:
    """The name of a document that its name puts on a side of the split."""
    names = (f"contract {number}-{attempt}.pdf" for attempt in itertools.count())
    return next(name for name in names if split_of(document_key(name, ())) == side)


def named(prediction: dict[str, Any], page: Drawn) -> dict[int, tuple[str, int]]:
    """What each mark is called by the box that is on it, at IoU .5 or more, and that box's place."""
    values = [region["value"] for region in prediction["result"]]
    corners = [[one["x"], one["y"], one["x"] + one["width"], one["y"] + one["height"]] for one in values]
    marks = as_boxes([mark.box for mark in page.marks]) * ([100 / page.width, 100 / page.height] * 2)
    overlap = iou(marks, as_boxes(corners))
    found = {}
    for mark, row in enumerate(overlap):
        if len(row) and row.max() >= 0.5:
            box = int(row.argmax())
            found[mark] = (values[box]["rectanglelabels"][0], box)
            overlap[:, box] = 0
    return found


def corrected(prediction: dict[str, Any], page: Drawn) -> list[dict[str, Any]]:
    """What an annotator who knows all marks makes of the boxes: names put right, boxes on nothing gone, marks added."""
    found, left = named(prediction, page), []
    for number, mark in enumerate(page.marks):
        if number in found:
            region = prediction["result"][found[number][1]]
            value = region["value"] | {"rectanglelabels": [mark.label]}
            left.append(region | {"value": value, "origin": "prediction-changed"})
        else:
            left.append(_added(mark, page, f"added-{number}"))
    return left


def _added(mark: DrawnMark, page: Drawn, region: str) -> dict[str, Any]:
    x1, y1, x2, y2 = mark.box
    value = {
        "x": 100 * x1 / page.width,
        "y": 100 * y1 / page.height,
        "width": 100 * (x2 - x1) / page.width,
        "height": 100 * (y2 - y1) / page.height,
        "rotation": 0,
        "rectanglelabels": [mark.label],
    }
    return {
        "id": region,
        "type": "rectanglelabels",
        "from_name": "label",
        "to_name": "image",
        "original_width": page.width,
        "original_height": page.height,
        "image_rotation": 0,
        "origin": "manual",
        "value": value,
    }


def eventually(reached: Callable[[], bool], what: str, backend: Backend) -> None:
    give_up = time.monotonic() + SECONDS
    while not reached():
        assert time.monotonic() < give_up, f"after {SECONDS} s still not: {what}\n{backend.log()}"
        time.sleep(0.5)


def test_corrections_train_a_better_model_that_boxes_the_next_page(studio: LabelStudio, backend: Backend) -> None:
    before = wait_for_model(backend.url, seconds=SECONDS)
    project = studio.create_project("retraining", CONFIG, show_collab_predictions=True)
    studio.create_tab(project, "Default")
    connect(studio, project, backend.url, version=before)
    pages = [drawn(seed) for seed in range(301, 301 + len(SIDES))]
    open_page, next_page = drawn(401), drawn(400)

    def imported(name: str, page: Drawn, **data: str) -> int:
        [task] = studio.import_tasks(project, [{"image": studio.upload(project, name, page.file), **data}])
        return task

    def prediction_of(task: int) -> dict[str, Any]:
        [found] = [one for one in studio.predictions(task) if one["model_version"] == shown()]
        return found

    def shown() -> str:
        return str(studio.project(project)["model_version"])

    # The damaged champion boxes them; an annotator puts the names right on all but one.
    tasks = [
        imported(f"{side}-{number}.jpg", page, document=document_on(side, number))
        for number, (side, page) in enumerate(zip(SIDES, pages, strict=True))
    ]
    waiting = imported("open.jpg", open_page)
    retrieved(studio, project, [*tasks, waiting])
    assert shown() == before
    wrong = {
        (open_page.marks[mark].label, name) for mark, (name, _) in named(prediction_of(waiting), open_page).items()
    }
    assert wrong == {("signature", "stamp"), ("stamp", "signature"), ("thumb", "thumb")}
    for task, page in zip(tasks, pages, strict=True):
        prediction = prediction_of(task)
        submit(studio, task, corrected(prediction, page), parent_prediction=prediction["id"])
    eventually(lambda: backend.counts().annotations["done"] == len(tasks), "corrections became samples", backend)
    assert all(backend.counts().hard[name] >= 3 for name in ("signature", "stamp"))

    # Somebody presses the button: a process of its own trains, asks the gate, and promotes.
    [connection] = studio.backends(project)
    call(studio, "POST", f"/api/ml/{connection['id']}/train")
    eventually(lambda: backend.training() is not None, "a training began", backend)
    eventually(lambda: (last := backend.training()) is not None and last.ended is not None, "it ended", backend)
    training = backend.training()
    assert training is not None
    assert (training.why, training.result) == (START_TRAINING, "promoted"), f"{training.reason}\n{backend.log()}"
    [promoted] = [model for model in Models(backend.folder / "models").all() if model.active]
    assert promoted.name == training.model != backend.champion
    assert promoted.record is not None
    assert (promoted.record.source, promoted.record.parent) == ("retraining", backend.champion)
    assert promoted.record.recipe["base"].startswith("bundled@")
    assert promoted.verdict is not None
    assert promoted.verdict.passed
    assert promoted.verdict.figures["annotated_pages"] == SIDES.count("gold")

    # Without a restart, Label Studio shows the new version, on the page that waits and on the next one.
    eventually(lambda: wait_for_model(backend.url, seconds=SECONDS) != before, "the new model serves", backend)
    after = wait_for_model(backend.url, seconds=SECONDS)
    assert after.startswith(f"{promoted.name}-")
    eventually(lambda: shown() == after, "the project shows the new version", backend)
    assert [one["title"] for one in studio.backends(project)] == [after]
    eventually(lambda: studio.outdated_tasks(project, after) == [], "what waits was predicted anew", backend)
    following = imported("next.jpg", next_page)
    retrieved(studio, project, [following])
    for task, page in ((waiting, open_page), (following, next_page)):
        prediction = prediction_of(task)
        assert prediction["model_version"] == after
        names = named(prediction, page)
        assert len(names) >= 4
        assert {mark: name for mark, (name, _) in names.items()} == {mark: page.marks[mark].label for mark in names}
