"""A project of Label Studio's after a history of payloads: its API answers in this process, as the real one does."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import httpx2

from backend.labelstudio.client import LabelStudio
from backend.labelstudio.json_fields import moment
from tests.corrections.annotating import CONFIG, iso

__all__ = ["TITLE", "Studio"]

PROJECT = 1
TITLE = "Leases"


class Studio:
    """Tasks with their annotations, told by events.

    Args:
        payloads: What happened before, in order.
        portion: The most tasks that one answer lists, whatever was asked for.

    Attributes:
        tasks: By their ids.
        label_config: The project's, as it is now.
        made: When the project was made, as the API tells it.
        predictions: What is stored for each task.
        listed: Ids of the tasks that were listed.
        meanwhile: What happens next, each before one more list is answered.
    """

    def __init__(self, *payloads: Mapping[str, Any], portion: int = 100) -> None:
        self.tasks: dict[int, dict[str, Any]] = {}
        self.label_config = CONFIG
        self.made: str | None = None
        self.predictions: dict[int, list[dict[str, Any]]] = {}
        self.listed: list[int] = []
        self.meanwhile: list[Callable[[], object]] = []
        self._portion = portion
        for at, payload in enumerate(payloads):
            self.happen(payload, at=2000.0 + at)

    def client(self) -> LabelStudio:
        """A client of this Label Studio."""
        return LabelStudio("http://studio.test", "token", transport=httpx2.MockTransport(self._answer))

    def add(self, *tasks: int, at: float = 1000.0) -> None:
        """Imports tasks that nobody annotates."""
        for task in tasks:
            data = {"pages": [f"/data/upload/1/t{task}p0"]}
            self.tasks[task] = {"id": task, "project": PROJECT, "data": data, "annotations": [], "updated_at": iso(at)}

    def happen(self, payload: Mapping[str, Any], *, at: float) -> None:
        """What an event tells of becomes so."""
        if payload["action"] == "TASKS_DELETED":
            for one in payload["tasks"]:
                self.tasks.pop(one["id"], None)
        elif payload["action"].endswith("DELETED"):
            gone = {one["id"] for one in payload["annotations"]}
            for task in self.tasks.values():
                kept = [one for one in task["annotations"] if one["id"] not in gone]
                if kept != task["annotations"]:
                    task.update(annotations=kept, updated_at=iso(at))
        elif "annotation" in payload:
            one = payload["annotation"]
            task = self.tasks.setdefault(one["task"], {**payload["task"], "annotations": []})
            others = [other for other in task["annotations"] if other["id"] != one["id"]]
            task.update(annotations=[*others, one], updated_at=iso(at))

    def _answer(self, request: httpx2.Request) -> httpx2.Response:
        parts = request.url.path.strip("/").split("/")
        if parts == ["api", "projects", str(PROJECT)]:
            described = {"id": PROJECT, "label_config": self.label_config, "created_at": self.made}
            return httpx2.Response(200, json=described)
        if parts == ["api", "predictions"]:
            return httpx2.Response(200, json=self.predictions.get(int(request.url.params["task"]), []))
        if parts[:2] == ["api", "projects"]:
            found = [{"id": PROJECT, "title": TITLE}] if request.url.params.get("title", "?") in TITLE else []
            return httpx2.Response(404 if parts[2:] else 200, json={"results": found})
        if parts == ["api", "tasks"]:
            return httpx2.Response(200, json=self._list(request.url.params))
        if parts[:2] == ["api", "annotations"]:
            held = (one for task in self.tasks.values() for one in task["annotations"])
            found = next((one for one in held if one["id"] == int(parts[2])), None)
            return httpx2.Response(200, json=found) if found else httpx2.Response(404, json={"detail": "Not found."})
        assert parts[:2] == ["api", "tasks"], f"the real one has more, but is not asked for {request.url.path}"
        task = self.tasks.get(int(parts[2]))
        return httpx2.Response(404, json={"detail": "Not found."}) if task is None else httpx2.Response(200, json=task)

    def _list(self, asked: Mapping[str, str]) -> dict[str, Any]:
        """Numbered pages of the tasks that fulfil the Data Manager's conditions, in its order."""
        assert asked["project"] == str(PROJECT)
        wanted = json.loads(asked.get("query", "{}"))
        if asked.get("fields") == "all" and self.meanwhile:
            self.meanwhile.pop(0)()
        found = sorted(self.tasks.values(), key=lambda task: int(task["id"]))
        for condition in wanted.get("filters", {}).get("items", ()):
            column = condition["filter"].removeprefix("filter:tasks:")
            if condition["operator"] == "in_list":
                found = [task for task in found if _column(task, column) in condition["value"]]
                continue
            assert condition["operator"] == "greater"
            # Any date may be asked for, also one before all that there can be.
            asked_for = condition["value"]
            bound = datetime.fromisoformat(asked_for).timestamp() if column == "updated_at" else asked_for
            found = [task for task in found if _column(task, column) > bound]
        for order in wanted.get("ordering", ()):
            column = order.lstrip("-").removeprefix("tasks:")
            found.sort(key=lambda task, column=column: _column(task, column), reverse=order.startswith("-"))
        size = min(int(asked["page_size"]), self._portion)
        start = size * (int(asked["page"]) - 1)
        shown = found[start : start + size]
        if asked.get("fields") == "all":
            self.listed += [task["id"] for task in shown]
            shown = [{**task, "predictions": self.predictions.get(task["id"], [])} for task in shown]
        return {"tasks": shown, "total": len(found)}


def _column(task: Mapping[str, Any], name: str) -> float:
    if name == "total_annotations":
        return float(sum(not one["was_cancelled"] for one in task["annotations"]))
    return moment(task[name]) if name == "updated_at" else float(task[name])
