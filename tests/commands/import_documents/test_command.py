"""The command `import`: what it prints, and the codes that scripts can rely on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from backend.cli import main
from backend.labelstudio.projects import label_config
from tests.commands.import_documents.loopback import TOKEN, Loopback
from tests.commands.import_documents.papers import pdf


@pytest.fixture
def project(studio: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setenv("LABEL_STUDIO_URL", studio.url)
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", TOKEN)
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("RENDER_DPI", "72")
    return studio.add_project(label_config(paged=True), title="Archive")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "in"
    made.mkdir()
    (made / "a.pdf").write_bytes(pdf(1, 2, 3))
    (made / "b.pdf").write_bytes(pdf(4))
    return made


def test_a_folder_goes_in_and_is_counted(
    studio: Loopback, project: int, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["import", str(folder), "--project", "Archive", "--last", "2"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[1].split() == ["imported", "2", "3", "2"]
    assert out[2] == f"{studio.url}/projects/{project}"
    assert [task["data"]["page_numbers"] for task in studio.tasks] == [[2, 3], [1]]

    assert main(["import", str(folder), "--project", str(project)]) == 0
    assert "already in the project" in capsys.readouterr().out
    assert len(studio.tasks) == 2


def test_a_damaged_file_is_code_1_and_named(
    studio: Loopback, project: int, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "aa.pdf").write_bytes(b"%PDF-1.7 and no more")
    (folder / ".b.pdf").write_bytes(b"")
    assert main(["import", str(folder), "--project", str(project)]) == 1
    out, err = capsys.readouterr()
    assert "aa.pdf: cut short" in err
    assert "left out (hidden)" in err
    assert [line.split()[:2] for line in out.splitlines()[1:3]] == [["imported", "2"], ["failed", "1"]]
    assert studio.documents() == ["a.pdf", "b.pdf"]


def test_a_label_studio_that_goes_away_is_code_1_and_the_rest_is_counted(
    studio: Loopback, project: int, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse_from_now_on(_: list[object]) -> None:
        studio.refuse["POST", f"/api/projects/{project}/import"] = 401

    studio.after_commit = refuse_from_now_on
    assert main(["import", str(folder), "--project", str(project)]) == 1
    out, err = capsys.readouterr()
    assert "goes on from here" in err
    assert ["not", "reached", "1"] in [line.split() for line in out.splitlines()]
    studio.refuse.clear()
    assert main(["import", str(folder), "--project", str(project)]) == 0
    assert studio.documents() == ["a.pdf", "b.pdf"]


def test_ctrl_c_tells_what_is_in_and_what_goes_on(
    *,
    studio: Loopback,
    project: int,
    folder: Path,
    ctrl_c: Callable[[], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    (folder / "c.pdf").write_bytes(pdf(5))
    studio.after_commit = lambda _: ctrl_c()
    assert main(["import", str(folder), "--project", str(project)]) == 130
    out, err = capsys.readouterr()
    rows = {line[:30].strip(): line[30:].split() for line in out.splitlines()}
    assert int(rows["imported"][0]) + int(rows["not reached"][0]) == 3
    assert "goes on from here" in err
    assert err.endswith("contract-marks: stopped\n")
    studio.after_commit = lambda _: None
    assert main(["import", str(folder), "--project", str(project)]) == 0
    assert studio.documents() == ["a.pdf", "b.pdf", "c.pdf"]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        # a title that nobody gave
        (["in", "--project", "Elsewhere"], "`connect --project` makes one"),
        # an id that there is not
        (["in", "--project", "99"], "has no project 99"),
        # the label config shows documents
        (["in", "--project", "Archive", "--tasks", "page"], "--tasks document"),
        # a folder without documents
        (["data", "--project", "Archive"], "there is no document"),
        # an option of another command
        (["in", "--project", "Archive", "--confidence", "1"], "unrecognized"),
    ],
)
def test_what_cannot_be_done_is_code_2(
    *,
    project: int,
    folder: Path,
    arguments: list[str],
    reason: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(folder.parent)
    Path("data").mkdir()
    try:
        code = main(["import", *arguments])
    except SystemExit as stopped:
        code = int(stopped.code or 0)
    assert code == 2
    assert reason in capsys.readouterr().err


@pytest.mark.parametrize("number", ["0", "-1", "two"])
def test_numbers_are_above_0(number: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["import", "x.pdf", "--project", "1", f"--last={number}"])
    assert "no whole number above 0" in capsys.readouterr().err


def test_without_a_token_nothing_is_tried(
    project: int, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "")
    assert main(["import", str(folder), "--project", "1"]) == 2
    assert "LABEL_STUDIO_API_KEY" in capsys.readouterr().err


def test_a_label_config_without_a_place_for_marks_names_the_way_out(
    studio: Loopback, project: int, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = studio.add_project("<View></View>")
    assert main(["import", str(folder), "--project", str(empty)]) == 2
    assert "see `connect`" in capsys.readouterr().err


def test_no_page_of_a_document_stays_in_the_data_folder(
    studio: Loopback, project: int, folder: Path, tmp_path: Path
) -> None:
    main(["import", str(folder), "--project", str(project)])
    left = [path.name for path in (tmp_path / "data").rglob("*") if path.is_file()]
    assert left == ["lock"]
