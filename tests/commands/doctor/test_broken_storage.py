"""Data folder, ledger, model or pages are broken: `doctor` names it, and nothing beside it."""

from __future__ import annotations

import io
import shutil
import sqlite3
from collections.abc import Callable

import flask
import pytest
from flask import Flask
from PIL import Image

from backend.corrections.database import revisions
from backend.vision.weights import WEIGHTS_FILE
from tests.commands.doctor.conftest import (
    NO_LEDGER,
    Broken,
    Setup,
    assert_named,
    set_to,
    skipped,
)
from tests.served import serving


def spoil(setup: Setup) -> None:
    path = setup.folder / "models" / "random" / WEIGHTS_FILE
    path.write_bytes(path.read_bytes()[:-1] + b"?")


def half_convert(setup: Setup) -> None:
    setup.environment["MODEL"] = "hub"
    (setup.folder / "hub" / "converted" / "main").mkdir(parents=True)


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


BROKEN = {
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
    "a page that was exchanged since boxes were shown on it": Broken(
        how=with_ledger("""
            INSERT INTO annotation (id, task, project, updated, folded, deleted, body, turned, attempts, due, lease,
                parked, exchanged) VALUES (5, 77, 1, 1, 1, 0, '{}', 1, 0, 0, 0, 0, '[2, 3]')
        """),
        named="exchanged pages",
        found="project 1, task 77, annotation 5: pages 2, 3 are not those that boxes were shown on",
        remedy="delete the annotation in Label Studio, run `prelabel --project 1 --refresh`",
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
def test_what_is_broken_is_named_with_its_remedy(healthy: Setup, broken: Broken) -> None:
    assert_named(healthy, broken)
