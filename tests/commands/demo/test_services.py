"""A demo's server is waited for, watched, and stopped with everything it started."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest

from backend.commands.demo import services
from backend.commands.demo.services import LOOPBACK, Service, free_port, write_settings
from backend.errors import DemoError
from backend.settings import Settings
from tests.patience import SECONDS, eventually
from tests.ports import port_for_later


def service(tmp_path: Path, script: str) -> Service:
    return Service("The thing", [sys.executable, "-c", script], environment={}, log=tmp_path / "thing.log")


def alive(pid: int) -> bool:
    """Whether the process runs; one that ended and waits for init to collect it does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")
    return not status.exists() or status.read_text().rpartition(")")[2].split()[0] != "Z"


def first_line(path: Path) -> str:
    eventually(lambda: path.exists() and "\n" in path.read_text())
    return path.read_text().splitlines()[0]


def test_a_server_is_waited_for_until_it_answers(tmp_path: Path) -> None:
    port = port_for_later()
    script = (
        f"import http.server as h; h.HTTPServer(('{LOOPBACK}', {port}), h.SimpleHTTPRequestHandler).serve_forever()"
    )
    with service(tmp_path, script) as thing:
        thing.wait_until_answers(f"http://{LOOPBACK}:{port}/", seconds=SECONDS)
    with socket.socket() as probe:
        assert probe.connect_ex((LOOPBACK, port)) != 0


def test_a_server_that_ends_early_is_reported_with_the_end_of_its_log(tmp_path: Path) -> None:
    with (
        service(tmp_path, "print('the port is on fire'); raise SystemExit(7)") as thing,
        pytest.raises(DemoError, match=r"(?s)The thing ended with exit code 7.*the port is on fire"),
    ):
        thing.wait_until_answers(f"http://{LOOPBACK}:{port_for_later()}/", seconds=SECONDS)


def test_a_server_that_never_answers_is_given_up(tmp_path: Path) -> None:
    with service(tmp_path, "import time; time.sleep(60)") as thing, pytest.raises(DemoError, match="does not answer"):
        thing.wait_until_answers(f"http://{LOOPBACK}:{port_for_later()}/", seconds=0)


def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    thing = Service("The thing", [str(tmp_path / "nothing")], environment={}, log=tmp_path / "log")
    with pytest.raises(DemoError, match="The thing cannot be started"), thing:
        pass


def test_stopping_ends_the_children_of_the_server_too(tmp_path: Path) -> None:
    sleep = "import time; time.sleep(60)"
    script = f"import subprocess as s, sys; print(s.Popen([sys.executable, '-c', {sleep!r}]).pid, flush=True); {sleep}"
    with service(tmp_path, script) as thing:
        grandchild = int(first_line(thing.log))
        assert alive(grandchild)
    eventually(lambda: not alive(grandchild))


def test_a_server_that_does_not_listen_is_ended_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "_STOP_SECONDS", 0.2)
    script = "import os, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(os.getpid(), flush=True)"
    with service(tmp_path, f"{script}; time.sleep(60)") as thing:
        pid = int(first_line(thing.log))
    assert not alive(pid)


def test_ctrl_c_in_the_terminal_does_not_reach_the_server(tmp_path: Path) -> None:
    with service(tmp_path, "import os, time; print(os.getpgrp(), flush=True); time.sleep(60)") as thing:
        assert int(first_line(thing.log)) not in (os.getpgrp(), 0)


def test_a_port_is_used_if_free_and_left_alone_if_taken() -> None:
    with socket.socket() as taken:
        taken.bind((LOOPBACK, 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert free_port(port) != port
    assert free_port(port) == port


def test_other_commands_find_the_demo_by_one_file_that_others_cannot_read(tmp_path: Path) -> None:
    folder = tmp_path / 'my "demo" # عقود'
    folder.mkdir()
    url = f"http://{LOOPBACK}:8081"
    for port in (9090, 9091):  # the next start may be at another port
        file = write_settings(folder, port=port, studio_url=url, token="secret", data_dir=folder / "backend")
        found = Settings.from_environment({"SETTINGS_FILE": str(file)})
        assert (found.port, found.data_dir) == (port, folder / "backend")
        assert (found.label_studio_url, found.label_studio_api_key) == (url, "secret")
        assert found.retrain_after == Settings().retrain_after
        assert file.stat().st_mode & 0o777 == 0o600
    file = write_settings(
        folder, port=9090, studio_url=url, token="secret", data_dir=folder / "backend", retrain_after=0
    )
    assert Settings.from_environment({"SETTINGS_FILE": str(file)}).retrain_after == 0
