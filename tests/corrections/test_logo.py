"""An annotator deletes the box on a logo: on the next page of that company, printed and scanned anew, there is none.

With the bundled weights behind the rules on ink.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import pytest

from backend.corrections.counts import count
from backend.corrections.database import default_url, open_database
from backend.geometry import as_boxes, coverage
from backend.labelstudio.projects import label_config
from backend.labelstudio.results import drawn_box
from backend.server.application import Application
from backend.settings import Settings
from benchmarks.companies import CompanyPage, company_page
from tests.patience import SECONDS, eventually

CONFIG = label_config(paged=False)
COMPANIES = (0, 1, 3, 4, 8)
"""Their logos are printed seals, taken for marks until somebody says so, by boxes that lie alike on both."""


@pytest.fixture
def application(tmp_path: Path) -> Iterator[Application]:
    running = Application.start(Settings(data_dir=tmp_path, detector="colour", model="bundled"))
    yield running
    running.stop()


def task_of(page: CompanyPage, number: int) -> dict[str, Any]:
    # As JPEG, so that an event about it is under a megabyte: of larger ones the journal keeps the ids alone.
    saved, file = cv2.imencode(".jpg", page.pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])
    assert saved
    reference = "data:image/jpeg;base64," + base64.b64encode(file.tobytes()).decode()
    return {"id": number, "project": 1, "data": {"image": reference, "document": f"letter {number}"}}


def boxes(application: Application, task: dict[str, Any]) -> list[dict[str, Any]]:
    body = {"tasks": [task], "project": "1.1700000000", "label_config": CONFIG, "params": None}
    answer = application.flask.test_client().post("/predict", json=body)
    assert answer.status_code == 200, answer.text
    [prediction] = answer.json["results"]
    found: list[dict[str, Any]] = prediction["result"]
    return found


def on_logo(regions: list[dict[str, Any]], page: CompanyPage) -> list[str]:
    """Ids of the boxes that lie mostly on the logo, or in which it lies mostly."""
    assert page.logo is not None
    height, width = page.pixels.shape[:2]
    logo = as_boxes([page.logo])
    placed = {one["id"]: drawn_box(one, width=width, height=height) for one in regions}
    return [name for name, box in placed.items() if coverage(box, logo)[0, 0] > 0.5 or coverage(logo, box)[0, 0] > 0.5]


def delete(application: Application, task: dict[str, Any], left: list[dict[str, Any]]) -> None:
    """What Label Studio sends when an annotator submits what is left of a prediction."""
    now = datetime.fromtimestamp(time.time() + 5, UTC).isoformat()
    annotation = {
        "id": 100 + task["id"],
        "task": task["id"],
        "project": 1,
        "result": [{**one, "origin": "prediction"} for one in left],
        "was_cancelled": False,
        "created_at": now,
        "updated_at": now,
        "completed_by": 1,
        "parent_prediction": 1,
    }
    project = {"id": 1, "label_config": CONFIG}
    body = {"action": "ANNOTATION_CREATED", "annotation": annotation, "task": task, "project": project}
    assert application.flask.test_client().post("/webhook", json=body).status_code == 200


def learnt(folder: Path) -> bool:
    """Whether the worker is done with the one annotation."""
    engine = open_database(default_url(folder))
    try:
        return count(engine).annotations["done"] == 1
    finally:
        engine.dispose()


@pytest.mark.parametrize("company", COMPANIES)
def test_a_logo_whose_box_was_deleted_gets_none_on_the_next_page(
    application: Application, company: int, tmp_path: Path
) -> None:
    first, second = (company_page(company, number, seal=True) for number in range(2))
    shown = boxes(application, task_of(first, 1))
    wrong = on_logo(shown, first)
    assert wrong, "without a box on the logo there is nothing to delete"
    assert on_logo(boxes(application, task_of(second, 2)), second), "the mistake comes back until somebody corrects it"
    delete(application, task_of(first, 1), [region for region in shown if region["id"] not in wrong])
    eventually(lambda: learnt(tmp_path), "samples of the annotation")
    patience = time.monotonic() + SECONDS
    number = 3
    while on_logo(after := boxes(application, task_of(second, number)), second) and time.monotonic() < patience:
        number += 1
        time.sleep(0.5)
    assert not on_logo(after, second)
    assert after, "what is no logo is boxed as before"
