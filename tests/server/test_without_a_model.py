"""An event needs no model: it is taken and kept while the model loads, is not there, or cannot be loaded."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
from sqlalchemy import select

from backend.corrections.database import default_url, open_database
from backend.corrections.intake import Intake
from backend.corrections.tables import event
from backend.vision.weights import WEIGHTS_FILE
from tests.corrections.annotating import drawn, saved
from tests.http_client import HTTP
from tests.models.tiny import says
from tests.patience import SECONDS, eventually
from tests.ports import port_for_later

ROOT = Path(__file__).parents[2]
SERVE = ["-m", "backend", "serve", "--port"]
WAYS: dict[str, tuple[str, dict[str, str]]] = {
    "loading": ("loading", {}),
    "damaged": ("failed", {}),
    "of a Hub that does not answer": ("failed", {"MODEL": "hub", "HF_ENDPOINT": "http://127.0.0.1:1"}),
}
"""What /health says, and the settings."""


@contextmanager
def server(way: str, folder: Path) -> Iterator[str]:
    port = port_for_later()
    of_own = [*SERVE, str(port)]
    command = ["-m", "tests.server.endless_load", str(folder), str(port)] if way == "loading" else of_own
    own = {"DATA_DIR": str(folder), "DATABASE_URL": "", "LABEL_STUDIO_URL": "http://127.0.0.1:1", "LOG_LEVEL": "ERROR"}
    if way == "damaged":
        own["MODEL"] = damaged_model(folder)
    with subprocess.Popen([sys.executable, *command], cwd=ROOT, env=os.environ | own | WAYS[way][1]) as process:
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(SECONDS)


def damaged_model(folder: Path) -> str:
    """The name of a model whose weights are cut off. It has no record: else it would be refused at the start."""
    place = says("stamp", folder / "models" / "by-hand-1")
    (place / WEIGHTS_FILE).write_bytes((place / WEIGHTS_FILE).read_bytes()[:1000])
    return place.name


def model_state(address: str) -> str:
    try:
        return str(HTTP.get(f"{address}/health").json()["model_state"])
    except httpx2.TransportError:
        return ""


@pytest.mark.parametrize("way", WAYS)
def test_an_event_is_taken_and_kept_whatever_the_model_does(way: str, tmp_path: Path) -> None:
    numbers = range(1, 6)
    with server(way, tmp_path) as address:
        eventually(lambda: model_state(address) == WAYS[way][0])
        bodies = [saved(number, task=number, at=950, result=[drawn("r", "stamp", (1, 1, 9, 9))]) for number in numbers]
        assert [HTTP.post(f"{address}/webhook", json=body).status_code for body in bodies] == [200] * len(numbers)
        assert model_state(address) == WAYS[way][0]
    engine = open_database(default_url(tmp_path))
    Intake(engine, tmp_path / "spool").move()  # what waited on disk at the end is for the next process
    with engine.connect() as connection:
        kept = [body["annotation"]["id"] for body in connection.execute(select(event.c.body)).scalars()]
    engine.dispose()
    assert sorted(kept) == list(numbers)
