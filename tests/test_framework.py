"""The class that label_studio_ml's own server is given: it makes its parts from the environment, once."""

from __future__ import annotations

import base64
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from sqlalchemy import select

from backend.corrections.crop_store import CropStore
from backend.corrections.database import open_database
from backend.corrections.journal import Journal
from backend.corrections.tables import annotation
from backend.corrections.worker import Worker
from backend.framework import catch_up
from backend.server import ml_backend
from tests.corrections.annotating import deleted, page_of, saved, send
from tests.corrections.studio import Studio
from tests.server.upstream import put_upstream

ROOT = Path(__file__).parents[1]
NOWHERE = "http://127.0.0.1:9"
CONFIG = (
    '<View><Image name="page" value="$image"/><RectangleLabels name="mark" toName="page">'
    '<Label value="signature"/><Label value="stamp"/><Label value="thumb"/></RectangleLabels></View>'
)


_SHARED = """
import json
from backend.framework import ContractMarks

one, other = ContractMarks(project_id="1", label_config={config!r}), ContractMarks(project_id="2")
stored = one.fit("START_TRAINING", {{"project": {{"id": 1}}}})["status"]
print(json.dumps([one.parts() is other.parts(), [binding.threshold for binding in one.bindings], stored]))
"""


def test_objects_share_what_the_environment_says(tmp_path: Path) -> None:
    """In a process of their own: what they share is a whole backend at work, which only the process's end stops."""
    environment = {"DATA_DIR": str(tmp_path), "MODEL": "bundled", "CONFIDENCE": "0.7", "LABEL_STUDIO_URL": NOWHERE}
    command = [sys.executable, "-c", _SHARED.format(config=CONFIG)]
    told = subprocess.check_output(command, cwd=ROOT, env=os.environ | environment, text=True)
    assert json.loads(told) == [True, [0.7], "stored"]
    assert (tmp_path / "ledger.sqlite3").exists()


def test_the_plain_class_says_that_it_has_no_parts() -> None:
    with pytest.raises(NotImplementedError, match="see served_by"):
        ml_backend.MarksBackend(project_id="1", label_config=CONFIG)


_SERVED = """
import json
from label_studio_ml.api import init_app
from backend.framework import ContractMarks

client = init_app(model_class=ContractMarks).test_client()
config = {config!r}
setup = client.post("/setup", json={{"project": "1.17", "schema": config}}).json
task = {{"id": 1, "data": {{"image": {page!r}}}}}
predicted = client.post("/predict", json={{"project": "1.17", "label_config": config, "tasks": [task]}}).json
project = {{"id": 1, "label_config": config}}
events = [
    client.post("/webhook", json={{"action": action, "project": project}}).json
    for action in ("START_TRAINING", "ANNOTATIONS_DELETED")
]
print(json.dumps([setup, predicted, events]))
"""


def test_the_frameworks_server_serves_it_from_a_mere_checkout(tmp_path: Path) -> None:
    put_upstream(tmp_path / "checkout")
    white = io.BytesIO()
    Image.new("L", (60, 80), 255).save(white, format="PNG")
    page = "data:image/png;base64," + base64.b64encode(white.getvalue()).decode()
    done = subprocess.run(
        [sys.executable, "-c", _SERVED.format(config=CONFIG, page=page)],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(tmp_path / "checkout"), str(ROOT)]),
            "DATA_DIR": str(tmp_path / "data"),
            "MODEL": "bundled",
            "LABEL_STUDIO_URL": NOWHERE,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    setup, predicted, events = json.loads(done.stdout)
    # The first one waits for the model.
    assert setup["model_version"].startswith("bundled-")
    [prediction] = predicted["results"]
    assert prediction["model_version"] == setup["model_version"]
    assert [one.get("status", one.get("result", {}).get("status")) for one in events] == ["stored", "Unknown event"]


def test_what_that_server_drops_is_asked_for(tmp_path: Path) -> None:
    created = saved(1, task=7, at=1000.0, result=[])
    bulk = saved(2, task=8, at=1001.0, result=[])
    engine = open_database(f"sqlite:///{tmp_path / 'ledger.sqlite3'}")
    journal = Journal(engine)
    worker = Worker(engine=engine, journal=journal, crops=CropStore(str(tmp_path)), page_of=page_of)
    send(journal, created)
    worker.work()
    studio = Studio(created, bulk, deleted(1))

    assert catch_up(engine, lambda _: studio.client()) == 2

    with engine.connect() as connection:
        found = {row.id: row.deleted for row in connection.execute(select(annotation.c.id, annotation.c.deleted))}
    assert found == {1: True, 2: False}
    assert catch_up(engine, lambda _: studio.client()) == 0
