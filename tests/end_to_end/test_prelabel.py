"""`prelabel` over a real Label Studio, whatever its tasks have: its lists tell which of them lack a prediction."""

from __future__ import annotations

from pathlib import Path

import pytest

from backend.cli import main
from backend.labelstudio.client import LabelStudio
from backend.labelstudio.stored_predictions import store
from tests.commands.prelabel.conftest import stamped
from tests.end_to_end.conftest import CONFIG, Server, submit

pytestmark = pytest.mark.label_studio


@pytest.fixture(autouse=True)
def environment(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an operator sets."""
    for name, value in {
        "LABEL_STUDIO_URL": server.url,
        "LABEL_STUDIO_API_KEY": server.login.token,
        "DATA_DIR": str(tmp_path / "data"),
        "MODEL": "bundled",
    }.items():
        monkeypatch.setenv(name, value)


def versions(studio: LabelStudio, task: int) -> list[str]:
    """Versions of a task's predictions, oldest first."""
    found = sorted(studio.predictions(task), key=lambda one: one["id"])
    return [one["model_version"] for one in found]


def test_each_task_ends_with_one_prediction_of_this_version(
    studio: LabelStudio, version: str, capsys: pytest.CaptureFixture[str]
) -> None:
    project = studio.create_project("pre-labelled", CONFIG)
    page = studio.upload(project, "page.png", stamped())
    none, older, annotated, twice, alike, gone = studio.import_tasks(project, [{"image": page}] * 5 + [{"image": "x"}])

    def stored(task: int, *versions: str) -> None:
        for one in versions:
            store(studio, project, {task: {"result": [], "score": 1.0, "model_version": one}})

    stored(older, "v0")
    stored(annotated, "v0")
    stored(twice, version, version)
    # Label Studio looks for a version in the text of all of a task's versions: this one it takes for ours.
    stored(alike, f"{version}-t0.3")
    stored(gone, "v0")
    [drawn_on] = studio.predictions(annotated)
    submit(studio, annotated, [], parent_prediction=drawn_on["id"])

    assert main(["prelabel", "--project", str(project), "--only-outdated"]) == 1
    assert "failed: 1 " in capsys.readouterr().err
    assert [versions(studio, task) for task in (none, older, annotated, twice, alike, gone)] == [
        [],
        ["v0", version],
        ["v0"],
        [version],
        [f"{version}-t0.3", version],
        ["v0"],
    ]

    stored(none, "v0")
    [open_in_a_tab] = studio.predictions(none)
    assert main(["prelabel", "--project", "pre-labelled", "--replace", "--processes", "2", "--batch", "1"]) == 1
    assert [versions(studio, task) for task in (none, older, annotated, twice, alike, gone)] == [
        [version],
        [version],
        ["v0", version],  # the first is what the annotation was made of
        [version],
        [version],
        ["v0"],  # no new one could be made
    ]
    [kept] = studio.predictions(none)
    assert (kept["id"], kept["model_version"]) == (open_in_a_tab["id"], version)
    assert submit(studio, none, kept["result"], parent_prediction=open_in_a_tab["id"])
