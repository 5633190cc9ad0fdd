"""A Label Studio in memory that is told of the serving version, and asks for its predictions, as the real one does."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from backend.labelstudio.client import LabelStudio
from backend.labelstudio.connections import Connections
from backend.server.announcing import Announcer
from backend.server.predictor import Predictor
from backend.settings import Settings
from tests.server.conftest import MemoryPages, ToldPipeline, ToldServing

CONFIG = """<View><Image name="page" value="$image"/><RectangleLabels name="mark" toName="page"{}>
<Label value="signature"/><Label value="stamp"/><Label value="thumb"/></RectangleLabels></View>"""
OURS = "http://backend:9090"
_SECOND = 1000


@dataclass
class FakeStudio:
    """A Label Studio with some projects, that asks its backends for their version as the real one does.

    Attributes:
        configs: Label config by project; a project without one is not there.
        connections: What `/api/ml/` lists, by project.
        shown: `model_version` of each project.
        tasks: By project, each task's versions of predictions.
        answers: The version that this backend gives at the moment.
        failing: Paths that answer 500.
        away: Tasks whose page cannot be had: nothing is stored for them.
        doubled: Tasks whose prediction is stored twice, since somebody else asked for it as well.
        shapeless: Tasks whose predictions hold something else than regions.
        overwritten: How many renamings somebody undoes who listed the connections meanwhile: the real one then writes
            them back as it read them.
        asked: Method and path of each request.
        patches: Bodies of the PATCH requests.
    """

    configs: dict[int, str] = field(default_factory=dict)
    connections: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    shown: dict[int, str] = field(default_factory=dict)
    tasks: dict[int, dict[int, set[str]]] = field(default_factory=dict)
    answers: str = "v2"
    failing: set[str] = field(default_factory=set)
    away: set[int] = field(default_factory=set)
    doubled: set[int] = field(default_factory=set)
    shapeless: set[int] = field(default_factory=set)
    overwritten: int = 0
    asked: list[str] = field(default_factory=list)
    patches: list[dict[str, Any]] = field(default_factory=list)
    portions: list[list[int]] = field(default_factory=list)

    def add(self, project: int, *, title: str = "v1", tasks: int = 0, config: str = CONFIG.format("")) -> None:
        self.configs[project] = config
        self.connections[project] = [{"id": 10 * project, "url": OURS, "title": title, "model_version": title}]
        self.shown[project] = title
        self.tasks[project] = {number: {title} for number in range(1, tasks + 1)}

    def titles(self, project: int) -> list[str]:
        return [connection["title"] for connection in self.connections[project]]

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        path, query = request.url.path, request.url.params
        self.asked.append(f"{request.method} {path}")
        if path in self.failing:
            return httpx2.Response(500)
        if path.startswith(("/api/predictions/", "/api/tasks/")) and path.count("/") == 4:
            return self._one(int(path.split("/")[3]), delete=request.method == "DELETE")
        return self._answer(request, path, query)

    def _answer(self, request: httpx2.Request, path: str, query: httpx2.QueryParams) -> httpx2.Response:
        if path == "/api/predictions/" or path.endswith("/model-versions/"):
            return self._versions(path, query.get("task"))
        if path.startswith("/api/projects/"):
            config = self.configs.get(int(path.split("/")[3]))
            return httpx2.Response(404) if config is None else httpx2.Response(200, json={"label_config": config})
        if path.startswith("/api/ml/"):
            if request.method == "GET":
                return self._connected(int(query["project"]))
            return self._rename(json.loads(request.content), int(path.rsplit("/", 1)[1]))
        if path == "/api/tasks/":
            return self._outdated(int(query["project"]), json.loads(query["query"]), int(query["page_size"]))
        return self._retrieve(int(query["project"]), json.loads(request.content))

    def _versions(self, path: str, task: str | None) -> httpx2.Response:
        """Those of a project, each with how often; or those of a task."""
        if task is None:
            found = self.tasks[int(path.split("/")[3])].values()
            return httpx2.Response(200, json=Counter(version for versions in found for version in versions))
        return httpx2.Response(200, json=self._whole(int(task))["predictions"])

    def _one(self, number: int, *, delete: bool) -> httpx2.Response:
        """A task; or a second prediction is deleted."""
        if delete:
            self.doubled.remove(number - _SECOND)
        return httpx2.Response(204) if delete else httpx2.Response(200, json=self._whole(number))

    def _whole(self, task: int) -> dict[str, Any]:
        """A task with its predictions; of the version that is answered at the moment there may be two."""
        [versions] = [tasks[task] for tasks in self.tasks.values() if task in tasks]
        found = [{"id": task, "model_version": version} for version in sorted(versions)]
        found += [{"id": task + _SECOND, "model_version": self.answers}] if task in self.doubled else []
        result: object = 5 if task in self.shapeless else []
        return {"id": task, "project": 1, "data": {}, "predictions": [{**one, "result": result} for one in found]}

    def _connected(self, project: int) -> httpx2.Response:
        for connection in self.connections[project]:
            if connection["url"] == OURS:
                connection["model_version"] = self.answers
        return httpx2.Response(200, json=self.connections[project])

    def _rename(self, body: dict[str, Any], number: int) -> httpx2.Response:
        self.patches.append(body)
        [connection] = [one for one in self.connections[body["project"]] if one["id"] == number]
        if self.shown[body["project"]] == connection["title"]:
            self.shown[body["project"]] = body["title"]
        if self.overwritten > 0:
            self.overwritten -= 1
        else:
            connection["title"] = body["title"]
        return httpx2.Response(200, json=connection)

    def _outdated(self, project: int, query: dict[str, Any], most: int) -> httpx2.Response:
        """As the real one, which takes a version for there where a longer one has it as its part."""
        wanted = {item["filter"]: item for item in query["filters"]["items"]}
        condition = wanted["filter:tasks:predictions_model_versions"]
        contained = condition["operator"] == "contains"
        found = [
            {"id": number, "predictions_model_versions": ",".join(versions)}
            for number, versions in sorted(self.tasks[project].items())
            if number > wanted["filter:tasks:id"]["value"]
            and versions
            and any(part in version for part in condition["value"] for version in versions) is contained
        ]
        return httpx2.Response(200, json={"tasks": found[:most], "total": len(found)})

    def _retrieve(self, project: int, body: dict[str, Any]) -> httpx2.Response:
        self.portions.append(body["selectedItems"]["included"])
        for number in set(self.portions[-1]) - self.away:
            self.tasks[project][number].add(self.answers)
        return httpx2.Response(200, json={})


class Reached(Connections):
    """Ways into a fake Label Studio."""

    def __init__(self, settings: Settings, studio: FakeStudio, token: str) -> None:
        super().__init__(settings, source=MemoryPages())
        self._client = LabelStudio("http://studio.test", token, transport=httpx2.MockTransport(studio))

    def studio(self, project: str) -> LabelStudio:
        return self._client


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def announcer(studio: FakeStudio, pipeline: ToldPipeline, clock: Clock, folder: Path, **changes: Any) -> Announcer:
    token = changes.pop("token", "token")
    unread = changes.pop("unread", list)
    settings = Settings(data_dir=folder, **changes)
    connections = Reached(settings, studio, token)
    predictor = Predictor(settings, ToldServing(pipeline), connections, ledger=None)  # type: ignore[arg-type]
    return Announcer(settings, predictor, projects=lambda: list(studio.tasks), unread=lambda _: unread(), clock=clock)


def looks(one: Announcer, clock: Clock, *, times: int = 30, seconds: float = 1.0) -> None:
    for _ in range(times):
        one.look()
        clock.now += seconds
