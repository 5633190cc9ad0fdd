"""A Label Studio of one project on loopback: as much of it as this program speaks to, its tasks made on demand."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

__all__ = ["LoopbackStudio"]

Json = dict[str, Any]
_PROJECT = 1
_TITLE = "contracts"


@dataclass
class LoopbackStudio:
    """What it holds, open to those who look; its tasks bear the ids from 1 to `tasks`.

    Attributes:
        label_config: Of its one project, 1.
        tasks: How many tasks there are; each has one page, at an address of its own.
        pages: Image files, handed out in turn.
        predictions: Stored ones by task.
        annotations: By task.
        drafts: By task.
        data: Data of tasks that differ from the others.
        gone: Tasks that were deleted.
        imports: Requests that stored predictions.
        asked: Requests for tasks, by how many each wanted at most.
        troubles: Answers, by method and path, that come in place of the next ones; None closes the connection.
        before_page: Called before a page is handed out, with its number and the connection to the process that asks.
        after_import: Called with the ids of the tasks that got predictions; says whether the answer goes out.
    """

    label_config: str
    tasks: int
    pages: tuple[bytes, ...]
    predictions: dict[int, list[Json]] = field(default_factory=dict)
    annotations: dict[int, list[Json]] = field(default_factory=dict)
    drafts: dict[int, list[Json]] = field(default_factory=dict)
    data: dict[int, Json] = field(default_factory=dict)
    gone: set[int] = field(default_factory=set)
    imports: int = 0
    asked: list[int] = field(default_factory=list)
    troubles: dict[str, list[int | None]] = field(default_factory=dict)
    before_page: Callable[[int, socket.socket], object] = field(default=lambda *_: None)
    after_import: Callable[[Sequence[int]], bool] = field(default=lambda _: True)
    _last: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, task: int, version: str, **fields: Any) -> int:
        """Stores a prediction; gives its id."""
        with self._lock:
            self._last += 1
            one = {"result": [], "score": 1.0, **fields, "id": self._last, "task": task, "model_version": version}
            self.predictions.setdefault(task, []).append(one)
            return self._last

    def versions(self, task: int) -> list[str]:
        """Versions of a task's predictions, oldest first."""
        return [one["model_version"] for one in self.predictions.get(task, ())]

    @contextmanager
    def serving(self) -> Iterator[str]:
        """Gives the address while it serves."""
        studio = self

        class Handler(_Handler):
            held = studio

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
            server.server_close()

    def task(self, number: int, *, whole: bool) -> Json:
        """A task as the Data Manager gives it."""
        predictions = list(self.predictions.get(number, ()))
        data = self.data.get(number, {"image": f"/data/upload/1/{number}.png"})
        found = {
            "id": number,
            "project": _PROJECT,
            "updated_at": datetime.now(UTC).isoformat(),
            "data": data,
            "total_annotations": len(self.annotations.get(number, ())),
            "total_predictions": len(predictions),
            "predictions_model_versions": ",".join({one["model_version"] for one in predictions}),
        }
        return found | ({"predictions": predictions, "annotations": self.annotations.get(number, [])} if whole else {})

    def answer(self, query: Json, *, most: int, whole: bool) -> Json:
        """Answers a query of the Data Manager; only the conditions that `prelabel` makes are known."""
        with self._lock:
            self.asked.append(most)
            chosen = query.get("selectedItems", {}).get("included")
            if chosen is not None:
                ids = [one for one in sorted(chosen) if 0 < one <= self.tasks and one not in self.gone]
                return {"tasks": [self.task(one, whole=whole) for one in ids[:most]], "total": len(ids)}
            wanted = {
                (one["filter"].split(":")[-1], one["operator"]): one["value"] for one in query["filters"]["items"]
            }
            listed = wanted.pop(("id", "in_list"), None)
            if listed is not None:
                ids = [one for one in sorted(listed) if 0 < one <= self.tasks and one not in self.gone]
                return {"tasks": [self.task(one, whole=whole) for one in ids[:most]], "total": len(ids)}
            after = wanted.pop(("id", "greater"))
            rest = (one for one in range(after + 1, self.tasks + 1) if one not in self.gone)
            ids = [one for one in rest if all(self._meets(one, *key, value) for key, value in wanted.items())]
            return {"tasks": [self.task(one, whole=whole) for one in ids[:most]], "total": len(ids)}

    def _meets(self, task: int, column: str, operator: str, value: Any) -> bool:
        versions = self.versions(task)
        match column, operator:
            case "total_annotations", "equal":
                return bool(len(self.annotations.get(task, ())) == value)
            case "total_predictions", "greater":
                return bool(len(versions) > value)
            case "predictions_model_versions", "contains":
                return any(value[0] in one for one in versions)
            case "predictions_model_versions", "not_contains":
                return not any(value[0] in one for one in versions)
        raise NotImplementedError(f"{column} {operator}")

    def take(self, predictions: list[Json]) -> int | None:
        """Stores what is sent, all of it or nothing; gives the status, None where the answer is lost."""
        tasks = [one["task"] for one in predictions]
        if any(task in self.gone or not 0 < task <= self.tasks for task in tasks):
            return 400
        for one in predictions:
            self.add(one["task"], one["model_version"], result=one["result"], score=one["score"])
        self.imports += 1
        return 201 if self.after_import(tasks) else None

    def rewrite(self, prediction: int, fields: Json) -> int:
        """Changes a prediction; gives the status."""
        with self._lock:
            for stored in self.predictions.values():
                for place, one in enumerate(stored):
                    if one["id"] == prediction:
                        stored[place] = one | fields
                        return 200
        return 404

    def delete(self, prediction: int) -> int:
        """Deletes a prediction; gives the status."""
        with self._lock:
            for stored in self.predictions.values():
                for one in stored:
                    if one["id"] == prediction:
                        stored.remove(one)
                        return 204
        return 404


class _Handler(BaseHTTPRequestHandler):
    """Reads requests and writes answers."""

    protocol_version = "HTTP/1.1"
    # Head and body are sent apart: the body would wait 40 ms for the head to be acknowledged.
    disable_nagle_algorithm = True
    held: LoopbackStudio

    def handle(self) -> None:
        with suppress(ConnectionResetError):  # whoever was connected was killed
            super().handle()

    def do_GET(self) -> None:
        path, query = self._asked()
        if self._troubled("GET", path):
            return
        if path == "/api/projects/":
            named = query["title"] in _TITLE
            self._answer(200, {"results": [{"id": _PROJECT, "title": _TITLE}] if named else []})
        elif path == "/api/projects/1/":
            self._answer(200, {"id": _PROJECT, "title": _TITLE, "label_config": self.held.label_config})
        elif path == "/api/projects/1/summary/":
            self._answer(200, {"all_data_columns": {"image": self.held.tasks}})
        elif path == "/api/tasks/":
            whole = query.get("fields") == "all"
            self._answer(200, self.held.answer(json.loads(query["query"]), most=int(query["page_size"]), whole=whole))
        elif path == "/api/predictions/":
            self._answer(200, list(self.held.predictions.get(int(query["task"]), ())))
        elif path.startswith("/api/tasks/"):
            number = int(path.split("/")[3])
            there = 0 < number <= self.held.tasks and number not in self.held.gone
            drafts = {"drafts": self.held.drafts.get(number, [])}
            self._answer(200 if there else 404, self.held.task(number, whole=True) | drafts if there else {})
        elif path.startswith("/data/upload/1/") and path.endswith(".png"):
            name = path.rsplit("/", 1)[1].removesuffix(".png")
            if not name.isdecimal():
                self._answer(404, {})
                return
            self.held.before_page(int(name), self.connection)
            self._send(200, self.held.pages[int(name) % len(self.held.pages)], "image/png")
        else:
            self._answer(404, {})

    def do_POST(self) -> None:
        path, _ = self._asked()
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self._troubled("POST", path):
            return
        status = self.held.take(body) if path == "/api/projects/1/import/predictions" else 404
        if status is None:
            self.close_connection = True
        else:
            self._answer(status, {"created": len(body)})

    def do_PATCH(self) -> None:
        path, _ = self._asked()
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self._troubled("PATCH", path):
            return
        number = int(path.split("/")[3])
        if path.startswith("/api/predictions/"):
            self._answer(self.held.rewrite(number, body), {"id": number})
            return
        self.held.data[number] = body["data"]
        self._answer(200, {"id": number})

    def do_DELETE(self) -> None:
        path, _ = self._asked()
        if self._troubled("DELETE", path):
            return
        self._answer(self.held.delete(int(path.split("/")[3])), None)

    def _asked(self) -> tuple[str, dict[str, str]]:
        url = urlsplit(self.path)
        return url.path, {name: values[0] for name, values in parse_qs(url.query).items()}

    def _troubled(self, method: str, path: str) -> bool:
        waiting = self.held.troubles.get(f"{method} {path}")
        if not waiting:
            return False
        status = waiting.pop(0)
        if status is None:
            self.close_connection = True
        else:
            self._answer(status, {"detail": "trouble"})
        return True

    def _answer(self, status: int, body: Any) -> None:
        self._send(status, b"" if body is None else json.dumps(body).encode(), "application/json")

    def _send(self, status: int, data: bytes, kind: str) -> None:
        try:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # whoever asked was killed

    def log_message(self, *_: object) -> None:
        """Keeps quiet."""
