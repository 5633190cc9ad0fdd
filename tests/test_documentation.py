"""The docs lead where they say: links resolve, each page can be found, and the README has each command."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache
from pathlib import Path
from urllib.parse import unquote

import pytest

from backend import cli

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
LINK = re.compile(r"\[[^\]]*\]\(([^()\s]+)\)")
ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:")


def prose(page: Path) -> str:
    """A page without its code, in which brackets are no links and `#` begins no heading."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"`[^`\n]*`\]\(", "code](", text)


def anchors(page: Path) -> set[str]:
    """What may stand after `#` in a link to `page`, as GitHub makes it of the headings."""
    found: Counter[str] = Counter()
    names = set()
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    for heading in re.findall(r"^#{1,6} +(.*?)\s*$", text, flags=re.MULTILINE):
        shown = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", shown.lower()).replace(" ", "-")
        names.add(f"{slug}-{found[slug]}" if found[slug] else slug)
        found[slug] += 1
    return names


def links(page: Path) -> list[tuple[str, Path, str]]:
    """The relative links of a page: as they stand, the file, and what follows `#`."""
    found = []
    for link in LINK.findall(prose(page)):
        if not ELSEWHERE.match(link):
            path, _, anchor = unquote(link).partition("#")
            found.append((link, (page.parent / path).resolve() if path else page, anchor))
    return found


@cache
def names_of_tests() -> frozenset[str]:
    """The names of all tests."""
    files = (ROOT / "tests").rglob("test_*.py")
    return frozenset(name for file in files for name in re.findall(r"def (test_\w+)", file.read_text("utf-8")))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    for link, file, anchor in links(page):
        assert file.is_relative_to(ROOT), f"{link} leads out of the repository"
        assert file.exists(), f"{link} leads to no file"
        if anchor:
            assert anchor in anchors(file), f"{link} leads to no heading; there are {sorted(anchors(file))}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_test_that_is_named_is_there(page: Path) -> None:
    for named in re.findall(r"`([\w/.]*test_\w+(?:\.py)?)`", page.read_text(encoding="utf-8")):
        file = ROOT / "tests" / named.removeprefix("tests/")
        assert file.is_file() if named.endswith(".py") else named in names_of_tests(), f"there is no test {named}"


def test_a_page_of_the_docs_can_be_found_from_their_first_page() -> None:
    first = ROOT / "docs" / "README.md"
    linked = {file for _, file, _ in links(first)}
    pages = {file for file in (ROOT / "docs").iterdir() if file.is_file()} - {first}
    assert not {file.name for file in pages - linked}, "docs/README.md has no link to these"


@pytest.mark.parametrize("command", cli._COMMANDS)
def test_the_readme_has_every_command(command: str) -> None:
    assert re.search(rf"^\| `{command}[ `]", PAGES[0].read_text(encoding="utf-8"), flags=re.MULTILINE)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("## Whole numbers (int8)", {"whole-numbers-int8"}),
        # The same heading twice.
        ("## Limits\n\n## Limits", {"limits", "limits-1"}),
        # A comment in a shell script is no heading.
        ("# Settings\n\n```sh\n# not one\n```\n", {"settings"}),
        ("## `serve` and [more](docs/a.md)", {"serve-and-more"}),
    ],
)
def test_anchors_are_those_that_a_reader_of_the_page_gets(text: str, expected: set[str], tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(text, encoding="utf-8")
    assert anchors(page) == expected
