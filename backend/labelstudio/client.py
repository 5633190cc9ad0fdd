"""Label Studio's REST API: the few calls that this program needs."""

from __future__ import annotations

import base64
import json
import mimetypes
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx2

from backend.errors import LabelStudioError
from backend.labelstudio.api_access import ApiAccess

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

__all__ = ["LabelStudio"]

_PAGE_SIZE = 100
# Label Studio waits 100 s for a backend's predictions, inside the request that asked it to retrieve them.
_RETRIEVE_SECONDS = 120.0


class LabelStudio(ApiAccess):
    """The calls of one Label Studio's API.

    Example:
        >>> with LabelStudio("http://localhost:8080", token) as studio:  # doctest: +SKIP
        ...     project = studio.create_project("contracts", label_config)
        ...     page = studio.upload(project, "page.jpg", data)
        ...     studio.import_tasks(project, [{"image": page}])
    """

    def presigned(self, uri: str, task_id: int) -> str:
        """Address at which Label Studio resolves a cloud `uri` of a task: a redirect to the storage, or the file."""
        encoded = base64.urlsafe_b64encode(uri.encode()).decode()
        return f"{self.base_url}/tasks/{task_id}/presign/?fileuri={quote(encoded)}"

    def version(self) -> str:
        """Label Studio's release, such as `1.23.2`."""
        return str(self.call("GET", "/api/version")["release"])

    def create_project(self, title: str, label_config: str, **options: Any) -> int:
        """Creates a project and gives its id; `options` are further fields of Label Studio's project."""
        body = {"title": title, "label_config": label_config, **options}
        return int(self.call("POST", "/api/projects/", json=body)["id"])

    def find_project(self, title: str) -> int | None:
        """Id of the newest project of exactly that title."""
        found = self.call("GET", "/api/projects/", params={"title": title, "page_size": _PAGE_SIZE})["results"]
        return max((int(project["id"]) for project in found if project["title"] == title), default=None)

    def project(self, project: int) -> dict[str, Any]:
        """A project's fields, `label_config` and `model_version` among them."""
        return dict(self.call("GET", f"/api/projects/{project}/"))

    def upload(self, project: int, name: str, data: bytes) -> str:
        """Uploads a file without making a task of it; gives its reference for a task's data, `/data/upload/…`."""
        kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
        path = f"/api/projects/{project}/import"
        answer = self.call("POST", path, params={"commit_to_project": "false"}, files={"file": (name, data, kind)})
        stored = self.call("GET", f"/api/import/file-upload/{answer['file_upload_ids'][0]}")
        return f"/data/{stored['file']}"

    def import_tasks(self, project: int, tasks: Sequence[Mapping[str, Any]]) -> list[int]:
        """Creates one task for each mapping of task data, such as `{"image": reference}`; gives their ids, in order."""
        body = [{"data": dict(task)} for task in tasks]
        answer = self.call("POST", f"/api/projects/{project}/import", params={"return_task_ids": "true"}, json=body)
        return [int(task) for task in answer["task_ids"]]

    def create_tab(self, project: int, title: str, *, shown: Collection[str] = (), **options: Any) -> int:
        """Creates a tab of the data manager with its usual columns and, in the list, those of `shown`; gives its id.

        `options` are further fields of Label Studio's tab, such as `filters` and `ordering`.

        A project without a tab gets one in the browser, on the first visit, which then loads an opened task twice at a
        time: the editor can end up without the task's predictions (seen in 1.23.2).
        """
        columns = self.call("GET", "/api/dm/columns/", params={"project": project})["columns"]
        hidden = {
            place: [
                f"{column['target']}:{column['id']}"
                for column in columns
                if not column.get("visibility_defaults", {}).get(place, True) and column["id"] not in also
            ]
            for place, also in (("explore", shown), ("labeling", ()))
        }
        body = {"project": project, "data": {"title": title, "hiddenColumns": hidden, **options}}
        return int(self.call("POST", "/api/dm/views/", json=body)["id"])

    def tabs(self, project: int) -> list[str]:
        """Titles of the data manager's tabs, in their order."""
        found = self.call("GET", "/api/dm/views/", params={"project": project})
        return [str(tab["data"].get("title") or "") for tab in found]

    def tasks(self, project: int, *, since: float | None = None, annotated: bool = False) -> Iterator[dict[str, Any]]:
        """The tasks of a project with their annotations and predictions, by rising id, a portion at a time.

        Each portion begins behind the last task of the one before. So tasks that are made, changed or deleted meanwhile
        move no other task out of it, as numbered pages would. Their data are as imported, which is what events and
        requests for predictions bring as well: a document is known by them.

        Args:
            project: The project's id.
            since: Only tasks that changed after this moment, in seconds since the epoch.
            annotated: Only tasks with an annotation that is no skip.
        """
        wanted = [] if since is None else [_changed_after(since)]
        wanted += [_filter("total_annotations", "greater", "Number", 0)] if annotated else []
        after = 0
        while True:
            filters = {"conjunction": "and", "items": [_filter("id", "greater", "Number", after), *wanted]}
            query = json.dumps({"filters": filters, "ordering": ["tasks:id"]})
            place = {"project": project, "page": 1, "page_size": _PAGE_SIZE, "fields": "all", "query": query}
            answer = self.call("GET", "/api/tasks/", params={**place, "resolve_uri": "false"})
            yield from answer["tasks"]
            # Less than a portion says nothing: Label Studio has a limit of its own (TASK_API_PAGE_SIZE_MAX).
            if not answer["tasks"] or len(answer["tasks"]) >= answer["total"]:
                return
            after = int(answer["tasks"][-1]["id"])

    def tasks_by_id(self, project: int, ids: Sequence[int]) -> Iterator[dict[str, Any]]:
        """Those of some tasks that a project has, with their data as imported, and all of their annotations."""
        filters = {"conjunction": "and", "items": [_filter("id", "in_list", "Number", list(ids))]}
        query = json.dumps({"filters": filters, "ordering": ["tasks:id"]})
        asked = {"project": project, "page_size": _PAGE_SIZE, "fields": "all", "resolve_uri": "false", "query": query}
        seen, number = 0, 1
        while ids:
            answer = self.call("GET", "/api/tasks/", params={**asked, "page": number})
            yield from answer["tasks"]
            seen, number = seen + len(answer["tasks"]), number + 1
            if not answer["tasks"] or seen >= answer["total"]:
                return

    def has_task(self, task: int) -> bool:
        """Whether there is a task of this id."""
        try:
            self.call("GET", f"/api/tasks/{task}/")
        except LabelStudioError as error:
            if error.answered != httpx2.codes.NOT_FOUND:
                raise
            return False
        return True

    def newest_change(self, project: int) -> str | None:
        """When a task of a project last changed, in ISO 8601 and by Label Studio's clock; None where it has no task."""
        query = json.dumps({"ordering": ["-tasks:updated_at"]})
        place = {"project": project, "page": 1, "page_size": 1, "query": query}
        return next((str(task["updated_at"]) for task in self.call("GET", "/api/tasks/", params=place)["tasks"]), None)

    def outdated_tasks(self, project: int, version: str, *, after: int = 0, most: int = _PAGE_SIZE) -> list[int]:
        """Ids of tasks, ascending, that nobody annotated and that have predictions, but none of a version.

        Label Studio compares versions by their parts: `v1` counts as there where only `v1-t0.3` is. Where a project has
        such longer versions, their tasks are looked at one by one.

        Args:
            project: The project's id.
            version: The model version.
            after: Only tasks of a higher id.
            most: How many at most.
        """
        found = [int(task["id"]) for task in self._open_tasks(project, "not_contains", [version], after, most)["tasks"]]
        longer = [one for one in self.model_versions(project) if _is_longer(one, version)]
        mistaken = self._mistaken_tasks(project, version, longer, after) if longer else iter(())
        return sorted([*found, *islice(mistaken, most)])[:most]

    def model_versions(self, project: int) -> list[str]:
        """The versions that a project has predictions of."""
        return [str(version) for version in self.call("GET", f"/api/projects/{project}/model-versions/")]

    def _mistaken_tasks(self, project: int, version: str, longer: Sequence[str], after: int) -> Iterator[int]:
        """Ids of tasks that have a longer version and not this one, ascending."""
        while True:
            answer = self._open_tasks(project, "contains", longer, after, _PAGE_SIZE)
            for task in answer["tasks"]:
                # Both versions beside each other are the rule. The text that lists them ends somewhere, so that it can
                # say that one is there, but not that it is not.
                listed = str(task.get("predictions_model_versions") or "").split(",")
                if version not in map(str.strip, listed) and not self._has_prediction(int(task["id"]), version):
                    yield int(task["id"])
            if not answer["tasks"] or len(answer["tasks"]) >= answer["total"]:
                return
            after = int(answer["tasks"][-1]["id"])

    def _has_prediction(self, task: int, version: str) -> bool:
        return any(one["model_version"] == version for one in self.predictions(task))

    def _open_tasks(self, project: int, operator: str, versions: Sequence[str], after: int, most: int) -> Any:
        """Tasks that nobody annotated and that have predictions, some of these versions or none of them."""
        filters = [
            _filter("id", "greater", "Number", after),
            _filter("total_annotations", "equal", "Number", 0),
            _filter("total_predictions", "greater", "Number", 0),
            _filter("predictions_model_versions", operator, "List", list(versions)),
        ]
        query = json.dumps({"filters": {"conjunction": "and", "items": filters}, "ordering": ["tasks:id"]})
        place = {"project": project, "page": 1, "page_size": most, "resolve_uri": "false", "query": query}
        return self.call("GET", "/api/tasks/", params=place)

    def predictions(self, task: int) -> list[dict[str, Any]]:
        """The predictions stored for a task."""
        return list(self.call("GET", "/api/predictions/", params={"task": task}))

    def retrieve_predictions(self, project: int, tasks: Sequence[int] | None = None) -> None:
        """Does what "Retrieve Predictions" does, for the given tasks or all of them; returns when they are stored."""
        everything = {"all": True, "excluded": []}
        body = {"selectedItems": everything if tasks is None else {"all": False, "included": list(tasks)}}
        query = {"id": "retrieve_tasks_predictions", "project": project}
        patience = max(_RETRIEVE_SECONDS, self._timeout)
        self.call("POST", "/api/dm/actions/", params=query, json=body, timeout=patience)

    def annotation(self, annotation: int) -> dict[str, Any]:
        """An annotation as it is now."""
        return dict(self.call("GET", f"/api/annotations/{annotation}/"))

    def backends(self, project: int) -> list[dict[str, Any]]:
        """The ML backends connected to a project; Label Studio asks each for its health first."""
        return list(self.call("GET", "/api/ml/", params={"project": project}))

    def connect_backend(
        self,
        project: int,
        url: str,
        *,
        title: str,
        description: str = "",
        interactive: bool = False,
        basic_auth: tuple[str, str] | None = None,
    ) -> int:
        """Connects an ML backend to a project; gives the connection's id.

        The title should be the model version: Label Studio makes it the project's own version, and sorts by the scores
        of that version. It keeps the description. The webhook that Label Studio creates beside the connection brings no
        credentials: see `webhooks.update_webhook`.
        """
        body: dict[str, Any] = {"project": project, "url": url, "title": title, "is_interactive": interactive}
        body |= _described(description) | _credentials(basic_auth)
        return int(self.call("POST", "/api/ml/", json=body)["id"])

    def rename_backend(
        self,
        connection: int,
        project: int,
        url: str,
        *,
        title: str,
        description: str = "",
        basic_auth: tuple[str, str] | None = None,
    ) -> None:
        """Gives a connection the title of a new model version; the project's own version moves along.

        Without a description it keeps the one that it has. Label Studio first asks the backend for its health, with the
        credentials of this request and no others.
        """
        body = {"project": project, "url": url, "title": title} | _described(description) | _credentials(basic_auth)
        self.call("PATCH", f"/api/ml/{connection}", json=body)


def _described(description: str) -> dict[str, str]:
    return {"description": description} if description else {}


def _credentials(basic_auth: tuple[str, str] | None) -> dict[str, str]:
    """What a connection's fields say about HTTP Basic."""
    if basic_auth is None:
        return {}
    user, password = basic_auth
    return {"auth_method": "BASIC_AUTH", "basic_auth_user": user, "basic_auth_pass": password}


def _is_longer(one: str, version: str) -> bool:
    """Whether a version has another as its part; letter case does not count, as in Label Studio over SQLite."""
    return one != version and version.lower() in one.lower()


def _changed_after(moment: float) -> dict[str, Any]:
    """The Data Manager's filter for tasks that changed after a moment; its format of moments is this one alone."""
    value = datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return _filter("updated_at", "greater", "Datetime", value)


def _filter(column: str, operator: str, kind: str, value: Any) -> dict[str, Any]:
    """One condition of the Data Manager."""
    return {"filter": f"filter:tasks:{column}", "operator": operator, "type": kind, "value": value}
