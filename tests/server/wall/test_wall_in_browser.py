"""The crop wall in a real browser: with keys, with the mouse, and where something goes wrong."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from flask import Flask, Response, request
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import Engine

from tests.browsing import SIZES, browser, chromium, engine, opened, resize
from tests.patience import SECONDS
from tests.served import serving
from tests.server.wall.reviewed_studio import BOB, ReviewedStudio, shown_region
from tests.server.wall.test_wall import LEFT, RIGHT, app, proposed, remember

__all__ = ["browser", "chromium", "engine"]


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


def test_arrows_go_through_the_rows(at_the_wall: Page) -> None:
    resize(at_the_wall, width=460, height=800)
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
    busy = iter([True, True])

    @made.before_request
    def hold() -> Response | None:
        task = request.args["task"] if request.path == "/review/crop" else ""
        if task == "2":
            late.wait(SECONDS)
        return Response(status=503) if task == "3" or (task == "4" and next(busy, False)) else None

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
        expect(page.locator(".crop").nth(3)).to_contain_text("doubt")  # asked for again
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
    resize(at_the_wall, width=390, height=700)
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
