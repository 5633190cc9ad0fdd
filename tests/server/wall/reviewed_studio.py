"""A Label Studio of one project that keeps tasks, predictions and annotations, as much of it as the wall speaks to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import httpx2

from backend.labelstudio.client import LabelStudio
from tests.corrections.annotating import CONFIG, HEIGHT, WIDTH, drawn, iso

__all__ = ["ADA", "BOB", "ReviewedStudio"]

ADA, BOB = 1, 2
USERS = [
    {"id": ADA, "first_name": "Ada", "last_name": "L", "email": "ada@example.org"},
    {"id": BOB, "first_name": "", "last_name": "", "email": "bob@example.org"},
]


class ReviewedStudio:
    """Attributes:
    tasks: By id; each has `predictions` and `annotations` in Label Studio's shape.
    calls: Method and path of each request.
    troubles: Statuses that come in place of the next answers, by method and path.
    """

    def __init__(self, config: str = CONFIG) -> None:
        self.config = config
        self.tasks: dict[int, dict[str, Any]] = {}
        self.calls: list[tuple[str, str]] = []
        self.troubles: dict[tuple[str, str], int] = {}
        self.now = 1_000.0
        self._last = 100

    def client(self, _project: str = "1") -> LabelStudio:
        return LabelStudio("http://studio.test", "token", transport=httpx2.MockTransport(self._answer))

    def add(self, task: int, *regions: Mapping[str, Any]) -> None:
        """A task with a prediction of these regions."""
        data = {"pages": [f"/data/upload/1/t{task}p{page}" for page in range(2)]}
        prediction = {"id": 1000 + task, "result": [dict(one) for one in regions], "model_version": "v1"}
        self.tasks[task] = {
            "id": task,
            "project": 1,
            "data": data,
            "predictions": [prediction],
            "annotations": [],
        }

    def annotate(self, task: int, *regions: Mapping[str, Any], by: int = BOB, **fields: Any) -> dict[str, Any]:
        """Somebody saves an annotation in the editor."""
        self.now += 1
        self._last += 1
        made = {
            "id": self._last,
            "task": task,
            "project": 1,
            "result": [dict(one) for one in regions],
            "completed_by": by,
            "was_cancelled": False,
            "lead_time": 5.0,
            "created_at": iso(self.now),
            "updated_at": iso(self.now),
            "parent_prediction": None,
        } | fields
        self.tasks[task]["annotations"].append(made)
        return made

    def annotation(self, identity: int) -> dict[str, Any]:
        return next(one for task in self.tasks.values() for one in task["annotations"] if one["id"] == identity)

    def labels(self, task: int) -> list[dict[str, str]]:
        """Of each annotation of a task: the label of each region."""
        return [
            {one["id"]: one["value"]["rectanglelabels"][0] for one in annotation["result"] if "value" in one}
            for annotation in self.tasks[task]["annotations"]
        ]

    def _answer(self, request: httpx2.Request) -> httpx2.Response:
        path = request.url.path
        self.calls.append((request.method, path))
        trouble = self.troubles.pop((request.method, path), None)
        if trouble:
            return httpx2.Response(trouble, json={"detail": "trouble"})
        parts = path.strip("/").split("/")
        status, body = self._read(parts) if request.method == "GET" else self._write(request, parts)
        return httpx2.Response(status, json=body)

    def _read(self, parts: list[str]) -> tuple[int, Any]:
        found: dict[tuple[str, ...], Any] = {
            ("api", "projects", "1"): {"id": 1, "title": "Leases", "label_config": self.config},
            ("api", "projects"): {"results": [{"id": 1, "title": "Leases <b>"}]},
            ("api", "current-user", "whoami"): USERS[0],
            ("api", "users"): USERS,
            **{("api", "tasks", str(identity)): task for identity, task in self.tasks.items()},
        }
        return (200, found[tuple(parts)]) if tuple(parts) in found else (404, {"detail": "Not found."})

    def _write(self, request: httpx2.Request, parts: list[str]) -> tuple[int, Any]:
        match request.method, parts:
            case "POST", ["api", "tasks", task, "annotations"]:
                body = {"completed_by": ADA} | json.loads(request.content)
                return 201, self.annotate(int(task), *body.pop("result"), **_by(body))
            case "PATCH", ["api", "annotations", identity]:
                self.now += 1
                found = self.annotation(int(identity))
                found.update(json.loads(request.content), updated_at=iso(self.now))
                return 200, found
            case "DELETE", ["api", "annotations", identity]:
                for one in self.tasks.values():
                    one["annotations"] = [kept for kept in one["annotations"] if kept["id"] != int(identity)]
                return 204, None
        return 404, {"detail": "Not found."}


def _by(body: dict[str, Any]) -> dict[str, Any]:
    return {"by": body.pop("completed_by"), **body}


def shown_region(region: str, label: str, *, x: float = 20.0, page: int = 0, **extra: Any) -> dict[str, Any]:
    """A region of a prediction, 100 by 60 pixels of the annotating module's pages."""
    assert x + 100 <= WIDTH
    assert HEIGHT > 80
    return drawn(region, label, (x, 20.0, x + 100, 80.0), page=page, score=0.8, **extra)
