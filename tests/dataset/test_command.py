"""The command from end to end: freeze, list, show, verify, diff, stats, export."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from backend.cli import main
from backend.dataset.store import Datasets
from tests.dataset.studio import TITLE, TOKEN, Studio, annotation, file_of, page, region
from tests.dataset.test_known import coco

A, SIZE = (40, 60, 120, 100), (240, 320)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    monkeypatch.delenv("LABEL_STUDIO_API_KEY", raising=False)
    return tmp_path / "data"


@pytest.fixture
def drawn(tmp_path: Path, data: Path) -> Path:
    return coco(tmp_path / "pages", [f"p{number}.png" for number in range(4)], language="ar")


def freeze(file: Path, name: str = "first") -> int:
    return main(["dataset", "freeze", name, "--coco", str(file), "--images", str(file.parent)])


def test_drawn_pages_are_frozen_listed_shown_and_verified(
    drawn: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert freeze(drawn) == 0
    version = Datasets(data / "datasets").open("first")
    assert capsys.readouterr().out.startswith(f"first {version.id}\n")
    assert freeze(drawn) == 0
    assert "frozen already, with the same content" in capsys.readouterr().out
    assert main(["dataset", "list"]) == 0
    assert capsys.readouterr().out.startswith(f"first  {version.id[:12]}  ")
    assert main(["dataset", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["counts"] == version.manifest.counts()
    assert main(["dataset", "show", "first"]) == 0
    assert version.id in capsys.readouterr().out
    assert main(["dataset", "show", "first", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["pages"]) == 4
    assert main(["dataset", "verify", "first"]) == 0
    assert "4 of 4 pages are as they were frozen" in capsys.readouterr().out


def test_verify_names_a_damaged_page_and_says_so_in_its_exit_status(
    drawn: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    freeze(drawn)
    version = Datasets(data / "datasets").open("first")
    file = version.file(version.manifest.pages[0])
    file.chmod(0o600)
    file.write_bytes(b"")
    assert main(["dataset", "verify", "first"]) == 1
    assert "page p0 is missing or no image" in capsys.readouterr().out


def test_diff_tells_what_changed(drawn: Path, capsys: pytest.CaptureFixture[str]) -> None:
    freeze(drawn)
    facts = json.loads(drawn.read_text())
    facts["annotations"][0]["category_id"] = 2
    facts["categories"].append({"id": 2, "name": "thumb"})
    drawn.write_text(json.dumps(facts))
    freeze(drawn, "second")
    capsys.readouterr()
    assert main(["dataset", "diff", "first", "second"]) == 0
    told = capsys.readouterr().out
    assert "marks: 0 added, 0 removed, 0 moved, 1 relabelled\n  p0: stamp is now thumb at 40, 60, 120, 100" in told
    assert main(["dataset", "diff", "first", "second", "--json"]) == 0
    assert [one["kind"] for one in json.loads(capsys.readouterr().out)["changes"]] == ["relabelled"]


def test_stats_as_table_json_and_a_private_page(
    drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    freeze(drawn)
    capsys.readouterr()
    html = tmp_path / "stats.html"
    assert main(["dataset", "stats", "first", "--html", str(html)]) == 0
    told = capsys.readouterr().out
    assert "by language\n  signature  none\n  stamp      ar 4" in told
    assert "to collect next\n" in told
    assert stat.S_IMODE(html.stat().st_mode) == 0o600
    assert main(["dataset", "stats", "first", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["language"]["stamp"] == {"ar": 4}
    assert facts["wants"]


def test_a_version_is_exported(drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    freeze(drawn)
    assert main(["dataset", "export", "first", "--format", "yolo", "--out", str(tmp_path / "out")]) == 0
    assert "4 pages of first as yolo; confidential" in capsys.readouterr().out
    assert len(list((tmp_path / "out").glob("labels/*/*.txt"))) == 4


def test_a_project_is_frozen_with_what_is_missing_left_out(
    studio: Studio, data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LABEL_STUDIO_URL", studio.url)
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", TOKEN)
    studio.task(3, [file_of(page(1))], annotation(9, region("a", "stamp", A, SIZE)))
    studio.task(4, [b"no image"], annotation(10))
    studio.task(5, [file_of(page(2))])
    command = ["dataset", "freeze", "first", "--project", TITLE]
    assert main(command) == 2
    refused = capsys.readouterr().err.splitlines()
    assert refused[0].endswith("1 task cannot be frozen; mend them, or leave them out with --allow-missing:")
    assert [line[:10] for line in refused[1:]] == ["  task 4: "]
    assert main([*command, "--allow-missing"]) == 1
    told = capsys.readouterr()
    assert "left out: task 4: " in told.err
    assert "1 tasks are not in it: nobody annotated them" in told.out
    assert Datasets(data / "datasets").open("first").made["projects"] == [7]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("freeze", "first", "--project", "7"), "LABEL_STUDIO_API_KEY is empty"),
        (("freeze", "first", "--coco", "a.json"), "--coco needs --images"),
        (("freeze", "no/name", "--coco", "a.json", "--images", "."), "a.json cannot be read"),
        (("show", "first"), "there is no data set 'first'"),
        (("export", "first", "--format", "coco", "--out", "out"), "there is no data set 'first'"),
    ],
)
def test_what_cannot_be_done_is_told(
    words: tuple[str, ...], reason: str, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["dataset", *words]) == 2
    assert reason in capsys.readouterr().err
