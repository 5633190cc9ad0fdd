"""`python -m backend demo` shows boxed contracts, stops cleanly, and keeps what it made."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from backend.labelstudio.client import LabelStudio
from tests.end_to_end.conftest import ROOT, Server
from tests.patience import SECONDS
from tests.ports import port_for_later

pytestmark = pytest.mark.label_studio


@pytest.fixture(scope="module")
def folder(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A demo's folder as after a first start that was interrupted: a database with its user, and no projects.

    A copy of the running server's database, before other tests fill it or after: making one takes a minute.
    """
    folder = tmp_path_factory.mktemp("demo")
    shutil.copy(server.folder / "login.json", folder)
    (folder / "label-studio").mkdir()
    name = "label_studio.sqlite3"
    with (
        closing(sqlite3.connect(server.folder / "label-studio" / name)) as source,
        closing(sqlite3.connect(folder / "label-studio" / name)) as copy,
    ):
        source.backup(copy)
    return folder


@dataclass
class Demo:
    """A running demo and what it has said."""

    process: subprocess.Popen[bytes]
    output: Path

    def said(self) -> str:
        return self.output.read_text()

    def ready(self, *, seconds: float = 1800) -> str:
        """Waits for the invitation; gives all that was said."""
        wait(lambda: "Ctrl-C stops it" in self.said() or self.process.poll() is not None, seconds=seconds)
        assert self.process.poll() is None, self.said()
        return self.said()

    def stop(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(SECONDS)


def start(folder: Path, executable: Path, output: Path) -> Demo:
    command = [sys.executable, "-m", "backend", "demo", "--folder", folder, "--label-studio", executable]
    # Not the demo's own: what this machine's server has is none of its business.
    other = output.with_suffix(".env")
    other.write_text("BASIC_AUTH_USER=us\nBASIC_AUTH_PASS=pw\nWEBHOOK_SECRET=theirs\n")
    with output.open("wb") as out:
        # Nothing else on this machine is in the way of the test, nor the test in its way.
        ports = ["--port", str(port_for_later()), "--backend-port", str(port_for_later())]
        environment = {**os.environ, "SETTINGS_FILE": str(other)}
        process = subprocess.Popen(
            [*map(str, command), *ports], cwd=ROOT, env=environment, stdout=out, stderr=subprocess.STDOUT
        )
    return Demo(process, output)


def wait(condition: Callable[[], bool], *, seconds: float) -> None:
    give_up = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up, f"still not so after {seconds} s"
        time.sleep(0.1)


def listens(address: str) -> bool:
    host, _, port = address.rpartition("/")[2].partition(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


def contracts(said: str, login_token: str) -> dict[int, list[tuple[int, str, list[dict[str, Any]]]]]:
    """Tasks of the two projects that the demo links to; of each prediction its id, its version and its boxes."""
    links = re.findall(r"(http://[^/\s]+)/projects/(\d+)/data\?task=\d+", said)
    assert len(links) == 2, said
    with LabelStudio(links[0][0], login_token) as studio:
        return {
            task["id"]: [(one["id"], one["model_version"], one["result"]) for one in studio.predictions(task["id"])]
            for _, project in links
            for task in studio.tasks(int(project))
        }


def dashboard(said: str) -> str:
    """The page that the demo names, as a browser gets it."""
    [address] = re.findall(r"dashboard (http://\S+)", said)
    with httpx2.Client(trust_env=False, timeout=SECONDS) as http:
        return http.get(address, headers={"Accept": "text/html"}).raise_for_status().text


def test_a_dozen_contracts_are_boxed_and_everything_ends_with_the_demo(
    folder: Path, server: Server, label_studio_executable: Path, tmp_path: Path
) -> None:
    first = start(folder, label_studio_executable, tmp_path / "first.txt")
    try:
        said = first.ready()
        boxed = contracts(said, server.login.token)
        assert len(boxed) == 12
        assert all(len(predictions) == 1 for predictions in boxed.values())
        assert sum(len(boxes) for [(_, _, boxes)] in boxed.values()) >= 12
        assert server.login.password in said
        page = dashboard(said)
        assert "How it begins" in page
        assert 'role="alert"' not in page, "nothing is wrong in a demo"
        [command] = re.findall(r"commands  (.+)", said)
        looked = subprocess.run(["sh", "-c", command], cwd=ROOT, capture_output=True, text=True, check=False)
        assert looked.returncode == 0, looked.stdout
        assert not re.search(r"^(warning|failure)", looked.stdout, re.MULTILINE), looked.stdout
    finally:
        code = first.stop(signal.SIGINT)
    assert code == 0, first.said()
    assert "Stopped" in first.said()
    addresses = set(re.findall(r"http://127\.0\.0\.1:\d+", said))
    assert len(addresses) == 2
    assert not any(listens(address) for address in addresses)

    again = start(folder, label_studio_executable, tmp_path / "again.txt")
    try:
        kept = contracts(again.ready(), server.login.token)
    finally:
        code = again.stop(signal.SIGTERM)
    assert code == 0, again.said()
    assert kept == boxed
