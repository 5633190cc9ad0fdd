"""The pages in a real browser: at two sizes, light and dark."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask import Flask
from playwright.sync_api import Browser
from sqlalchemy import Engine

from backend.commands.report.contracts import judged
from backend.commands.report.report_command import as_html
from backend.commands.report.rules import parse_rule
from backend.server.dashboard import Dashboard
from backend.server.status_pages import feedback_pages
from tests.browsing import SIZES, browser, chromium, engine, opened
from tests.commands.report.test_report import WhitePages, predicted, project, region, task
from tests.served import serving
from tests.server.invented import fill
from tests.server.wall.test_wall_in_browser import empty_wall, wall

__all__ = ["browser", "chromium", "engine"]

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
    if (!own || element.closest('svg') || !element.checkVisibility()) continue;
    const [a, b] = [light(getComputedStyle(element).color), light(paper(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) found.push(`${element.tagName} ${element.textContent.trim().slice(0, 30)} ${ratio.toFixed(2)}`);
  }
  return found;
}"""


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


def status(engine: Engine) -> Flask:
    fill(engine)
    training = {"running": False, "new_hard_examples": 3, "retrain_after": 9}
    pages = feedback_pages(
        engine,
        state=lambda: {"model_state": "ready", "model_version": EVIL},
        training=lambda: training,
        label_studio="http://studio.test",
    )
    made = Flask(__name__)
    made.register_blueprint(pages)
    made.add_url_rule("/", view_func=made.view_functions["feedback.status"])
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


def beginning(engine: Engine) -> Flask:
    """The dashboard of a fresh demo: nothing was annotated yet, and no training can start here."""
    training = {"running": False, "new_hard_examples": 0, "retrain_after": 100, "unable": "no torch", "due": None}
    made = Flask(__name__)
    state = {"model_state": "ready", "model_version": "bundled-131969d6.model-1317feda"}
    page = Dashboard(engine=engine, label_studio="http://studio.test", state=lambda: state, training=lambda: training)
    made.get("/")(page.__call__)
    return made


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("make", [dashboard, beginning, status, report, wall, empty_wall])
def test_a_page_fits_the_screen_can_be_read_and_lets_nothing_in(
    browser: Browser, engine: Engine, make: Callable[[Engine], Flask], size: tuple[int, int]
) -> None:
    with serving(make(engine)) as url:
        for scheme in ("light", "dark"):
            with opened(browser, size=size, scheme=scheme) as (page, complaints):
                page.goto(f"{url}/?still=1")  # a page that renews itself would do so while it is looked at
                page.wait_for_load_state("networkidle")
                assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
                assert page.evaluate(CONTRAST) == []
                assert page.locator("img:not([alt])").count() == 0
                assert page.locator("h1").count() == 1
                assert page.title().endswith("Contract marks")
                assert complaints == []


def test_a_telephone_shows_the_newest_end_of_the_lines_with_their_scale(browser: Browser, engine: Engine) -> None:
    with serving(dashboard(engine)) as url, opened(browser, size=SIZES[1], scheme="light") as (page, _):
        page.goto(url)
        for chart in page.locator(".newest").all():
            scale = chart.locator("text").first  # a level of the scale
            right = scale.evaluate("one => one.getBoundingClientRect().right")
            assert 0 < right <= SIZES[1][0]
            assert chart.evaluate("one => one.scrollWidth > one.clientWidth")
