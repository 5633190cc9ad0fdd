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
