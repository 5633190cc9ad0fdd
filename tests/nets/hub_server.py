"""A Hub on the loopback: the part of the Hugging Face protocol that one download uses."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from backend.nets.hub import FILENAME, REPOSITORY

__all__ = ["COMMIT", "LoopbackHub", "serve"]

COMMIT = "c0ffee" + "0" * 34


@dataclass
class LoopbackHub:
    """What the Hub holds, and what it was asked.

    Attributes:
        content: The checkpoint; None answers 404 to everything.
        sent: What really goes over the wire, when that is not `content`.
        cut: Bytes after which a connection is closed in the middle of the file.
        asked: Method and path of each request.
    """

    content: bytes | None
    sent: bytes | None = None
    cut: int | None = None
    asked: list[str] = field(default_factory=list)
    address: str = ""

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.content or b"").hexdigest()

    def info(self) -> bytes:
        size = len(self.content or b"")
        lfs = {"sha256": self.checksum, "size": size, "pointerSize": 134}
        siblings = [{"rfilename": FILENAME, "size": size, "blobId": "b" * 40, "lfs": lfs}]
        return json.dumps({"id": REPOSITORY, "modelId": REPOSITORY, "sha": COMMIT, "siblings": siblings}).encode()


@contextmanager
def serve(hub: LoopbackHub) -> Iterator[LoopbackHub]:
    """Serves `hub` on a free port, whose address it gets."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub))
    hub.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(hub: LoopbackHub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def log_message(self, *_: object) -> None:
            """Keeps the test's output clean."""

        def _answer(self, *, body: bool) -> None:
            path = self.path.split("?")[0]
            hub.asked.append(f"{self.command} {path}")
            if hub.content is not None and path.startswith(f"/api/models/{REPOSITORY}/revision/"):
                self._send(hub.info(), {"Content-Type": "application/json"}, body=body)
            elif hub.content is not None and path == f"/{REPOSITORY}/resolve/{COMMIT}/{FILENAME}":
                facts = {"ETag": f'"{hub.checksum}"', "X-Repo-Commit": COMMIT, "X-Linked-Size": str(len(hub.content))}
                self._send(hub.sent or hub.content, facts | {"X-Linked-Etag": f'"{hub.checksum}"'}, body=body)
            else:
                self.send_response(404)
                self.send_header("X-Error-Code", "RepoNotFound")
                self.send_header("Content-Length", "0")
                self.end_headers()

        def _send(self, content: bytes, headers: dict[str, str], *, body: bool) -> None:
            self.send_response(200)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if body and hub.cut is not None and len(content) > hub.cut:
                self.wfile.write(content[: hub.cut])
                self.close_connection = True
            elif body:
                self.wfile.write(content)

    return Handler
