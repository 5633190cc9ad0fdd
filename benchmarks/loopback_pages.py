"""A loopback Label Studio for a server that is harmed: what it hands out while the harm lasts.

It has one drawn page under as many addresses as there are tasks, some of them slow or hostile, and the state of each
annotation as it was saved last.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import cv2

from backend.synthetic.drawn_page import draw_page

__all__ = ["LoopbackPages", "loopback_pages"]

_SLOW_SECONDS = 30.0


class LoopbackPages:
    """Pages and annotations, as Label Studio hands them out.

    Attributes:
        hostile: Files by name, handed out under `/hostile/NAME`.
        held: The newest state of each annotation, by its id.
    """

    def __init__(self) -> None:
        pixels = draw_page(7, dpi=150).pixels
        self._jpeg = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))[1].tobytes()
        self.hostile: dict[str, bytes] = {}
        self.held: dict[int, dict[str, Any]] = {}

    def answer(self, path: str) -> tuple[str, bytes] | None:
        """Content type and body; None for what is not there."""
        kind, _, name = path.strip("/").partition("/")
        if kind == "hostile":
            return "application/octet-stream", self.hostile[name]
        if path.startswith("/api/annotations/"):
            found = self.held.get(int(name.split("/")[1]))
            return None if found is None else ("application/json", json.dumps(found).encode())
        if path.startswith("/data/upload/"):
            return "image/jpeg", self._jpeg
        if kind == "slow":
            time.sleep(_SLOW_SECONDS)
        return None


@contextmanager
def loopback_pages() -> Iterator[tuple[str, LoopbackPages]]:
    """The loopback Label Studio and its address."""
    pages = LoopbackPages()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = pages.answer(self.path.partition("?")[0])
            kind, body = found or ("application/json", b'{"detail": "Not found."}')
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Says nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

        def handle_error(self, *_: Any) -> None:
            """Who does not wait for a slow page closes its connection."""

    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", pages
    finally:
        server.shutdown()
        server.server_close()
