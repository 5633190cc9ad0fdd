"""From drawn pages to the table, the JSON and a page that a browser opens without a word of complaint."""

from __future__ import annotations

import io
import json
import shutil
import stat
from contextlib import redirect_stdout
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser

from backend.cli import main
from tests.browsing import browser, chromium, opened_file, resize

__all__ = ["browser", "chromium"]


@pytest.fixture(scope="module")
def written(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder with figures.json and report.html of the bundled model, and what the command printed."""
    folder = tmp_path_factory.mktemp("evaluation")
    where = ["--coco", str(drawn / "annotations.json"), "--images", str(drawn)]
    files = ["--json", str(folder / "figures.json"), "--html", str(folder / "report.html")]
    printed = io.StringIO()
    with redirect_stdout(printed):
        code = main(["evaluate", "--model", "bundled", *where, *files])
    assert code == 0
    return folder, printed.getvalue()


def test_the_table_says_what_the_json_says(written: tuple[Path, str], drawn: Path) -> None:
    folder, printed = written
    figures = json.loads((folder / "figures.json").read_text())
    assert printed.startswith(f"{figures['version']}\n5 documents, 5 pages")
    macro = figures["end_to_end"]["0.5"]["macro"]["f1"]
    assert f"{macro['value']:.3f} [{macro['low']:.3f}, {macro['high']:.3f}]" in printed
    truth = json.loads((drawn / "annotations.json").read_text())
    assert sum(figures["marks"].values()) == len(truth["annotations"])
    confusion = figures["end_to_end"]["0.5"]["confusion"]
    assert [sum(row) for row in confusion[:3]] == [figures["marks"][name] for name in ("signature", "stamp", "thumb")]
    assert sum(map(sum, figures["closed_set"]["confusion"])) == len(truth["annotations"])
    assert figures["slices"][0] == {
        "name": "all marks",
        "marks": len(truth["annotations"]),
        "recall": figures["slices"][0]["recall"],
        "macro_f1": None,
    }
    assert {one["name"] for one in figures["slices"]} >= {"all marks", "coloured ink"}
    for part in figures["end_to_end"].values():
        assert part["false_boxes"]["value"] == pytest.approx(
            (sum(map(sum, part["confusion"])) - sum(row[3] for row in part["confusion"])
             - sum(part["confusion"][place][place] for place in range(3))) / 5
        )  # fmt: skip
    assert 0 <= figures["map50_95"]["value"] <= figures["map50"]["value"] <= 1
    assert figures["milliseconds"]["median"] > 0
    assert "the original model card: 0.894, its documents" in printed


def test_what_shows_contracts_is_for_its_owner_only(written: tuple[Path, str]) -> None:
    folder, printed = written
    assert stat.S_IMODE((folder / "report.html").stat().st_mode) == 0o600
    assert "report.html: confidential" in printed
    assert sorted(path.name for path in folder.iterdir()) == ["figures.json", "report.html"]


@pytest.mark.browser
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_browser_shows_it_without_a_complaint_or_a_request(
    written: tuple[Path, str], browser: Browser, theme: str, tmp_path: Path
) -> None:
    page_file = written[0] / "report.html"
    with opened_file(browser, page_file, scheme=theme) as page:
        assert page.locator("h2").all_inner_texts() == [
            "End to end",
            "Slices",
            "Closed set",
            "Calibration",
            "Learning curves",
            "What an annotator would correct",
            "How to read this",
        ]
        assert page.get_by_text("Confidential").is_visible()
        assert page.locator("figure image").count() > 0
        assert page.locator("svg[role=img]").count() >= 6
        # Nothing sticks out sideways.
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        page.screenshot(path=tmp_path / "report.png")
        resize(page, width=390, height=844)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        cut = "(tables) => tables.filter((one) => one.offsetWidth > one.parentElement.clientWidth).length"
        assert page.locator("table").evaluate_all(cut) == 0, "every column is in sight on a telephone"
    with Image.open(tmp_path / "report.png") as picture:
        brightness = picture.convert("L").resize((1, 1)).getpixel((0, 0))
    assert (brightness < 100) if theme == "dark" else (brightness > 180)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        # A COCO file that is not there.
        (["--coco", "missing.json", "--images", "."], "missing.json cannot be read as COCO"),
        # No folder for the report, said before any work.
        (["--coco", "{coco}", "--images", "{images}", "--html", "nowhere/r.html"], "nowhere is no folder"),
        # The wrong folder of images.
        (["--coco", "{coco}", "--images", "{empty}"], "is not in"),
        # A history that is none.
        (
            ["--coco", "{coco}", "--images", "{images}", "--html", "{empty}/r.html", "--history", "{coco}"],
            "no training",
        ),
    ],
)
def test_errors_are_one_line(
    arguments: list[str], reason: str, drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = {"coco": drawn / "annotations.json", "images": drawn, "empty": tmp_path}
    assert main(["evaluate", "--model", "bundled", *(one.format(**places) for one in arguments)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("contract-marks: ")
    assert err.count("\n") == 1
    assert reason in err


def test_a_page_of_another_size_than_its_boxes_were_drawn_on(
    drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    coco = json.loads((drawn / "annotations.json").read_text())
    coco["images"] = coco["images"][:1]
    coco["annotations"] = []
    coco["images"][0]["width"] += 1
    (tmp_path / "annotations.json").write_text(json.dumps(coco))
    shutil.copy(drawn / coco["images"][0]["file_name"], tmp_path)
    assert (
        main(
            ["evaluate", "--model", "bundled", "--coco", str(tmp_path / "annotations.json"), "--images", str(tmp_path)]
        )
        == 2
    )
    assert "but its boxes were drawn on" in capsys.readouterr().err
