"""A loopback server that speaks as Label Studio and as a cloud store, well and badly."""

from __future__ import annotations

import functools
import gzip
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote

import pytest

from backend.settings import Settings
from tests.pages.files import packed, picture
from tests.patience import SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TOKEN = "Bearer good"


@dataclass
class Seen:
    """One request as the server got it."""

    path: str
    authorization: str | None


@dataclass
class Studio:
    """The server as tests see it: where it is, what it was asked, and the event that releases held answers."""

    port: int
    requests: list[Seen] = field(default_factory=list)
    release: threading.Event = field(default_factory=threading.Event)
    routes: dict[str, Callable[[Handler], None]] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def elsewhere(self) -> str:
        """The same server under another name: another host, to the program."""
        return f"http://localhost:{self.port}"


class Handler(BaseHTTPRequestHandler):
    """Answers from the routes of its studio."""

    protocol_version = "HTTP/1.1"
    studio: ClassVar[Studio]

    def do_GET(self) -> None:
        self.studio.requests.append(Seen(self.path, self.headers.get("Authorization")))
        self.close_connection = True
        route = self.studio.routes.get(self.path.partition("?")[0])
        try:
            if route is None:
                self.reply(404, b"no such page")
            else:
                route(self)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the client stopped reading, as it should of the bad answers

    def reply(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), "Connection": "close", **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def redirect(self, target: str, status: int = 302) -> None:
        self.reply(status, b"", Location=target)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the base class's
        """Says nothing: tests look at `Studio.requests`."""


def authorised(body: bytes) -> Callable[[Handler], None]:
    """The body to whoever brings the token, 401 to others."""
    return lambda handler: (
        handler.reply(200, body) if handler.headers.get("Authorization") == TOKEN else handler.reply(401, b"{}")
    )


def _drip_body(handler: Handler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "1000000")
    handler.end_headers()
    while not handler.studio.release.wait(0.02):
        handler.wfile.write(b"x")


def _drip_head(handler: Handler) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    while not handler.studio.release.wait(0.02):
        handler.wfile.write(b"x")


def _endless(handler: Handler) -> None:
    """Declares nothing and never ends."""
    handler.send_response(200)
    handler.end_headers()
    while not handler.studio.release.is_set():
        handler.wfile.write(bytes(65536))


def _held(body: bytes) -> Callable[[Handler], None]:
    def answer(handler: Handler) -> None:
        assert handler.studio.release.wait(SECONDS)
        handler.reply(200, body)

    return answer


@functools.cache
def bomb() -> bytes:
    """30 kB that unpack to 30 MB."""
    return gzip.compress(bytes(30_000_000))


def _routes(studio: Studio, png: bytes) -> dict[str, Callable[[Handler], None]]:
    login = b"\n <!DOCTYPE html><html><title>Label Studio</title></html>"
    hop = studio.url + "/data/upload/hop"
    return {
        "/data/upload/1/page.png": authorised(png),
        "/label-studio/data/upload/1/page.png": authorised(png),
        "/data/local-files/": authorised(png),
        "/open/page.png": lambda h: h.reply(200, png),
        "/data/upload/forbidden": lambda h: h.reply(403, b"{}"),
        "/data/upload/gone": lambda h: h.reply(410, b""),
        "/data/upload/broken": lambda h: h.reply(500, b"Traceback: secret"),
        "/data/upload/empty": lambda h: h.reply(200, b""),
        "/data/upload/html": lambda h: h.reply(200, login, Content_Type="text/html"),
        "/data/upload/login": lambda h: h.redirect("/user/login/?next=/data/upload/login"),
        "/data/upload/drip": _drip_body,
        "/data/upload/drip-head": _drip_head,
        "/data/upload/endless": _endless,
        "/data/upload/large": lambda h: h.reply(200, bytes(2_000_001)),
        "/data/upload/bomb": lambda h: h.reply(200, bomb(), Content_Encoding="gzip"),
        "/data/upload/not-gzip": lambda h: h.reply(200, b"not gzip at all", Content_Encoding="gzip"),
        "/data/upload/lies": lambda h: (
            h.send_response(200),
            h.send_header("Content-Length", "99999"),
            h.end_headers(),
            h.wfile.write(png),
            None,
        )[-1],
        "/data/upload/held": _held(png),
        "/data/upload/loop": lambda h: h.redirect("/data/upload/loop"),
        "/data/upload/moved": lambda h: h.redirect("1/page.png"),
        "/data/upload/to-file": lambda h: h.redirect("file:///etc/passwd"),
        "/data/upload/to-user": lambda h: h.redirect("http://name:word@127.0.0.1/"),
        "/data/upload/elsewhere": lambda h: h.redirect(studio.elsewhere + "/open/page.png?X-Amz-Signature=s3cret"),
        "/data/upload/private": lambda h: h.redirect("https://10.0.0.7/page.png?X-Amz-Signature=s3cret"),
        "/data/upload/signed": lambda h: h.redirect(studio.elsewhere.replace("http", "https") + "/open/page.png"),
        "/open/signed": lambda h: h.redirect(studio.elsewhere.replace("http", "https") + "/open/page.png"),
        "/data/upload/loopback": lambda h: h.redirect("https://[::ffff:127.0.0.1]/page.png"),
        "/data/upload/public-http": lambda h: h.redirect("http://8.8.8.8/page.png"),
        "/open/away": lambda h: h.redirect("https://8.8.8.8/page.png"),
        **{
            f"/data/upload/hop{n}": lambda h, n=n: h.redirect(f"{hop}{n - 1}" if n > 1 else "1/page.png")
            for n in range(1, 8)
        },
        "/tasks/7/presign/": lambda h: h.redirect(studio.elsewhere + "/open/page.png?X-Amz-Signature=s3cret", 303),
        "/tasks/8/presign/": authorised(png),
    }


@pytest.fixture
def png() -> bytes:
    return packed(picture(), "PNG")


@pytest.fixture
def studio(png: bytes) -> Iterator[Studio]:
    handler = type("StudioHandler", (Handler,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    studio = Studio(port=server.server_address[1])
    studio.routes = _routes(studio, png)
    handler.studio = studio  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield studio
    studio.release.set()
    server.shutdown()
    server.server_close()
    thread.join()


class Access:
    """Way into the loopback studio, with or without a path prefix."""

    def __init__(self, base_url: str, token: str = TOKEN) -> None:
        self.base_url = base_url
        self.token = token

    def headers(self) -> dict[str, str]:
        return {"Authorization": self.token}

    def presigned(self, uri: str, task_id: int) -> str:
        return f"{self.base_url}/tasks/{task_id}/presign/?fileuri={quote(uri, safe='')}"


@pytest.fixture
def access(studio: Studio) -> Access:
    return Access(studio.url)


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Tight limits; and no proxy, which would take the loopback addresses away."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    return Settings(max_bytes=2_000_000, max_pixels=1_000_000, max_pages=4, fetch_timeout=SECONDS, render_dpi=72)


def wait_until(condition: Callable[[], bool]) -> None:
    """Waits for another thread's progress."""
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, "the other thread did not come that far"
        time.sleep(0.005)
