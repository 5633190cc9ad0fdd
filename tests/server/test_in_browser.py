"""The pages in a real browser: at two sizes, light and dark, with keys and with the mouse."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from flask import Flask, Response, request
from playwright.sync_api import Browser, Page, expect, sync_playwright
from sqlalchemy import Engine
from werkzeug.serving import make_server

from backend.commands.report.contracts import judged
from backend.commands.report.report_command import as_html
from backend.commands.report.rules import parse_rule
from backend.corrections.database import open_database
from backend.server.dashboard import Dashboard
from backend.server.status_pages import feedback_pages
from tests.commands.report.test_report import WhitePages, predicted, project, region, task
from tests.end_to_end.conftest import QUIET, chromium
from tests.patience import SECONDS
from tests.server.invented import fill
from tests.server.wall.reviewed_studio import BOB, ReviewedStudio, shown_region
from tests.server.wall.test_wall import LEFT, RIGHT, app, proposed, remember

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
    if (!own || element.closest('svg') || !element.checkVisibility()) continue;
    const [a, b] = [light(getComputedStyle(element).color), light(paper(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) found.push(`${element.tagName} ${element.textContent.trim().slice(0, 30)} ${ratio.toFixed(2)}`);
  }
  return found;
}"""


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
    page.set_default_timeout(1000 * SECONDS)
    expect.set_options(timeout=1000 * SECONDS)
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


def wall(engine: Engine) -> Flask:
    made = app(engine, hung(engine))
    made.add_url_rule("/", view_func=made.view_functions["wall.page"])
    return made


def hung(engine: Engine, tasks: int = 6) -> ReviewedStudio:
    """A Label Studio with tasks of a stamp and a signature each, shown and remembered; the first is doubted most."""
    found = ReviewedStudio()
    for number in range(1, tasks + 1):
        found.add(number, shown_region(f"a{number}", "stamp"), shown_region(f"b{number}", "signature", x=200.0))
        stamp = proposed(f"a{number}", "stamp", LEFT, 0.5 + number / 100)
        remember(engine, number, stamp, proposed(f"b{number}", "signature", RIGHT, 0.9))
    return found


def empty_wall(engine: Engine) -> Flask:
    made = app(engine, ReviewedStudio(), projects=())
    made.add_url_rule("/", view_func=made.view_functions["wall.page"])
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


@pytest.fixture
def studio(engine: Engine) -> ReviewedStudio:
    return hung(engine)


@pytest.fixture
def at_the_wall(browser: Browser, engine: Engine, studio: ReviewedStudio) -> Iterator[Page]:
    with (
        serving(app(engine, studio)) as url,
        opened(browser, size=SIZES[0], scheme="light") as (page, complaints),
    ):
        page.goto(f"{url}/review?project=1&class=stamp")
        expect(page.locator(".crop")).to_have_count(6)
        expect(page.locator(".crop[data-loading]")).to_have_count(0)
        page.select_option("#reviewer", str(BOB))
        page.locator(".crop").first.focus()
        yield page
        assert complaints == []


def saved(page: Page, number: int) -> None:
    expect(page.locator(".crop[data-saved=yes]")).to_have_count(number)


def test_keys_decide_and_what_they_decide_is_in_label_studio(at_the_wall: Page, studio: ReviewedStudio) -> None:
    for key in ("1", "0", " ", "x", "3"):
        at_the_wall.keyboard.press(key)
    saved(at_the_wall, 4)
    assert studio.labels(1) == [{"a1": "signature", "b1": "signature"}]
    assert studio.labels(2) == [{"b2": "signature"}]
    assert studio.labels(3) == [{"a3": "Seal", "b3": "signature"}]
    assert studio.labels(4) == [], "of what one is not sure of, nothing is said"
    assert studio.labels(5) == [{"a5": "thumb", "b5": "signature"}]
    assert {one["completed_by"] for number in (1, 2, 3, 5) for one in studio.tasks[number]["annotations"]} == {BOB}
    expect(at_the_wall.locator(".crop").nth(5)).to_be_focused()
    expect(at_the_wall.locator("#said")).to_contain_text("4 decided, 4 saved")


def test_keys_mean_their_place_where_an_arabic_layout_writes_other_letters_on_them(
    at_the_wall: Page, studio: ReviewedStudio
) -> None:
    pressed = "new KeyboardEvent('keydown', {key, code, bubbles: true})"
    press = f"([key, code]) => document.activeElement.dispatchEvent({pressed})"
    for key, code in (("١", "Digit1"), ("٠", "Numpad0"), ("ء", "KeyX"), ("٣", "Digit3"), ("ئ", "KeyZ"), ("X", "KeyX")):
        at_the_wall.evaluate(press, [key, code])
    saved(at_the_wall, 2)
    assert studio.labels(1) == [{"a1": "signature", "b1": "signature"}]
    assert studio.labels(2) == [{"b2": "signature"}]
    expect(at_the_wall.locator(".crop[data-to=skip]")).to_have_count(2)
    assert [len(studio.labels(number)) for number in (3, 4, 5, 6)] == [0, 0, 0, 0], "what was taken back, too"


def test_a_class_without_crops_has_no_tools_and_names_the_classes_that_have_some(
    browser: Browser, engine: Engine, studio: ReviewedStudio
) -> None:
    with serving(app(engine, studio)) as url, opened(browser, size=SIZES[0], scheme="light") as (page, complaints):
        page.goto(f"{url}/review?project=1&class=thumb")
        expect(page.locator("#empty")).to_contain_text("No thumb waits here. Others do: signature (6), stamp (6).")
        expect(page.locator("#tools")).to_be_hidden()
        expect(page.locator("#said")).to_have_text("")
        page.get_by_role("link", name="stamp (6)").click()
        expect(page.locator(".crop")).to_have_count(6)
        expect(page.locator("#tools")).to_be_visible()
        assert complaints == []


def test_a_telephone_shows_the_newest_end_of_the_lines_with_their_scale(browser: Browser, engine: Engine) -> None:
    with serving(dashboard(engine)) as url, opened(browser, size=SIZES[1], scheme="light") as (page, _):
        page.goto(url)
        for chart in page.locator(".newest").all():
            scale = chart.locator("text").first  # a level of the scale
            right = scale.evaluate("one => one.getBoundingClientRect().right")
            assert 0 < right <= SIZES[1][0]
            assert chart.evaluate("one => one.scrollWidth > one.clientWidth")


def test_arrows_go_through_the_rows(at_the_wall: Page) -> None:
    at_the_wall.set_viewport_size({"width": 460, "height": 800})
    for key, place in (("ArrowRight", 1), ("ArrowDown", 4), ("ArrowLeft", 3), ("ArrowUp", 0), ("End", 5), ("Home", 0)):
        at_the_wall.keyboard.press(key)
        expect(at_the_wall.locator(".crop").nth(place)).to_be_focused()


def test_enter_says_that_the_rest_is_right(at_the_wall: Page, studio: ReviewedStudio) -> None:
    at_the_wall.keyboard.press("0")
    at_the_wall.keyboard.press("Enter")
    saved(at_the_wall, 6)
    assert studio.labels(1) == [{"b1": "signature"}]
    assert all(studio.labels(number) == [{f"a{number}": "Seal", f"b{number}": "signature"}] for number in range(2, 7))
    at_the_wall.reload()
    expect(at_the_wall.locator("#empty")).to_be_visible()


def test_nothing_is_decided_on_a_crop_whose_picture_is_not_there(
    browser: Browser, engine: Engine, studio: ReviewedStudio
) -> None:
    made, late = app(engine, studio), threading.Event()

    @made.before_request
    def hold() -> Response | None:
        task = request.args["task"] if request.path == "/review/crop" else ""
        if task == "2":
            late.wait(SECONDS)
        return Response(status=503) if task == "3" else None

    with (
        serving(made) as url,
        ExitStack() as ended,
        opened(browser, size=SIZES[0], scheme="light") as (page, _),
    ):
        ended.callback(late.set)  # whatever fails, the server can end
        page.goto(f"{url}/review?project=1&class=stamp")
        expect(page.locator(".crop[data-loading]")).to_have_count(1)
        expect(page.locator(".crop").nth(1)).to_have_text("loading …")
        expect(page.locator(".crop").nth(2)).to_have_text("no picture")
        for key in ("ArrowRight", "2", " ", "0"):
            page.keyboard.press(key)
        expect(page.locator(".crop").nth(1)).to_be_focused()
        expect(page.locator("#said")).to_contain_text("0 decided, 0 saved. 1 without a picture left alone")
        page.keyboard.press("Enter")
        saved(page, 4)
        expect(page.locator("#said")).to_contain_text("2 without a picture left alone")
        assert (studio.labels(2), studio.labels(3)) == ([], [])
        late.set()
        expect(page.locator(".crop[data-loading]")).to_have_count(0)
        page.keyboard.press("Enter")
        saved(page, 5)
        expect(page.locator("#said")).to_contain_text("1 without a picture left alone")
        assert (len(studio.labels(2)), studio.labels(3)) == (1, [])


def test_z_takes_back_what_was_sent_and_what_was_not(at_the_wall: Page, studio: ReviewedStudio) -> None:
    at_the_wall.keyboard.press("0")
    saved(at_the_wall, 1)
    assert studio.labels(1) == [{"b1": "signature"}]
    at_the_wall.keyboard.press("z")
    expect(at_the_wall.locator(".crop[data-to]")).to_have_count(0)
    assert studio.labels(1) == [], "the annotation that was made for it is gone with it"
    at_the_wall.keyboard.press("2")
    at_the_wall.keyboard.press("z")
    expect(at_the_wall.locator(".crop[data-to]")).to_have_count(0)
    at_the_wall.keyboard.press("1")  # the crop can be decided on again
    saved(at_the_wall, 1)
    assert studio.labels(1) == [{"a1": "signature", "b1": "signature"}]


def test_the_mouse_decides_with_a_chosen_tool(at_the_wall: Page, studio: ReviewedStudio) -> None:
    at_the_wall.get_by_role("button", name="no mark").click()
    for place in (1, 3):
        at_the_wall.locator(".crop").nth(place).click()
    at_the_wall.get_by_role("button", name="the rest is right").click()
    saved(at_the_wall, 6)
    assert [len(studio.labels(number)[0]) for number in range(1, 7)] == [2, 1, 2, 1, 2, 2]


def test_a_conflict_is_shown_on_the_crop_and_nothing_is_overwritten(at_the_wall: Page, studio: ReviewedStudio) -> None:
    studio.annotate(1, shown_region("mine", "thumb"))
    at_the_wall.keyboard.press("0")
    refused = at_the_wall.locator(".crop[data-saved=no]")
    expect(refused).to_contain_text("somebody annotated the task")
    expect(at_the_wall.locator("#said")).to_contain_text("1 not saved (in a red frame")
    assert studio.labels(1) == [{"mine": "thumb"}]


def test_where_label_studio_is_away_for_a_moment_the_crop_says_so(at_the_wall: Page, studio: ReviewedStudio) -> None:
    at_the_wall.wait_for_load_state("networkidle")
    studio.troubles[("GET", "/api/tasks/1/")] = 503
    at_the_wall.keyboard.press("0")
    expect(at_the_wall.locator(".crop[data-saved=no]")).to_contain_text("503")
    assert studio.labels(1) == []


def test_names_of_projects_and_people_are_text(browser: Browser, engine: Engine, studio: ReviewedStudio) -> None:
    with serving(app(engine, studio)) as url, opened(browser, size=SIZES[0], scheme="dark") as (page, complaints):
        page.goto(f"{url}/review?project=1&class=stamp")
        expect(page.locator("select[name=project] option")).to_have_text(["Leases <b>"])
        assert complaints == []


def test_v_shows_what_is_around_the_crop_and_goes_along(at_the_wall: Page, studio: ReviewedStudio) -> None:
    view, picture = at_the_wall.locator("#around"), at_the_wall.locator("#around img")
    expect(view).to_be_hidden()
    at_the_wall.keyboard.press("v")
    expect(picture).to_be_visible()
    expect(picture).to_have_attribute("src", "/review/crop?project=1&task=1&page=0&region=a1&around=1")
    at_the_wall.keyboard.press("0")
    expect(picture).to_have_attribute("src", "/review/crop?project=1&task=2&page=0&region=a2&around=1")
    expect(at_the_wall.locator(".crop").nth(1)).to_be_focused()
    # The view stays in sight, and the crop between it and the tools.
    at_the_wall.set_viewport_size({"width": 390, "height": 700})
    for key in ("Home", "End", "Home"):
        at_the_wall.evaluate("scrollTo(0, 0)")
        at_the_wall.keyboard.press(key)
        sights = [view, at_the_wall.locator(".crop:focus"), at_the_wall.locator("#tools")]
        places = [(box["y"], box["y"] + box["height"]) for one in sights if (box := one.bounding_box())]
        (top, upper), (tile, foot), (tools, _) = places
        assert top >= 0
        assert upper <= tile + 1
        assert foot <= tools + 1
    at_the_wall.keyboard.press("Escape")
    expect(view).to_be_hidden()
    at_the_wall.get_by_role("button", name="view around").click()
    expect(picture).to_be_visible()
    saved(at_the_wall, 1)
    assert studio.labels(1) == [{"b1": "signature"}]


def test_l_shows_first_what_looks_alike(at_the_wall: Page) -> None:
    at_the_wall.keyboard.press("ArrowRight")
    at_the_wall.keyboard.press("l")
    at_the_wall.wait_for_url("**like=2.0.a2**")
    expect(at_the_wall.locator(".crop")).to_have_count(6)
    expect(at_the_wall.locator("#wall")).to_have_attribute("data-like", "2.0.a2")
