"""The command as it is typed: a list, a document for machines, a page for its owner's eyes, and plain refusals."""

from __future__ import annotations

import io
import json
import stat
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from backend.cli import main
from tests.browsing import browser, chromium, opened_file
from tests.commands.review.archive import Sheet, frozen
from tests.commands.review.conftest import PLANTED

__all__ = ["browser", "chromium"]


@pytest.fixture(autouse=True)
def environment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATA_DIR", str(folder / "data"))
    monkeypatch.setenv("MODEL", "bundled")
    monkeypatch.delenv("LABEL_STUDIO_API_KEY", raising=False)


@pytest.fixture(scope="module")
def written(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The page that `--html` wrote, and the document that `--json` printed."""
    file = tmp_path_factory.mktemp("report") / "review.html"
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(printed):
        patch.setenv("DATA_DIR", str(folder / "data"))
        code = main(
            ["review", "--dataset", "leases", "--model", "bundled", "--top", "5", "--json", "--html", str(file)]
        )
    assert code == 0
    return file, json.loads(printed.getvalue())


def test_json_has_the_least_believed_pages_first(written: tuple[Path, dict[str, Any]]) -> None:
    facts = written[1]
    assert facts["version"].startswith("bundled-")
    assert facts["told"][0].startswith("Names are doubted out of fold")
    assert (facts["looked_at"], facts["missing"]) == (20, [])
    assert {page["page"] for page in facts["pages"][: len(PLANTED)]} == set(PLANTED)
    scores = [page["score"] for page in facts["pages"]]
    assert scores == sorted(scores)
    assert len(scores) <= 5


def test_the_page_is_for_its_owner_only(written: tuple[Path, dict[str, Any]]) -> None:
    file = written[0]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [one.name for one in file.parent.iterdir()] == [file.name]


@pytest.mark.browser
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_browser_shows_it_without_a_complaint_or_a_request(
    written: tuple[Path, dict[str, Any]], browser: Browser, theme: str
) -> None:
    file, facts = written
    with opened_file(browser, file, scheme=theme) as page:
        doubts = [one["kind"] for found in facts["pages"] for one in found["doubts"]]
        assert page.locator("figure:visible").count() == len(doubts)
        assert page.locator("figure image").count() == len(doubts)
        # One kind alone, chosen without a script.
        page.locator("label", has_text="swapped").click()
        assert page.locator("figure:visible").count() == doubts.count("swapped")
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_the_list_of_few_documents_says_on_whose_word_it_stands(
    planted: list[Sheet], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    few = [sheet for sheet in planted if sheet.name in {"lease-362", "lease-306", "lease-308"}]
    frozen(few, tmp_path, "few")
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    assert main(["review", "--dataset", "few"]) == 0
    out, err = capsys.readouterr()
    score, name = out.splitlines()[0].split("  ")
    assert (float(score) < 0.5, name) == (True, "lease-362")
    assert "overlooked" in out.splitlines()[1]
    assert "stamp without a box" in out.splitlines()[1]
    assert "of 3 pages are doubted by bundled-" in out.splitlines()[-1]
    assert "on the network's own word, not out of fold" in err


def test_a_damaged_page_is_named_and_is_not_silently_well(
    planted: list[Sheet], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    version = frozen(planted[:2], tmp_path, "two")
    file = version.file(version.manifest.pages[0])
    file.chmod(0o600)
    file.write_bytes(b"")
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    assert main(["review", "--dataset", "two"]) == 1
    out, err = capsys.readouterr()
    assert "of 1 pages are doubted" in out
    assert f"not looked at: {version.manifest.pages[0].name}: " in err


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        # A version that nobody froze.
        (["--dataset", "typo"], "there is no data set 'typo' (known: leases)"),
        # A project without a token.
        (["--project", "leases"], "LABEL_STUDIO_API_KEY is empty"),
        # Scores cannot be written into what never changes.
        (["--dataset", "leases", "--write"], "--write is for a --project"),
        # No place for the page, said before any work.
        (["--dataset", "leases", "--html", "nowhere/r.html"], "nowhere is no folder"),
        (["--dataset", "leases", "--top", "0"], "--top is at least 1"),
        (["--dataset", "leases", "--model", "typo"], "known are auto, hub, bundled"),
    ],
)
def test_errors_are_one_line(arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["review", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("contract-marks: ")
    assert err.count("\n") == 1
    assert reason in err
