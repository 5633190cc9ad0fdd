"""An annotator opens a task in the browser and sees the boxes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from PIL import Image, ImageColor
from playwright.sync_api import BrowserContext, Page, expect, sync_playwright

from tests.end_to_end.conftest import ROOT, DrawnFile, Project, Server

pytestmark = [pytest.mark.label_studio, pytest.mark.browser]

QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
COLOURS = {"signature": "#0f766e", "stamp": "#c2410c", "thumb": "#7e22ce"}
REGIONS = ".lsf-outliner-item__title"
SECONDS = 1000.0  # playwright counts milliseconds


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[BrowserContext]:
    with sync_playwright() as playwright, TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        context = playwright.chromium.launch_persistent_context(
            profile, executable_path=chromium, headless=True, args=QUIET, viewport={"width": 1600, "height": 1200}
        )
        context.set_default_timeout(60 * SECONDS)
        yield context
        context.close()


@pytest.fixture
def annotator(browser: BrowserContext, server: Server) -> Page:
    """A browser page, logged in, that reaches Label Studio and nothing else."""
    page = browser.new_page()
    page.route(lambda url: not url.startswith((server.url, "data:", "blob:")), lambda route: route.abort())
    page.goto(f"{server.url}/user/login/")
    if page.locator("input[name=email]").count():
        page.fill("input[name=email]", server.login.email)
        page.fill("input[name=password]", server.login.password)
        page.click("button[type=submit]")
        page.wait_for_url(lambda url: "/user/login" not in url)
    return page


def test_the_editor_lists_and_draws_every_box(
    annotator: Page, server: Server, project: Project, drawn: list[DrawnFile]
) -> None:
    task = project.import_page(drawn[0].name, drawn[0].data)
    project.studio.retrieve_predictions(project.id)
    (prediction,) = project.studio.predictions(task)
    labels = [region["value"]["rectanglelabels"][0] for region in prediction["result"]]
    assert labels

    annotator.goto(f"{server.url}/projects/{project.id}/data?task={task}")
    regions = annotator.locator(REGIONS)
    expect(regions).to_have_count(len(labels), timeout=60 * SECONDS)
    assert sorted(regions.all_inner_texts()) == sorted(labels)

    canvas = annotator.locator("canvas").first
    expect(canvas).to_be_visible()
    picture = ROOT / "out" / "end_to_end"
    annotator.screenshot(path=picture / "editor.png")
    seen = screenshot(canvas.screenshot(path=picture / "canvas.png"), picture / "canvas.png")
    for label in set(labels):
        near = np.abs(seen - ImageColor.getrgb(COLOURS[label])).max(axis=2) < 40
        assert near.sum() > 100, f"no line in the colour of {label} on the page"


def screenshot(_: bytes, path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"), dtype=np.int16)
