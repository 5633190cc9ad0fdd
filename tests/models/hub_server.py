"""A Hub on the loopback: the parts of the Hugging Face protocol that a download and an upload use."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from backend.models.original_model import FILENAME, REPOSITORY

__all__ = ["COMMIT", "LoopbackHub", "serve"]

COMMIT = "c0ffee" + "0" * 34


@dataclass
class LoopbackHub:
    """What the Hub holds, and what it was asked.

    Attributes:
        content: The original checkpoint; None for no such repository.
        sent: What really goes over the wire, when that is not `content`.
        cut: Bytes after which a connection is closed in the middle of the file.
        packing: What it says that its answers are packed as.
        asked: Method and path of each request.
        pushed: Files of the repositories that were made here, by repository and name.
        created: What each of them was to be, as the client asked for it.
        token: What an upload has to bear; None lets anybody in.
    """

    content: bytes | None
    sent: bytes | None = None
    cut: int | None = None
    packing: str = ""
    asked: list[str] = field(default_factory=list)
    pushed: dict[str, dict[str, bytes]] = field(default_factory=dict)
    created: dict[str, dict[str, object]] = field(default_factory=dict)
    token: str | None = None
    address: str = ""
    stored: dict[str, bytes] = field(default_factory=dict)

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.content or b"").hexdigest()

    def info(self) -> bytes:
        size = len(self.content or b"")
        lfs = {"sha256": self.checksum, "size": size, "pointerSize": 134}
        siblings = [{"rfilename": FILENAME, "size": size, "blobId": "b" * 40, "lfs": lfs}]
        return json.dumps({"id": REPOSITORY, "modelId": REPOSITORY, "sha": COMMIT, "siblings": siblings}).encode()

    def pushed_info(self, repository: str) -> bytes:
        siblings = [{"rfilename": name} for name in self.pushed[repository]]
        return json.dumps({"id": repository, "modelId": repository, "sha": COMMIT, "siblings": siblings}).encode()

    def storage_status(self) -> tuple[int, dict[str, str]]:
        """How a large file is taken: the status, and headers."""
        return 200, {}

    def commit(self, repository: str, lines: bytes) -> None:
        """Takes the files of a commit: small ones are in it, large ones were stored before, by their checksum."""
        for line in map(json.loads, lines.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                self.pushed[repository][value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                self.pushed[repository][value["path"]] = self.stored[value["oid"]]


@contextmanager
def serve(hub: LoopbackHub) -> Iterator[LoopbackHub]:
    """Serves `hub` on a free port, whose address it gets."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub))
    hub.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
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

        def do_POST(self) -> None:
            path, body = self._heard()
            if hub.token is not None and self.headers.get("Authorization") != f"Bearer {hub.token}":
                self._refuse(401)
            elif path == "/api/repos/create":
                wanted = json.loads(body)
                name = f"{wanted['organization']}/{wanted['name']}"
                hub.created[name] = wanted
                hub.pushed.setdefault(name, {})
                self._say({"url": f"{hub.address}/{name}"})
            elif path == "/api/validate-yaml":
                self._say({"errors": [], "warnings": []})
            elif "/preupload/" in path:
                files = [
                    {"path": file["path"], "uploadMode": _mode(file["path"]), "shouldIgnore": False}
                    for file in json.loads(body)["files"]
                ]
                self._say({"files": files})
            elif path.endswith("/info/lfs/objects/batch"):
                wanted = json.loads(body)["objects"]
                self._say({"transfer": "basic", "objects": [row | _upload(hub, row["oid"]) for row in wanted]})
            elif path.startswith("/api/models/") and "/commit/" in path:
                repository = path.removeprefix("/api/models/").split("/commit/")[0]
                hub.commit(repository, body)
                self._say({"commitUrl": f"{hub.address}/{repository}/commit/{COMMIT}", "commitOid": COMMIT})
            else:
                self._refuse(404)

        def do_PUT(self) -> None:
            path, body = self._heard()
            status, headers = hub.storage_status()
            if status == 200:
                hub.stored[path.rsplit("/", 1)[1]] = body
            self.send_response(status)
            for name, value in (headers | {"Content-Length": "0"}).items():
                self.send_header(name, value)
            self.end_headers()

        def _heard(self) -> tuple[str, bytes]:
            path = self.path.split("?")[0]
            hub.asked.append(f"{self.command} {path}")
            if self.headers.get("Transfer-Encoding") != "chunked":
                return path, self.rfile.read(int(self.headers["Content-Length"]))
            content = b""
            while size := int(self.rfile.readline(), 16):
                content += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return path, content

        def _say(self, answer: object) -> None:
            self._send(json.dumps(answer).encode(), {"Content-Type": "application/json"}, body=True)

        def _refuse(self, status: int) -> None:
            self.send_response(status)
            if status == 404:
                self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def _answer(self, *, body: bool) -> None:
            path = self.path.split("?")[0]
            hub.asked.append(f"{self.command} {path}")
            repository, file = _place(path)
            if hub.content is not None and path.startswith(f"/api/models/{REPOSITORY}/revision/"):
                self._send(hub.info(), {"Content-Type": "application/json"}, body=body)
            elif hub.content is not None and path == f"/{REPOSITORY}/resolve/{COMMIT}/{FILENAME}":
                facts = {"ETag": f'"{hub.checksum}"', "X-Repo-Commit": COMMIT, "X-Linked-Size": str(len(hub.content))}
                self._send(hub.sent or hub.content, facts | {"X-Linked-Etag": f'"{hub.checksum}"'}, body=body)
            elif file is None and repository in hub.pushed:
                self._send(hub.pushed_info(repository), {"Content-Type": "application/json"}, body=body)
            elif file is not None and file in hub.pushed.get(repository, {}):
                content = hub.pushed[repository][file]
                checksum = hashlib.sha256(content).hexdigest()
                self._send(content, {"ETag": f'"{checksum}"', "X-Repo-Commit": COMMIT}, body=body)
            else:
                self._refuse(404)

        def _send(self, content: bytes, headers: dict[str, str], *, body: bool) -> None:
            self.send_response(200)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            if hub.packing:
                self.send_header("Content-Encoding", hub.packing)
            self.end_headers()
            if body and hub.cut is not None and len(content) > hub.cut:
                self.wfile.write(content[: hub.cut])
                self.close_connection = True
            elif body:
                self.wfile.write(content)

    return Handler


def _place(path: str) -> tuple[str, str | None]:
    """The repository that a path is about, and the file in it, if it is about one."""
    if path.startswith("/api/models/"):
        return path.removeprefix("/api/models/").split("/revision/")[0], None
    repository, _, rest = path.removeprefix("/").partition("/resolve/")
    return repository, rest.partition("/")[2] or None


def _mode(path: str) -> str:
    return "lfs" if path.endswith(".onnx") else "regular"


def _upload(hub: LoopbackHub, oid: str) -> dict[str, object]:
    """Where the Hub wants a large file; nowhere, when it has it."""
    return {} if oid in hub.stored else {"actions": {"upload": {"href": f"{hub.address}/storage/{oid}"}}}
