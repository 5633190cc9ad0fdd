"""The server as it is started and stopped: gunicorn, a socket, a signal."""

import base64
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx2
import pytest

from tests.http_client import HTTP
from tests.pages.files import endless, picture_pdf
from tests.patience import SECONDS, eventually
from tests.ports import port_for_later

SCRIPT = """
from pathlib import Path
from backend.server.application import Application
from backend.commands.serve import serve
from backend.settings import Settings
settings = Settings(port={port}, model={model!r}, data_dir=Path({folder!r}), fetch_timeout=600, predict_deadline=600)
serve(settings, Application.start)
"""
CONFIG = """<View><Image name="image" value="$image"/><RectangleLabels name="label" toName="image">
<Label value="stamp"/></RectangleLabels></View>"""


@contextmanager
def started(folder: Path, *, model: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    port = port_for_later()
    script = SCRIPT.format(port=port, folder=str(folder), model=model)
    with subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True) as process:
        yield process, f"http://127.0.0.1:{port}"
        process.kill()


@pytest.fixture
def server(tmp_path):
    with started(tmp_path, model="no-such-model") as found:
        yield found


def seconds_at_work(server: int) -> float:
    """How long the busiest of the processes that decode pages for a server has computed."""
    ticks = [0]
    for child in below(server):
        with suppress(FileNotFoundError):  # it has ended
            if b"workbench" in Path(f"/proc/{child}/cmdline").read_bytes():
                ticks.append(int(Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[11]))
    return max(ticks) / os.sysconf("SC_CLK_TCK")


def below(process: int) -> list[int]:
    """All processes that one has started, and those that they have."""
    with suppress(FileNotFoundError):
        lists = [path.read_text().split() for path in Path(f"/proc/{process}/task").glob("*/children")]
        children = [int(one) for some in lists for one in some]
        return children + [further for one in children for further in below(one)]
    return []


def answer_of(url: str) -> httpx2.Response:
    """The first answer of a server that is starting."""
    give_up = time.monotonic() + SECONDS
    while time.monotonic() < give_up:
        try:
            return HTTP.get(url)
        except httpx2.TransportError:
            time.sleep(0.1)
    raise AssertionError(f"{url} did not answer")


def test_it_starts_says_where_it_listens_serves_without_its_model_and_stops_when_told(server):
    process, url = server
    health = answer_of(url + "/health").json()
    assert (health["status"], health["model_version"]) == ("UP", None)
    refused = HTTP.post(url + "/setup", json={"schema": "<View/>", "project": "1"})
    assert refused.status_code == 422
    assert refused.reason_phrase.startswith("The label config has no Image tag")
    process.send_signal(signal.SIGTERM)
    _, log = process.communicate(timeout=SECONDS)
    assert process.returncode == 0
    assert f"listening on {url}" in log
    assert "no-such-model" in log


def test_a_page_that_takes_for_ever_does_not_hold_up_a_stop(tmp_path):
    """Nothing else ends it: it may take ten minutes. Its request is answered all the same: not done, ask again."""
    hostile = picture_pdf(endless(scans=50_000, side=4000), width=4000, height=4000)
    hostile = hostile.replace(b"/Kids[4 0 R 6 0 R]", b"/Kids[6 0 R 4 0 R]")
    task = {"id": 1, "data": {"image": "data:application/pdf;base64," + base64.b64encode(hostile).decode()}}
    with started(tmp_path, model="bundled") as (process, url), ThreadPoolExecutor() as client:
        answer_of(url + "/health")
        body = {"tasks": [task], "project": "1", "label_config": CONFIG}
        answer = client.submit(HTTP.post, url + "/predict", json=body)
        eventually(lambda: seconds_at_work(process.pid) > 1, "the picture that takes for ever")
        assert not answer.done()
        process.send_signal(signal.SIGTERM)
        assert answer.result().json() == {"results": [[]]}
        process.communicate(timeout=SECONDS)
        assert process.returncode == 0
