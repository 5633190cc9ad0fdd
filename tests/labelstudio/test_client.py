"""Label Studio's API as it answers, and as it refuses. (Its real server is asked in tests/end_to_end.)"""

import base64
import json
import threading
from urllib.parse import parse_qs

import httpx2
import pytest

from backend.errors import LabelStudioError
from backend.labelstudio.client import LabelStudio
from tests.patience import SECONDS, eventually

LEGACY = "0123456789abcdef"
PERSONAL = "head.body.signature"


class Studio:
    """Answers as Label Studio does: by method and path, and to each path what it was told."""

    def __init__(self) -> None:
        self.answers: dict = {}
        self.seen: list[httpx2.Request] = []
        self.exchanges = 0

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.seen.append(request)
        if request.url.path == "/api/token/refresh/":
            self.exchanges += 1
            return httpx2.Response(200, json={"access": f"bearer-{self.exchanges}"})
        answer = self.answers[f"{request.method} {request.url.path}"]
        return answer(request) if callable(answer) else answer

    def client(self, token: str = LEGACY, **changes) -> LabelStudio:
        return LabelStudio("http://studio.test/", token, transport=httpx2.MockTransport(self), **changes)


def answering(path: str, *, method: str = "GET", status: int = 200, **content) -> Studio:
    studio = Studio()
    studio.answers[f"{method} {path}"] = httpx2.Response(status, **content)
    return studio


def test_without_a_token_nothing_is_sent():
    assert Studio().client("").headers() == {}


def test_a_legacy_token_is_sent_as_it_is():
    assert Studio().client(LEGACY).headers() == {"Authorization": f"Token {LEGACY}"}


class TestAPersonalAccessToken:
    def test_is_exchanged_for_a_bearer_and_never_sent_otherwise(self):
        studio = answering("/api/version", json={"release": "1.23.2"})
        client = studio.client(PERSONAL)
        assert client.version() == "1.23.2"
        exchange, call = studio.seen
        assert json.loads(exchange.content) == {"refresh": PERSONAL}
        assert call.headers["Authorization"] == "Bearer bearer-1"
        assert PERSONAL not in str(call.headers)

    def test_bearer_is_kept_while_it_lives_and_renewed_before_it_ends(self):
        now = [0.0]
        studio = Studio()
        client = studio.client(PERSONAL, clock=lambda: now[0])
        client.headers()
        now[0] = 239
        assert client.headers() == {"Authorization": "Bearer bearer-1"}
        now[0] = 241
        assert client.headers() == {"Authorization": "Bearer bearer-2"}

    def test_many_threads_share_one_exchange(self):
        studio = Studio()
        client = studio.client(PERSONAL)
        threads = [threading.Thread(target=client.headers) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert studio.exchanges == 1

    def test_threads_that_wait_for_one_who_is_refused_are_refused_with_it(self):
        """Each would have to wait as long again: twenty pages of a Label Studio that is silent, twenty times 30 s."""
        go_on = threading.Event()
        asked: list[httpx2.Request] = []
        waiting: list[None] = []
        refused: list[None] = []

        def silent(request: httpx2.Request) -> httpx2.Response:
            asked.append(request)
            assert go_on.wait(SECONDS)
            raise httpx2.ConnectTimeout("nobody answers", request=request)

        def moment() -> float:
            waiting.append(None)
            return 0.0

        client = LabelStudio("http://studio.test", PERSONAL, transport=httpx2.MockTransport(silent), clock=moment)

        def ask() -> None:
            with pytest.raises(LabelStudioError, match="ConnectTimeout"):
                client.headers()
            refused.append(None)

        threads = [threading.Thread(target=ask) for _ in range(20)]
        for thread in threads:
            thread.start()
        eventually(lambda: len(waiting) > 20)
        go_on.set()
        for thread in threads:
            thread.join()
        assert (len(asked), len(refused)) == (1, 20)

    @pytest.mark.parametrize("answer", [None, [], {}, {"access": None}, {"access": "ключ"}, {"access": "a\nb: c"}])
    def test_an_exchange_without_a_token_is_one_typed_error(self, answer):
        client = LabelStudio(
            "http://studio.test", PERSONAL, transport=httpx2.MockTransport(lambda _: httpx2.Response(200, json=answer))
        )
        with pytest.raises(LabelStudioError, match="with no token: is it a Label Studio"):
            client.headers()


@pytest.mark.parametrize(
    ("seconds_a_piece", "reason"), [(0.0, "more than 100000 bytes"), (40.0, "with no end")], ids=["large", "slow"]
)
def test_an_answer_without_end_has_an_end(seconds_a_piece, reason):
    """Another program may stand at that address, or a broken proxy before it."""
    now, pieces = [0.0], [0]

    def endless():
        while pieces[0] < 1000:
            pieces[0] += 1
            now[0] += seconds_a_piece
            yield b" " * 1000

    transport = httpx2.MockTransport(lambda _: httpx2.Response(200, content=endless()))
    with (
        LabelStudio(
            "http://studio.test", LEGACY, transport=transport, most_bytes=100_000, clock=lambda: now[0]
        ) as studio,
        pytest.raises(LabelStudioError, match=reason),
    ):
        studio.version()
    assert pieces[0] < 200


def test_a_cloud_address_is_handed_over_base64_encoded():
    uri = "s3://bucket/übersicht/page 1.png"
    url = httpx2.URL(Studio().client().presigned(uri, 7))
    assert url.path == "/tasks/7/presign/"
    assert base64.urlsafe_b64decode(parse_qs(url.query.decode())["fileuri"][0]).decode() == uri


def test_an_upload_becomes_a_reference_for_a_tasks_data():
    studio = Studio()
    studio.answers = {
        "POST /api/projects/3/import": httpx2.Response(201, json={"file_upload_ids": [9]}),
        "GET /api/import/file-upload/9": httpx2.Response(200, json={"id": 9, "file": "upload/3/ab-page.jpg"}),
    }
    assert studio.client().upload(3, "page.jpg", b"\xff\xd8") == "/data/upload/3/ab-page.jpg"
    assert b"image/jpeg" in studio.seen[0].content
    assert studio.seen[0].url.params["commit_to_project"] == "false"


def listing(*ids: int, at_once: int, then=lambda _: None):
    """Lists tasks as Label Studio does; `then` may change which there are, after each answer."""
    there = list(ids)

    def answer(request: httpx2.Request) -> httpx2.Response:
        query = json.loads(request.url.params["query"])
        assert (request.url.params["page"], query["ordering"]) == ("1", ["tasks:id"])
        after = query["filters"]["items"][0]
        assert (after["filter"], after["operator"], after["type"]) == ("filter:tasks:id", "greater", "Number")
        found = sorted(one for one in there if one > after["value"])
        then(there)
        return httpx2.Response(200, json={"tasks": [{"id": one} for one in found[:at_once]], "total": len(found)})

    studio = Studio()
    studio.answers["GET /api/tasks/"] = answer
    return studio


@pytest.mark.parametrize("at_once", [1, 2, 3, 100])  # Label Studio's own limit may be below what is asked for
def test_tasks_are_read_to_the_last_portion(at_once):
    studio = listing(1, 2, 3, 9, at_once=at_once)
    assert [task["id"] for task in studio.client().tasks(1)] == [1, 2, 3, 9]
    assert len(studio.seen) == -(-4 // at_once)


def test_a_task_that_is_deleted_meanwhile_moves_no_other_out_of_the_next_portion():
    studio = listing(1, 2, 3, 4, 5, 6, at_once=2, then=lambda there: there.remove(min(there)))
    assert [task["id"] for task in studio.client().tasks(1)] == [1, 2, 3, 4, 5, 6]


def test_tasks_may_be_those_that_changed_and_bear_an_annotation():
    studio = answering("/api/tasks/", json={"tasks": [], "total": 0})
    assert list(studio.client().tasks(1, since=0.5, annotated=True)) == []
    assert studio.seen[0].url.params["resolve_uri"] == "false", "cloud references stay what events have"
    query = json.loads(studio.seen[0].url.params["query"])
    conditions = [(one["filter"], one["operator"], one["type"], one["value"]) for one in query["filters"]["items"]]
    assert conditions == [
        ("filter:tasks:id", "greater", "Number", 0),
        ("filter:tasks:updated_at", "greater", "Datetime", "1970-01-01T00:00:00.500000Z"),
        ("filter:tasks:total_annotations", "greater", "Number", 0),
    ]


def test_a_task_is_gone_only_when_label_studio_says_so():
    assert answering("/api/tasks/7/", json={"id": 7}).client().has_task(7)
    assert not answering("/api/tasks/7/", status=404, json={"detail": "Not found."}).client().has_task(7)
    with pytest.raises(LabelStudioError, match="502"):
        answering("/api/tasks/7/", status=502).client().has_task(7)


def test_the_newest_change_is_the_first_by_falling_moment():
    studio = answering("/api/tasks/", json={"tasks": [{"id": 3, "updated_at": "2026-01-02T03:04:05Z"}], "total": 9})
    assert studio.client().newest_change(1) == "2026-01-02T03:04:05Z"
    params = studio.seen[0].url.params
    assert (json.loads(params["query"])["ordering"], params["page_size"]) == (["-tasks:updated_at"], "1")
    assert answering("/api/tasks/", json={"tasks": [], "total": 0}).client().newest_change(1) is None


def test_a_project_is_found_by_its_whole_title_and_the_newest_wins():
    titles = [(1, "contracts"), (2, "contracts old"), (5, "contracts")]
    studio = answering("/api/projects/", json={"results": [{"id": number, "title": title} for number, title in titles]})
    assert studio.client().find_project("contracts") == 5
    assert studio.client().find_project("contract") is None


def test_a_tab_has_the_usual_columns_and_those_asked_for_in_the_list():
    columns = [
        {"id": "id", "target": "tasks", "visibility_defaults": {"explore": True, "labeling": False}},
        {"id": "score", "target": "tasks", "visibility_defaults": {"explore": False, "labeling": False}},
        {"id": "created_at", "target": "tasks", "visibility_defaults": {"explore": False, "labeling": False}},
        {"id": "data", "target": "tasks"},
    ]
    studio = answering("/api/dm/columns/", json={"columns": columns})
    studio.answers["POST /api/dm/views/"] = httpx2.Response(201, json={"id": 5})
    assert studio.client().create_tab(1, "Default", shown=["score"]) == 5
    hidden = json.loads(studio.seen[-1].content)["data"]["hiddenColumns"]
    assert hidden == {
        "explore": ["tasks:created_at"],
        "labeling": ["tasks:id", "tasks:score", "tasks:created_at"],
    }


def test_a_connection_has_the_credentials_that_the_backend_asks_for():
    studio = answering("/api/ml/", method="POST", status=201, json={"id": 4})
    assert studio.client().connect_backend(1, "http://backend:9090", title="v1", basic_auth=("user", "pass")) == 4
    body = json.loads(studio.seen[0].content)
    assert (body["auth_method"], body["basic_auth_user"], body["basic_auth_pass"]) == ("BASIC_AUTH", "user", "pass")


def test_outdated_tasks_are_those_without_annotations_whose_predictions_are_all_of_other_versions():
    studio = answering("/api/tasks/", json={"tasks": [{"id": 8}, {"id": 9}], "total": 5})
    studio.answers["GET /api/projects/1/model-versions/"] = httpx2.Response(200, json={"v1": 9, "v2": 3, "v3": 1})
    assert studio.client().outdated_tasks(1, "v2", after=7, most=2) == [8, 9]
    request, _ = studio.seen
    query = json.loads(request.url.params["query"])
    conditions = [(one["filter"], one["operator"], one["value"]) for one in query["filters"]["items"]]
    assert conditions == [
        ("filter:tasks:id", "greater", 7),
        ("filter:tasks:total_annotations", "equal", 0),
        ("filter:tasks:total_predictions", "greater", 0),
        ("filter:tasks:predictions_model_versions", "not_contains", ["v2"]),
    ]
    assert (query["filters"]["conjunction"], query["ordering"]) == ("and", ["tasks:id"])
    assert request.url.params["page_size"] == "2"


def test_a_task_with_a_longer_version_alone_is_outdated_though_label_studio_takes_it_for_current():
    """It compares versions by their parts; and the text that lists a task's versions is cut short."""
    stored = {4: ["v1"], 5: ["v2"], 6: ["v2-t0.3"], 7: ["v2-t0.3", "v2"], 8: ["v2-t0.3", "v1", "v2"], 9: ["v2-t0.3"]}

    def listed(request: httpx2.Request) -> httpx2.Response:
        conditions = json.loads(request.url.params["query"])["filters"]["items"]
        wanted = {one["filter"].rpartition(":")[2]: (one["operator"], one["value"]) for one in conditions}
        operator, parts = wanted["predictions_model_versions"]
        found = [
            {"id": task, "predictions_model_versions": ",".join(versions)[:10]}
            for task, versions in stored.items()
            if task > wanted["id"][1]
            and any(part in one for part in parts for one in versions) == (operator == "contains")
        ]
        return httpx2.Response(200, json={"tasks": found[:2], "total": len(found)})

    studio = Studio()
    studio.answers = {
        "GET /api/tasks/": listed,
        "GET /api/projects/1/model-versions/": httpx2.Response(200, json={"v1": 1, "v2": 3, "v2-t0.3": 4}),
        "GET /api/predictions/": lambda request: httpx2.Response(
            200, json=[{"model_version": one} for one in stored[int(request.url.params["task"])]]
        ),
    }
    assert studio.client().outdated_tasks(1, "v2") == [4, 6, 9]
    assert studio.client().outdated_tasks(1, "v2", after=4, most=1) == [6]
    assert studio.client().outdated_tasks(1, "v2", after=6) == [9]


@pytest.mark.parametrize(
    ("basic_auth", "fields"),
    [
        (None, {}),
        # without them Label Studio would ask the backend for its health unauthorised, and refuse the new title
        (("u", "p"), {"auth_method": "BASIC_AUTH", "basic_auth_user": "u", "basic_auth_pass": "p"}),
    ],
)
def test_a_new_title_goes_with_the_backends_credentials(basic_auth, fields):
    studio = answering("/api/ml/4", method="PATCH", json={})
    studio.client().rename_backend(4, 1, "http://backend:9090", title="v2", basic_auth=basic_auth)
    body = json.loads(studio.seen[0].content)
    assert body == {"project": 1, "url": "http://backend:9090", "title": "v2"} | fields


def test_a_description_goes_along_where_there_is_one():
    studio = answering("/api/ml/4", method="PATCH", json={})
    studio.client().rename_backend(4, 1, "http://backend:9090", title="v2", description="Dashboard: …")
    assert json.loads(studio.seen[0].content)["description"] == "Dashboard: …"


@pytest.mark.parametrize(
    ("studio", "answered", "way_out"),
    [
        (answering("/api/version", status=401, json={"detail": "Invalid token."}), 401, "LABEL_STUDIO_API_KEY"),
        (answering("/api/version", status=403, json={"detail": "no"}), 403, "ML_BLOCK_LOCAL_IP=false"),
        (answering("/api/version", status=404), 404, "LABEL_STUDIO_URL"),
        (answering("/api/version", status=500, text="<html>"), 500, "Label Studio's own log"),
        # a proxy in front that wants https
        (
            answering("/api/version", status=301, headers={"location": "https://studio.test/"}),
            301,
            "https://studio.test/",
        ),
        # something else listens there
        (answering("/api/version", text="<html>"), 200, "is it a Label Studio?"),
    ],
)
def test_a_refusal_names_the_call_the_status_and_the_way_out(studio, answered, way_out):
    with pytest.raises(LabelStudioError) as caught:
        studio.client().version()
    assert caught.value.answered == answered
    assert "/api/version" in str(caught.value)
    assert way_out in str(caught.value)


def test_no_answer_is_an_error_that_asks_for_the_address():
    def dead(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("refused", request=request)

    with LabelStudio("http://studio.test", "", transport=httpx2.MockTransport(dead)) as client:
        with pytest.raises(LabelStudioError, match="LABEL_STUDIO_URL") as caught:
            client.version()
        assert caught.value.answered is None


def test_a_token_shows_neither_in_its_object_nor_in_an_error():
    client = answering("/api/version", status=401).client(LEGACY)
    with pytest.raises(LabelStudioError) as caught:
        client.version()
    assert LEGACY not in repr(client) + str(caught.value)


def test_an_answer_that_is_packed_again_and_again_is_not_unpacked() -> None:
    def answer(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers={"Content-Encoding": "gzip, gzip"}, stream=httpx2.ByteStream(b"x"))

    with (
        LabelStudio("http://studio.test", "", transport=httpx2.MockTransport(answer)) as client,
        pytest.raises(LabelStudioError, match="DecodingError"),
    ):
        client.version()
