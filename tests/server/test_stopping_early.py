"""A server that is told to stop while its model loads ends in peace, and takes no event that it does not keep."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from tests.patience import SECONDS
from tests.ports import port_for_later

ROOT = Path(__file__).parents[2]


def test_a_stop_just_after_the_start_is_no_crash(tmp_path: Path) -> None:
    port = port_for_later()
    environment = os.environ | {"DATA_DIR": str(tmp_path), "DATABASE_URL": "", "MODEL": "bundled", "LOG_LEVEL": "ERROR"}
    command = [sys.executable, "-m", "backend", "serve", "--port", str(port)]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True) as process:
        body = b'{"action": "START_TRAINING", "project": {"id": 1}}'
        status = None
        give_up = time.monotonic() + SECONDS
        while time.monotonic() < give_up:
            connection = HTTPConnection("127.0.0.1", port, timeout=SECONDS)
            try:
                # The first thing that it answers is an event: that needs no model.
                connection.request("POST", "/webhook", body, {"Content-Type": "application/json"})
                status = connection.getresponse().status
                break
            except (OSError, HTTPException):
                assert process.poll() is None
                time.sleep(0.05)
            finally:
                connection.close()
        process.send_signal(signal.SIGTERM)
        _, told = process.communicate(timeout=SECONDS)
    assert status == 200
    assert process.returncode == 0
    assert "SIGABRT" not in told
    assert "terminate called" not in told


def test_a_stop_while_a_model_loads_and_does_not_end_is_no_crash(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.server.endless_load", str(tmp_path), str(port_for_later())]
    environment = os.environ | {"DATABASE_URL": ""}
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "loading\n", "and goes on"
        process.send_signal(signal.SIGTERM)
        _, told = process.communicate(timeout=SECONDS)
    assert process.returncode == 0
    assert "SIG" not in told, "gunicorn names the signal that a worker was ended by"
    assert "terminate called" not in told
