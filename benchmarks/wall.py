"""A hundred crops on the wall: a scripted reviewer who knows the truth, a real browser, a real Label Studio.

    python -m benchmarks.wall --pages 24 --pause 0.25

The reviewer looks at each screen, presses a key for each crop that is called wrongly or is no mark, goes there with the
arrows, and presses Enter for the rest. Each key takes `--pause` seconds more than the machine does: a practised typist
needs .2 to .28 (Card, Moran and Newell, 1980). What it does not measure is how long a person looks.
"""

from __future__ import annotations

import argparse
import io
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright

from backend.commands.demo.demo_projects import connect
from backend.commands.demo.services import (
    LOOPBACK,
    Login,
    backend_service,
    free_port,
    label_studio_service,
    wait_for_model,
)
from backend.geometry import as_boxes, iou
from backend.labelstudio.client import LabelStudio
from backend.synthetic.drawn_page import draw_page
from backend.vision.network_config import MARKS

ROOT = Path(__file__).resolve().parents[1]
_KEYS = {**{name: str(place) for place, name in enumerate(MARKS, start=1)}, "none": "0"}
_SAME = 0.3
"""IoU with a true mark at which a crop shows it: a person names what is in it, however loose the box."""
_PATIENCE = 240_000

Truth = Mapping[int, Sequence[tuple[str, tuple[float, float, float, float]]]]


@dataclass
class Count:
    """What the reviewer did; `waiting` is until all pictures of a screen were there."""

    crops: int = 0
    wrong: int = 0
    keys: int = 0
    waiting: float = 0.0
    looking: float = 0.0
    saving: float = 0.0


@contextmanager
def browser_page(*, width: int, height: int) -> Iterator[Page]:
    """A page of a real browser, its viewport in pixels, that waits long for what it is to see."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": width, "height": height})
        page.set_default_timeout(_PATIENCE)
        expect.set_options(timeout=_PATIENCE)
        yield page
        browser.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=int, default=24, help="drawn pages (default: %(default)s)")
    parser.add_argument(
        "--most", type=int, default=100, help="crops after which no further class is begun (default: %(default)s)"
    )
    parser.add_argument("--pause", type=float, default=0.25, help="seconds of a key (default: %(default)s)")
    parser.add_argument("--picture", type=Path, help="save a picture of the first screen here")
    args = parser.parse_args()
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder, servers(Path(folder)) as (studio, url):
        version = wait_for_model(url, seconds=_PATIENCE / 1000)
        project, truth = fill(studio, url, version=version, pages=args.pages)
        with browser_page(width=1366, height=768) as page:
            found = review(page, url, project, truth, args)
        stored = sum(len(one["annotations"]) for one in studio.tasks(project))
    minute = 60 * found.crops / found.looking
    through = 60 * found.crops / (found.looking + found.saving)
    print(f"{found.crops} crops, {found.wrong} of them called wrongly; {found.keys} keys of {args.pause:g} s")
    print(f"{found.waiting:.1f} s until all pictures were there")
    word = "reached" if minute >= 100 else "missed"
    print(f"decided in {found.looking:.1f} s: {minute:.0f} a minute (aim 100: {word})")
    print(f"in Label Studio {found.saving:.1f} s later, in {stored} annotations: {through:.0f} a minute, all in all")
    return 0


@contextmanager
def servers(folder: Path) -> Iterator[tuple[LabelStudio, str]]:
    """Label Studio, and a backend over an empty ledger."""
    login, port, own = Login.of(folder), free_port(18_180), free_port(0)
    executable = ROOT / ".venv-label-studio" / "bin" / "label-studio"
    address = f"http://{LOOPBACK}:{port}"
    with label_studio_service(executable, folder / "label-studio", login=login, port=port) as label_studio:
        label_studio.wait_until_answers(f"{address}/health", seconds=600)
        backend = backend_service(
            port=own,
            studio_url=address,
            token=login.token,
            data_dir=folder / "backend",
            log=folder / "backend.log",
            MODEL="bundled",
        )
        with backend, LabelStudio(address, login.token, timeout=120) as studio:
            backend.wait_until_answers(f"http://{LOOPBACK}:{own}/health", seconds=240)
            yield studio, f"http://{LOOPBACK}:{own}"


def fill(studio: LabelStudio, url: str, *, version: str, pages: int) -> tuple[int, Truth]:
    """A project of drawn pages with their predictions; and of each task its true marks, in percent of the page."""
    project = studio.create_project("wall", (ROOT / "label_config.xml").read_text())
    studio.create_tab(project, "Default")
    connect(studio, project, url, version=version)
    truth = {}
    for seed in range(9_100, 9_100 + pages):
        drawn = draw_page(seed, dpi=110, marks=8)
        height, width = drawn.pixels.shape[:2]
        file = io.BytesIO()
        Image.fromarray(drawn.pixels).save(file, "JPEG", quality=90, dpi=(drawn.dpi, drawn.dpi))
        [task] = studio.import_tasks(project, [{"image": studio.upload(project, f"{seed}.jpg", file.getvalue())}])
        scale = (100 / width, 100 / height) * 2
        truth[task] = [
            (one.label, tuple(side * by for side, by in zip(one.box, scale, strict=True))) for one in drawn.marks
        ]
        studio.retrieve_predictions(project, [task])
        print(f"\r{len(truth)} of {pages} pages", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return project, truth


def review(page: Page, url: str, project: int, truth: Truth, args: argparse.Namespace) -> Count:
    """Goes through the classes until enough crops were decided on."""
    count = Count()
    for label in MARKS:
        began = time.perf_counter()
        with page.expect_response(lambda one: "/review/crops?" in one.url) as answer:
            page.goto(f"{url}/review?project={project}&class={label}")
        crops = answer.value.json()["crops"]
        page.wait_for_selector("#wall[data-ready]", state="attached")
        if crops and count.crops < args.most:
            see_all(page)
            count.waiting += time.perf_counter() - began
            if args.picture and not count.crops:
                page.screenshot(path=str(args.picture))
            screen(page, label, [truly(one, truth) for one in crops], count, pause=args.pause)
    return count


def see_all(page: Page) -> None:
    """Scrolls to the last crop and back, until each has its picture: without one, nothing is decided on it."""
    page.locator(".crop").last.scroll_into_view_if_needed()
    expect(page.locator(".crop[data-loading]")).to_have_count(0)
    lacking = page.locator(".crop", has_text="no picture").count()
    if lacking:
        raise SystemExit(f"wall: {lacking} crops have no picture")
    page.locator(".crop").first.scroll_into_view_if_needed()


def truly(crop: Mapping[str, Any], truth: Truth) -> str:
    """What a crop shows: the true mark that its box covers best, or none."""
    box = crop["percent"]
    marks = truth[int(crop["task"])]
    overlaps = iou(as_boxes([box]), as_boxes([box_ for _, box_ in marks]))[0]
    best = int(overlaps.argmax()) if len(marks) else -1
    return marks[best][0] if best >= 0 and overlaps[best] >= _SAME else "none"


def screen(page: Page, label: str, names: Sequence[str], count: Count, *, pause: float) -> None:
    """Decides on one screen of crops: the wrong ones by their keys, then the rest by Enter."""

    def press(key: str) -> None:
        page.keyboard.press(key)
        count.keys += 1
        time.sleep(pause)

    began = time.perf_counter()
    page.locator(".crop").first.focus()
    at = 0
    for place, name in enumerate(names):
        if name == label:
            continue
        while at < place:
            press("ArrowRight")
            at += 1
        press(_KEYS[name])
        at += 1  # the wall goes on by itself
        count.wrong += 1
    press("Enter")
    decided = time.perf_counter()
    expect(page.locator("#said")).to_contain_text(f"{len(names)} decided, {len(names)} saved")
    count.looking += decided - began
    count.saving += time.perf_counter() - decided
    count.crops += len(names)


if __name__ == "__main__":
    sys.exit(main())
