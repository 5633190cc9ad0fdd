"""docs/openapi.yaml describes the server that is there: its routes, its methods, and the shape of its answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from sqlalchemy import Engine

from backend.corrections.database import open_database
from backend.server.application import Application
from backend.settings import Settings
from tests.corrections.annotating import CONFIG
from tests.corrections.test_application import STAMP, TASK, THUMB, annotated, build
from tests.server.conftest import ToldPipeline, found

DESCRIBED = yaml.safe_load((Path(__file__).parents[2] / "docs" / "openapi.yaml").read_text(encoding="utf-8"))
PREDICT = {"tasks": [TASK], "project": "1.1700000000", "label_config": CONFIG, "params": None}


@pytest.fixture
def application(tmp_path: Path) -> Application:
    pipeline = ToldPipeline(on_page={TASK["data"]["pages"][0]: found(STAMP, THUMB)})
    engine: Engine = open_database(f"sqlite:///{tmp_path / 'ledger.sqlite3'}")
    return build(engine, Settings(data_dir=tmp_path), pipeline)


def test_the_routes_and_methods_are_those_of_the_server(application: Application) -> None:
    served = {
        (rule.rule.replace("<", "{").replace(">", "}"), method.lower())
        for rule in application.flask.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    described = {
        (path, method) for path, item in DESCRIBED["paths"].items() for method in item if method in ("get", "post")
    }
    assert described == served


def check(answer: Any, path: str, method: str) -> None:
    """An answer against what is described for its route, status and kind of content."""
    told = DESCRIBED["paths"][path][method]["responses"][str(answer.status_code)]
    if "$ref" in told:
        told = DESCRIBED["components"]["responses"][told["$ref"].rpartition("/")[2]]
    schema = told["content"][answer.mimetype]["schema"] | {"components": DESCRIBED["components"]}
    body = answer.get_json() if answer.is_json else answer.get_data(as_text=True)
    jsonschema.Draft202012Validator(schema).validate(body)


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("get", "/", None, 200),
        ("get", "/health", None, 200),
        ("get", "/versions", None, 200),
        ("get", "/metrics", None, 200),
        ("get", "/status", None, 200),
        ("get", "/review", None, 200),
        ("post", "/setup", {"project": "1.17", "schema": CONFIG}, 200),
        ("post", "/setup", {"project": "1.17", "schema": "<View/>"}, 422),
        ("post", "/predict", PREDICT, 200),
        ("post", "/predict", PREDICT | {"tasks": [{"id": 1, "data": {}}]}, 200),
        ("post", "/predict", {"tasks": 1}, 400),
        ("post", "/webhook", annotated([]), 200),
        ("post", "/webhook", {"action": 1}, 400),
    ],
)
def test_answers_have_the_described_shape(
    method: str, path: str, body: Any, status: int, application: Application
) -> None:
    answer = application.flask.test_client().open(path, method=method.upper(), json=body)
    assert answer.status_code == status
    check(answer, path, method)


METHODS = {path: {one.upper() for one in item} & {"GET", "POST"} for path, item in DESCRIBED["paths"].items()}
OPERATIONS = [(path, method.lower()) for path in METHODS for method in sorted(METHODS[path])]
WALL = {"X-Review": "1"}


def sent(application: Application, path: str, method: str, **request: Any) -> Any:
    """The answer to a request that the route's own page, or Label Studio, could send but for what is given."""
    request = {"headers": WALL | request.pop("headers", {})} | request
    if method == "post" and "data" not in request:
        request = {"data": "{}", "content_type": "application/json"} | request
    return application.flask.test_client().open(path.replace("{name}", "9-z"), method=method.upper(), **request)


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_every_route_says_as_described_why_it_refuses(path: str, method: str, tmp_path: Path) -> None:
    """A strange host, no credentials; of what takes a body one that is too large, or packed."""
    engine = open_database(f"sqlite:///{tmp_path / 'ledger.sqlite3'}")
    guarded = Settings(data_dir=tmp_path, basic_auth_user="anna", basic_auth_pass="word")
    wants = {"headers": {"Accept": "text/html"}} if path == "/" else {}
    here = build(engine, Settings(data_dir=tmp_path), ToldPipeline())
    answers = {
        403: sent(here, path, method, base_url="http://evil.example", **wants),
        401: sent(build(engine, guarded, ToldPipeline()), path, method, **wants),
    }
    if method == "post":
        packed = {"Content-Encoding": "gzip"}
        answers |= {
            413: sent(here, path, method, environ_overrides={"CONTENT_LENGTH": str(65 << 20)}),
            415: sent(here, path, method, headers=packed),
        }
    for status, answer in answers.items():
        assert answer.status_code == status, path
        check(answer, path, method)


@pytest.mark.parametrize("path", METHODS)
def test_other_methods_are_answered_with_those_that_there_are(path: str, application: Application) -> None:
    for method in ("PUT", "DELETE", "PATCH", "TRACE", *({"GET", "POST"} - METHODS[path])):
        answer = sent(application, path, method.lower())
        assert (answer.status_code, answer.json["error"]) == (405, "MethodNotAllowed"), method
        assert set(answer.headers["Allow"].split(", ")) - {"HEAD", "OPTIONS"} == METHODS[path]
    asked = sent(application, path, "options")
    assert (asked.status_code, asked.headers["Allow"]) == (200, answer.headers["Allow"])


@pytest.mark.parametrize(("path", "method"), [(path, method) for path, method in OPERATIONS if method == "get"])
def test_head_is_answered_as_get_without_a_body(path: str, method: str, application: Application) -> None:
    query = "?project=1&task=1&page=0&class=stamp" if path.startswith("/review") else ""
    whole, head = (application.flask.test_client().open(path + query, method=one) for one in ("GET", "HEAD"))
    assert (head.status_code, head.content_type, head.data) == (whole.status_code, whole.content_type, b"")


@pytest.mark.parametrize(
    ("form", "status"), [({"do": "forget"}, 404), ({"do": "restore"}, 404), ({"do": "burn"}, 400), ({}, 404)]
)
def test_a_verdict_that_there_is_not_is_not_found(form: dict[str, str], status: int, application: Application) -> None:
    for name in ("9-z", "x" * 5000, "a%00b", "a%0ab"):
        answer = application.flask.test_client().post(f"/status/verdicts/{name}", data=form)
        assert answer.status_code == status
        assert len(answer.json["message"]) < 300
        check(answer, "/status/verdicts/{name}", "post")


def test_what_the_tests_send_is_as_described() -> None:
    for name, body in (("Setup", {"project": "1.17", "schema": CONFIG}), ("Predict", PREDICT)):
        schema = {"$ref": f"#/components/schemas/{name}", "components": DESCRIBED["components"]}
        jsonschema.Draft202012Validator(schema).validate(body)
