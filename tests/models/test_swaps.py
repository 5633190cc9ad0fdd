"""Models are swapped under real servers: nobody gets an error, no answer is of two versions, kill -9 does no harm."""

from __future__ import annotations

import base64
import io
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from PIL import Image, ImageDraw

from backend.models.promotion import Models
from backend.models.published import Facts
from tests.http_client import HTTP
from tests.models.serving import STEPS
from tests.models.tiny import says
from tests.patience import SECONDS, eventually
from tests.ports import port_for_later

ROOT = Path(__file__).parents[2]
CONFIG = """<View><Image name="page" value="$image"/><RectangleLabels name="mark" toName="page">
<Label value="signature"/><Label value="stamp"/><Label value="thumb"/></RectangleLabels></View>"""
CLIENTS = 64
SWAPS = 10


def inked_page() -> str:
    """A small page with something in red, as a data URI."""
    page = Image.fromarray(np.full((220, 320, 3), 250, np.uint8))
    ImageDraw.Draw(page).ellipse((30, 40, 110, 120), outline=(190, 40, 50), width=6)
    file = io.BytesIO()
    page.save(file, format="PNG", dpi=(100, 100))
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


BODY = {"project": "1.0", "label_config": CONFIG, "tasks": [{"id": 1, "data": {"image": inked_page()}}]}


@contextmanager
def serving(folder: Path, *, step: str = "none", workers: int = 1) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A server in a session of its own, so that all of its processes die with it."""
    port = port_for_later()
    command = [sys.executable, "-m", "tests.models.serving", step, str(folder), str(port), str(workers)]
    log = (folder / "server.log").open("w")
    with (
        log,
        subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True
        ) as process,
    ):
        address = f"http://127.0.0.1:{port}"
        try:
            eventually(lambda: health(address).get("model_state") == "ready")
            yield address, process
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def health(address: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = HTTP.get(f"{address}/health").json()
    except httpx2.TransportError:
        return {}
    return found


@pytest.fixture
def models(tmp_path: Path) -> Models:
    return Models(tmp_path / "models")


def publish(models: Models, label: str, tmp_path: Path) -> str:
    return models.publish(says(label, tmp_path / f"candidate-{label}"), Facts(source="training")).name


def seen_in(http: httpx2.Client, address: str) -> tuple[str, tuple[str, ...]]:
    """The version of one answer, and the labels in it."""
    answer = http.post(f"{address}/predict", json=BODY)
    assert answer.status_code == 200, answer.text
    [prediction] = answer.json()["results"]
    labels = {label for region in prediction["result"] for label in region["value"]["rectanglelabels"]}
    return prediction["model_version"], tuple(sorted(labels))


def test_sixty_four_clients_predict_during_ten_swaps_under_two_workers(models: Models, tmp_path: Path) -> None:
    labels = {publish(models, label, tmp_path): label for label in ("stamp", "signature")}
    first, second = labels
    models.promote(first, why="a test", by="tests", force=True)
    answers: Counter[tuple[str, tuple[str, ...]]] = Counter()
    done = threading.Event()
    limits = httpx2.Limits(max_connections=CLIENTS, max_keepalive_connections=CLIENTS)
    with serving(tmp_path, workers=2) as (address, _), httpx2.Client(timeout=SECONDS, limits=limits) as http:

        def client() -> int:
            asked = 0
            while not done.is_set():
                answers[seen_in(http, address)] += 1
                asked += 1
                done.wait(1)  # an annotator reads; and the processors are shared with what else is tested
            return asked

        with ThreadPoolExecutor(CLIENTS) as pool:
            clients = [pool.submit(client) for _ in range(CLIENTS)]
            try:
                for swap in range(SWAPS):
                    name = (second, first)[swap % 2]
                    models.promote(name, why="a test", by="tests", force=True)
                    # Both workers: which of them answers is chance.
                    eventually(lambda name=name: all(serves(address, name) for _ in range(5)))  # type: ignore[misc]
            finally:
                done.set()
            asked = [one.result() for one in clients]
    assert min(asked) > 0
    versions = Counter(version.rsplit("-", 2)[0] for version, _ in answers.elements())
    assert set(versions) == set(labels)
    for version, said in answers:
        (name,) = [name for name in labels if version.startswith(f"{name}-")]
        assert said == (labels[name],), f"{version} says {said}"


def serves(address: str, name: str) -> bool:
    return str(health(address).get("model_version")).startswith(f"{name}-")


@pytest.mark.parametrize("step", STEPS)
def test_killed_in_the_swap_the_old_model_serves_until_then_and_the_new_one_after(
    step: str, models: Models, tmp_path: Path
) -> None:
    old, new = publish(models, "stamp", tmp_path), publish(models, "thumb", tmp_path)
    models.promote(old, why="a test", by="tests", force=True)
    with serving(tmp_path, step=step) as (address, process), httpx2.Client(timeout=SECONDS) as http:
        models.promote(new, why="a test", by="tests", force=True)
        assert process.stdout is not None
        reached, worker = process.stdout.readline().split()
        assert reached == "reached"
        version, labels = seen_in(http, address)
        assert (version.startswith(f"{old}-"), labels) == (True, ("stamp",))
        os.kill(int(worker), signal.SIGKILL)
        eventually(lambda: serves(address, new))
        version, labels = seen_in(http, address)
        assert (version.startswith(f"{new}-"), labels) == (True, ("thumb",))
