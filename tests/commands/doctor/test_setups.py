"""Set-ups that are broken in one way each: `doctor` names it with its remedy, and nothing beside it."""

from __future__ import annotations

import copy
import io
import os
import shutil
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import flask
import pytest
from flask import Flask
from PIL import Image

from backend.corrections.database import revisions
from backend.vision.weights import WEIGHTS_FILE
from tests.commands.doctor.conftest import BASIC, NOBODY, SECRET, Report, Setup, token_of, unprivileged
from tests.commands.import_documents.loopback import TOKEN, serving

OTHER_PASSWORD = "another pässword"
UNSENDABLE = "kľúčik"
NEEDS_PROJECT = (
    "label config",
    "version",
    "connection",
    "way to the backend",
    "title",
    "shown boxes",
    "webhook",
    "webhook credentials",
    "webhook address",
    "last delivery",
    "pages",
)


EVERYTHING = [
    "data folder",
    "disk space",
    "database",
    "journal",
    "weights",
    "classifier",
    "detector",
    "training",
    "credentials",
    "backend",
    "same model",
    "allowed hosts",
    "Label Studio",
    "token",
    "project",
    *NEEDS_PROJECT,
    "pages: upload",
]


def skipped(*names: str) -> dict[str, str]:
    return dict.fromkeys(names, "skipped")


def test_a_healthy_one_is_all_well(healthy: Setup) -> None:
    report = healthy.doctor()
    assert report.not_well() == {}
    assert report.code == 0
    assert list(report.findings) == EVERYTHING
    assert "a legacy token" in report.findings["token"]["found"]
    assert healthy.version in report.findings["backend"]["found"]
    assert "stamp → stamp" in report.findings["label config"]["found"]
    assert "120 × 170 pixels" in report.findings["pages: upload"]["found"]


def test_nothing_is_changed(healthy: Setup) -> None:
    healthy.doctor()  # Label Studio notes how its backends are whenever it is asked for them

    def everything() -> object:
        files = {path: path.read_bytes() for path in healthy.folder.rglob("*") if path.is_file()}
        studio = healthy.studio
        return files, copy.deepcopy((studio.projects, studio.tasks, studio.connections, studio.webhooks))

    before = everything()
    healthy.doctor()
    assert everything() == before


@dataclass(frozen=True, kw_only=True)
class Broken:
    """A way to break a set-up, and what is said of it: of which thing, in which words, with which remedy."""

    how: Callable[[Setup], object]
    named: str
    found: str
    remedy: str
    state: str = "failure"
    also: dict[str, str] = field(default_factory=dict)


def set_to(**environment: str) -> Callable[[Setup], object]:
    return lambda setup: setup.environment.update(environment)


def stop_backend(setup: Setup) -> None:
    setup.stack.close()


def relabel(config: str) -> Callable[[Setup], object]:
    return lambda setup: setup.state.update(label_config=config)


def spoil(setup: Setup) -> None:
    path = setup.folder / "models" / "random" / WEIGHTS_FILE
    path.write_bytes(path.read_bytes()[:-1] + b"?")


def half_convert(setup: Setup) -> None:
    setup.environment["MODEL"] = "hub"
    (setup.folder / "hub" / "converted" / "main").mkdir(parents=True)


def forget(setup: Setup) -> None:
    setup.studio.webhooks.clear()


def disconnect(setup: Setup) -> None:
    setup.studio.connections.clear()
    setup.studio.webhooks.clear()


def block_before_connecting(setup: Setup) -> None:
    disconnect(setup)
    setup.studio.takes_backends = False


def with_ledger(statement: str) -> Callable[[Setup], object]:
    def change(setup: Setup) -> None:
        connection = sqlite3.connect(setup.ledger)
        connection.executescript(statement)
        connection.close()

    return change


def file_in_place_of_the_folder(setup: Setup) -> None:
    shutil.rmtree(setup.folder)
    setup.folder.write_text("a file")
    setup.environment["MODEL"] = "bundled"


def redirect(setup: Setup) -> None:
    app = Flask(__name__, static_folder=None)
    app.add_url_rule("/page.png", view_func=lambda: flask.redirect("http://127.0.0.2:9/page.png"))
    archive = setup.stack.enter_context(serving(app))
    setup.environment["ALLOWED_HOSTS"] = archive.removeprefix("http://")
    setup.add_task(f"{archive}/page.png")


def tiff() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (120, 170), "white").save(file, "TIFF")
    return file.getvalue()


def lose_an_event(setup: Setup) -> None:
    setup.webhook["updated_at"] = "2026-01-01T00:00:00+00:00"
    setup.annotate(ago=7200)
    setup.add_task(setup.upload())
    setup.annotate(arrives=False)


CONFIG = '<View><Image name="i" value="$image"/><RectangleLabels name="r" toName="i">{}</RectangleLabels></View>'
# Of another label config, the version is another one; until `serve` has told Label Studio, the title is not it.
OTHER_NAMES = {"title": "failure"} | skipped("shown boxes")
NO_LEDGER = skipped("journal", "last delivery")
BLIND = skipped("same model", "version", "title", "shown boxes")

BROKEN = {
    "a Label Studio that is not there": Broken(
        how=set_to(LABEL_STUDIO_URL="http://127.0.0.1:9"),
        named="Label Studio",
        found="did not answer",
        remedy="LABEL_STUDIO_URL",
        also=skipped("token", "project", *NEEDS_PROJECT),
    ),
    "another program in the place of Label Studio": Broken(
        how=lambda setup: setup.environment.update(LABEL_STUDIO_URL=setup.url),
        named="Label Studio",
        found="401",
        remedy="LABEL_STUDIO_URL",
        also=skipped("token", "project", *NEEDS_PROJECT),
    ),
    "a wrong token": Broken(
        how=set_to(LABEL_STUDIO_API_KEY="fedcba9876543210"),
        named="token",
        found="does not accept LABEL_STUDIO_API_KEY, a legacy token",
        remedy="make a personal access token",
        also=skipped("project", *NEEDS_PROJECT),
    ),
    "a bearer in the place of a token": Broken(
        how=set_to(LABEL_STUDIO_API_KEY=token_of("access", expires=time.time() + 300)),
        named="token",
        found="is a bearer",
        remedy="make a personal access token",
        also=skipped("project", *NEEDS_PROJECT),
    ),
    "a personal access token that ran out": Broken(
        how=set_to(LABEL_STUDIO_API_KEY=token_of("refresh", expires=time.time() - 3 * 86400)),
        named="token",
        found="a personal access token that ran out 3 days ago",
        remedy="make a personal access token",
        also=skipped("project", *NEEDS_PROJECT),
    ),
    "a token with a word before it": Broken(
        how=set_to(LABEL_STUDIO_API_KEY=f"Token {TOKEN}"),
        named="token",
        found="a character in it that no token has",
        remedy="copy the token",
        also=skipped("project", *NEEDS_PROJECT),
    ),
    "no token": Broken(
        how=set_to(LABEL_STUDIO_API_KEY=""),
        named="token",
        found="is empty",
        remedy="make a personal access token",
        state="warning",
        also=skipped("project", *NEEDS_PROJECT),
    ),
    "a password that Label Studio cannot send": Broken(
        how=set_to(BASIC_AUTH_PASS=UNSENDABLE),
        named="credentials",
        found="letters beyond Latin-1",
        remedy="set both to Latin-1 letters",
        also=BLIND | {"backend": "failure"},
    ),
    "a backend that is not running": Broken(
        how=stop_backend,
        named="backend",
        found="no backend answers",
        remedy="start it with `serve`",
        also=BLIND | {"way to the backend": "failure"},
    ),
    "a backend that Label Studio does not reach": Broken(
        how=lambda setup: setup.connection.update(url="http://127.0.0.1:9"),
        named="connection",
        found="not connected to",
        remedy="connect --project 1 --url http://127.0.0.1",
        also=skipped("way to the backend", "title", "shown boxes", "webhook", *NEEDS_PROJECT[7:10]),
    ),
    "a password that the backend does not know": Broken(
        how=lambda setup: setup.studio.passwords.update({setup.connection["id"]: OTHER_PASSWORD}),
        named="way to the backend",
        found="does not let Label Studio in, which brings another password or user name",
        remedy="BASIC_AUTH_USER and BASIC_AUTH_PASS as for `serve`",
    ),
    "credentials that Label Studio was not given": Broken(
        how=lambda setup: setup.connection.update(basic_auth_user="", auth_method="NONE"),
        named="way to the backend",
        found="which brings no user name and password",
        remedy="connect --project 1",
    ),
    "an address that Label Studio blocks": Broken(
        how=lambda setup: setattr(setup.studio, "takes_backends", False),
        named="way to the backend",
        found="it is a private address",
        remedy="ML_BLOCK_LOCAL_IP=false",
    ),
    "an address that Label Studio blocks, not connected yet": Broken(
        how=block_before_connecting,
        named="connection",
        found="refuses that address, a private one",
        remedy="ML_BLOCK_LOCAL_IP=false",
        also=skipped("way to the backend", "title", "shown boxes", "webhook", *NEEDS_PROJECT[7:10]),
    ),
    "a project that is not connected": Broken(
        how=disconnect,
        named="connection",
        found="nor to any other",
        remedy="python -m backend connect --project 1 --url",
        also=skipped("way to the backend", "title", "shown boxes", "webhook", *NEEDS_PROJECT[7:10]),
    ),
    "another title": Broken(
        how=lambda setup: setup.connection.update(title="my model"),
        named="title",
        found="'my model', not the version random-",
        remedy="python -m backend connect --project 1 --url",
        also=skipped("shown boxes"),
    ),
    "another version that the project shows": Broken(
        how=lambda setup: setup.state.update(model_version="last year's"),
        named="shown boxes",
        found="predictions of last year's",
        remedy="Settings, Annotation: choose random-",
    ),
    "predictions that are not shown": Broken(
        how=lambda setup: setup.state.update(show_collab_predictions=False),
        named="shown boxes",
        found="begin without boxes",
        remedy="Settings, Annotation",
        state="warning",
    ),
    "no webhook": Broken(
        how=forget,
        named="webhook",
        found="no correction is learnt from",
        remedy="python -m backend connect --project 1 --url",
        also=skipped(*NEEDS_PROJECT[7:10]),
    ),
    "a webhook that is switched off": Broken(
        how=lambda setup: setup.webhook.update(is_active=False),
        named="webhook",
        found="lacks being switched on",
        remedy="connect --project 1",
    ),
    "a webhook for other events": Broken(
        how=lambda setup: setup.webhook.update(send_for_all_actions=False, actions=["TASKS_CREATED"]),
        named="webhook",
        found="lacks events of annotations",
        remedy="connect --project 1",
    ),
    "a webhook without its secret": Broken(
        how=lambda setup: setup.webhook.update(headers={"X-Webhook-Secret": "old"}),
        named="webhook credentials",
        found="X-Webhook-Secret (another), Authorization (missing)",
        remedy="with WEBHOOK_SECRET and BASIC_AUTH_USER and BASIC_AUTH_PASS as for `serve`",
    ),
    "a webhook that Label Studio keeps back": Broken(
        how=lambda setup: setattr(setup.studio, "takes_webhooks", False),
        named="webhook address",
        found="sends nothing to",
        remedy="SSRF_PROTECTION_ENABLED=false",
    ),
    "an event that did not arrive": Broken(
        how=lose_an_event,
        named="last delivery",
        found="ANNOTATION_CREATED came 2 hours ago: one event at least was lost",
        remedy="sync --project 1",
        state="warning",
    ),
    "wrong labels": Broken(
        how=relabel(CONFIG.format('<Label value="Dog"/>')),
        named="label config",
        found="(found: Dog)",
        remedy="Settings, Labeling Interface",
        also=skipped("version", "title", "shown boxes", "pages") | {"way to the backend": "failure"},
    ),
    "a label that is missing": Broken(
        how=relabel(CONFIG.format('<Label value="Seal" predicted_values="stamp"/><Label value="Signature"/>')),
        named="label config",
        found="no label stands for thumb",
        remedy='<Label value="Thumb" predicted_values="thumb"/>',
        state="warning",
        also=OTHER_NAMES,
    ),
    "a label config for another field": Broken(
        how=lambda setup: setup.state.update(label_config=setup.state["label_config"].replace("$image", "$scan")),
        named="pages",
        found="has no field 'scan'",
        remedy="Labeling Interface",
        also=OTHER_NAMES,
    ),
    "a project that is not there": Broken(
        how=lambda setup: setup.state.update(title="Renamed"),
        named="project",
        found="no project of the title 'Contracts'",
        remedy="connect --project Contracts",
        also=skipped(*NEEDS_PROJECT),
    ),
    "a file in the place of the data folder": Broken(
        how=file_in_place_of_the_folder,
        named="data folder",
        found="is not a folder",
        remedy="set DATA_DIR",
        also={"database": "warning", "same model": "warning", "disk space": "skipped"} | NO_LEDGER,
    ),
    "a ledger of a newer release": Broken(
        how=with_ledger("UPDATE alembic_version SET version_num = '9999'"),
        named="database",
        found=f"migration 9999, this program's newest is {revisions()[-1]}",
        remedy="install the newer release",
        also=NO_LEDGER,
    ),
    "a ledger of an older release": Broken(
        how=with_ledger("UPDATE alembic_version SET version_num = '0001'"),
        named="database",
        found="migration 0001",
        remedy="restart `serve`",
        state="warning",
        also=NO_LEDGER,
    ),
    "a ledger that lacks a table": Broken(
        how=with_ledger("DROP TABLE sample"),
        named="database",
        found="lacks sample",
        remedy="put a backup in its place",
        also=NO_LEDGER,
    ),
    "a ledger that lacks a column": Broken(
        how=with_ledger("ALTER TABLE sample DROP COLUMN lead_time"),
        named="database",
        found="lacks sample.lead_time",
        remedy="put a backup in its place",
        also=NO_LEDGER,
    ),
    "another program's database": Broken(
        how=with_ledger("DROP TABLE alembic_version"),
        named="database",
        found="has tables, but not a ledger's",
        remedy="set DATABASE_URL",
        also=NO_LEDGER,
    ),
    "a ledger that is no database": Broken(
        how=lambda setup: setup.ledger.write_bytes(b"scribbles" * 1000),
        named="database",
        found="file is not a database",
        remedy="put a backup in its place",
        also=NO_LEDGER,
    ),
    "a ledger in another journal mode": Broken(
        how=with_ledger("PRAGMA journal_mode=DELETE"),
        named="database",
        found="journal mode delete",
        remedy="restart `serve`, which sets WAL",
        state="warning",
    ),
    "no ledger": Broken(
        how=lambda setup: setup.ledger.unlink(),
        named="database",
        found="there is no ledger",
        remedy="give `doctor` its DATA_DIR",
        state="warning",
        also=NO_LEDGER,
    ),
    "a database server that is not there": Broken(
        how=set_to(DATABASE_URL="postgresql://marks:sésame-ouvre@127.0.0.1:9/marks"),
        named="database",
        found="postgresql://127.0.0.1:9/marks cannot be used: connection failed",
        remedy="set DATABASE_URL",
        also=NO_LEDGER,
    ),
    "damaged weights": Broken(
        how=spoil,
        named="classifier",
        found="its SHA-256 is",
        remedy="MODEL=bundled",
        also=skipped("same model"),
    ),
    "a model that there is not": Broken(
        how=set_to(MODEL="typo"),
        named="weights",
        found="known are auto, hub, bundled, random",
        remedy="`models list`",
        also=skipped("classifier", "detector", "same model"),
    ),
    "weights that are still on the Hub": Broken(
        how=set_to(MODEL="hub"),
        named="weights",
        found="are not on this disk yet",
        remedy="MODEL=bundled",
        state="warning",
        also=skipped("classifier", "detector", "same model"),
    ),
    "damaged weights of the Hub": Broken(
        how=half_convert,
        named="weights",
        found="converted/main is damaged",
        remedy="restart `serve`",
        also=skipped("classifier", "detector", "same model"),
    ),
    "a pointer to a model that was deleted": Broken(
        how=lambda setup: (set_to(MODEL="auto")(setup), (setup.folder / "models" / "active").write_text("gone\n")),
        named="weights",
        found="names the model 'gone'",
        remedy="`models promote` another",
        also=skipped("classifier", "detector", "same model"),
    ),
    "other settings than those of the server": Broken(
        how=set_to(CONFIDENCE="0.8"),
        named="same model",
        found="these settings stand for random-",
        remedy="restart `serve`",
        state="warning",
    ),
    "a crop store that cannot be written": Broken(
        how=set_to(STORAGE_URL="/proc/nowhere"),
        named="crop store",
        found="cannot be written",
        remedy="set STORAGE_URL",
    ),
    "a host that is not allowed": Broken(
        how=lambda setup: setup.add_task("http://archive.example:8000/page.png?signature=secret"),
        named="pages: http",
        found="host archive.example:8000 is not allowed",
        remedy="ALLOWED_HOSTS=archive.example:8000",
    ),
    "a host that is not allowed, behind one that is": Broken(
        how=redirect,
        named="pages: http",
        found="redirected to 127.0.0.2:9",
        remedy=",127.0.0.2:9",
    ),
    "an allow-list that is none": Broken(
        how=set_to(ALLOWED_HOSTS="http://archive.example"),
        named="allowed hosts",
        found="ALLOWED_HOSTS has 'http://archive.example'",
        remedy="ALLOWED_HOSTS=host",
        also=skipped("pages: upload"),
    ),
    "a local file that this machine has not": Broken(
        how=lambda setup: (
            set_to(LOCAL_FILES_ROOT=str(setup.folder))(setup),
            setup.add_task("/data/local-files/?d=missing.png"),
        ),
        named="pages: local file",
        found="the file cannot be read (No such file or directory)",
        remedy="LOCAL_FILES_ROOT",
    ),
    "a cloud file that Label Studio cannot sign": Broken(
        how=lambda setup: setup.add_task("s3://contracts/page.png"),
        named="pages: cloud",
        found="there is no such file",
        remedy="Cloud Storage",
    ),
    "a page that is no image": Broken(
        how=lambda setup: setup.add_task("data:image/png;base64,aGVsbG8="),
        named="pages: data URI",
        found="data:image/png;base64,aGVsbG8=",
        remedy="import the task anew",
    ),
    "an upload that is gone": Broken(
        how=lambda setup: setup.studio.uploads.clear(),
        named="pages: upload",
        found="there is no such file",
        remedy="import the file anew",
    ),
    "a task that could not be looked at": Broken(
        how=with_ledger("INSERT INTO unread_task VALUES (77, 1, 1, 1, 'page.avif: damaged or cut short')"),
        named="tasks looked at",
        found="1 task could not be looked at yet: task 77: page.avif: damaged or cut short",
        remedy="asked for again by themselves",
        state="warning",
    ),
    "a label that no label config knows": Broken(
        how=with_ledger("""
            INSERT INTO annotation (id, task, project, updated, folded, deleted, body, turned, attempts, due, lease,
                parked, unknown, needs_past) VALUES (1, 5, 1, 1, 1, 0, '{}', 1, 0, 0, 0, 0, '["Siegel", "Siegel"]', 1)
        """),
        named="labels in use",
        found="2 regions have the label 'Siegel', such as on task 5: they teach nothing",
        remedy='predicted_values="stamp,Siegel"',
        state="warning",
    ),
    "boxes of another label config": Broken(
        how=lambda setup: (
            setup.add_task(setup.upload()),
            setup.studio.tasks[-1].update(predictions=[{"id": 1, "model_version": "random-x-c12345678"}]),
        ),
        named="stored boxes",
        found="have only boxes that another model or another label config made",
        remedy="--only-outdated --replace",
        state="warning",
    ),
    "a page that browsers do not show": Broken(
        how=lambda setup: (
            setup.studio.uploads.update({4242: ("page.tif", tiff())}),
            setup.add_task(f"/data/upload/1/{4242:08x}-page.tif"),
        ),
        named="browser",
        found="(TIFF): annotators see an empty frame",
        remedy="python -m backend import",
        state="warning",
    ),
    "a page that is too large": Broken(
        how=set_to(MAX_PIXELS="1000"),
        named="pages: upload",
        found="MAX_PIXELS",
        remedy="raise the setting",
    ),
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_a_broken_one_is_named_with_its_remedy(healthy: Setup, broken: Broken) -> None:
    broken.how(healthy)
    report = healthy.doctor()
    finding = report.findings[broken.named]
    assert broken.found in finding["found"]
    assert broken.remedy in finding["remedy"]
    assert report.not_well() == {broken.named: broken.state} | broken.also
    assert report.code == (1 if "failure" in report.not_well().values() else 0)
    assert_nothing_secret(healthy, report)


def assert_nothing_secret(setup: Setup, report: Report) -> None:
    secrets = [SECRET, BASIC[1], OTHER_PASSWORD, UNSENDABLE, TOKEN, "sésame-ouvre", "signature=secret"]
    key = setup.environment["LABEL_STUDIO_API_KEY"]
    for secret in [*secrets, key] if key else secrets:
        assert secret not in report.out
        assert secret.encode("unicode_escape").decode() not in report.out


def test_a_data_folder_that_can_only_be_read(healthy: Setup) -> None:
    healthy.doctor()  # loads what nobody but root may be able to load
    with unprivileged(holding=healthy.folder) as folder:
        healthy.environment["DATA_DIR"] = str(folder)
        report = healthy.doctor()
    assert report.not_well() == {"data folder": "failure", "disk space": "skipped", "database": "failure"} | NO_LEDGER
    assert f"{folder} cannot be written (Permission denied)" in report.findings["data folder"]["found"]
    assert "set DATA_DIR" in report.findings["data folder"]["remedy"]
    assert "readonly database" in report.findings["database"]["found"]
    assert str(folder) in report.findings["database"]["remedy"]
    assert os.geteuid() == os.getuid()


def test_a_data_folder_that_cannot_be_entered(healthy: Setup) -> None:
    healthy.doctor()
    with unprivileged() as folder:
        os.seteuid(os.getuid())
        folder.chmod(0)
        os.seteuid(NOBODY if os.getuid() == 0 else os.getuid())
        healthy.environment["DATA_DIR"] = str(folder / "data")
        report = healthy.doctor()
    wrong = {"data folder", "database", "weights"}
    assert {name for name, state in report.not_well().items() if state == "failure"} == wrong
    for name in wrong:
        assert "Permission denied" in report.findings[name]["found"]
        assert str(folder / "data") in report.findings[name]["remedy"]


def test_references_of_every_kind_that_can_be_read(healthy: Setup) -> None:
    (healthy.folder / "page.png").write_bytes(next(iter(healthy.studio.uploads.values()))[1])
    healthy.studio.cloud["s3://contracts/page.png"] = (healthy.folder / "page.png").read_bytes()
    healthy.environment["LOCAL_FILES_ROOT"] = str(healthy.folder)
    healthy.add_task("/data/local-files/?d=page.png")
    healthy.add_task("s3://contracts/page.png")
    healthy.add_task("data:image/gif;base64,R0lGODdhAQABAIAAAP///wAAACwAAAAAAQABAAACAkQBADs=")
    report = healthy.doctor()
    assert report.not_well() == {}
    assert {name for name in report.findings if name.startswith("pages: ")} == {
        "pages: upload",
        "pages: local file",
        "pages: cloud",
        "pages: data URI",
    }


def test_without_a_project_what_belongs_to_one_is_left_out(healthy: Setup) -> None:
    report = healthy.doctor(project=None)
    assert report.not_well() == skipped("project", *NEEDS_PROJECT)
    assert "--project" in report.findings["project"]["found"]
    assert report.code == 0


def test_a_project_without_tasks_has_no_pages_to_look_at(healthy: Setup) -> None:
    healthy.studio.tasks.clear()
    report = healthy.doctor()
    assert report.not_well() == skipped("pages")
    assert "no tasks yet" in report.findings["pages"]["found"]
    assert "nothing is annotated yet" in report.findings["last delivery"]["found"]


def test_loopback_has_many_names(healthy: Setup) -> None:
    report = healthy.doctor("--url", healthy.url.replace("127.0.0.1", "localhost"), "--from-here", healthy.url)
    assert report.not_well() == {}


def test_a_backend_under_another_address_is_recognised_by_what_it_serves(healthy: Setup) -> None:
    report = healthy.doctor("--url", "http://backend:9090", "--from-here", healthy.url)
    assert report.not_well() == {"connection": "warning"}
    assert f"--url {healthy.url}" in report.findings["connection"]["remedy"]


def test_what_people_read(healthy: Setup) -> None:
    healthy.connection["title"] = "my model"
    healthy.doctor()
    from backend.cli import main

    assert main(["doctor", "--project", "1", "--url", healthy.url]) == 1
    lines = healthy.capsys.readouterr().out.splitlines()
    [at] = [place for place, line in enumerate(lines) if line.startswith("failure title ")]
    assert lines[at + 1].strip() == f"→ python -m backend connect --project 1 --url {healthy.url}"
    assert lines[-1] == "25 ok, 1 failure, 1 skipped"


@pytest.mark.parametrize("name", ["PORT", "CONFIDENCE"])
def test_a_setting_that_cannot_be_used_is_bad_use(healthy: Setup, name: str) -> None:
    healthy.environment[name] = "many"
    report = healthy.doctor()
    assert (report.code, report.out) == (2, "")
