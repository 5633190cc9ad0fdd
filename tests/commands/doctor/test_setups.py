"""`doctor` over healthy set-ups, folders without rights, and other ways to ask it."""

from __future__ import annotations

import copy
import os

import pytest

from tests.commands.doctor.conftest import NEEDS_PROJECT, NO_LEDGER, NOBODY, Setup, skipped, unprivileged

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
