"""The five routes, with Label Studio's own requests and with bad ones."""

import base64
import json
import logging
import threading
from concurrent.futures import ThreadPoolExecutor, as_completed

import pytest

from backend.errors import LimitExceeded, PageUnavailable, ReferenceRefused, UndecodablePage
from backend.settings import Settings
from backend.vision.pipeline import Rejected
from tests.patience import SECONDS
from tests.server.conftest import NAMED, VERSION, ToldServing, found, make_app, payload

IMAGE = "/data/upload/2/062571dc-page.jpg"
STAMP = ("stamp", (20.0, 10.0, 60.0, 50.0), 0.9)


def test_a_stamp_comes_back_as_a_region_of_the_projects_own_control(client, pipeline):
    pipeline.on_page[IMAGE] = found(STAMP)
    [prediction] = client.post("/predict", json=payload("predict")).json["results"]
    [region] = prediction["result"]
    identity = region.pop("id")
    assert (prediction["model_version"], prediction["score"]) == (NAMED, 0.9)
    assert region == {
        "from_name": "label",
        "to_name": "image",
        "type": "rectanglelabels",
        "score": 0.9,
        "original_width": 200,
        "original_height": 100,
        "image_rotation": 0,
        "value": {"x": 10.0, "y": 10.0, "width": 20.0, "height": 40.0, "rotation": 0, "rectanglelabels": ["stamp"]},
    }
    assert len(identity) == 10


def test_setup_names_the_version_that_predictions_carry(client):
    assert client.post("/setup", json=payload("setup")).json == {"model_version": NAMED}


@pytest.mark.parametrize("extra", [None, {}, {"a": 1}, "", '{"a": 1}'])
def test_setup_takes_any_extra_params_that_label_studio_sends(client, extra):
    assert client.post("/setup", json=payload("setup") | {"extra_params": extra}).status_code == 200


def test_versions_lists_the_serving_version(client):
    assert client.get("/versions").json == {"versions": [VERSION]}


def test_a_multi_page_task_gets_the_regions_of_every_page_with_its_index(client, pipeline):
    pipeline.on_page = {
        "/data/upload/4/4d035ba8-pg0.jpg": found(STAMP),
        "/data/upload/4/b6b38f13-pg1.jpg": found(("thumb", (0, 0, 20, 10), 0.7)),
    }
    [prediction] = client.post("/predict", json=payload("predict_multipage")).json["results"]
    assert [(region["item_index"], region["value"]["rectanglelabels"]) for region in prediction["result"]] == [
        (0, ["stamp"]),
        (1, ["thumb"]),
    ]
    assert prediction["score"] == 0.7
    assert len({region["id"] for region in prediction["result"]}) == 2


def batch(*references, **changes) -> dict:
    tasks = [{"id": 10 + place, "data": {"image": reference}} for place, reference in enumerate(references)]
    return payload("predict") | {"tasks": tasks} | changes


def test_no_tasks_give_no_results(client):
    assert client.post("/predict", json=batch()).json == {"results": []}


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        # a file that is still being copied, or a download cut short, is whole a minute later
        (UndecodablePage("bad", "not an image"), []),
        # Label Studio or the storage may be back later
        (PageUnavailable("bad", "503"), []),
        # an operator can allow the host, and the task shall then be done
        (ReferenceRefused("bad", "host not allowed"), []),
        # an operator can raise the limit
        (LimitExceeded("bad", "too large"), []),
        # a bug in a decoder
        (ZeroDivisionError("surprise"), []),
    ],
)
def test_one_bad_page_never_fails_its_batch(client, pipeline, pages, error, answer):
    pages.kept["bad"] = error
    pipeline.on_page["good"] = found(STAMP)
    results = client.post("/predict", json=batch("good", "bad", "good")).json["results"]
    assert [len(results[place]["result"]) for place in (0, 2)] == [1, 1]
    assert results[1] == answer


def test_a_page_that_breaks_the_model_leaves_the_others_done(client, pipeline, caplog):
    pipeline.on_page = {"bad": RuntimeError("inference"), "good": found(STAMP)}
    results = client.post("/predict", json=batch("bad", "good")).json["results"]
    assert results[0] == []
    assert len(results[1]["result"]) == 1
    assert "task 10: not done" in caplog.text


@pytest.mark.parametrize("identity", [2**63, 10**400, -1, True, "7", None, {}])
def test_an_id_that_no_label_studio_gives_costs_its_task_the_memory_and_the_others_nothing(
    client, pipeline, ledger, identity
):
    pipeline.on_page["page"] = found(STAMP)
    tasks = [{"id": one, "data": {"image": "page"}} for one in (identity, 7)]
    response = client.post("/predict", json=payload("predict") | {"tasks": tasks})
    assert [len(one["result"]) for one in response.json["results"]] == [1, 1]
    assert [shown["task"] for shown in ledger.shown] == [7]


@pytest.mark.parametrize(("project", "known"), [("2.1700000000", 2), (2**63, None), ("9" * 5000, None), ("x", None)])
def test_a_project_is_remembered_where_a_database_can_hold_its_id(client, ledger, project, known):
    assert client.post("/predict", json=payload("predict") | {"project": project}).status_code == 200
    assert [shown["project"] for shown in ledger.shown] == [known]


@pytest.mark.parametrize(
    ("task", "reason"),
    [
        # an import that named its column otherwise
        ({"id": 7, "data": {"picture": "x"}}, "no field 'image'"),
        ({"id": 7, "data": {"image": None}}, "no field 'image'"),
        ({"id": 7, "data": {"image": 5}}, "holds no reference"),
        ({"id": 7, "data": {"image": ["a", 5]}}, "holds no reference"),
        ({"id": 7, "data": "x"}, "no data"),
        ({"id": 7}, "no data"),
    ],
)
def test_a_task_that_names_no_page_stays_open_and_it_is_said_why(client, ledger, caplog, task, reason):
    """Its label config may be mended: then it is asked for again."""
    assert client.post("/predict", json=payload("predict") | {"tasks": [task]}).json == {"results": [[]]}
    assert "task 7: not done: " in caplog.text
    assert reason in caplog.text
    [noted] = ledger.unread
    assert (noted["task"], noted["project"]) == (7, 2)
    assert reason in noted["reason"]
    assert not ledger.shown


def test_an_empty_prediction_says_why_and_so_does_the_log(client, pipeline, caplog):
    caplog.set_level(logging.INFO)
    near = Rejected(name="stamp", score=0.41237, bar=0.5, none=0.2)
    pipeline.on_page = {"good": found(STAMP), "near": found(candidates=13, nearest=near), "blank": found()}
    good, near, blank = client.post("/predict", json=batch(*pipeline.on_page)).json["results"]
    assert "reason" not in good
    assert near["reason"] == "13 candidates, the best of them a stamp at 0.4124, under 0.5"
    assert blank["reason"].startswith("no candidate")
    assert [line for line in caplog.messages if "no marks" in line] == [
        f"task 11: no marks: {near['reason']}",
        f"task 12: no marks: {blank['reason']}",
    ]


def test_an_empty_document_says_why_for_each_page(client, pipeline):
    near = Rejected(name="stamp", score=0.41237, bar=0.5, none=0.2)
    pipeline.on_page = {"/data/upload/4/4d035ba8-pg0.jpg": found(candidates=13, nearest=near)}
    [prediction] = client.post("/predict", json=payload("predict_multipage")).json["results"]
    assert prediction["reason"].startswith("page 1: 13 candidates, the best of them a stamp at 0.4124, under 0.5; page")
    assert "page 2: no candidate" in prediction["reason"]


def test_a_document_of_no_pages_stays_open_and_it_is_said_so(client, ledger):
    body = payload("predict_multipage")
    body["tasks"][0]["data"]["pages"] = []
    assert client.post("/predict", json=body).json == {"results": [[]]}
    assert [noted["reason"] for noted in ledger.unread] == ["the task's list of pages is empty"]


def test_a_file_uploaded_before_the_project_had_a_label_config_is_found(client, pipeline):
    pipeline.on_page["early"] = found(STAMP)
    body = payload("predict") | {"tasks": [{"id": 1, "data": {"$undefined$": "early"}}]}
    assert len(client.post("/predict", json=body).json["results"][0]["result"]) == 1


def test_a_missing_page_of_several_leaves_the_whole_task_for_later(client, pages):
    pages.kept["/data/upload/4/b6b38f13-pg1.jpg"] = PageUnavailable("pg1", "no answer")
    assert client.post("/predict", json=payload("predict_multipage")).json == {"results": [[]]}


def test_an_unreadable_page_of_several_leaves_the_whole_task_for_later(client, pages, pipeline, ledger):
    """What is stored for a task says of each of its pages that it was looked at."""
    pages.kept["/data/upload/4/4d035ba8-pg0.jpg"] = UndecodablePage("pg0", "truncated")
    pipeline.on_page["/data/upload/4/b6b38f13-pg1.jpg"] = found(STAMP)
    assert client.post("/predict", json=payload("predict_multipage")).json == {"results": [[]]}
    assert [noted["reason"] for noted in ledger.unread] == ["page 1: pg0: truncated"]
    assert not ledger.shown


def test_doubtful_pages_come_before_sure_ones_and_empty_pages_last(client, pipeline):
    pipeline.on_page = {
        "sure": found(STAMP),
        "doubtful": found(("stamp", (0, 0, 9, 9), 0.55)),
        "empty": found(),
        "empty, but something was near": found(certainty=0.6),
    }
    results = client.post("/predict", json=batch(*pipeline.on_page)).json["results"]
    scores = dict(zip(pipeline.on_page, [prediction["score"] for prediction in results], strict=True))
    assert sorted(scores, key=scores.get) == ["doubtful", "empty, but something was near", "sure", "empty"]


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


class TestBasicAuthentication:
    @pytest.fixture
    def app(self, serving, pages):
        settings = Settings(basic_auth_user="studio", basic_auth_pass="pä:ss")
        return make_app(settings, serving=serving, pages=pages)

    @staticmethod
    def header(text: str, encoding: str = "utf-8") -> dict[str, str]:
        return {"Authorization": "Basic " + base64.b64encode(text.encode(encoding)).decode()}

    @pytest.mark.parametrize(
        "headers",
        [
            {},
            {"Authorization": "Basic"},
            {"Authorization": "Basic !!!"},
            {"Authorization": "Bearer studio:pä:ss".encode().decode("latin-1")},
            header("studio:pass"),
            header("other:pä:ss"),
            header(""),
        ],
    )
    def test_anything_but_the_credentials_is_refused(self, client, headers):
        for path in ("/health", "/versions", "/nothing"):
            response = client.get(path, headers=headers)
            assert response.status_code == 401
            assert response.headers["WWW-Authenticate"].startswith("Basic ")
        assert client.post("/webhook", json={"action": "X"}, headers=headers).status_code == 401

    @pytest.mark.parametrize("encoding", ["utf-8", "latin-1"], ids=["as browsers write", "as Label Studio writes"])
    def test_the_credentials_open_every_route(self, client, encoding):
        headers = self.header("studio:pä:ss", encoding)
        assert client.get("/health", headers=headers).json["model_version"] == VERSION
        assert client.post("/predict", json=payload("predict"), headers=headers).status_code == 200

    def test_a_password_that_latin_1_lacks_is_not_met_by_question_marks(self, serving, pages):
        client = make_app(
            Settings(basic_auth_user="studio", basic_auth_pass="密"), serving=serving, pages=pages
        ).test_client()
        assert client.get("/versions", headers=self.header("studio:密")).status_code == 200
        assert client.get("/versions", headers=self.header("studio:?")).status_code == 401

    def test_a_containers_health_check_needs_none_and_learns_nothing(self, client):
        assert client.get("/").json == {"status": "UP", "model_class": "ContractMarks"}


def test_64_clients_at_once_each_get_one_version(app, pipeline):
    pipeline.on_page[IMAGE] = found(STAMP)
    ready, answers = threading.Barrier(64), []

    def ask() -> None:
        ready.wait(SECONDS)
        answers.append(app.test_client().post("/predict", json=batch(IMAGE, IMAGE, IMAGE)).json["results"])

    clients = [threading.Thread(target=ask) for _ in range(64)]
    for one in clients:
        one.start()
    for one in clients:
        one.join(SECONDS)
    assert len(answers) == 64
    assert {prediction["model_version"] for results in answers for prediction in results} == {NAMED}


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


class TestInteractive:
    def test_the_rough_box_comes_back_tightened_labelled_and_under_its_id(self, client, pipeline):
        [prediction] = client.post("/predict", json=payload("predict_interactive")).json["results"]
        [region] = prediction["result"]
        assert region["id"] == "x"
        assert region["value"] | {"rotation": 0} == {
            "x": 10.0, "y": 20.0, "width": 20.0, "height": 20.0, "rotation": 0, "rectanglelabels": ["stamp"],
        }  # fmt: skip
        assert pipeline.refined_boxes[0].tolist() == [[2.0, 1.0, 62.0, 31.0]]

    def drawn(self, **changes) -> dict:
        body = payload("predict_interactive")
        body["params"]["context"]["result"][0] |= changes
        return body

    def test_what_was_drawn_and_what_is_there_goes_along(self, client, pipeline):
        body = payload("predict_interactive")
        client.post("/predict", json=body)
        [said] = pipeline.said
        assert said["meant"] == [1], "it was drawn as a stamp"
        # The annotation has one box of 20 by 10 percent, at 10 percent from the top left corner of 200 by 100 pixels.
        assert said["taken"].round().tolist() == [[20, 10, 60, 20]]

    def test_the_label_that_was_drawn_stands_also_where_the_model_thinks_otherwise(self, client, pipeline):
        pipeline.refine_to = found(("signature", (20, 20, 60, 40), 0.9))
        [prediction] = client.post("/predict", json=payload("predict_interactive")).json["results"]
        [region] = prediction["result"]
        assert region["value"]["rectanglelabels"] == ["stamp"]
        assert region["score"] < 0.5

    def test_a_label_of_something_else_stands_as_well(self, client):
        body = self.drawn()
        body["label_config"] = body["label_config"].replace(
            "</RectangleLabels>", '<Label value="logo"/></RectangleLabels>'
        )
        body["params"]["context"]["result"][0]["value"]["rectanglelabels"] = ["logo"]
        [prediction] = client.post("/predict", json=body).json["results"]
        assert prediction["result"][0]["value"]["rectanglelabels"] == ["logo"]

    def test_a_label_that_the_project_lacks_gives_way_to_the_likeliest_it_has(self, client, pipeline):
        body = self.drawn()
        body["label_config"] = body["label_config"].replace('value="stamp"', 'value="logo"')
        pipeline.refine_to = found(("stamp", (20, 20, 60, 40), 0.9))
        pipeline.refine_to.probabilities[0] = [0.01, 0.9, 0.09, 0]
        [prediction] = client.post("/predict", json=body).json["results"]
        assert prediction["result"][0]["value"]["rectanglelabels"] == ["thumb"]

    @pytest.mark.parametrize(
        "value",
        [
            None,
            {},
            {"x": 1, "y": 1},
            {"x": "1", "y": 1, "width": 1, "height": 1},
            {"points": [[1, 1]]},
            # numbers beyond what floats can say, and beyond what they can be multiplied by
            {"x": 10**400, "y": 1, "width": 1, "height": 1},
            {"x": 1, "y": 1, "width": 1, "height": 1e308, "rotation": 45},
            {"x": 1, "y": 1, "width": 1, "height": 1, "rotation": -(10**400)},
        ],
    )
    def test_what_is_no_rectangle_is_refused_with_the_reason(self, client, value):
        response = client.post("/predict", json=self.drawn(value=value))
        assert response.status_code == 400
        assert "no rectangle" in response.json["message"]

    @pytest.mark.parametrize("identity", [2**63, {"a": 1}, ["x"], "", None])
    def test_an_id_that_no_editor_gives_is_replaced(self, client, identity):
        [prediction] = client.post("/predict", json=self.drawn(id=identity)).json["results"]
        assert len(prediction["result"][0]["id"]) == 10

    def test_a_page_that_the_task_lacks_is_refused(self, client):
        assert client.post("/predict", json=self.drawn(item_index=3)).status_code == 400

    def test_a_page_that_cannot_be_had_is_an_error_that_names_it(self, client, pages):
        pages.kept[IMAGE] = PageUnavailable("page.jpg", "no answer")
        response = client.post("/predict", json=payload("predict_interactive"))
        assert (response.status_code, response.json["message"]) == (422, "page.jpg: no answer")


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
