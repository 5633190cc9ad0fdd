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


def test_what_the_tests_send_is_as_described() -> None:
    for name, body in (("Setup", {"project": "1.17", "schema": CONFIG}), ("Predict", PREDICT)):
        schema = {"$ref": f"#/components/schemas/{name}", "components": DESCRIBED["components"]}
        jsonschema.Draft202012Validator(schema).validate(body)
