"""The command line: one JSON document a page, errors on one line of stderr, and codes that scripts can rely on."""

from __future__ import annotations

import argparse
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from backend import cli
from backend.cli import main
from backend.vision.network_config import MARKS
from tests.models.tiny import says

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A model that serves in place of the bundled one, and the detector that looks soonest."""
    says("stamp", tmp_path / "data" / "models" / "hasty")
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("MODEL", "hasty")
    monkeypatch.setenv("DETECTOR", "colour")
    return "hasty"


def contract(marked: bool = True) -> Image.Image:
    pixels = np.full((1170, 827, 3), 250, np.uint8)
    if marked:
        y, x = np.mgrid[0:1170, 0:827]
        distance = np.hypot(x - 400, y - 600)
        pixels[(distance < 60) & (distance > 45)] = (40, 60, 190)
    return Image.fromarray(pixels)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    contract().save(tmp_path / "contract.jpg", quality=92, dpi=(100, 100))
    return tmp_path / "contract.jpg"


def test_one_json_document_a_page(image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = tmp_path / "contract.pdf"
    contract(marked=False).save(document, save_all=True, append_images=[contract(), contract()])
    assert main(["predict", str(image), str(document), "--json", "--confidence", "0.01"]) == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(answer["file"], answer["page"]) for answer in answers] == [
        (str(image), 1),
        (str(document), 1),
        (str(document), 2),
        (str(document), 3),
    ]
    for answer in answers:
        why = [] if answer["result"] else ["reason"]
        assert list(answer) == ["file", "page", "width", "height", "model_version", "score", "result", *why]
        assert answer["model_version"].startswith("hasty-")
        assert 0 <= answer["score"] <= 1
    assert (answers[0]["width"], answers[0]["height"]) == (827, 1170)
    assert answers[1]["result"] == []
    assert "candidate" in answers[1]["reason"]


def test_regions_fit_the_projects_own_label_config(image: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Asked without a label config and with the project's, the regions are the same."""
    found = []
    for more in ([], ["--label-config", str(ROOT / "label_config.xml")]):
        assert main(["predict", str(image), "--json", "--confidence", "0.01", *more]) == 0
        found.append(json.loads(capsys.readouterr().out)["result"])
    assert found[0] == found[1]
    for region in found[0]:
        assert region["type"] == "rectanglelabels"
        assert (region["from_name"], region["to_name"]) == ("mark", "page")
        assert set(region["value"]["rectanglelabels"]) <= set(MARKS)


def test_a_table_for_people(image: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", str(image)]) == 0
    assert capsys.readouterr().out.startswith(f"{image}, page 1 (827 x 1170 px): ")


def test_a_page_without_marks_says_why_in_the_table_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    contract(marked=False).save(tmp_path / "blank.png")
    assert main(["predict", str(tmp_path / "blank.png")]) == 0
    head, why = capsys.readouterr().out.splitlines()
    assert ": 0 marks, " in head
    assert "candidate" in why


def test_the_version_names_the_thresholds_of_the_label_config(
    image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = (ROOT / "label_config.xml").read_text()
    own = tmp_path / "own.xml"
    own.write_text(plain.replace("<RectangleLabels ", '<RectangleLabels model_score_threshold="0.61" '))
    versions = []
    for config in (ROOT / "label_config.xml", own):
        assert main(["predict", str(image), "--json", "--label-config", str(config)]) == 0
        versions.append(json.loads(capsys.readouterr().out)["model_version"])
    assert versions[1] == f"{versions[0]}-t0.61"


def test_a_file_that_fails_does_not_keep_the_others(
    image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    assert main(["predict", str(tmp_path / "missing.jpg"), str(broken), str(image), "--json"]) == 1
    out, err = capsys.readouterr()
    assert [json.loads(line)["file"] for line in out.splitlines()] == [str(image)]
    assert [line.split(":")[0] for line in err.splitlines()] == ["contract-marks", "contract-marks"]
    assert "missing.jpg" in err
    assert "broken.png" in err


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        # A model that nobody trained.
        (["predict", "x.jpg", "--model", "typo"], "known are auto, hub, bundled, hasty"),
        # The same for the server, before it starts a process.
        (["serve", "--model", "typo"], "known are auto, hub, bundled, hasty"),
        # An address, where files are looked at.
        (["predict", "https://studio.test/a.pdf"], r"studio\.test/a\.pdf is an address, and files are taken: download"),
        # A recipe, a file of another kind, and options of another training.
        (
            ["train", "--recipe", "missing.json"],
            r"missing\.json cannot be read as a recipe: No such file or directory$",
        ),
        (["train", "--steps", "crops", "--dataset", "x"], "--dataset, --steps: only for --bundled-recipe"),
        (["redact", "x.jpg", "--out", "covered.docx"], r"covered\.docx cannot be written: pages become a \.pdf"),
        # A label config that is not there.
        (["predict", "x.jpg", "--label-config", "missing.xml"], r"missing\.xml cannot be read"),
    ],
)
def test_errors_are_one_line_and_code_2(arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("contract-marks: ")
    assert err.count("\n") == 1
    assert re.search(reason, err)


def test_a_setting_that_does_not_parse(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("PORT", "ninety")
    assert main(["predict", "x.jpg"]) == 2
    assert capsys.readouterr().err == "contract-marks: PORT is 'ninety': expected a whole number\n"


@pytest.mark.parametrize("arguments", [["nonsense"], [], ["predict"]])
def test_bad_use_is_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert "usage: contract-marks" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "list, promote and roll back models"),  # all commands, with what they do
        (["predct", "x.jpg"], "there is no command 'predct' (do you mean predict?); contract-marks --help lists them"),
        (["dataset"], "freeze make a version that never changes"),  # what there is to do
        (["models"], "rollback let the model serve that served before"),
        (["marks"], "there is no command 'marks'; contract-marks --help"),
        (
            ["report", "--projet", "4"],
            "unrecognized arguments: --projet (do you mean --project?); contract-marks report --help",
        ),
        (["report", "x.pdf", "--htlm=x.html"], "(do you mean --html?)"),
        (["predict", "x.jpg", "--confidence", "7"], "'7' is no probability between 0 and 1, such as 0.5"),
        (["redact", "x.jpg", "--out", "o.pdf", "--confidence", "50%"], "'50%' is no probability between 0 and 1"),
        (["dataset", "list", "--qqq"], "unrecognized arguments: --qqq; contract-marks dataset --help"),
    ],
)
def test_who_types_wrongly_is_told_what_there_is(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert words in " ".join(err.split())


@pytest.mark.parametrize("command", ["serve", "predict", "draw", "demo", "doctor"])
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([command, "--help"])
    assert stopped.value.code == 0
    assert f"usage: contract-marks {command}" in capsys.readouterr().out


def test_help_shows_what_can_be_typed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["draw", "--help"], called="python -m backend")
    assert "usage: python -m backend draw" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--version"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out.startswith("contract-marks ")


def test_boxes_are_drawn_and_marks_are_covered(image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    drawn, shared = tmp_path / "drawn.png", tmp_path / "shared.pdf"
    assert main(["predict", str(image), "--draw", str(drawn), "--confidence", "0.01"]) == 0
    assert main(["redact", str(image), "--out", str(shared), "--confidence", "0.01"]) == 0
    said = capsys.readouterr()
    assert re.search(r"page 1: \d+ covered", said.out)
    assert "look at each page" in said.err
    assert f"{drawn}: 1 page with their boxes" in said.err
    assert f"{shared}: 1 page, " in said.err
    with Image.open(drawn) as picture:
        assert picture.size == (827, 1170)
    assert shared.read_bytes().startswith(b"%PDF")
    assert main(["redact", str(image), "--out", str(shared)]) == 2


def test_a_folder_is_looked_through_and_what_is_left_out_is_said(
    image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "عقود"
    (folder / "older").mkdir(parents=True)
    shutil.copy(image, folder / "عقد.jpg")
    shutil.copy(image, folder / "older" / "عقد.jpg")
    (folder / "notes.docx").write_bytes(b"PK")
    assert main(["predict", str(folder), "--draw", str(tmp_path / "drawn")]) == 0
    said = capsys.readouterr()
    assert f"{folder / 'عقد.jpg'}, page 1" in said.out
    assert "notes.docx" in said.err
    assert "--recursive looks into it" in said.err
    assert main(["redact", str(folder), "--recursive", "--out", str(tmp_path / "shared")]) == 0
    assert sorted(file.name for file in (tmp_path / "shared").iterdir()) == ["عقد-001.png", "عقد-2-001.png"]


def test_what_could_not_be_covered_is_told_at_the_end(
    image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken, shared = tmp_path / "broken.jpg", tmp_path / "shared"
    broken.write_bytes(image.read_bytes()[:900])
    assert main(["redact", str(broken), "--out", str(tmp_path / "none.pdf")]) == 1
    told = capsys.readouterr().err.splitlines()[-1]
    assert told == f"contract-marks: no page could be read, and nothing is in {tmp_path / 'none.pdf'}"
    assert not (tmp_path / "none.pdf").exists()
    assert main(["redact", str(broken), str(image), "--out", str(shared)]) == 1
    written, left_out, warning = capsys.readouterr().err.splitlines()[-3:]
    assert written.startswith(f"{shared}: 1 page, ")
    assert left_out.startswith("1 file could not be read to the end")
    assert warning.startswith("What was not found is not covered")


@pytest.mark.parametrize("command", ["predict", "redact", "report"])
def test_a_folder_without_documents_is_told(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    more = ["--out", str(tmp_path / "out.pdf")] if command == "redact" else []
    assert main([command, str(tmp_path / "empty"), *more]) == 2
    assert "there is no document" in capsys.readouterr().err


def test_a_rule_that_is_none_is_shown_with_the_place(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "x.pdf", "--rule", "signature>=2\non lst page"]) == 2
    told, shown, arrow = capsys.readouterr().err.splitlines()
    assert told.endswith("is expected:")
    assert shown == "signature>=2 on lst page"
    assert arrow == f"{' ' * shown.index('lst')}^"


@pytest.mark.parametrize(
    "arguments",
    [
        # A file where a folder is needed, and a folder where a file is.
        ["draw", "--out", "{file}/pages"],
        ["draw", "--out", "{file}"],
        ["demo", "--folder", "{file}/demo"],
        ["prelabel", "x.pdf", "--out", "{folder}/out.json", "--report", "{folder}"],
        ["samples", "--sheet", "{file}/sheet.html"],
        ["report", "x.pdf", "--html", "{folder}"],
        ["evaluate", "--blind", "--json", "{folder}"],
    ],
)
def test_a_place_that_cannot_be_used_is_one_line_and_code_2(
    arguments: list[str], image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "folder").mkdir()
    assert main([word.format(file=image, folder=tmp_path / "folder") for word in arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("contract-marks: ")
    assert err.count("\n") == 1
    assert "cannot be" in err
    assert list((tmp_path / "folder").iterdir()) == []


def test_the_version_is_known_without_being_installed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert re.fullmatch(r"contract-marks \d+\.\d+\.\d+\n", capsys.readouterr().out)


def test_every_argument_of_every_command_has_its_help() -> None:
    without: list[str] = []

    def look(parser: argparse.ArgumentParser, path: tuple[str, ...]) -> None:
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                for name, one in action.choices.items():
                    if path or name == command:
                        look(one, (*path, name))
            elif not action.help:
                without.append(f"{' '.join(path)} {action.dest}")

    for command in cli._COMMANDS:
        look(cli._parser(command, cli._module(command), "contract-marks"), ())
    assert without == []
