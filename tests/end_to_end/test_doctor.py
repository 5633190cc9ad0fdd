"""`doctor` against a real Label Studio and the real backend: all is well, and then one thing after another is not."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from backend.cli import main
from backend.commands.demo.services import LOOPBACK, Service, backend_service, label_studio_service
from backend.commands.running_backend import serving_version
from backend.corrections.database import default_url, open_database
from backend.corrections.journal import Journal
from backend.labelstudio.client import LabelStudio
from backend.labelstudio.webhooks import webhooks
from tests.commands.doctor.conftest import Report, unprivileged
from tests.end_to_end.conftest import PATIENT, PATIENT_BACKEND, DrawnFile, Server, submit
from tests.end_to_end.learner import call
from tests.patience import SECONDS, eventually
from tests.ports import port_for_later

pytestmark = pytest.mark.label_studio

BASIC = ("label-studio", "knows-this")
SECRET = "and-its-webhooks-this"
WRONG_LABELS = """<View><Image name="page" value="$image"/>
  <RectangleLabels name="mark" toName="page"><Label value="Dog"/></RectangleLabels></View>"""


@dataclass(frozen=True, kw_only=True)
class Backend:
    """A backend with all credentials that there are, and a ledger of its own."""

    url: str
    folder: Path


def service(server: Server, port: int, folder: Path, **settings: str) -> Service:
    return backend_service(
        port=port,
        studio_url=server.url,
        token=server.login.token,
        data_dir=folder,
        log=folder.with_suffix(".log"),
        MODEL="bundled",
        **{
            "BASIC_AUTH_USER": BASIC[0],
            "BASIC_AUTH_PASS": BASIC[1],
            "WEBHOOK_SECRET": SECRET,
            **PATIENT_BACKEND,
            **settings,
        },
    )


@pytest.fixture(scope="module")
def backend(server: Server) -> Iterator[Backend]:
    folder, port = server.folder / "examined", port_for_later()
    url = f"http://{LOOPBACK}:{port}"
    with service(server, port, folder) as running:
        running.wait_until_answers(f"{url}/", seconds=SECONDS)
        serving_version(url, basic_auth=BASIC)
        yield Backend(url=url, folder=folder)


@pytest.fixture(autouse=True)
def environment(server: Server, backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an operator sets, for `serve` and for `doctor` alike."""
    for name, value in {
        "LABEL_STUDIO_URL": server.url,
        "LABEL_STUDIO_API_KEY": server.login.token,
        "DATA_DIR": str(backend.folder),
        "MODEL": "bundled",
        "BASIC_AUTH_USER": BASIC[0],
        "BASIC_AUTH_PASS": BASIC[1],
        "WEBHOOK_SECRET": SECRET,
    }.items():
        monkeypatch.setenv(name, value)
    for unset in ("DATABASE_URL", "STORAGE_URL"):
        monkeypatch.delenv(unset, raising=False)


Doctor = Callable[..., Report]


@pytest.fixture
def doctor(backend: Backend, server: Server, capsys: pytest.CaptureFixture[str]) -> Doctor:
    """Runs the command; nothing secret is in what it prints."""

    def run(project: int, *arguments: str) -> Report:
        capsys.readouterr()
        code = main(["doctor", "--project", str(project), "--url", backend.url, "--json", *arguments])
        out, _ = capsys.readouterr()
        for secret in (server.login.token, BASIC[1], SECRET):
            assert secret not in out
        return Report(code, out, {one["name"]: one for one in json.loads(out)["findings"]})

    return run


@pytest.fixture
def project(studio: LabelStudio, backend: Backend, drawn: list[DrawnFile], request: pytest.FixtureRequest) -> int:
    """A project that is connected and has a task, which nobody annotated yet."""
    title = request.node.name[:50]
    assert main(["connect", "--project", title, "--url", backend.url]) == 0
    made = studio.find_project(title)
    assert made is not None
    studio.import_tasks(made, [{"image": studio.upload(made, drawn[0].name, drawn[0].data)}])
    return made


def annotate(studio: LabelStudio, project: int) -> None:
    [task] = studio.tasks(project)
    submit(studio, int(task["id"]), [])


def not_well(report: Report, **states: str) -> None:
    """Exactly these things are in these states; names with `_` for a space."""
    assert report.not_well() == {name.replace("_", " "): state for name, state in states.items()}


def test_all_is_well(doctor: Doctor, studio: LabelStudio, backend: Backend, project: int) -> None:
    annotate(studio, project)
    ledger = open_database(default_url(backend.folder))
    # It hears of an event a moment after this was acknowledged.
    eventually(lambda: Journal(ledger).newest(project, ["ANNOTATION_CREATED"]) is not None, "the event in the ledger")
    ledger.dispose()
    report = doctor(project)
    assert report.not_well() == {}
    assert report.code == 0
    assert "is Label Studio 1.23" in report.findings["Label Studio"]["found"]
    assert "a legacy token" in report.findings["token"]["found"]
    assert "ANNOTATION_CREATED came" in report.findings["last delivery"]["found"]
    assert f"task {next(iter(studio.tasks(project)))['id']}: /data/upload/" in report.findings["pages: upload"]["found"]


def test_it_leaves_everything_as_it_is(doctor: Doctor, studio: LabelStudio, project: int) -> None:
    def there() -> Any:
        connections = [{**one, "updated_at": ""} for one in studio.backends(project)]
        return studio.project(project), connections, studio.call("GET", "/api/webhooks/", params={"project": project})

    before = there()
    doctor(project)
    assert there() == before


def test_a_wrong_token(doctor: Doctor, project: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "0123456789abcdef0123456789abcdef01234567")
    report = doctor(project)
    assert report.findings["token"]["state"] == "failure"
    assert "does not accept" in report.findings["token"]["found"]
    assert "personal access token" in report.findings["token"]["remedy"]
    assert report.findings["webhook"]["found"] == "not looked at: it needs `token`"
    assert report.code == 1


def test_a_wrong_title(doctor: Doctor, studio: LabelStudio, backend: Backend, project: int) -> None:
    [connection] = studio.backends(project)
    studio.rename_backend(connection["id"], project, backend.url, title="my model", basic_auth=BASIC)
    report = doctor(project)
    not_well(report, title="failure", shown_boxes="skipped")
    remedy = report.findings["title"]["remedy"]
    assert remedy == f"python -m backend connect --project {project} --url {backend.url}"
    assert main(remedy.split()[3:]) == 0
    assert doctor(project).not_well() == {}


def test_a_missing_webhook_and_one_without_its_secret(
    doctor: Doctor, studio: LabelStudio, backend: Backend, project: int
) -> None:
    [webhook] = webhooks(studio, project)
    path = f"/api/webhooks/{webhook.id}/"
    call(studio, "PATCH", path, json={"headers": {"X-Webhook-Secret": "an old one"}})
    annotate(studio, project)
    report = doctor(project)
    not_well(report, webhook_credentials="failure", last_delivery="failure")
    assert "is refused (401)" in report.findings["webhook credentials"]["found"]
    assert f"sync --project {project}" in report.findings["last delivery"]["remedy"]

    call(studio, "DELETE", path)
    report = doctor(project)
    rest = ("webhook credentials", "webhook address", "last delivery")
    assert report.not_well() == {"webhook": "failure"} | dict.fromkeys(rest, "skipped")
    assert f"no webhook sends events to {backend.url}/webhook" in report.findings["webhook"]["found"]
    assert main(report.findings["webhook"]["remedy"].split()[3:]) == 0
    not_well(doctor(project), last_delivery="warning")


def test_wrong_labels(doctor: Doctor, studio: LabelStudio, project: int) -> None:
    call(studio, "PATCH", f"/api/projects/{project}/", json={"label_config": WRONG_LABELS})
    report = doctor(project)
    rest = ("version", "title", "shown boxes", "pages")
    assert report.not_well() == {"label config": "failure", "way to the backend": "failure"} | dict.fromkeys(
        rest, "skipped"
    )
    assert "(found: Dog)" in report.findings["label config"]["found"]
    assert "Labeling Interface" in report.findings["label config"]["remedy"]
    assert "does not use it: 422 Client Error" in report.findings["way to the backend"]["found"]


def test_another_program_in_the_place_of_the_backend_and_none(
    doctor: Doctor, studio: LabelStudio, server: Server, project: int, tmp_path: Path
) -> None:
    port = port_for_later()
    url = f"http://{LOOPBACK}:{port}"
    settings = {"BASIC_AUTH_USER": "", "BASIC_AUTH_PASS": "", "WEBHOOK_SECRET": ""}
    [connection] = studio.backends(project)
    with service(server, port, tmp_path / "open", **settings) as running:
        running.wait_until_answers(f"{url}/", seconds=SECONDS)
        version = serving_version(url)
        studio.rename_backend(connection["id"], project, url, title=version, basic_auth=BASIC)
    report = doctor(project, "--url", url)
    assert report.findings["backend"]["remedy"].startswith("start it with `serve`")
    assert "(Connection refused)" in report.findings["way to the backend"]["found"]
    assert "HOST=0.0.0.0" in report.findings["way to the backend"]["remedy"]

    with service(server, port, tmp_path / "closed", BASIC_AUTH_PASS="another") as running:
        running.wait_until_answers(f"{url}/", seconds=SECONDS)
        report = doctor(project, "--url", url)
    assert "wants other credentials" in report.findings["backend"]["found"]
    assert "another password or user name" in report.findings["way to the backend"]["found"]
    assert "BASIC_AUTH_PASS" in report.findings["way to the backend"]["remedy"]


def test_an_address_that_label_studio_does_not_know(
    doctor: Doctor, studio: LabelStudio, backend: Backend, project: int
) -> None:
    fresh = studio.create_project("not connected to a name", studio.project(project)["label_config"])
    report = doctor(fresh, "--url", "http://no-such-host.invalid:9090", "--from-here", backend.url)
    assert "does not know the host of that address" in report.findings["connection"]["found"]
    assert f"connect --project {fresh} --url ADDRESS" in report.findings["connection"]["remedy"]
    assert studio.backends(fresh) == []


def test_a_data_folder_that_can_only_be_read(
    doctor: Doctor, backend: Backend, project: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    doctor(project)  # loads what nobody but root may be able to load
    with unprivileged(holding=backend.folder) as folder:
        monkeypatch.setenv("DATA_DIR", str(folder))
        report = doctor(project)
    rest = ("disk space", "journal", "last delivery")
    assert report.not_well() == {"data folder": "failure", "database": "failure"} | dict.fromkeys(rest, "skipped")
    assert "Permission denied" in report.findings["data folder"]["found"]
    assert "set DATA_DIR" in report.findings["data folder"]["remedy"]


def test_a_ledger_of_another_release(
    doctor: Doctor, project: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = sqlite3.connect(tmp_path / "ledger.sqlite3")
    ledger.executescript("CREATE TABLE alembic_version (version_num TEXT); INSERT INTO alembic_version VALUES ('9999')")
    ledger.close()
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    report = doctor(project)
    not_well(report, database="failure", journal="skipped", last_delivery="skipped")
    assert "is at migration 9999" in report.findings["database"]["found"]


@contextmanager
def guarded(server: Server, executable: Path, folder: Path) -> Iterator[LabelStudio]:
    """A copy of Label Studio with all its projects, started as it is by default: it refuses private addresses."""
    shutil.copytree(server.folder / "label-studio", folder, ignore=shutil.ignore_patterns("*.sqlite3*", "*.log"))
    name, port = "label_studio.sqlite3", port_for_later()
    with sqlite3.connect(server.folder / "label-studio" / name) as here, sqlite3.connect(folder / name) as there:
        here.backup(there)
    here.close()
    there.close()
    url = f"http://{LOOPBACK}:{port}"
    settings = {"ML_BLOCK_LOCAL_IP": "true", "SSRF_PROTECTION_ENABLED": "true", **PATIENT}
    with label_studio_service(executable, folder, login=server.login, port=port, **settings) as running:
        running.wait_until_answers(f"{url}/health", seconds=2 * SECONDS)
        with LabelStudio(url, server.login.token) as studio:
            yield studio


def test_an_address_that_label_studio_blocks_and_a_token_that_it_does_not_take(
    *,
    doctor: Doctor,
    studio: LabelStudio,
    server: Server,
    label_studio_executable: Path,
    project: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fresh = studio.create_project("not connected yet", studio.project(project)["label_config"])
    unblock = "start Label Studio with ML_BLOCK_LOCAL_IP=false SSRF_PROTECTION_ENABLED=false"
    with guarded(server, label_studio_executable, tmp_path / "label-studio") as other:
        monkeypatch.setenv("LABEL_STUDIO_URL", other.base_url)
        report = doctor(project)
        not_well(report, way_to_the_backend="failure", webhook_address="failure")
        for name in ("way to the backend", "webhook address"):
            assert "it is a private address" in report.findings[name]["found"]
            assert report.findings[name]["remedy"] == unblock
        report = doctor(fresh)
        assert "refuses that address, a private one" in report.findings["connection"]["found"]
        assert report.findings["connection"]["remedy"].startswith(unblock)
        assert other.backends(fresh) == []

        personal = other.call("POST", "/api/token/")["token"]
        only_personal = {"api_tokens_enabled": True, "legacy_api_tokens_enabled": False}
        call(other, "POST", "/api/jwt/settings", json=only_personal)
        report = doctor(project)
        assert "a legacy token" in report.findings["token"]["found"]
        assert "or turn legacy tokens on" in report.findings["token"]["remedy"]
        monkeypatch.setenv("LABEL_STUDIO_API_KEY", personal)
        report = doctor(project)
        assert "accepts LABEL_STUDIO_API_KEY, a personal access token" in report.findings["token"]["found"]
        assert personal not in report.out
        bearer = call(other, "POST", "/api/token/refresh/", json={"refresh": personal})["access"]
        monkeypatch.setenv("LABEL_STUDIO_API_KEY", bearer)
        assert "is a bearer" in doctor(project).findings["token"]["found"]
