"""A server on loopback that speaks as Label Studio 1.23 does, as far as importing, connecting and `doctor` ask it."""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx2
from flask import Flask, Response, abort, jsonify, request

from backend.labelstudio.client import LabelStudio
from tests.http_client import HTTP
from tests.patience import SECONDS
from tests.served import serving

TOKEN = "0123456789abcdef"
BLOCKED = "URL resolves to a reserved network address (block: 127.0.0.0/8)"


@dataclass
class Loopback:
    """What the server holds, and how it misbehaves.

    `before_commit` is called with the tasks of an import before they are there, `after_commit` when they are. Without
    `takes_backends` and `takes_webhooks` it refuses the addresses of either as private ones. With `asks_backends` it
    asks each backend how it is before it lists them. `cloud` are files in a bucket, by their references.
    """

    url: str = ""
    projects: dict[int, dict[str, Any]] = field(default_factory=dict)
    tasks: list[dict[str, Any]] = field(default_factory=list)
    uploads: dict[int, tuple[str, bytes]] = field(default_factory=dict)
    connections: dict[int, dict[str, Any]] = field(default_factory=dict)
    webhooks: dict[int, dict[str, Any]] = field(default_factory=dict)
    views: list[dict[str, Any]] = field(default_factory=list)
    makes_webhooks: bool = True
    takes_webhooks: bool = True
    takes_backends: bool = True
    asks_backends: bool = False
    passwords: dict[int, str] = field(default_factory=dict)
    cloud: dict[str, bytes] = field(default_factory=dict)
    before_commit: Callable[[list[Any]], None] = lambda _: None
    after_commit: Callable[[list[Any]], None] = lambda _: None
    refuse: dict[tuple[str, str], int] = field(default_factory=dict)
    ids: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    writes: list[str] = field(default_factory=list)

    def client(self) -> LabelStudio:
        return LabelStudio(self.url, TOKEN, timeout=SECONDS)

    def add_project(self, label_config: str, title: str = "contracts", **fields: Any) -> int:
        number = next(self.ids)
        plain = {"model_version": "", "show_collab_predictions": True, "total_annotations_number": 0}
        self.projects[number] = {"id": number, "title": title, "label_config": label_config, **plain, **fields}
        return number

    def documents(self) -> list[str]:
        """Names of the documents that there are tasks of, one for each task."""
        return [task["data"]["document"] for task in self.tasks]


@contextmanager
def loopback() -> Iterator[Loopback]:
    studio = Loopback()
    with serving(_app(studio)) as url:
        studio.url = url
        yield studio


def _app(studio: Loopback) -> Flask:
    app = Flask(__name__, static_folder=None)

    @app.before_request
    def check() -> Any:
        if request.path != "/api/version" and request.headers.get("Authorization") != f"Token {TOKEN}":
            return jsonify({"detail": "Invalid token."}), 401
        if status := studio.refuse.get((request.method, request.path)):
            return jsonify({"detail": "refused by the test"}), status
        if request.method != "GET":
            studio.writes.append(f"{request.method} {request.path}")
        return None

    _add_server(app)
    _add_projects(app, studio)
    _add_tasks(app, studio)
    _add_connections(app, studio)
    _add_webhooks(app, studio)
    return app


def _add_server(app: Flask) -> None:
    @app.get("/api/version")
    def version() -> Any:
        return {"release": "1.23.2"}

    @app.get("/api/current-user/whoami")
    def whoami() -> Any:
        return {"id": 1}


def _add_projects(app: Flask, studio: Loopback) -> None:
    @app.get("/api/projects/")
    def listed_project() -> Any:
        found = [one for one in studio.projects.values() if request.args["title"] in one["title"]]
        return {"results": found}

    @app.post("/api/projects/")
    def create_project() -> Any:
        body = dict(request.get_json())
        return studio.projects[studio.add_project(body.pop("label_config"), **body)], 201

    @app.get("/api/projects/<int:number>/")
    def one_project(number: int) -> Any:
        if number not in studio.projects:
            abort(404)
        return studio.projects[number] | {"task_number": sum(task["project"] == number for task in studio.tasks)}

    @app.patch("/api/projects/<int:number>/")
    def change_project(number: int) -> Any:
        studio.projects[number] |= request.get_json()
        return studio.projects[number]

    @app.get("/api/projects/<int:number>/summary/")
    def summary(number: int) -> Any:
        keys = [set(task["data"]) for task in studio.tasks if task["project"] == number]
        return {
            "common_data_columns": sorted(set.intersection(*keys)) if keys else [],
            "all_data_columns": dict.fromkeys(set().union(*keys), 1),
        }

    @app.get("/api/dm/columns/")
    def columns() -> Any:
        return {"columns": []}

    @app.get("/api/dm/views/")
    def tabs() -> Any:
        return jsonify([one for one in studio.views if one["project"] == int(request.args["project"])])

    @app.post("/api/dm/views/")
    def tab() -> Any:
        studio.views.append({"id": next(studio.ids), **request.get_json()})
        return studio.views[-1], 201


def _add_tasks(app: Flask, studio: Loopback) -> None:
    @app.post("/api/projects/<int:number>/import")
    def bring(number: int) -> Any:
        if "file" in request.files:
            file, upload = request.files["file"], next(studio.ids)
            studio.uploads[upload] = (str(file.filename), file.read())
            return {"file_upload_ids": [upload]}, 201
        body = request.get_json()
        studio.before_commit(body)
        made = [{"id": next(studio.ids), "project": number, "data": task["data"]} for task in body]
        studio.tasks += made
        studio.after_commit(body)
        return {"task_ids": [task["id"] for task in made]}, 201

    @app.get("/api/import/file-upload/<int:number>")
    def uploaded(number: int) -> Any:
        return {"id": number, "file": f"upload/1/{number:08x}-{studio.uploads[number][0]}"}

    @app.get("/api/tasks/")
    def tasks() -> Any:
        """As the Data Manager filters and sorts."""
        query = json.loads(request.args["query"])
        project, size, page = (int(request.args[name]) for name in ("project", "page_size", "page"))
        conditions = query.get("filters", {}).get("items", [])
        these = [
            {"annotations": [], "updated_at": "2026-01-01T00:00:00Z", **task}
            for task in studio.tasks
            if task["project"] == project and all(_holds(condition, task) for condition in conditions)
        ]
        if chosen := query.get("selectedItems"):
            these = [task for task in these if task["id"] in chosen["included"]]
        for order in query.get("ordering", []):
            these.sort(key=lambda task: task[order.partition(":")[2]], reverse=order.startswith("-"))
        return {"tasks": these[(page - 1) * size : page * size], "total": len(these)}

    @app.get("/api/projects/<int:number>/model-versions/")
    def model_versions(number: int) -> Any:
        theirs = [task for task in studio.tasks if task["project"] == number]
        return {str(one["model_version"]): 1 for task in theirs for one in task.get("predictions", ())}

    @app.patch("/api/tasks/<int:number>/")
    def change_task(number: int) -> Any:
        [task] = [task for task in studio.tasks if task["id"] == number]
        task["data"] = request.get_json()["data"]
        return task

    @app.get("/data/upload/1/<name>")
    def file(name: str) -> Any:
        number = int(name.partition("-")[0], 16)
        return Response(studio.uploads[number][1]) if number in studio.uploads else abort(404)

    @app.get("/tasks/<int:number>/presign/")
    def presigned(number: int) -> Any:
        data = studio.cloud.get(base64.urlsafe_b64decode(request.args["fileuri"]).decode())
        return Response(data) if data else abort(404)


def _holds(condition: dict[str, Any], task: dict[str, Any]) -> bool:
    """A condition on the id, a number of annotations or predictions, their versions, or a field of the data."""
    column, operator, value = (
        condition["filter"].removeprefix("filter:tasks:"),
        condition["operator"],
        condition["value"],
    )
    versions = [str(one["model_version"]) for one in task.get("predictions", ())]
    numbers = {
        "id": task["id"],
        "total_annotations": len(task.get("annotations", ())),
        "total_predictions": len(versions),
    }
    if column in numbers:
        return bool({"greater": numbers[column] > value, "equal": numbers[column] == value}[operator])
    if column == "predictions_model_versions":
        # As the real one, which takes a version for there where a longer one has it as its part.
        there = any(part in version for part in value for version in versions)
        return {"contains": there, "not_contains": not there}[operator]
    if operator == "empty":
        return (column.removeprefix("data.") in task["data"]) is not value
    assert operator == "in_list"
    return task["data"].get(column.removeprefix("data.")) in value


def _add_connections(app: Flask, studio: Loopback) -> None:
    @app.get("/api/ml/")
    def listed_connection() -> Any:
        listed = [one for one in studio.connections.values() if one["project"] == int(request.args["project"])]
        for one in listed if studio.asks_backends else ():
            _update(studio, one)
        return jsonify(listed)

    @app.get("/api/ml/<int:number>/versions")
    def versions(number: int) -> Any:
        answer, error = _asked(studio, studio.connections[number], "GET", "/versions")
        return (answer, 200) if not error else ({"error": error}, 401 if error.startswith("401") else 500)

    @app.post("/api/ml/")
    def create_connection() -> Any:
        if not studio.takes_backends:
            return jsonify({"detail": BLOCKED}), 403
        body = dict(request.get_json())
        if not isinstance(body.get("timeout", 100), int):
            return jsonify({"validation_errors": {"timeout": ["A valid number is required."]}}), 400
        password = body.pop("basic_auth_pass", "")
        body["basic_auth_pass_is_set"] = bool(password)
        number = next(studio.ids)
        studio.passwords[number] = password
        studio.connections[number] = {"id": number, "state": "CO", **body}
        project = studio.projects[body["project"]]
        if project["show_collab_predictions"] and not project["model_version"]:
            project["model_version"] = body["title"]
        if studio.makes_webhooks:
            _hook(studio, project=body["project"], url=body["url"].rstrip("/") + "/webhook")
        return studio.connections[number], 201

    @app.patch("/api/ml/<int:number>")
    def change_connection(number: int) -> Any:
        body = dict(request.get_json())
        one = studio.connections[number]
        project = studio.projects[one["project"]]
        if project["model_version"] == one["title"]:
            project["model_version"] = body["title"]
        if "basic_auth_pass" in body:
            studio.passwords[number] = body.pop("basic_auth_pass")
            body["basic_auth_pass_is_set"] = bool(studio.passwords[number])
        one |= body | {"state": "CO"}
        return one


def _update(studio: Loopback, one: dict[str, Any]) -> None:
    """What 1.23.2 does with each connection before it lists them."""
    _, error = _asked(studio, one, "GET", "/health")
    if error:
        one["state"] = "DI"  # an older message stays
        return
    schema = studio.projects[one["project"]]["label_config"]
    answer, error = _asked(studio, one, "POST", "/setup", json={"schema": schema})
    one |= {"state": "ER" if error else "CO", "error_message": error or None}
    one["model_version"] = answer.get("model_version") or one.get("model_version", "")


def _asked(studio: Loopback, one: dict[str, Any], method: str, path: str, **more: Any) -> tuple[dict[str, Any], str]:
    """What a backend answers, and what 1.23.2 says where it does not."""
    if not studio.takes_backends:
        return {}, BLOCKED
    auth = (one["basic_auth_user"], studio.passwords[one["id"]]) if one.get("basic_auth_user") else None
    try:
        answer = HTTP.request(method, one["url"].rstrip("/") + path, auth=auth, timeout=SECONDS, **more)
    except httpx2.HTTPError:
        return {}, "Max retries exceeded (Caused by NewConnectionError('[Errno 111] Connection refused'))"
    if answer.is_error:
        return {}, f"{answer.status_code} Client Error: {answer.reason_phrase} for url: {answer.url}"
    return answer.json(), ""


def _add_webhooks(app: Flask, studio: Loopback) -> None:
    @app.get("/api/webhooks/")
    def listed_webhook() -> Any:
        wanted = request.args.get("project", type=int)
        return jsonify([one for one in studio.webhooks.values() if wanted in (None, one["project"])])

    @app.post("/api/webhooks/")
    def create_webhook() -> Any:
        if not studio.takes_webhooks:
            return jsonify({"detail": BLOCKED}), 403
        if not isinstance(request.get_json().get("send_payload", True), bool):
            return jsonify({"validation_errors": {"send_payload": ["Must be a valid boolean."]}}), 400
        return _hook(studio, **request.get_json()), 201

    @app.patch("/api/webhooks/<int:number>/")
    def change_webhook(number: int) -> Any:
        # 1.23.2 forgets the actions that are not said again.
        studio.webhooks[number] |= {"actions": [], "updated_at": _now()} | request.get_json()
        return studio.webhooks[number]


def _now() -> str:
    return datetime.now(UTC).isoformat()


def _hook(studio: Loopback, **fields: Any) -> dict[str, Any]:
    number = next(studio.ids)
    plain = {"headers": {}, "is_active": True, "send_payload": True, "send_for_all_actions": True, "actions": []}
    studio.webhooks[number] = {"id": number, **plain, **fields}
    return studio.webhooks[number]
