"""What a server has freed goes back to the system, and a body that was read is held by nobody."""

from __future__ import annotations

import ctypes
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from flask import request

from backend.server.application import Freeing
from backend.server.lanes import Answer, Asked, Lanes
from tests.patience import SECONDS, eventually
from tests.server.conftest import payload

if TYPE_CHECKING:
    from flask import Flask
    from flask.testing import FlaskClient

ROOT = Path(__file__).parents[2]
PIECES, PIECE = 400, 100_000  # below the size from which the C library asks the system for each piece


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="only glibc keeps what was freed")
def test_holes_between_pieces_that_stay_go_back_after_some_work() -> None:
    clock = iter([0.0, 1.0, 3.0, 3.0])
    freeing = Freeing(worked=lambda: next(clock))
    pieces = [b"x" * PIECE for _ in range(PIECES)]
    pieces = pieces[::8]

    before = dirty()
    freeing.look()
    kept = dirty()
    freeing.look()

    assert len(pieces) == PIECES // 8
    assert kept > before - PIECES * PIECE / 4
    assert dirty() < before - PIECES * PIECE / 2


def dirty() -> int:
    """Bytes that this process alone has written to."""
    text = Path("/proc/self/smaps_rollup").read_text(encoding="ascii")
    return sum(1024 * int(line.split()[1]) for line in text.splitlines() if line.startswith("Private_Dirty:"))


def test_nobody_holds_the_body_of_a_request_that_is_worked_on() -> None:
    gone = threading.Event()

    class Body(bytes):
        def __del__(self) -> None:
            gone.set()

    def working(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        environ["wsgi.input"].close()
        start_response("200 OK", [])
        return [b"gone" if gone.wait(SECONDS) else b"held"]

    lanes, told = Lanes(working, threads=1), list[Answer]()
    lanes.submit(
        Asked(method="POST", target=b"/x", version="1.1", headers=(), body=Body(b"x"), client="", server=("x", 1)),
        told.append,
    )
    eventually(lambda: bool(told), "the answer")
    lanes.end()
    assert told[0].body == b"gone"


@pytest.mark.parametrize("path", ["/predict", "/setup", "/webhook"])
def test_a_body_that_was_parsed_is_not_kept(app: Flask, client: FlaskClient, path: str) -> None:
    kept: list[bool] = []

    @app.after_request
    def look(response: Any) -> Any:
        kept.append(not request.environ["wsgi.input"].closed or "_cached_data" in vars(request))
        return response

    client.post(path, json=payload("predict") if path == "/predict" else {"project": "1"})
    assert kept == [False]


_LARGE = """
from pathlib import Path
from backend.server.reception import return_bodies_at_once

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

return_bodies_at_once()
before, between = resident(), []
for _ in range(3):
    bodies = []
    for _ in range(8):
        bodies.append(bytearray(b"x") * 8_000_000)
        between.append(bytes(100_000))
    del bodies
print(resident() - before)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="only glibc keeps what was freed")
def test_what_large_bodies_took_goes_back_whatever_is_small_between_them() -> None:
    done = subprocess.run([sys.executable, "-c", _LARGE], cwd=ROOT, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 16_000_000
