"""Only Label Studio, and programs that mean it, may speak: no web page by way of a browser, and no forged name."""

from __future__ import annotations

import base64
import json
import logging
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from backend.errors import SettingsError
from backend.server.callers import SECRET_USER, Callers, WebhookSecret
from backend.settings import Settings
from tests.server.conftest import (
    PAYLOADS,
    VERSION,
    MemoryLedger,
    MemoryPages,
    ToldPipeline,
    ToldServing,
    make_app,
    payload,
)

DOCKER = {"host": "0.0.0.0", "label_studio_url": "http://label-studio:8080"}  # noqa: S104  read, not bound
SUB_PATH = {"label_studio_url": "https://annotate.example.com/studio"}


def client_of(ledger: MemoryLedger | None = None, **settings: str) -> FlaskClient:
    table = Settings(**settings)  # type: ignore[arg-type]
    return make_app(table, serving=ToldServing(ToldPipeline()), pages=MemoryPages(), ledger=ledger).test_client()


@pytest.mark.parametrize("file", sorted(PAYLOADS.glob("*.json")), ids=lambda file: file.stem)
def test_what_label_studio_sends_is_let_in_with_the_headers_that_it_has(file) -> None:
    sent = json.loads(file.read_text())
    # Of some only the body was kept; their headers were those of the others.
    kept = sent.get("headers") or json.loads((PAYLOADS / "setup.json").read_text())["headers"]
    headers = {name: value for name, value in kept.items() if name != "Content-Length"}
    path = "/webhook" if file.stem.startswith("webhook") else f"/{file.stem.partition('_')[0]}"
    answer = client_of().post(path, headers=headers, data=json.dumps(sent["body"]))
    assert answer.status_code == 200


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", None])
@pytest.mark.parametrize("path", ["/webhook", "/predict", "/setup"])
def test_a_body_that_does_not_say_it_is_json_is_refused(client, ledger, path: str, kind: str | None) -> None:
    # A page may send these to any address, and a browser asks nobody first.
    answer = client.post(path, data='{"action": "START_TRAINING", "project": {"id": 1}}', content_type=kind)
    assert (answer.status_code, answer.json["error"]) == (415, "UnsupportedMediaType")
    assert ledger.events == []


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://localhost:3000", "file://", "http://["])
def test_a_page_of_another_origin_sends_nothing(client, ledger, origin: str) -> None:
    answer = client.post("/webhook", json={"action": "START_TRAINING"}, headers={"Origin": origin})
    assert (answer.status_code, ledger.events) == (403, [])


@pytest.mark.parametrize(
    ("path", "host", "status", "reason"),
    [
        ("/dashboards", "localhost", 404, "The requested URL was not found"),
        ("/predict", "localhost", 405, "The method is not allowed"),
        ("/", "<b>evil.example", 403, "this backend is not known as &lt;b&gt;evil.example"),
    ],
)
def test_a_person_who_is_refused_reads_a_page_and_a_program_json(
    client, path: str, host: str, status: int, reason: str
) -> None:
    browser = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8", "Host": host}
    page = client.get(path, headers=browser)
    assert (page.status_code, page.mimetype) == (status, "text/html")
    assert reason in page.text
    assert "style-src 'sha256-" in page.headers["Content-Security-Policy"]
    told = client.get("/nothing", headers={"Accept": "*/*"})
    assert (told.status_code, told.json["error"]) == (404, "NotFound")


def test_a_browser_is_not_told_that_a_page_may(client) -> None:
    asked = {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}
    answer = client.options("/webhook", headers=asked)
    assert not any(name.lower().startswith("access-control") for name, _ in answer.headers)


@pytest.mark.parametrize(
    ("settings", "origin", "host"),
    [
        ({}, "http://localhost:9090", "localhost:9090"),
        ({}, "http://localhost:8080", "127.0.0.1:9090"),  # Label Studio's own pages
        ({"allowed_client_hosts": "tools.example.com"}, "https://tools.example.com", "127.0.0.1:9090"),
    ],
)
def test_pages_that_belong_here_may(settings: dict[str, str], origin: str, host: str) -> None:
    ledger = MemoryLedger()
    headers = {"Origin": origin, "Host": host}
    answer = client_of(ledger, **settings).post("/webhook", json={"action": "X"}, headers=headers)
    assert (answer.status_code, len(ledger.events)) == (200, 1)


@pytest.mark.parametrize(
    ("settings", "host", "known"),
    [
        # on this machine
        ({}, "localhost:9090", True),
        ({}, "127.0.0.1:9090", True),
        ({}, "[::1]:9090", True),
        ({}, "marks.localhost", True),
        ({}, "192.168.1.20:9090", True),  # an address cannot be given to a page of another's
        # Label Studio in Docker, this on its host
        ({}, "host.docker.internal:9090", True),
        # both in Docker or Kubernetes
        (DOCKER, "backend:9090", True),
        (DOCKER, "backend.default.svc.cluster.local:9090", True),
        # behind one proxy, each with its path
        (SUB_PATH, "annotate.example.com", True),
        ({"allowed_client_hosts": "marks.example.com:443, other.example.com"}, "MARKS.example.com.", True),
        # a name of the internet that was turned to this address
        ({}, "evil.example:9090", False),
        (DOCKER, "evil.example:9090", False),
        (SUB_PATH, "example.com", False),
        ({}, "backend:9090", False),
        ({}, "127.0.0.1.evil.example", False),
        ({}, "127.0.0.1%00.evil.example", False),
        ({}, "127.0.0.1%lo", False),
        ({}, "[fe80::1%25eth0]:9090", False),
        ({}, "[::1", False),
        ({}, "127.1", False),
        ({}, "2130706433", False),
        ({}, "localhost, evil.example", False),
        ({}, "١٢٧.0.0.1", False),
        ({}, "ｌocalhost", False),
        ({}, "localhost.evil.example", False),
        ({}, "evil.example@localhost", False),
        ({}, "local host", False),
        ({}, "localhost:9090\r\nX: y", False),
    ],
)
def test_by_which_names_this_backend_is_known(settings: dict[str, str], host: str, known: bool) -> None:
    assert Callers(Settings(**settings)).knows_host(host) is known  # type: ignore[arg-type]


def test_a_foreign_name_reads_nothing_but_that_somebody_is_there(client) -> None:
    foreign = {"Host": "evil.example:9090"}
    for path in ("/health", "/versions"):
        answer = client.get(path, headers=foreign)
        assert (answer.status_code, answer.json["error"]) == (403, "Forbidden")
        assert "ALLOWED_CLIENT_HOSTS" in answer.json["message"]
    assert client.get("/", headers=foreign).status_code == 200


def test_a_thousand_refusals_are_one_line_of_the_log(client, caplog) -> None:
    with caplog.at_level(logging.WARNING):
        for _ in range(50):
            client.get("/health", headers={"Host": "evil.example"})
    assert len(caplog.records) == 1


@pytest.mark.parametrize("text", ["http://a.example", "a b", "a/b", "user@a"])
def test_a_setting_that_is_no_host_is_refused_at_the_start(text: str) -> None:
    with pytest.raises(SettingsError, match="ALLOWED_CLIENT_HOSTS has"):
        Callers(Settings(allowed_client_hosts=text))


def test_a_secret_that_connect_left_is_asked_for_at_once_and_start_training_brings_it_as_a_password(tmp_path) -> None:
    settings, ledger = Settings(data_dir=tmp_path / "data"), MemoryLedger()
    client = make_app(settings, serving=ToldServing(ToldPipeline()), pages=MemoryPages(), ledger=ledger).test_client()
    assert client.post("/webhook", json={"action": "X"}).status_code == 200
    known, secret = WebhookSecret(settings), WebhookSecret.make()
    known.keep(secret)
    assert known.current() == secret
    assert (settings.data_dir / "webhook-secret").stat().st_mode & 0o777 == 0o600
    assert client.post("/webhook", json={"action": "X"}).status_code == 401
    assert client.post("/webhook", json={"action": "X"}, headers={"X-Webhook-Secret": secret}).status_code == 200
    assert client.post("/webhook", json={"action": "X"}, auth=(SECRET_USER, secret)).status_code == 200
    assert client.post("/webhook", json={"action": "X"}, auth=(SECRET_USER, "")).status_code == 401
    assert client.get("/health").status_code == 200
    assert len(ledger.events) == 3


@pytest.mark.parametrize("left", [b"", b"\n", b"\xff\xfe", b"two\nlines", None], ids=repr)
def test_a_secret_that_cannot_be_read_lets_nobody_in_and_says_why(tmp_path: Path, left: bytes | None) -> None:
    """Such as of a copy for which the disk had no room, or of another user of this host."""
    settings, ledger = Settings(data_dir=tmp_path), MemoryLedger()
    app = make_app(settings, serving=ToldServing(ToldPipeline()), pages=MemoryPages(), ledger=ledger)
    file = tmp_path / "webhook-secret"
    file.mkdir() if left is None else file.write_bytes(left)
    for headers in ({}, {"X-Webhook-Secret": ""}, {"X-Webhook-Secret": "two"}):
        answer = app.test_client().post("/webhook", json={"action": "X"}, headers=headers)
        assert answer.status_code == 503
        assert "webhook-secret" in answer.json["message"]
        assert "run `connect`" in answer.json["message"]
    assert ledger.events == []
    file.rmdir() if left is None else file.unlink()
    assert app.test_client().post("/webhook", json={"action": "X"}).status_code == 200


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
