"""A real browser before a page of the server, or a page in a file: a tab, what it complains of, and a test's ledger."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright
from sqlalchemy import Engine

from backend.corrections.database import open_database
from tests.end_to_end.conftest import QUIET, chromium
from tests.patience import SECONDS

__all__ = ["SIZES", "browser", "chromium", "engine", "opened", "opened_file", "resize"]

SIZES = [(1366, 768), (390, 844)]


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=chromium, headless=True, args=QUIET, timeout=1000 * SECONDS)
        yield found
        found.close()


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """A ledger on SQLite alone: the browser does not see which."""
    opened = open_database(f"sqlite:///{tmp_path / 'ledger.sqlite3'}")
    yield opened
    opened.dispose()


def resize(page: Page, *, width: int, height: int) -> None:
    """Gives a tab another size, and waits until it has it: what is asked of its page next hangs on that."""
    page.set_viewport_size({"width": width, "height": height})
    page.wait_for_function("([width, height]) => innerWidth === width && innerHeight === height", arg=[width, height])


@contextmanager
def opened(browser: Browser, *, size: tuple[int, int], scheme: str) -> Iterator[tuple[Page, list[str]]]:
    """A tab, and what its console complains of, such as of something that the policy kept out."""
    width, height = size
    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)  # type: ignore[arg-type]
    page.set_default_timeout(1000 * SECONDS)
    expect.set_options(timeout=1000 * SECONDS)
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page, complaints
    page.close()


@contextmanager
def opened_file(browser: Browser, file: Path, *, scheme: str) -> Iterator[Page]:
    """A tab that shows a file, which asks for nothing beside itself, and of which the console says nothing."""
    page = browser.new_page(color_scheme=scheme, viewport={"width": 1240, "height": 900})  # type: ignore[arg-type]
    page.set_default_timeout(1000 * SECONDS)
    complaints: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(file.as_uri())
    assert [url for url in asked if not url.startswith("data:")] == [file.as_uri()]
    assert complaints == []
    yield page
    page.close()
