"""The pages in a real browser: at two sizes, light and dark, with keys and with the mouse."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from flask import Flask
from playwright.sync_api import Browser, Page, expect, sync_playwright
from sqlalchemy import Engine
from werkzeug.serving import make_server

from backend.commands.report.contract_report import as_html
from backend.commands.report.contracts import judged
from backend.commands.report.rules import parse_rule
from backend.corrections.database import open_database
from backend.server.dashboard import Dashboard
from tests.commands.report.test_report import WhitePages, predicted, project, region, task
from tests.end_to_end.conftest import QUIET, chromium
from tests.server.invented import fill

__all__ = ["chromium"]

SIZES = [(1366, 768), (390, 844)]
EVIL = "<img src=x onerror=document.title='evil'>"
CONTRAST = """() => {
  const light = (text) => {
    const [r, g, b] = text.match(/[\\d.]+/g).map(Number).map((v) => v / 255)
      .map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const paper = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if (!/, 0\\)$/.test(colour)) return colour;
    }
    return 'rgb(255, 255, 255)';
  };
  const found = [];
  for (const element of document.querySelectorAll('main *, nav *')) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!own || element.closest('svg') || !element.checkVisibility() || element.matches('td.none')) continue;
    const [a, b] = [light(getComputedStyle(element).color), light(paper(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) found.push(`${element.tagName} ${element.textContent.trim().slice(0, 30)} ${ratio.toFixed(2)}`);
  }
  return found;
}"""


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=chromium, headless=True, args=QUIET)
        yield found
        found.close()


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """A ledger on SQLite alone: the browser does not see which."""
    opened = open_database(f"sqlite:///{tmp_path / 'ledger.sqlite3'}")
    yield opened
    opened.dispose()


@contextmanager
def serving(made: Flask) -> Iterator[str]:
    server = make_server("127.0.0.1", 0, made, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def opened(browser: Browser, *, size: tuple[int, int], scheme: str) -> Iterator[tuple[Page, list[str]]]:
    """A tab, and what its console complains of, such as of something that the policy kept out."""
    width, height = size
    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)  # type: ignore[arg-type]
    page.set_default_timeout(60_000)
    expect.set_options(timeout=60_000)
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page, complaints
    page.close()


def dashboard(engine: Engine) -> Flask:
    fill(engine)
    made = Flask(__name__)
    training = {"running": True, "began": 1.0, "why": EVIL, "doing": EVIL, "new_hard_examples": 3, "retrain_after": 9}
    made.get("/")(
        Dashboard(
            engine=engine,
            label_studio="http://studio.test",
            state=lambda: {"model_state": "failed", "model_version": None, "model_error": EVIL},
            training=lambda: training,
            initials=lambda: {1: "AB", 2: "مح"},
        ).__call__
    )
    return made


def report(_: Engine) -> Flask:
    tasks = [
        task(1, data={"document": "عقد إيجار.pdf"}, predictions=[predicted(1, region("Seal", score=0.8))]),
        task(2, data={"document": EVIL}, predictions=[predicted(2)]),
        task(3, data={"document": "a" * 300}),
    ]
    source = project(*tasks, pages=WhitePages())
    rules = [parse_rule("signature"), parse_rule("stamp")]
    given = judged(source.contracts(lambda: None), rules)
    text = as_html(given, rules, source, what=EVIL, version="v1", now=0.0, pictured=9)
    made = Flask(__name__)
    made.get("/")(lambda: text)
    return made


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("make", [dashboard, report])
def test_a_page_fits_the_screen_can_be_read_and_lets_nothing_in(
    browser: Browser, engine: Engine, make: Callable[[Engine], Flask], size: tuple[int, int]
) -> None:
    with serving(make(engine)) as url:
        for scheme in ("light", "dark"):
            with opened(browser, size=size, scheme=scheme) as (page, complaints):
                page.goto(url)
                page.wait_for_load_state("networkidle")
                assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
                assert page.evaluate(CONTRAST) == []
                assert page.locator("img:not([alt])").count() == 0
                assert page.locator("h1").count() == 1
                assert page.title().endswith("Contract marks")
                assert complaints == []
