"""A backend that learns from a real Label Studio: started, connected, and looked into."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from PIL import Image
from sqlalchemy import Table, select

from backend.commands.demo.services import LOOPBACK, backend_service
from backend.corrections.database import default_url, open_database
from backend.corrections.tables import event, memory, proposal, sample
from backend.labelstudio.client import LabelStudio
from backend.synthetic.drawn_page import draw_page
from backend.training.retraining.starting import folder_of, is_running
from tests.end_to_end.conftest import CONFIG, PATIENT_BACKEND, Project, Server
from tests.http_client import HTTP
from tests.models.models import random_model, write_weights
from tests.patience import SECONDS
from tests.ports import port_for_later

__all__ = ["Learner", "Outcome", "call", "drawn_jpeg", "eventually", "learning", "learning_project", "until"]

T = TypeVar("T")
Outcome = tuple[str, str | None, str]
"""Outcome, wrong label and label of a sample."""

MODEL = "takes-all-for-marks"
BASIC = ("label-studio", "knows-this")
SECRET = "and-its-webhooks-this"


@dataclass(frozen=True, kw_only=True)
class Learner:
    """A running backend that takes each region of ink for a mark: what corrections become does not hang on weights."""

    url: str
    version: str
    folder: Path

    def samples(self) -> dict[str, Any]:
        """Every sample by its region's id."""
        return {row.region: row for row in self._rows(sample)}

    def outcomes(self, project: int) -> dict[str, Outcome]:
        """What became of each region of a project."""
        found = self.samples()
        return {region: (row.outcome, row.wrong, row.label) for region, row in found.items() if row.project == project}

    def shown(self, task: int) -> set[str]:
        """Ids of the regions of which the ledger knows that a task showed them: it hears of them a moment later."""
        return {row.region for row in self._rows(proposal) if row.task == task}

    def events(self, project: int) -> list[str]:
        """The actions that webhooks told of a project."""
        return [row.action for row in self._rows(event) if row.project == project]

    def remembered(self) -> set[str]:
        """Ids of the samples that the serving network remembers."""
        return {row.sample for row in self._rows(memory)}

    def _rows(self, table: Table) -> list[Any]:
        engine = open_database(default_url(self.folder))
        with engine.connect() as connection:
            found = list(connection.execute(select(table)))
        engine.dispose()
        return found


@contextmanager
def learning(server: Server, *, name: str, recall_distance: float) -> Iterator[Learner]:
    """Starts a learner with a ledger of its own, and stops it again."""
    folder, port = server.folder / name, port_for_later()
    weights = random_model(outputs=4, seed=3, bias={3: -1000.0})  # never `none`
    write_weights(weights, folder / "models" / MODEL)
    url = f"http://{LOOPBACK}:{port}"
    # What "Start training" starts outlives the backend, and would train for half an hour: it has to find too little.
    recipe = folder / "recipe.json"
    recipe.write_text(json.dumps({"corrections": {"least_samples": 1_000_000}}))
    service = backend_service(
        port=port,
        studio_url=server.url,
        token=server.login.token,
        data_dir=folder,
        log=server.folder / f"{name}.log",
        MODEL=MODEL,
        DETECTOR="colour",
        RETRAIN_RECIPE=str(recipe),
        CONFIDENCE="0.01",
        RECALL_DISTANCE=str(recall_distance),
        WEBHOOK_SECRET=SECRET,
        BASIC_AUTH_USER=BASIC[0],
        BASIC_AUTH_PASS=BASIC[1],
        **PATIENT_BACKEND,
    )
    with service:
        service.wait_until_answers(f"{url}/", seconds=SECONDS)
        eventually(lambda: health(url)["model_state"], "ready")
        yield Learner(url=url, version=health(url)["model_version"], folder=folder)
    eventually(lambda: is_running(folder_of(folder)), False)


def health(url: str) -> dict[str, Any]:
    found: dict[str, Any] = HTTP.get(f"{url}/health", auth=BASIC).raise_for_status().json()
    return found


def learning_project(studio: LabelStudio, learner: Learner, title: str) -> Project:
    """A project that the learner is connected to, with what its webhooks need."""
    made = studio.create_project(title[:50], CONFIG, show_collab_predictions=True)
    studio.create_tab(made, "Default")
    studio.connect_backend(made, learner.url, title=learner.version, basic_auth=BASIC)
    # As an administrator would who knows of the secret: without the credentials that the connection has.
    for webhook in call(studio, "GET", "/api/webhooks/", params={"project": made}):
        headers = {"headers": {"X-Webhook-Secret": SECRET}}
        call(studio, "PATCH", f"/api/webhooks/{webhook['id']}/", json=headers)
    return Project(id=made, field="image", studio=studio)


def drawn_jpeg(seed: int) -> bytes:
    """A drawn page of many marks."""
    page = draw_page(seed, dpi=100, marks=7)
    file = io.BytesIO()
    Image.fromarray(page.pixels).save(file, format="JPEG", quality=90, dpi=(page.dpi, page.dpi))
    return file.getvalue()


def call(studio: LabelStudio, method: str, path: str, **request: Any) -> Any:
    """One request to Label Studio's API."""
    answer = HTTP.request(method, studio.base_url + path, headers=studio.headers(), **request)
    answer.raise_for_status()
    return answer.json() if answer.content else None


def eventually(reached: Callable[[], Any], expected: Any) -> None:
    """Waits until `reached` gives what is expected."""
    give_up = time.monotonic() + SECONDS
    while (found := reached()) != expected:
        assert time.monotonic() < give_up, f"{found} did not become {expected}"
        time.sleep(0.2)


def until(reached: Callable[[], T | None], what: str) -> T:
    """Waits until `reached` gives something, and gives that."""
    give_up = time.monotonic() + SECONDS
    while (found := reached()) is None:
        assert time.monotonic() < give_up, f"after {SECONDS} s still no {what}"
        time.sleep(0.2)
    return found
