"""The whole program over a told pipeline: what is shown is remembered, what comes in is stored, and becomes samples."""

from __future__ import annotations

import base64
import logging
import time
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Engine, select, text

from backend.corrections import intake
from backend.corrections.crop_store import CropStore
from backend.corrections.database import writing
from backend.corrections.service import Feedback, Store
from backend.corrections.tables import event, prediction, proposal, sample
from backend.errors import LedgerError
from backend.labelstudio.connections import Connections
from backend.server.application import Application
from backend.settings import Settings
from tests.corrections.annotating import CONFIG, drawn, saved
from tests.server.conftest import MemoryPages, ToldPipeline, ToldServing, found, payload

STAMP = ("stamp", (20.0, 10.0, 60.0, 50.0), 0.9)
THUMB = ("thumb", (100.0, 20.0, 150.0, 80.0), 0.8)
TASK = {"id": 7, "project": 1, "data": {"pages": ["/data/upload/1/p0.png", "/data/upload/1/p1.png"]}}
# The version of a project whose label config has names of its own.
NAMED = "told-1-c29d51b41"


@pytest.fixture
def pipeline() -> ToldPipeline:
    return ToldPipeline(on_page={TASK["data"]["pages"][0]: found(STAMP, THUMB)})


def build(engine: Engine, settings: Settings, pipeline: ToldPipeline | None = None) -> Application:
    connections = Connections(settings, source=MemoryPages())
    store = Store(
        engine=engine,
        crops=CropStore(str(settings.data_dir)),
        spool=settings.data_dir / "spool",
        lookalikes=settings.data_dir / "lookalikes",
        studio=settings.label_studio_url,
    )
    feedback = Feedback(store, connections, recall_distance=settings.recall_distance)
    serving = ToldServing(pipeline or ToldPipeline())
    built = Application.build(settings, serving=serving, connections=connections, feedback=feedback)
    # Its answers come when what they tell of is in the ledger: else a thread brings it there a moment later.
    built.flask.after_request(lambda response: (feedback.intake.move(), response)[1])
    return built


@pytest.fixture
def application(engine: Engine, pipeline: ToldPipeline, tmp_path: Path) -> Application:
    return build(engine, Settings(data_dir=tmp_path), pipeline)


@pytest.fixture
def client(application: Application) -> FlaskClient:
    return application.flask.test_client()


def predict(client: FlaskClient, **changes: Any) -> list[dict[str, Any]]:
    body = {"tasks": [TASK], "project": "1.1700000000", "label_config": CONFIG, "params": None} | changes
    answer = client.post("/predict", json=body)
    assert answer.status_code == 200, answer.text
    result: list[dict[str, Any]] = answer.json["results"][0]["result"]
    return result


def rows(engine: Engine, table: Any) -> list[Any]:
    with engine.connect() as connection:
        return list(connection.execute(select(table)))


def annotated(result: list[dict[str, Any]], **fields: Any) -> dict[str, Any]:
    body = saved(1, task=7, at=time.time() + 5, result=result, **fields)
    return body | {"task": TASK}


def test_each_region_that_leaves_is_remembered_in_pixels_under_its_mark(client: FlaskClient, engine: Engine) -> None:
    regions = predict(client)
    [made] = rows(engine, prediction)
    kept = {row.region: row for row in rows(engine, proposal)}
    assert (made.task, made.project, made.version, made.drawn) == (7, 1, NAMED, False)
    assert set(kept) == {region["id"] for region in regions}
    seal = kept[regions[0]["id"]]
    assert regions[0]["value"]["rectanglelabels"] == ["Seal"]
    assert (seal.label, seal.page, seal.score, seal.recalled) == ("stamp", 0, 0.9, None)
    assert (seal.x1, seal.y1, seal.x2, seal.y2) == (20.0, 10.0, 60.0, 50.0)
    assert (seal.page_width, seal.page_height) == (200, 100)
    assert seal.probabilities[1] == pytest.approx(0.9)


def test_a_project_of_another_label_studio_is_refused_on_every_way(client: FlaskClient, engine: Engine) -> None:
    predict(client)
    other = annotated([]) | {"project": {"id": 1, "label_config": CONFIG, "created_at": "2026-11-22T10:24:56.329593Z"}}
    for path, body in (
        ("/setup", {"project": "1.1795343096", "schema": CONFIG}),
        ("/predict", {"tasks": [TASK], "project": "1.1795343096", "label_config": CONFIG}),
        ("/webhook", other),
    ):
        answer = client.post(path, json=body)
        assert (answer.status_code, answer.json["error"]) == (409, "OtherLabelStudio"), path
        assert "a DATA_DIR (and a DATABASE_URL) of its own" in answer.text
    assert len(rows(engine, prediction)) == 1
    assert rows(engine, event) == []


def test_an_empty_prediction_is_remembered_and_one_not_done_is_not(
    client: FlaskClient, engine: Engine, pipeline: ToldPipeline
) -> None:
    pipeline.on_page = {}
    predict(client)
    pipeline.on_page = {TASK["data"]["pages"][1]: RuntimeError("inference")}
    client.post("/predict", json={"tasks": [TASK | {"id": 8}], "project": "1.1", "label_config": CONFIG})
    assert [row.task for row in rows(engine, prediction)] == [7]
    assert rows(engine, proposal) == []


def test_from_prediction_to_samples(client: FlaskClient, engine: Engine, application: Application) -> None:
    seal, thumb = predict(client)
    relabelled = seal | {"value": seal["value"] | {"rectanglelabels": ["signature"]}}
    added = drawn("new", "signature", (10, 10, 100, 100), page=1)
    assert client.post("/webhook", json=annotated([relabelled, added])).json["status"] == "stored"
    application.feedback.worker.work()
    assert {row.region: (row.outcome, row.wrong, row.label, row.version) for row in rows(engine, sample)} == {
        seal["id"]: ("relabelled", "stamp", "signature", NAMED),
        thumb["id"]: ("rejected", "thumb", "none", NAMED),
        "new": ("missed", None, "signature", None),
    }


def test_what_a_drawn_box_was_called_wrongly_is_a_hard_example(
    client: FlaskClient, engine: Engine, application: Application, pipeline: ToldPipeline
) -> None:
    pipeline.on_page = {}
    predict(client)
    rough = drawn("rough", "signature", (30, 30, 200, 300), page=1)
    [tight] = predict(client, params={"context": {"result": [rough]}})
    assert [row.drawn for row in rows(engine, prediction)] == [False, True]
    corrected = tight | {"value": tight["value"] | {"rectanglelabels": ["thumb"]}}
    client.post("/webhook", json=annotated([corrected]))
    application.feedback.worker.work()
    [made] = rows(engine, sample)
    # The box was fitted to what the model takes for a stamp, and went on bearing the annotator's label.
    assert (made.outcome, made.wrong, made.label, made.page) == ("relabelled", "signature", "thumb", 1)


def test_predicting_again_after_a_correction_is_another_edition(
    client: FlaskClient, engine: Engine, application: Application, pipeline: ToldPipeline
) -> None:
    first = predict(client)
    pipeline.on_page = {TASK["data"]["pages"][0]: found(STAMP)}
    second = predict(client)
    assert len(rows(engine, prediction)) == 2
    client.post("/webhook", json=annotated(second))
    application.feedback.worker.work()
    assert [(row.region, row.outcome) for row in rows(engine, sample)] == [(first[0]["id"], "accepted")]


@pytest.mark.parametrize(
    "name",
    [
        "webhook_annotation_created_in_editor",
        "webhook_annotation_created_multipage",
        "webhook_annotations_deleted",
        "webhook_start_training",
        "webhook_project_updated",
    ],
)
def test_each_recorded_event_is_stored_and_taken(
    client: FlaskClient, engine: Engine, application: Application, name: str
) -> None:
    heard = payload("webhook_project_updated")  # so that the ledger has something of the project
    for told in (heard, payload(name)):
        assert client.post("/webhook", json=told).status_code == 200
    application.feedback.worker.work()
    stored = rows(engine, event)
    assert [(one.action, one.state, one.reason) for one in stored] == [
        (told["action"], "done", None) for told in (heard, payload(name))
    ]


@pytest.mark.parametrize("looked", [False, True])
def test_a_wish_for_a_training_is_no_proof_of_its_own_project(
    client: FlaskClient, engine: Engine, application: Application, looked: bool
) -> None:
    assert client.post("/webhook", json=payload("webhook_start_training")).status_code == 200
    if looked:
        application.feedback.belonging.look()  # as its thread does at some time: it notes when the project was made
    application.feedback.worker.work()
    assert [one.state for one in rows(engine, event)] == ["parked"]


def test_no_secret_and_no_name_reaches_the_database(
    client: FlaskClient, application: Application, tmp_path: Path
) -> None:
    body = annotated(predict(client))
    body["project"] |= {
        "token": "secret-token",
        "created_by": {"email": "who@example.org"},
        "task_data_password": "pw-x",
    }
    body["access_token"] = "secret-access"
    body["annotation"]["completed_by"] = {"id": 4, "email": "who@example.org", "first_name": "Ada"}
    client.post("/webhook", json=body, headers={"Authorization": "Token secret-header"})
    application.feedback.worker.work()
    with application.feedback.store.engine.connect() as connection:
        everything = " ".join(
            str(connection.execute(text(f"SELECT * FROM {name}")).all())  # noqa: S608
            for name in ("event", "annotation", "sample", "prediction", "proposal")
        )
    assert "'signature'" in everything or "stamp" in everything
    for secret in ("secret-", "who@example.org", "pw-x", "Ada"):
        assert secret not in everything


def away(engine: Engine, *, is_it: bool = True) -> None:
    """The ledger takes neither events nor predictions, or takes them again."""
    with writing(engine) as connection:
        for name in ("event", "proposal"):
            old, new = (name, f"{name}_away") if is_it else (f"{name}_away", name)
            connection.execute(text(f"ALTER TABLE {old} RENAME TO {new}"))


def test_a_ledger_that_is_away_delays_and_refuses_nothing(
    client: FlaskClient, engine: Engine, application: Application
) -> None:
    away(engine)
    seal, thumb = predict(client)
    assert client.post("/webhook", json=annotated([seal])).status_code == 200
    health = client.get("/health")
    assert (health.status_code, health.json["storage"]) == (200, "degraded")
    assert "wait for the ledger" in health.json["storage_troubles"][0]
    away(engine, is_it=False)
    application.feedback.worker.work()
    assert client.get("/health").json["storage"] == "ready"
    assert {row.region: row.outcome for row in rows(engine, sample)} == {
        seal["id"]: "accepted",
        thumb["id"]: "rejected",
    }


def test_an_event_that_could_not_be_stored_is_not_acknowledged(
    client: FlaskClient, engine: Engine, application: Application, tmp_path: Path
) -> None:
    assert client.post("/webhook", json=payload("webhook_start_training")).status_code == 200
    tmp_path.rename(tmp_path.with_name(f"{tmp_path.name}-moved"))
    answer = client.post("/webhook", json=payload("webhook_start_training"))
    assert (answer.status_code, answer.json["error"]) == (503, LedgerError.__name__)
    assert "DATA_DIR" in answer.text
    assert "events are refused" in client.get("/health").json["storage_troubles"][0]
    tmp_path.with_name(f"{tmp_path.name}-moved").rename(tmp_path)
    assert client.post("/webhook", json=payload("webhook_start_training")).status_code == 200
    assert client.get("/health").json["storage"] == "ready"
    assert len(rows(engine, event)) == 2


def test_a_task_whose_boxes_would_be_forgotten_is_not_done_yet(
    engine: Engine, pipeline: ToldPipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the ledger nor the disk takes it, and memory holds as many as it may."""
    monkeypatch.setattr(intake, "MOST_UNSPOOLED", 1)
    client = build(engine, Settings(data_dir=tmp_path), pipeline).flask.test_client()
    tmp_path.rename(tmp_path.with_name(f"{tmp_path.name}-moved"))
    asked = {"tasks": [TASK, TASK | {"id": 8}], "project": "1.1", "label_config": CONFIG}
    first, second = client.post("/predict", json=asked).json["results"]
    assert (len(first["result"]), second) == (2, [])


BASIC = {"Authorization": "Basic " + base64.b64encode(b"ada:pw").decode()}
SECRET = {"X-Webhook-Secret": "s3cret"}


@pytest.mark.parametrize(
    ("settings_", "headers", "status"),
    [
        ({}, {}, 200),  # nothing is asked for
        ({"webhook_secret": "s3cret"}, {}, 401),
        ({"webhook_secret": "s3cret"}, {"X-Webhook-Secret": "wrong"}, 401),
        ({"webhook_secret": "s3cret"}, {"X-Webhook-Secret": "s3cret\xe9"}, 401),  # a byte that is no ASCII
        ({"webhook_secret": "s3cret"}, SECRET, 200),
        ({"basic_auth_user": "ada", "basic_auth_pass": "pw"}, {}, 401),  # as Label Studio's own webhook comes
        ({"basic_auth_user": "ada", "basic_auth_pass": "pw"}, BASIC, 200),
        # either will do: a project's webhooks bring the one, "Start training" brings the other
        ({"basic_auth_user": "ada", "basic_auth_pass": "pw", "webhook_secret": "s3cret"}, SECRET, 200),
        ({"basic_auth_user": "ada", "basic_auth_pass": "pw", "webhook_secret": "s3cret"}, BASIC, 200),
        ({"basic_auth_user": "ada", "basic_auth_pass": "pw", "webhook_secret": "s3cret"}, {}, 401),
    ],
)
def test_what_a_webhook_must_bring(
    engine: Engine, tmp_path: Path, settings_: dict[str, str], headers: dict[str, str], status: int
) -> None:
    client = build(engine, Settings(data_dir=tmp_path, **settings_)).flask.test_client()
    assert client.post("/webhook", json={"action": "X"}, headers=headers).status_code == status
    assert len(rows(engine, event)) == (1 if status == 200 else 0)
    if "basic_auth_user" in settings_:
        assert client.get("/status", headers=headers).status_code == (200 if headers == BASIC else 401)


def test_webhooks_without_credentials_are_told_about_once_with_the_way_out(
    engine: Engine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    built = build(engine, Settings(data_dir=tmp_path, basic_auth_user="ada", basic_auth_pass="pw"))
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            built.flask.test_client().post("/webhook", json={"action": "X"})
    [line] = [record.message for record in caplog.records]
    assert "X-Webhook-Secret" in line
    assert "WEBHOOK_SECRET" in line
    assert "Webhooks" in line


def test_refused_webhooks_are_counted_and_the_page_has_the_remedy(engine: Engine, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, basic_auth_user="ada", basic_auth_pass="pw")
    client = build(engine, settings).flask.test_client()
    page = {**BASIC, "Accept": "text/html"}
    assert "were refused" not in client.get("/status", headers=page).text
    assert "contract_marks_webhooks_refused_total 0.0" in client.get("/metrics", headers=BASIC).text
    for _ in range(3):
        client.post("/webhook", json={"action": "X"})
    client.post("/webhook", json={"action": "X"}, headers=BASIC)
    assert "contract_marks_webhooks_refused_total 3.0" in client.get("/metrics", headers=BASIC).text
    said = client.get("/status", headers=page).text
    for words in ("3 webhooks came without", "give the webhook the header X-Webhook-Secret", "WEBHOOK_SECRET"):
        assert words in said
    assert client.get("/status", headers={**BASIC, "Accept": "application/json"}).json["refused_webhooks"] == 3


@pytest.mark.parametrize(
    "body",
    [
        {"action": "START_TRAINING", "project": {"id": 2**70}},  # no number of a database's
        {"action": "ANNOTATION_CREATED", "project": {"id": -(2**63) - 1}},
    ],
)
def test_an_event_that_no_database_can_hold_is_the_senders_fault(
    client: FlaskClient, engine: Engine, body: dict[str, Any]
) -> None:
    answer = client.post("/webhook", json=body)
    assert (answer.status_code, answer.json["error"]) == (400, "RequestError")
    assert client.post("/webhook", json={"action": "X"}).status_code == 200
    assert len(rows(engine, event)) == 1


def test_metrics_count_what_the_ledger_has(client: FlaskClient, application: Application) -> None:
    client.post("/webhook", json=annotated(predict(client)))
    client.post("/webhook", json={"action": "SOMETHING_NEW", "project": {"id": 1}})
    application.feedback.worker.work()
    client.post("/webhook", json={"action": "ANNOTATIONS_DELETED", "annotations": [{"id": 99}]})
    answer = client.get("/metrics")
    assert answer.mimetype == "text/plain"
    lines = answer.text.splitlines()
    for line in (
        'contract_marks_events_received_total{action="ANNOTATION_CREATED"} 1.0',
        'contract_marks_events{action="ANNOTATIONS_DELETED",state="open"} 1.0',
        'contract_marks_events{action="other",state="done"} 1.0',  # unknown names are kept, and counted as one
        'contract_marks_annotations{state="done"} 1.0',
        'contract_marks_proposals{class="thumb"} 1.0',
        "contract_marks_predictions 1.0",
    ):
        assert line in lines
    assert any(line.startswith('contract_marks_samples{class="stamp",outcome="accepted"') for line in lines)
    [age] = [line for line in lines if line.startswith("contract_marks_oldest_open_event_seconds ")]
    assert 0 < float(age.split()[1]) < 600


def test_status_is_a_page_for_a_person_and_json_for_a_program(client: FlaskClient, application: Application) -> None:
    client.post("/webhook", json=annotated(predict(client)))
    client.post(
        "/webhook",
        json={"action": "ANNOTATION_CREATED", "annotation": {"id": "<b>x"}, "project": {"label_config": CONFIG}},
    )
    application.feedback.worker.work()
    page = client.get("/status", headers={"Accept": "text/html"})
    assert page.mimetype == "text/html"
    for words in ("told-1", "117", "accepted", "event 2", "no number that Label Studio gives"):
        assert words in page.text
    assert "<b>x" not in page.text
    facts = client.get("/status", headers={"Accept": "application/json"}).json
    assert facts["model"]["model_version"] == "told-1"
    assert facts["seed_misclassified"] == {"signature": 29, "stamp": 27, "thumb": 61}
    assert {one["outcome"] for one in facts["samples"]} == {"accepted"}
