"""A real Label Studio and the real backend, each a process of its own, started once for all end-to-end tests."""

from __future__ import annotations

import io
import os
import shutil
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import BrowserContext, Page, ViewportSize, expect, sync_playwright

from backend.commands.demo.demo_projects import connect
from backend.commands.demo.services import (
    LOOPBACK,
    Login,
    Service,
    backend_service,
    label_studio_service,
    wait_for_model,
)
from backend.labelstudio.client import LabelStudio
from backend.synthetic.drawn_page import draw_page
from backend.synthetic.marks import DrawnMark, Language
from backend.synthetic.scan import ScanStyle
from tests.patience import SECONDS
from tests.ports import port_for_later

ROOT = Path(__file__).resolve().parents[2]
CONFIG = (ROOT / "label_config.xml").read_text()
PAGES_CONFIG = (ROOT / "label_config_pages.xml").read_text()

QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
# The list of regions is drawn only as far as it is seen: so high that some twenty are.
VIEWPORT: ViewportSize = {"width": 1600, "height": 2000}
PATIENCE = 1000 * SECONDS
"""In milliseconds, for the browser."""
PATIENT = dict.fromkeys(("ML_CONNECTION_TIMEOUT", "ML_TIMEOUT_HEALTH", "ML_TIMEOUT_SETUP", "WEBHOOK_TIMEOUT"), "60")
"""Seconds that Label Studio waits for short answers of a backend; of itself it gives up after one, without a word."""
PATIENT_BACKEND = {"FETCH_TIMEOUT": str(SECONDS)}
"""Of itself, a backend gives a page up that a busy Label Studio has not brought within twenty seconds."""
ARCHIVE = "archive"
"""Folder beside Label Studio's own, of which it serves local files."""
EXECUTABLE = ROOT / ".venv-label-studio" / "bin" / "label-studio"


def missing(reason: str) -> None:
    """Skips and says why; fails where everything has to be there."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{reason}, and CI skips nothing")
    pytest.skip(reason)


@dataclass(frozen=True, kw_only=True)
class Server:
    """A running Label Studio."""

    url: str
    login: Login
    folder: Path

    def client(self) -> LabelStudio:
        return LabelStudio(self.url, self.login.token, timeout=SECONDS)


@dataclass(frozen=True, kw_only=True)
class Begun:
    """A Label Studio that was started and may not answer yet, and what ends it."""

    server: Server
    service: Service
    stack: ExitStack


_BEGUN = pytest.StashKey[Begun]()
_WRITTEN = pytest.StashKey[dict[Path, int]]()
_LOG_BYTES = 6000
"""Of each log, with a failure."""


def pytest_collection_finish(session: pytest.Session) -> None:
    """Starts Label Studio: it takes half a minute to make its tables, and does so beside the tests of other folders.

    Of several processes that share the tests, only the one that asks for it starts it.
    """
    wanted = any("server" in getattr(item, "fixturenames", ()) for item in session.items)
    shared = hasattr(session.config, "workerinput") or session.config.getoption("numprocesses", None)
    if wanted and not shared and not session.config.option.collectonly and EXECUTABLE.exists():
        _begin(session.config)


def _begin(config: pytest.Config) -> Begun:
    stack = ExitStack()
    folder = Path(stack.enter_context(TemporaryDirectory(prefix="label-studio-", ignore_cleanup_errors=True)))
    login, port = Login.of(folder), port_for_later()
    served = {"LOCAL_FILES_SERVING_ENABLED": "true", "LOCAL_FILES_DOCUMENT_ROOT": str(folder / ARCHIVE)}
    (folder / ARCHIVE).mkdir()
    service = label_studio_service(EXECUTABLE, folder / "label-studio", login=login, port=port, **PATIENT, **served)
    stack.enter_context(service)
    server = Server(url=f"http://{LOOPBACK}:{port}", login=login, folder=folder)
    begun = config.stash[_BEGUN] = Begun(server=server, service=service, stack=stack)
    return begun


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Shows with each failure what Label Studio and the backends wrote since the test began."""
    report = yield
    begun = item.config.stash.get(_BEGUN, None)
    if begun is None:
        return report
    logs = sorted(begun.server.folder.rglob("*.log"))
    if report.when == "setup":
        item.stash[_WRITTEN] = {log: 0 if report.failed else log.stat().st_size for log in logs}
    if report.failed:
        before = item.stash.get(_WRITTEN, {})
        report.sections += [(f"{log.name}, its end", text) for log in logs if (text := _tail(log, before.get(log, 0)))]
    return report


def _tail(log: Path, start: int) -> str:
    with log.open("rb") as file:
        file.seek(max(start, log.stat().st_size - _LOG_BYTES))
        return file.read().decode(errors="replace").strip()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Ends it, after the tests or before any."""
    if _BEGUN in config.stash:
        config.stash[_BEGUN].stack.close()


@pytest.fixture(scope="session")
def label_studio_executable() -> Path:
    if not EXECUTABLE.exists():
        missing("no Label Studio is installed (`make label-studio` installs it)")
    return EXECUTABLE


@pytest.fixture(scope="session")
def chromium() -> str:
    found = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")
    if found is None:
        missing("no Chromium is installed (on Debian: apt-get install chromium)")
    return str(found)


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[BrowserContext]:
    with sync_playwright() as playwright, TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        context = playwright.chromium.launch_persistent_context(
            profile, executable_path=chromium, headless=True, args=QUIET, viewport=VIEWPORT, timeout=PATIENCE
        )
        context.set_default_timeout(PATIENCE)
        expect.set_options(timeout=PATIENCE)
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


@pytest.fixture(scope="session")
def server(label_studio_executable: Path, pytestconfig: pytest.Config) -> Server:
    begun = pytestconfig.stash.get(_BEGUN, None) or _begin(pytestconfig)
    begun.service.wait_until_answers(f"{begun.server.url}/health", seconds=2 * SECONDS)
    return begun.server


@pytest.fixture(scope="session")
def studio(server: Server) -> Iterator[LabelStudio]:
    with server.client() as client:
        yield client


@pytest.fixture(scope="session")
def backend_url(server: Server) -> Iterator[str]:
    port = port_for_later()
    url = f"http://{LOOPBACK}:{port}"
    service = backend_service(
        port=port,
        studio_url=server.url,
        token=server.login.token,
        data_dir=server.folder / "backend",
        log=server.folder / "backend.log",
        MODEL="bundled",
        **PATIENT_BACKEND,
    )
    with service:
        service.wait_until_answers(f"{url}/health", seconds=SECONDS)
        yield url


@pytest.fixture(scope="session")
def version(backend_url: str) -> str:
    return wait_for_model(backend_url, seconds=SECONDS)


def retrieved(studio: LabelStudio, project: int, tasks: Sequence[int]) -> list[dict[str, Any]]:
    """The one prediction of each task, asked for as a person asks: again, where a task has none.

    Label Studio stores nothing, and does not say so, where the backend's health or a page came too late.
    """
    give_up = time.monotonic() + SECONDS
    while True:
        studio.retrieve_predictions(project, tasks)
        found = {task: studio.predictions(task) for task in tasks}
        if all(found.values()):
            break
        lacking = [task for task, predictions in found.items() if not predictions]
        assert time.monotonic() < give_up, f"no prediction of {lacking} after {SECONDS} s: the logs say why"
        time.sleep(0.5)
    assert {task: len(predictions) for task, predictions in found.items()} == dict.fromkeys(tasks, 1)
    return [prediction for [prediction] in found.values()]


def submit(studio: LabelStudio, task: int, result: Sequence[Mapping[str, Any]], **fields: Any) -> int:
    """Submits an annotation of these regions, with further fields of it, as an annotator does; gives its id."""
    body = {"result": [dict(region) for region in result], **fields}
    return int(studio.call("POST", f"/api/tasks/{task}/annotations/", json=body)["id"])


@dataclass(frozen=True, kw_only=True)
class DrawnFile:
    """A drawn contract page as the file that an annotator would upload.

    `clear` are the marks in colour that an annotator would see at a glance, and see where they end. How well hard ones
    are found is for the benchmarks to measure; here they only have to travel.
    """

    name: str
    data: bytes
    width: int
    height: int
    clear: tuple[DrawnMark, ...]


@pytest.fixture(scope="session")
def drawn() -> list[DrawnFile]:
    """Three crowded pages from an office scanner; of other seeds, fewer of the marks would be clear."""
    files = [drawn_file(seed) for seed in (5, 8, 14)]
    assert all(len(file.clear) >= 3 for file in files), "drawing has changed: choose other seeds"
    return files


def drawn_file(seed: int, *, language: Language | None = None, marks: int = 12) -> DrawnFile:
    style = ScanStyle(paper=(0.98, 0.98, 0.96), noise=1.5, blur=0.4)
    page = draw_page(seed, dpi=150, language=language, marks=marks, style=style)
    file = io.BytesIO()
    Image.fromarray(page.pixels).save(file, format="JPEG", quality=90, dpi=(page.dpi, page.dpi))
    height, width = page.pixels.shape[:2]
    clear = (mark for mark in page.marks if not (mark.faded or mark.partial or mark.overlaps or "black" in mark.ink))
    return DrawnFile(name=f"page-{seed}.jpg", data=file.getvalue(), width=width, height=height, clear=tuple(clear))


@dataclass(frozen=True, kw_only=True)
class Project:
    """A project of a test's own, with the backend connected."""

    id: int
    field: str
    studio: LabelStudio

    def retrieved(self, *tasks: int) -> list[dict[str, Any]]:
        """The prediction of each of these tasks, once it is there."""
        return retrieved(self.studio, self.id, tasks)

    def import_page(self, name: str, data: bytes) -> int:
        """Imports one file as a task."""
        (task,) = self.studio.import_tasks(self.id, [{self.field: self.studio.upload(self.id, name, data)}])
        return task


@pytest.fixture
def project(studio: LabelStudio, backend_url: str, version: str, request: pytest.FixtureRequest) -> Project:
    return _project(studio, request.node.name, CONFIG, backend_url, version, field="image")


@pytest.fixture
def document_project(studio: LabelStudio, backend_url: str, version: str, request: pytest.FixtureRequest) -> Project:
    return _project(studio, request.node.name, PAGES_CONFIG, backend_url, version, field="pages")


def _project(studio: LabelStudio, title: str, config: str, url: str, version: str, *, field: str) -> Project:
    made = studio.create_project(title[:50], config, show_collab_predictions=True)
    studio.create_tab(made, "Default")
    connect(studio, made, url, version=version)
    return Project(id=made, field=field, studio=studio)
