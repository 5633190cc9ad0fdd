"""Nothing leaves this host but what Label Studio asked for: not by a proxy of the environment, not to the Hub."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from backend.errors import BackendError
from backend.labelstudio.client import LabelStudio
from backend.models.hub_files import HubWay
from backend.models.original_model import Hub
from backend.models.serving import Sources
from backend.pages.fetch import is_public
from backend.pages.source import PageSource
from backend.settings import Settings
from tests.models.hub_server import LoopbackHub, serve

ROOT = Path(__file__).parents[1]
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")


class Listener:
    """A port that takes connections and says nothing; it remembers whether anybody came."""

    def __init__(self) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.came = 0
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            try:
                one, _ = self.socket.accept()
            except OSError:
                return
            self.came += 1
            one.close()


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Listener]:
    """A proxy that the environment names for everything."""
    listener = Listener()
    for name in PROXIES:
        monkeypatch.setenv(name, f"http://127.0.0.1:{listener.port}")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    yield listener
    listener.socket.close()


def test_no_page_and_no_token_takes_the_environments_proxy(proxy: Listener) -> None:
    settings = Settings(label_studio_url="http://127.0.0.1:9", fetch_timeout=600)
    with LabelStudio(settings.label_studio_url, "secret-token") as studio:
        with pytest.raises(BackendError):
            studio.version()
        with pytest.raises(BackendError):
            list(PageSource(settings, studio).pages("/data/upload/1/a.png"))
    assert proxy.came == 0


def test_the_hub_is_asked_directly_or_by_its_own_proxy(proxy: Listener, tmp_path: Path) -> None:
    with serve(LoopbackHub(b"weights")) as server:
        path, _ = Hub(folder=tmp_path, endpoint=server.address).download()
        assert path.read_bytes() == b"weights"
    assert proxy.came == 0
    chosen = Listener()
    with pytest.raises(BackendError):
        Hub(folder=tmp_path, endpoint="http://hub.test", way=HubWay(proxy=f"http://127.0.0.1:{chosen.port}")).download()
    assert (chosen.came > 0, proxy.came) == (True, 0)
    chosen.socket.close()


def test_auto_asks_the_hub_where_somebody_says_so_only(tmp_path: Path) -> None:
    assert not Sources.of(Settings(data_dir=tmp_path)).better_later()
    assert not Sources.of(Settings(data_dir=tmp_path, ask_hub=1, model="bundled")).better_later()


def test_a_hub_cannot_say_where_its_files_go(tmp_path: Path) -> None:
    class Hostile(LoopbackHub):
        def info(self) -> bytes:
            return json.dumps(json.loads(super().info()) | {"sha": "../../../outside"}).encode()

    with serve(Hostile(b"weights")) as server, pytest.raises(BackendError, match="names a commit that is none"):
        Hub(folder=tmp_path / "hub", endpoint=server.address).download()
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    ("host", "public"),
    [
        ("8.8.8.8", True),
        ("2606:4700:4700::1111", True),
        ("64:ff9b::8.8.8.8", True),  # by a NAT64, which networks of IPv6 alone need
        ("127.0.0.1", False),
        ("::1", False),
        ("::ffff:10.0.0.1", False),
        ("64:ff9b::10.0.0.1", False),
        ("64:ff9b:1::8.8.8.8", False),  # a NAT64 of somebody's own
        ("2002:7f00:1::", False),  # 6to4 of 127.0.0.1
        ("2002:a9fe:a9fe::1", False),  # 6to4 of 169.254.169.254
        ("::7f00:1", False),  # IPv4-compatible
        ("2001:0:4136:e378:8000:63bf:f5ff:fffe", False),  # Teredo of 10.0.0.1
        ("fe80::1%lo", False),
        ("fec0::1", False),
        ("ff02::1", False),
        ("0.0.0.0", False),  # noqa: S104  judged, not bound
    ],
)
def test_which_addresses_are_on_the_open_internet(host: str, public: bool) -> None:
    assert is_public(host) is public


SNIFFER = """
import os, socket, subprocess, sys
for command in ("link set lo up", "addr add 203.0.113.1/24 dev lo", "route add default dev lo"):
    subprocess.run(["ip", *command.split()], check=True)
# All ways lead to this interface, those to other hosts among them.
ears = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.ntohs(0x0003))
ears.bind(("lo", 0))
ears.settimeout(0.5)

def heard():
    \"\"\"Destinations of packets to other hosts than this one.\"\"\"
    found = set()
    while True:
        try:
            frame = ears.recv(65536)
        except TimeoutError:
            return found
        if frame[12:14] == b"\\x08\\x00" and frame[30] != 127:
            found.add(socket.inet_ntoa(frame[30:34]))
        if frame[12:14] == b"\\x86\\xdd" and frame[38:54] != bytes(15) + b"\\x01" and frame[38] != 0xFF:
            found.add(socket.inet_ntop(socket.AF_INET6, frame[38:54]))

probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
probe.sendto(b"x", ("198.51.100.1", 53))
assert heard() == {"198.51.100.1"}, "the sniffer hears nothing"
import threading
everything, over = set(), threading.Event()
def listen():
    while not over.is_set():
        everything.update(heard())
ear = threading.Thread(target=listen)
ear.start()
done = subprocess.run([sys.executable, "-c", os.environ["PROGRAM"]], capture_output=True, text=True)
over.set()
ear.join()
print(done.stdout[-2000:], done.stderr[-2000:], file=sys.stderr)
assert done.returncode == 0
assert everything == set(), everything
"""

JOB = """
import json, os, subprocess, sys, time, urllib.request as u
from pathlib import Path
direct = u.build_opener(u.ProxyHandler({})).open
server = subprocess.Popen([sys.executable, "-m", "backend", "serve", "--port", "9797"])
try:
    for _ in range(3000):
        try:
            state = json.load(direct("http://127.0.0.1:9797/health", timeout=600))
        except OSError:
            time.sleep(0.2); continue
        if state["model_state"] != "loading":
            break
        time.sleep(0.2)
    assert state["model_state"] == "ready", state
    config = ('<View><Image name="i" value="$image"/><RectangleLabels name="m" toName="i">'
              '<Label value="stamp"/></RectangleLabels></View>')
    def ask(path, body):
        data = json.dumps(body).encode()
        asked = u.Request(f"http://127.0.0.1:9797{path}", data, {"Content-Type": "application/json"})
        return json.load(direct(asked, timeout=600))
    ask("/setup", {"project": "1.1", "schema": config, "hostname": "http://127.0.0.1:8080", "access_token": "t"})
    tasks = [{"id": 1, "data": {"image": "/data/local-files/?d=page.png"}},
             {"id": 2, "data": {"image": "http://198.51.100.7/page.png"}},
             {"id": 3, "data": {"image": "https://example.com/page.png"}}]
    results = ask("/predict", {"tasks": tasks, "project": "1.1", "label_config": config})["results"]
    assert isinstance(results[0], dict) and results[1:] == [[], []], results
    ask("/webhook", {"action": "ANNOTATION_CREATED", "project": {"id": 1, "label_config": config},
                     "task": {"id": 1, "data": tasks[0]["data"]},
                     "annotation": {"id": 1, "task": 1, "project": 1, "result": [],
                                    "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z"}})
    time.sleep(3)
finally:
    server.terminate()
    assert server.wait(600) == 0
"""


def test_the_main_job_sends_no_packet_beyond_this_host(tmp_path: Path) -> None:
    """In a network of its own, with a way to the internet that ends in a sniffer."""
    able = shutil.which("unshare") and shutil.which("ip")
    if not able or subprocess.run(["unshare", "-rn", "true"], check=False, capture_output=True).returncode:
        pytest.skip("no network namespaces here (unshare, ip)")
    cv2.imwrite(str(tmp_path / "page.png"), np.full((400, 300, 3), 255, np.uint8))
    environment = os.environ | {
        "PROGRAM": JOB,
        "LOCAL_FILES_ROOT": str(tmp_path),
        "DATA_DIR": str(tmp_path / "data"),
        "DATABASE_URL": "",
        "STORAGE_URL": "",
        "LABEL_STUDIO_URL": "http://127.0.0.1:8080",
        "LABEL_STUDIO_API_KEY": "",
        "MODEL": "auto",
        "HTTPS_PROXY": "http://198.51.100.9:3128",
        "HTTP_PROXY": "http://198.51.100.9:3128",
    }
    done = subprocess.run(
        ["unshare", "-rn", sys.executable, "-c", SNIFFER],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
