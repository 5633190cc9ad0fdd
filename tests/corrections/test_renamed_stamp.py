"""A stamp whose label is renamed while there are only predictions stays a stamp, on its page and on the next one.

With the bundled weights, over pages of companies whose stamp comes back pressed and scanned anew.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from backend.corrections.service import Feedback, Store
from backend.corrections.tables import sample
from backend.geometry import as_boxes, iou
from backend.labelstudio.connections import Connections
from backend.labelstudio.results import drawn_box
from backend.models.serving import Serving
from backend.pages.source import PageSource
from backend.server.application import Application
from backend.settings import Settings
from benchmarks.companies import CompanyPage, company_page
from tests.corrections.annotating import saved
from tests.corrections.test_logo import CONFIG, task_of

RENAMED = CONFIG.replace('<Label value="stamp"', '<Label value="Seal" predicted_values="stamp"')
COMPANIES = range(6)
"""At least one of their stamps is boxed on both pages, whatever weights are bundled."""

Region = dict[str, Any]


@pytest.fixture
def application(tmp_path: Path) -> Iterator[Application]:
    """The whole program without its threads: what they do is done when a test says so."""
    settings = Settings(data_dir=tmp_path, model="bundled", predict_deadline=3600)
    connections = Connections(settings, source=lambda access: PageSource(settings, access))
    feedback = Feedback(Store.open(settings), connections, recall_distance=settings.recall_distance)
    serving = Serving(settings, around=feedback.recalling)
    serving.load()
    yield Application.build(settings, serving=serving, connections=connections, feedback=feedback)
    feedback.stop()


def boxes(application: Application, task: Region, config: str = CONFIG) -> list[Region]:
    body = {"tasks": [task], "project": "1.1700000000", "label_config": config, "params": None}
    answer = application.flask.test_client().post("/predict", json=body)
    assert answer.status_code == 200, answer.text
    [prediction] = answer.json["results"]
    found: list[Region] = prediction["result"]
    return found


def places(regions: list[Region]) -> set[tuple[object, ...]]:
    """What an annotator sees of boxes, whatever stamps are called."""
    renamed = {"Seal": "stamp"}
    named = ((one["value"], one["value"]["rectanglelabels"][0]) for one in regions)
    return {
        (*(value[side] for side in ("x", "y", "width", "height")), renamed.get(name, name)) for value, name in named
    }


def on_stamp(regions: list[Region], page: CompanyPage) -> list[str]:
    """What the boxes on the company's stamp are called."""
    height, width = page.pixels.shape[:2]
    stamp = as_boxes([page.stamp] if page.stamp else [])
    placed = [(one["value"]["rectanglelabels"][0], drawn_box(one, width=width, height=height)) for one in regions]
    return [name for name, box in placed if (iou(box, stamp) >= 0.5).any()]


def submit(application: Application, task: Region, regions: list[Region], *, config: str) -> None:
    """An annotator leaves all boxes as they are; what Label Studio tells of that becomes samples."""
    result = [one | {"origin": "prediction"} for one in regions]
    event = saved(1, task=task["id"], at=time.time() + 5, result=result, config=config) | {"task": task}
    assert application.flask.test_client().post("/webhook", json=event).status_code == 200
    application.feedback.intake.move()
    application.feedback.worker.work()
    application.feedback.catch_up()


def test_boxes_submitted_untouched_after_a_rename_teach_no_stamp_away(application: Application) -> None:
    for company in COMPANIES:
        first, second = (company_page(company, number) for number in range(2))
        task, later, again = (task_of(page, 10 * company + n) for n, page in enumerate((first, second, second), 1))
        shown, before = boxes(application, task), boxes(application, later)
        if on_stamp(shown, first) == on_stamp(before, second) == ["stamp"]:
            break
    else:
        pytest.fail("no company's stamp is boxed on both of its pages: choose other companies")
    submit(application, task, shown, config=RENAMED)
    with application.feedback.store.engine.connect() as connection:
        rows = connection.execute(select(sample)).all()
    assert {row.region: row.outcome for row in rows} == {one["id"]: "accepted" for one in shown}
    after = boxes(application, again, RENAMED)
    assert on_stamp(after, second) == ["Seal"]
    assert places(after) == places(before)
