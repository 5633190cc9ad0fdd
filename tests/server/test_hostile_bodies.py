"""Every route of the whole program, asked badly: packed and nested bodies, forms, paths, and a ledger that is away."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError

from backend.corrections.database import open_database
from backend.settings import Settings
from tests.corrections.test_application import build
from tests.server.wall.test_wall import OURS

HTML = {"Accept": "text/html"}
FORM = "application/x-www-form-urlencoded"
PAGES = ("/", "/health", "/versions", "/metrics", "/status", "/review", "/review/wall.js", "/nothing")


@pytest.fixture
def engine(tmp_path: Path, migrated_file: Path) -> Iterator[Engine]:
    """A ledger in a file: what is refused here comes to no database at all."""
    opened = open_database(f"sqlite:///{shutil.copyfile(migrated_file, tmp_path / 'ledger.sqlite3')}")
    yield opened
    opened.dispose()


@pytest.fixture
def client(engine: Engine, tmp_path: Path) -> FlaskClient:
    return build(engine, Settings(data_dir=tmp_path, label_studio_url="http://127.0.0.1:9")).flask.test_client()


@pytest.mark.parametrize("headers", [{}, HTML], ids=["a program", "a browser"])
@pytest.mark.parametrize(
    "path", [*PAGES, "/review/crops?project=1&class=stamp", "/review/crop?project=1&task=1&page=0"]
)
def test_no_answer_is_kept_framed_or_guessed_at(client: FlaskClient, path: str, headers: dict[str, str]) -> None:
    answer = client.get(path, headers=headers)
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    # No page of another origin has a picture or a table of this one in it.
    assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert answer.headers["Cache-Control"] == ("no-cache" if path == "/review/wall.js" else "no-store")
    assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize("path", ["/webhook", "/predict", "/setup", "/review/decisions", "/status/verdicts/x"])
@pytest.mark.parametrize("packing", ["gzip", "deflate", "br", "GZIP, gzip", "x-unknown"])
def test_a_packed_body_is_refused_and_not_unpacked(client: FlaskClient, path: str, packing: str) -> None:
    body = gzip.compress(b'{"action": "START_TRAINING"}')
    headers = OURS | {"Content-Encoding": packing}
    answer = client.post(path, data=body, content_type="application/json", headers=headers)
    assert (answer.status_code, answer.json["error"]) == (415, "UnsupportedMediaType")
    assert "send it as it is" in answer.json["message"]


DECISION = {"id": "1", "region": "a", "was": "stamp", "label": "stamp", "task": 1, "seconds": 1}
BODIES: dict[str, Any] = {
    "100,000 levels": b'{"ids": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "1,000 levels": b'{"ids": ' + b"[" * 1_000 + b"]" * 1_000 + b"}",
    "half a character": b'{"ids": ["\\ud800"]}',
    "a number of 5,000 digits": b'{"ids": [' + b"9" * 5_000 + b"]}",
    "a list": b"[]",
    "no text": b"\xff\xfe",
    "a name with a zero byte": {"ids": ["\0"]},
    "an empty name": {"ids": [""]},
    "a name of a megabyte": {"ids": ["x" * 900_000]},
    "501 names": {"ids": ["x"] * 501},
    "NaN for a project": b'{"project": NaN, "reviewer": 1, "decisions": []}',
    "a project of 200 digits": {"project": 10**200, "reviewer": 1, "decisions": []},
    "a truth for a project": {"project": True, "reviewer": 1, "decisions": []},
    "a reviewer of 2^63": {"project": 1, "reviewer": 2**63, "decisions": []},
    "a reviewer below nothing": {"project": 1, "reviewer": -1, "decisions": []},
    "a decision with a zero byte": {"project": 1, "reviewer": 1, "decisions": [DECISION | {"id": "a\0"}]},
    "a region with a line end": {"project": 1, "reviewer": 1, "decisions": [DECISION | {"region": "a\n"}]},
    "a task of 2^63": {"project": 1, "reviewer": 1, "decisions": [DECISION | {"task": 2**63}]},
    "seconds beyond all numbers": b'{"project": 1, "reviewer": 1, "decisions": [{"id": "1", "region": "a", '
    b'"was": "stamp", "label": "stamp", "task": 1, "seconds": 1e400}]}',
}


@pytest.mark.parametrize("name", BODIES)
def test_what_the_wall_is_told_badly_is_the_senders_fault(client: FlaskClient, name: str) -> None:
    body = BODIES[name]
    sent = {"data": body, "content_type": "application/json"} if isinstance(body, bytes) else {"json": body}
    for path in ("/review/undo", "/review/decisions"):
        answer = client.post(path, headers=OURS, **sent)
        assert (answer.status_code, answer.json["error"]) == (400, "RequestError")


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("/review/decisions", "application/json"),
        ("/review/undo", "application/json"),
        ("/status/verdicts/x", FORM),
        ("/status/verdicts/x", "multipart/form-data; boundary=b"),
        ("/nothing", FORM),
    ],
)
def test_pages_take_small_bodies_only(client: FlaskClient, path: str, content: str) -> None:
    answer = client.post(path, data=b"&a=1" * 500_000, content_type=content, headers=OURS)
    assert answer.status_code in (404, 413) if path == "/nothing" else answer.status_code == 413


@pytest.mark.parametrize(
    "path",
    [
        *("/review/..%2f..%2froutes.py", "/review/wall.js/../../routes.py", "/review/%2e%2e/wall_pages.py"),
        *("/static/../../etc/passwd", "/..%5c..%5cetc%5cpasswd", "/%00", "/status%00.html", "/review/wall.js%00"),
        *("/x//evil.example/%2e%2e", "/%2f%2fevil.example", "/\\evil.example", "/a%0d%0aSet-Cookie:%20x=1", "/status/"),
        "/" + "a/" * 8000,
    ],
    ids=lambda path: path[:30],
)
def test_other_paths_lead_nowhere(client: FlaskClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 404
    assert "Location" not in answer.headers


@pytest.mark.parametrize("path", ["/webhook", "//webhook", "///webhook"])
@pytest.mark.parametrize("method", ["POST", "post"])
def test_no_other_spelling_of_a_route_is_checked_less(client: FlaskClient, path: str, method: str) -> None:
    sent = {"data": '{"action": "START_TRAINING"}', "content_type": "text/plain"}
    environ = {"PATH_INFO": path, "REQUEST_METHOD": method}
    assert client.open("/webhook", method="POST", environ_overrides=environ, **sent).status_code == 415


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *(
            ("GET", path)
            for path in ("/metrics", "/status", "/review?project=1", "/review/crops?project=1&class=stamp")
        ),
        ("POST", "/review/undo"),
        ("POST", "/status/verdicts/x"),
    ],
)
def test_a_ledger_that_is_away_is_said_and_is_no_failure_of_the_program(
    engine: Engine, client: FlaskClient, caplog: pytest.LogCaptureFixture, method: str, path: str
) -> None:
    engine.dispose()
    file = Path(str(engine.url.database))
    file.unlink()
    file.mkdir()  # as a disk that is gone: nothing can be opened there
    answer = client.open(path, method=method, json={"ids": ["x"]} if "review" in path else None, headers=OURS)
    assert (answer.status_code, answer.json["error"]) == (503, "LedgerError")
    assert "SELECT" not in answer.text
    assert "Traceback" not in caplog.text


def test_the_words_of_a_database_are_told_without_the_statement_and_its_values(
    engine: Engine, client: FlaskClient
) -> None:
    def fail(*_: object) -> str:
        raise OperationalError("SELECT s3cret", {"name": "s3cret"}, Exception("database is locked\nby somebody"))

    client.application.view_functions["versions"] = fail
    answer = client.get("/versions")
    assert answer.status_code == 503
    assert "database is locked; try again" in answer.json["message"]
    assert "s3cret" not in answer.text
