"""The five routes, with Label Studio's own requests and with bad ones."""

import json
import logging
import threading
from concurrent.futures import ThreadPoolExecutor, as_completed

import pytest

from backend.settings import Settings
from tests.patience import SECONDS
from tests.server.conftest import NAMED, VERSION, ToldServing, found, make_app, payload

IMAGE = "/data/upload/2/062571dc-page.jpg"
STAMP = ("stamp", (20.0, 10.0, 60.0, 50.0), 0.9)


def test_setup_names_the_version_that_predictions_carry(client):
    assert client.post("/setup", json=payload("setup")).json == {"model_version": NAMED}


@pytest.mark.parametrize("extra", [None, {}, {"a": 1}, "", '{"a": 1}'])
def test_setup_takes_any_extra_params_that_label_studio_sends(client, extra):
    assert client.post("/setup", json=payload("setup") | {"extra_params": extra}).status_code == 200


def test_versions_lists_the_serving_version(client):
    assert client.get("/versions").json == {"versions": [VERSION]}


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        # no JSON at all
        (b"", 400, "not JSON"),
        (b"{", 400, "not JSON"),
        (b"\xff\xfe", 400, "not JSON"),
        # nested beyond what a parser takes
        (b"[" * 100_000, 400, "not JSON"),
        # half a character
        (b'{"tasks": [], "label_config": "\\ud800"}', 400, "not JSON"),
        (b'{"tasks": [], "label_config": "\\ude00\\ud83d"}', 400, "not JSON"),
        (b'{"tasks": [], "label_config": "\xed\xa0\x80"}', 400, "not JSON"),
        ('{"tasks": [], "label_config": "\\ud800"}'.encode("utf-16"), 400, "not JSON"),
        # whole characters, spelt out, and what only looks like half of one
        (b'{"tasks": [], "label_config": "\\ud83d\\ude00 \\\\ud800"}', 422, "not well-formed"),
        # values within values
        (b'{"tasks": [], "x": ' + b"[" * 100 + b"]" * 100 + b"}", 400, "100 deep"),
        # letters that take four times as much in memory
        (b'{"tasks": [], "x": "' + "é".encode() * 8_400_000 + b'"}', 400, "must be ASCII"),
        # JSON of another shape
        (b"[]", 400, "send an object"),
        (b"null", 400, "send an object"),
        (b"{}", 400, "tasks"),
        (b'{"tasks": {}}', 400, "tasks"),
        (b'{"tasks": [1]}', 400, "tasks"),
        (b'{"tasks": []}', 400, "label_config is missing"),
        (b'{"tasks": [], "label_config": 5}', 400, "label_config is a number"),
        (b'{"tasks": [], "label_config": "<View/>", "params": []}', 400, "params"),
        (b'{"tasks": [], "label_config": "<View/>", "params": {"context": "x"}}', 400, "params.context"),
        (b'{"tasks": [], "label_config": "<View/>", "project": {}}', 400, "project"),
        # a label config without our labels
        (b'{"tasks": [], "label_config": "<View/>"}', 422, "no Image"),
    ],
)
def test_a_bad_predict_body_gets_a_status_and_a_reason(client, body, status, reason):
    response = client.post("/predict", data=body, content_type="application/json")
    assert (response.status_code, set(response.json)) == (status, {"error", "message"})
    assert reason in response.json["message"]


@pytest.mark.parametrize(
    ("change", "status", "reason"),
    [
        ({"schema": "<View></View>"}, 422, "no Image"),
        ({"schema": None}, 400, "schema"),
        ({"extra_params": [1]}, 400, "extra_params"),
        ({"hostname": 5}, 400, "hostname"),
    ],
)
def test_a_bad_setup_body_gets_a_status_and_a_reason(client, change, status, reason):
    response = client.post("/setup", json=payload("setup") | change)
    assert response.status_code == status
    assert reason in response.json["message"]


def test_the_status_line_carries_the_reason_because_label_studio_shows_nothing_else(client):
    response = client.post("/setup", json=payload("setup") | {"schema": "<View></View>"})
    assert response.status.startswith("422 The label config has no Image tag")


def test_a_reason_cannot_break_the_status_line(client):
    label = '<Label value="ختم&#10;x: y"/>'
    schema = f'<View><Image name="i" value="$i"/><RectangleLabels name="r" toName="i">{label}</RectangleLabels></View>'
    response = client.post("/setup", json=payload("setup") | {"schema": schema})
    assert response.status.isascii()
    assert response.status.isprintable()


def test_an_unexpected_failure_is_an_incident_without_a_traceback(serving, pages, caplog):
    serving.state = lambda: 1 / 0
    response = make_app(Settings(), serving=serving, pages=pages).test_client().get("/health")
    assert response.status_code == 500
    assert "ZeroDivisionError" not in response.text
    incident = response.json["message"].split()[-1]
    assert incident in caplog.text
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/nothing", 404), ("GET", "/predict", 405), ("POST", "/health", 405)]
)
def test_other_routes_and_methods_answer_json(client, method, path, status):
    response = client.open(path, method=method)
    assert response.status_code == status
    assert set(response.json) == {"error", "message"}


def test_a_body_beyond_the_limit_is_refused(app):
    app.config["MAX_CONTENT_LENGTH"] = 100
    assert app.test_client().post("/predict", json=payload("predict")).status_code == 413


@pytest.mark.parametrize(
    ("name", "logged"),
    [
        ("webhook_annotation_created_in_editor", "ANNOTATION_CREATED project=2 tasks=2 annotations=3"),
        ("webhook_annotation_created_multipage", "ANNOTATION_CREATED project=4"),
        ("webhook_annotations_deleted", "ANNOTATIONS_DELETED project=2 tasks= annotations=2"),
        ("webhook_start_training", "START_TRAINING project=2"),
        ("webhook_project_updated", "PROJECT_UPDATED project=2"),
    ],
)
def test_every_event_is_acknowledged_and_noted_by_its_ids(client, caplog, name, logged):
    caplog.set_level(logging.INFO)
    response = client.post("/webhook", json=payload(name))
    assert (response.status_code, response.json["result"]) == (200, "ok")
    assert logged in caplog.text
    assert "token" not in caplog.text


def test_an_event_without_a_name_is_refused(client):
    assert client.post("/webhook", json={"project": {"id": 1}}).status_code == 400


def test_nothing_of_a_body_reaches_the_log(client, caplog):
    caplog.set_level(logging.DEBUG)
    client.post("/setup", json=payload("setup") | {"access_token": "s3cret", "hostname": "http://elsewhere:1"})
    client.post("/predict", json=payload("predict"), headers={"Authorization": "Basic c2VjcmV0"})
    assert "s3cret" not in caplog.text
    assert "c2VjcmV0" not in caplog.text


class TestWhileTheModelLoads:
    @pytest.fixture
    def serving(self, pipeline):
        return ToldServing(pipeline, loading=True)

    def test_health_answers_and_says_so(self, client):
        health = client.get("/health").json
        assert (health["status"], health["model_state"], health["model_version"]) == ("UP", "loading", None)

    def test_setup_answers_without_a_version(self, client):
        assert client.post("/setup", json=payload("setup")).json == {"model_version": None}

    def test_predict_waits_for_the_model(self, app, serving, pages):
        answers = []
        request = threading.Thread(
            target=lambda: answers.append(app.test_client().post("/predict", json=payload("predict")))
        )
        request.start()
        assert app.test_client().get("/health").json["model_state"] == "loading"
        serving.settled.set()
        request.join(SECONDS)
        assert answers[0].json["results"][0]["model_version"] == NAMED


def test_a_model_that_cannot_serve_is_a_503_with_the_reason(pipeline, pages):
    serving = ToldServing(pipeline, failure="weights are damaged")
    client = make_app(Settings(), serving=serving, pages=pages).test_client()
    assert client.get("/health").json["model_state"] == "failed"
    for path, body in (("/setup", payload("setup")), ("/predict", payload("predict"))):
        response = client.post(path, json=body)
        assert (response.status_code, response.json["message"]) == (503, "weights are damaged")
    assert client.post("/webhook", json=payload("webhook_annotations_deleted")).status_code == 200


def test_predictions_never_take_the_threads_that_the_other_routes_need(serving, pages):
    app = make_app(Settings(threads=9), serving=serving, pages=pages)
    under_way, go_on = threading.Event(), threading.Event()

    def slow(*_, **__):
        under_way.set()
        go_on.wait()
        return found()

    serving.held.marks = slow
    first = threading.Thread(target=lambda: app.test_client().post("/predict", json=payload("predict")))
    first.start()
    under_way.wait()
    response = app.test_client().post("/predict", json=payload("predict"))
    assert (response.status_code, response.json["error"]) == (503, "ServiceUnavailable")
    assert app.test_client().post("/setup", json=payload("setup")).status_code == 200
    go_on.set()
    first.join(SECONDS)
    serving.held.marks = lambda *_, **__: found()
    assert app.test_client().post("/predict", json=payload("predict")).status_code == 200


def test_an_event_of_any_depth_is_taken_or_refused_in_words(client):
    """Whoever parses, stores and copies an event goes down once for each level, some of them further than others."""
    for depth in (90, *range(850, 1000, 7), 5000):
        body = b'{"action": "ANNOTATION_CREATED", "annotation": {"id": 1, "result": %s%s}}'
        answer = client.post("/webhook", data=body % (b"[" * depth, b"]" * depth), content_type="application/json")
        assert answer.status_code == (200 if depth < 100 else 400), depth


def test_bodies_of_many_values_are_worked_on_as_memory_allows(app, serving):
    """Of four that wait, each with half a million values, one is told to come again; whoever brings few is not."""
    release = threading.Event()
    original = serving.pipeline

    def waits(*, timeout: float):
        assert release.wait(SECONDS)
        return original(timeout=timeout)

    serving.pipeline = waits
    junk = b'{"tasks": [], "label_config": "' + b" " * 10 + b'", "junk": [' + b"0," * 500_000 + b"0]}"
    config = json.dumps(payload("predict")["label_config"]).encode()
    large = junk.replace(b'"' + b" " * 10 + b'"', config)
    with ThreadPoolExecutor(4) as pool:
        asked = [
            pool.submit(app.test_client().post, "/predict", data=large, content_type="application/json")
            for _ in range(4)
        ]
        first = next(as_completed(asked)).result()
        assert first.status_code == 503
        assert "too many large requests" in first.json["message"]
        small = app.test_client().post("/webhook", json=payload("webhook_start_training"))
        assert small.status_code == 200
        release.set()
    assert sorted(one.result().status_code for one in asked) == [200, 200, 200, 503]
    again = app.test_client().post("/predict", data=large, content_type="application/json")
    assert again.status_code == 200, "what was taken is given back"
