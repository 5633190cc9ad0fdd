"""The server as it is started and stopped: gunicorn, a socket, a signal."""

import signal
import socket
import subprocess
import sys
import time

import httpx2
import pytest

SCRIPT = """
from pathlib import Path
from backend.server.application import Application
from backend.commands.serve import serve
from backend.settings import Settings
serve(Settings(port={port}, model="no-such-model", data_dir=Path({folder!r})), Application.start)
"""


@pytest.fixture
def server(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    script = SCRIPT.format(port=port, folder=str(tmp_path))
    with subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True) as process:
        yield process, f"http://127.0.0.1:{port}"
        process.kill()


def answer_of(url: str) -> httpx2.Response:
    """The first answer of a server that is starting."""
    for _ in range(300):
        try:
            return httpx2.get(url, timeout=5)
        except httpx2.TransportError:
            time.sleep(0.1)
    raise AssertionError(f"{url} did not answer")


def test_it_starts_says_where_it_listens_serves_without_its_model_and_stops_when_told(server):
    process, url = server
    health = answer_of(url + "/health").json()
    assert (health["status"], health["model_version"]) == ("UP", None)
    refused = httpx2.post(url + "/setup", json={"schema": "<View/>", "project": "1"})
    assert refused.status_code == 422
    assert refused.reason_phrase.startswith("The label config has no Image tag")
    process.send_signal(signal.SIGTERM)
    _, log = process.communicate(timeout=30)
    assert process.returncode == 0
    assert f"listening on {url}" in log
    assert "no-such-model" in log
