"""What LOG_FORMAT=json promises to programs that read the log."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
_SCRIPT = """
import logging
from backend.terminal import begin_log

begin_log("INFO", form={form!r})
log = logging.getLogger("backend.somewhere")
log.info("predicted %s pages,\\nختم", 3)
log.debug("not shown")
try:
    raise ValueError("broken")
except ValueError:
    log.exception("failed")
"""


def logged(form: str) -> str:
    command = [sys.executable, "-c", _SCRIPT.format(form=form)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, encoding="utf-8")
    assert done.stdout == ""
    return done.stderr


def test_each_record_is_one_line_of_json() -> None:
    told, failed = map(json.loads, logged("json").splitlines())
    assert told["message"] == "predicted 3 pages,\nختم"
    assert (told["level"], told["logger"]) == ("INFO", "backend.somewhere")
    assert told["time"].endswith("+00:00")
    assert "ValueError: broken" in failed["exception"]


def test_people_read_text() -> None:
    assert "INFO backend.somewhere: predicted 3 pages" in logged("text")


_SERVER = """
import warnings
from gunicorn.config import Config
from backend.commands.serve import _Log
from backend.terminal import begin_log

begin_log("WARNING", form={form!r})
config = Config()
config.set("loglevel", "warning")  # as the server does
log = _Log(config)
log.setup(config)  # as when it reads its configuration once more
log.critical("WORKER TIMEOUT (pid:%s)\\n", 7)
log.info("not shown")
warnings.warn("old", stacklevel=1)
"""


def server_log(form: str) -> list[str]:
    command = [sys.executable, "-W", "default", "-c", _SERVER.format(form=form)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, encoding="utf-8")
    return done.stderr.splitlines()


def test_the_servers_own_log_and_warnings_have_the_same_form() -> None:
    told, warned = map(json.loads, server_log("json"))
    assert (told["level"], told["logger"]) == ("CRITICAL", "gunicorn.error")
    assert told["message"] == "WORKER TIMEOUT (pid:7)\n"
    assert "UserWarning: old" in warned["message"]
    assert "CRITICAL gunicorn.error: WORKER TIMEOUT (pid:7)\\u000a" in server_log("text")[0]
