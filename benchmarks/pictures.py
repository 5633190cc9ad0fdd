"""The pictures of the documentation, taken anew: drawn pages, a real Label Studio, a real browser.

    python -m benchmarks.pictures --out docs/images
    python -m benchmarks.pictures --out docs/images --only dashboard

Each shows what the program shows today. Look at them before they are committed: this takes what is there.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from flask import Flask
from playwright.sync_api import FloatRect, Locator, Page, expect
from werkzeug.serving import make_server

from backend.commands.demo.demo_projects import (
    Filled,
    best_first,
    connect,
    draw_contracts,
    fill_project,
    retrieve_boxes,
    single_pages,
)
from backend.commands.demo.services import LOOPBACK, Login, wait_for_model
from backend.corrections.database import open_database
from backend.labelstudio.client import LabelStudio
from backend.server.dashboard import Dashboard
from benchmarks.clicks import log_in
from benchmarks.wall import ROOT, browser_page, servers
from tests.end_to_end.editor import Editor
from tests.server.invented import fill

_NAMES = ("lease-2026-031.jpg", "lease-2026-034.jpg", "عقد إيجار 114.jpg", "lease-2026-040.jpg", "عقد بيع 27.jpg")
"""Of the first documents; the others are numbered."""
_TITLE = "Leases"
_ANNOTATED = 6
"""Documents whose boxes an annotator submitted, in the report."""
_REPORTED = 3
"""Contracts in the picture of the report."""
_MARGIN = 24
"""Below the last thing of a picture, in pixels."""
_SECONDS = 600.0
_GROWN_SECONDS = 3.0
"""Until a dashed box has grown to its size."""
_DATA_MANAGER_LEFT, _BAR = 240, 48
"""What the editor's own window leaves beside and above it, in pixels."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the pictures")
    parser.add_argument("--only", choices=("dashboard", "label-studio"), help="those of one of them (default: all)")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        if args.only != "label-studio":
            take_dashboard(Path(folder), args.out)
        if args.only != "dashboard":
            take_label_studio(Path(folder), args.out)
    return 0


def take_dashboard(folder: Path, out: Path) -> None:
    """The dashboard over an invented ledger of eight weeks."""
    engine = open_database(f"sqlite:///{folder / 'invented.sqlite3'}")
    fill(engine)
    made = Flask(__name__)
    state: dict[str, Any] = {"model_state": "ready", "model_version": "20261106-0310-e5f6.model-5d0c11ab"}
    training: dict[str, Any] = {"running": False, "new_hard_examples": 41, "retrain_after": 100, "due": None}
    shown = Dashboard(
        engine=engine, label_studio="http://localhost:8080", state=lambda: state, training=lambda: training
    )
    made.get("/")(shown.__call__)
    with _serving(made) as url, browser_page(width=1180, height=1240) as page:
        page.goto(url)
        _take_to(page, page.locator("main svg").nth(1), out / "dashboard.png")
    engine.dispose()


def take_label_studio(folder: Path, out: Path) -> None:
    """The editor, the Data Manager, the crop wall and the report, over one project of drawn contracts."""
    drawn = folder / "drawn"
    draw_contracts(drawn, drawn=lambda done, total: _tell(f"{done} of {total} pages are drawn"))
    with servers(folder) as (studio, url), browser_page(width=1366, height=768) as page:
        version = wait_for_model(url, seconds=_SECONDS)
        filled = _fill(folder, studio, url, version=version, pages=best_first(single_pages(drawn)))
        log_in(page, studio.base_url, Login.of(folder))
        editor = Editor(page, studio.base_url)
        task = filled.tasks[0]
        result = studio.predictions(task)[0]["result"]
        editor.open(filled.project, task, regions=len(result))
        _take(page, out / "editor.png")
        _tight_box(editor, result, out / "annotators-tight-box.png")
        _tab(page, studio.base_url, filled.project, "Doubtful first", out / "annotators-tabs.png")
        page.goto(f"{url}/review?project={filled.project}&class=signature")
        page.wait_for_selector("#wall[data-ready]", state="attached")
        page.wait_for_load_state("networkidle")
        _take(page, out / "wall.png")
        _report(folder, studio, filled, page, out / "report.png")


def _fill(folder: Path, studio: LabelStudio, url: str, *, version: str, pages: Sequence[Path]) -> Filled:
    """A project of these pages under names as contracts have them, with its boxes."""
    named = folder / "named"
    named.mkdir()
    names = [*_NAMES, *(f"lease-2026-{number:03}.jpg" for number in range(41, 41 + len(pages)))]
    documents = [[Path(shutil.copy(page, named / name))] for page, name in zip(pages, names, strict=False)]
    config = (ROOT / "label_config.xml").read_text(encoding="utf-8")
    filled = fill_project(studio, title=_TITLE, label_config=config, field="image", documents=documents)
    connect(studio, filled.project, url, version=version)
    retrieve_boxes(
        studio,
        [filled],
        version=version,
        done=lambda done, total: _tell(f"{done} of {total} contracts have their boxes"),
        patience=_SECONDS,
    )
    return filled


def _tight_box(editor: Editor, result: Sequence[Mapping[str, Any]], to: Path) -> None:
    """A stamp is deleted, and drawn anew roughly: the picture has the rough box and the answer."""
    page = editor.page
    stamp = max(
        (one for one in result if one["value"]["rectanglelabels"] == ["stamp"]),
        key=lambda one: one["value"]["width"] * one["value"]["height"],
    )
    with page.expect_response(lambda one: "/drafts" in one.url and one.request.method in {"POST", "PATCH"}):
        editor.delete(stamp)  # what is not saved yet counts as there, and its place as taken
    page.get_by_text("Auto-Annotation", exact=True).click()
    page.locator(".lsf-tool_smart").first.click()
    place = stamp["value"]
    left, top = max(0.5, place["x"] - 4), max(0.5, place["y"] - 4)
    rough = {
        "x": left,
        "y": top,
        "width": min(99.5, place["x"] + place["width"] + 6) - left,
        "height": min(99.5, place["y"] + place["height"] + 6) - top,
    }
    with page.expect_response(lambda one: "interactive-annotating" in one.url):
        editor.draw_smart(rough, "stamp")
    expect(page.get_by_test_id("bottombar-accept-suggestions-button")).to_be_visible()
    time.sleep(_GROWN_SECONDS)
    left_out: FloatRect = {
        "x": _DATA_MANAGER_LEFT,
        "y": _BAR,
        "width": 1366 - _DATA_MANAGER_LEFT,
        "height": 768 - _BAR,
    }
    _take(page, to, clip=left_out)


def _tab(page: Page, url: str, project: int, title: str, to: Path) -> None:
    """A tab of the Data Manager, without Label Studio's own bar above it."""
    page.goto(f"{url}/projects/{project}/data")
    page.get_by_text(title, exact=True).first.click()
    expect(page.get_by_text("marks_found").first).to_be_visible()
    page.wait_for_load_state("networkidle")
    _take(page, to, clip={"x": 0, "y": _BAR, "width": 1366, "height": 512})


def _report(folder: Path, studio: LabelStudio, filled: Filled, page: Page, to: Path) -> None:
    """Some documents were annotated, one of them with a mark less than the model sees."""
    for place, task in enumerate(filled.tasks[:_ANNOTATED]):
        prediction = studio.predictions(task)[0]
        left = [one for one in prediction["result"] if place or one["value"]["rectanglelabels"] != ["stamp"]]
        submitted = {"result": left, "lead_time": 20, "parent_prediction": prediction["id"]}
        studio.call("POST", f"/api/tasks/{task}/annotations/", json=submitted)
    html = folder / "report.html"
    command = [sys.executable, "-m", "backend", "report", "--project", _TITLE, "--html", str(html)]
    rules = ("--rule", "signature>=1", "--rule", "stamp>=1 on last 2 pages")
    environment = {"LABEL_STUDIO_URL": studio.base_url, "LABEL_STUDIO_API_KEY": Login.of(folder).token}
    subprocess.run([*command, *rules], check=True, cwd=ROOT, env={**os.environ, **environment})
    page.set_viewport_size({"width": 1180, "height": 900})
    page.goto(html.as_uri())
    _take_to(page, page.locator(".contract").nth(_REPORTED - 1), to)


def _take_to(page: Page, last: Locator, to: Path) -> None:
    """A page from its top to the end of something on it, so that nothing is cut."""
    box = last.bounding_box()
    assert box is not None, "it is on the page"
    size = page.viewport_size
    assert size is not None, "a browser without a window has a size"
    clip: FloatRect = {"x": 0, "y": 0, "width": size["width"], "height": box["y"] + box["height"] + _MARGIN}
    _take(page, to, clip=clip, full_page=True)


def _take(page: Page, to: Path, **how: Any) -> None:
    page.screenshot(path=str(to), **how)
    print(to)


def _tell(text: str) -> None:
    print(f"\r{text}", end="", file=sys.stderr, flush=True)


@contextmanager
def _serving(made: Flask) -> Iterator[str]:
    server = make_server(LOOPBACK, 0, made, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://{LOOPBACK}:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


if __name__ == "__main__":
    sys.exit(main())
