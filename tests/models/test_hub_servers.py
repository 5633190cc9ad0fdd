"""A Hub that does not answer as one should holds nobody up, and costs no more than a bounded answer."""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from backend.errors import WeightsUnavailable
from backend.models.hub import pull, push, upload
from backend.models.hub_files import HubWay
from backend.models.original_model import FILENAME, REPOSITORY, Hub
from backend.models.promotion import Models
from backend.models.published import Facts, Registry
from tests.models.hub_server import LoopbackHub, serve
from tests.models.tiny import says
from tests.patience import SECONDS

ROOT = Path(__file__).parents[2]

# What the Hub's own client does when it uploads a large file (huggingface_hub 2.4).
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

Answer = Callable[[BaseHTTPRequestHandler], None]

SILENT_NAME_SERVER = """
import socket, subprocess, sys
from pathlib import Path
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
configured = Path(sys.argv[1]) / "resolv.conf"
configured.write_text("nameserver 127.0.0.1\\noptions timeout:30 attempts:5\\n")
subprocess.run(["mount", "--bind", str(configured), str(Path("/etc/resolv.conf").resolve())], check=True)
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.1", 53))
from backend.errors import WeightsUnavailable
from backend.models.hub_files import HubWay
from backend.models.original_model import Hub
try:
    Hub(folder=Path(sys.argv[1]), way=HubWay(silence=0.3)).download()
except WeightsUnavailable as error:
    print(error)
print(server.recv(512).count(b"hub"))
"""


@contextmanager
def answering(answer: Answer) -> Iterator[str]:
    """A server that gives one answer to everything; gives its address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            answer(self)
            self.close_connection = True

        def log_message(self, *_: object) -> None:
            """Keeps the test's output clean."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_name_server_that_says_nothing_is_waited_for_no_longer_than_a_silent_hub(tmp_path: Path) -> None:
    """The system would wait for minutes, as its resolver is told to here."""
    able = shutil.which("unshare") and shutil.which("ip")
    if not able or subprocess.run(["unshare", "-rmn", "true"], check=False, capture_output=True).returncode:
        pytest.skip("no namespaces of mounts and networks here (unshare, ip)")
    done = subprocess.run(
        ["unshare", "-rmn", sys.executable, "-c", SILENT_NAME_SERVER, str(tmp_path)],
        cwd=ROOT,
        env=os.environ | {"HF_ENDPOINT": "http://hub.example"},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    said, asked = done.stdout.splitlines()
    assert said == (
        f"{REPOSITORY} could not be fetched from http://hub.example: hub.example was not looked up in time; "
        "is the network well, and are HF_ENDPOINT and HUB_PROXY right?"
    )
    assert asked == "1"


def test_an_answer_that_comes_in_drops_has_an_end(tmp_path: Path) -> None:
    """A byte now and then is never silence, and would hold a thread for years."""
    over = threading.Event()

    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000000")
        handler.end_headers()
        while not over.wait(0.02):
            handler.wfile.write(b" ")

    with answering(drip) as address:
        hub = Hub(folder=tmp_path, endpoint=address, way=HubWay(whole=0.4))
        with pytest.raises(WeightsUnavailable, match="the time for all of it is over"):
            hub.download()
        over.set()


@pytest.mark.parametrize("packed", [True, False])
def test_an_answer_of_the_hubs_api_is_no_larger_than_one_can_be(packed: bool, tmp_path: Path) -> None:
    def much(handler: BaseHTTPRequestHandler) -> None:
        body = gzip.compress(bytes(64 << 20)) if packed else bytes(64 << 20)
        handler.send_response(200)
        handler.send_header("Content-Encoding", "gzip" if packed else "identity")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    with answering(much) as address, pytest.raises(WeightsUnavailable, match="answer is larger than 16777216 bytes"):
        Hub(folder=tmp_path, endpoint=address).download()


def test_what_stands_behind_a_redirect_is_not_read(tmp_path: Path) -> None:
    """The client would read it to its end before it goes on."""
    over = threading.Event()

    def onwards(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(302)
        handler.send_header("Location", "/elsewhere" + handler.path)
        handler.send_header("Content-Encoding", "gzip, gzip")
        handler.send_header("Content-Length", "100")
        handler.end_headers()
        handler.wfile.flush()
        over.wait(SECONDS)

    with answering(onwards) as address, pytest.raises(WeightsUnavailable, match="redirects"):
        Hub(folder=tmp_path, endpoint=address).download()
    over.set()


def test_a_hub_does_not_say_how_long_its_client_sleeps(models: Models, tmp_path: Path) -> None:
    """It may ask for a pause, which its client makes a second long, however long it was to be."""

    class Busy(LoopbackHub):
        refused = 0

        def storage_status(self) -> tuple[int, dict[str, str]]:
            self.refused += 1
            return (200, {}) if self.refused > 1 else (503, {"Retry-After": "86400"})

    name = models.publish(says("stamp", tmp_path / "candidate"), Facts(source="training")).name
    busy = Busy(None)
    with serve(busy) as hub:
        push(upload(models.get(name), Registry(models.folder).folder_of(name), "a/b"), endpoint=hub.address)
    assert busy.refused == 2
    assert "README.md" in hub.pushed["a/b"]


def test_the_hubs_client_keeps_our_ways_also_where_another_library_loads_it_first() -> None:
    """`datasets` does. Then it is too late to switch off what it reads once: Xet, and telling of its use."""
    loads = "import backend, datasets; from huggingface_hub import constants as hub"
    says = "print(hub.HF_HUB_DISABLE_XET, hub.HF_HUB_DISABLE_TELEMETRY)"
    plain = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}

    def said(**settings: str) -> str:
        command = [sys.executable, "-c", f"{loads}; {says}"]
        return subprocess.run(
            command, cwd=ROOT, env=plain | settings, check=True, capture_output=True, text=True
        ).stdout

    assert said() == "True True\n"
    assert said(HF_HUB_DISABLE_XET="0") == "False True\n", "who wants it sets the client's own variable"


def test_an_unfinished_file_is_not_left(tmp_path: Path) -> None:
    with serve(LoopbackHub(b"weights" * 1000, cut=100)) as server:
        hub = Hub(folder=tmp_path, endpoint=server.address)
        with pytest.raises(WeightsUnavailable, match="could not be fetched"):
            hub.download()
        assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
        server.cut = None
        assert hub.download()[0].name == FILENAME


def test_a_hub_that_is_not_there_is_said_with_the_way_out(models: Models, tmp_path: Path) -> None:
    nowhere = "http://127.0.0.1:9"
    with pytest.raises(WeightsUnavailable, match=r"a/b on http://127\.0\.0\.1:9: .*HF_ENDPOINT and HUB_PROXY right"):
        pull(models, "a/b", scratch=tmp_path, endpoint=nowhere)
