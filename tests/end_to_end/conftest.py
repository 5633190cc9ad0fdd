"""A real Label Studio and the real backend, each a process of its own, started once for all end-to-end tests."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from PIL import Image
from playwright.sync_api import BrowserContext, Page, ViewportSize, expect, sync_playwright

from backend.commands.demo.demo_projects import connect
from backend.commands.demo.services import (
    LOOPBACK,
    Login,
    Service,
    backend_service,
    free_port,
    label_studio_service,
    wait_for_model,
)
from backend.labelstudio.client import LabelStudio
from backend.synthetic.drawn_page import draw_page
from backend.synthetic.marks import DrawnMark, Language
from backend.synthetic.scan import ScanStyle

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
PATIENCE = 120_000  # milliseconds; a machine may be busy
EXECUTABLE = ROOT / ".venv-label-studio" / "bin" / "label-studio"
# Below those that the system gives away, since it is bound long after it was chosen.
PORT = 18_080


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
        return LabelStudio(self.url, self.login.token)


@dataclass(frozen=True, kw_only=True)
class Begun:
    """A Label Studio that was started and may not answer yet, and what ends it."""

    server: Server
    service: Service
    stack: ExitStack


_BEGUN = pytest.StashKey[Begun]()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Starts Label Studio: it takes half a minute to make its tables, and does so beside the tests of other folders.

    Of several processes that share the tests, only the one that asks for it starts it.
    """
    wanted = any(item.get_closest_marker("label_studio") for item in session.items)
    shared = hasattr(session.config, "workerinput") or session.config.getoption("numprocesses", None)
    if wanted and not shared and not session.config.option.collectonly and EXECUTABLE.exists():
        _begin(session.config)


def _begin(config: pytest.Config) -> Begun:
    stack = ExitStack()
    folder = Path(stack.enter_context(TemporaryDirectory(prefix="label-studio-", ignore_cleanup_errors=True)))
    login, port = Login.of(folder), free_port(PORT)
    service = label_studio_service(EXECUTABLE, folder / "label-studio", login=login, port=port)
    stack.enter_context(service)
    server = Server(url=f"http://{LOOPBACK}:{port}", login=login, folder=folder)
    begun = config.stash[_BEGUN] = Begun(server=server, service=service, stack=stack)
    return begun


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
            profile, executable_path=chromium, headless=True, args=QUIET, viewport=VIEWPORT
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
    begun.service.wait_until_answers(f"{begun.server.url}/health", seconds=600)
    return begun.server


@pytest.fixture(scope="session")
def studio(server: Server) -> Iterator[LabelStudio]:
    with server.client() as client:
        yield client


@pytest.fixture(scope="session")
def backend_url(server: Server) -> Iterator[str]:
    port = free_port(0)
    url = f"http://{LOOPBACK}:{port}"
    service = backend_service(
        port=port,
        studio_url=server.url,
        token=server.login.token,
        data_dir=server.folder / "backend",
        log=server.folder / "backend.log",
        MODEL="bundled",
    )
    with service:
        service.wait_until_answers(f"{url}/health", seconds=60)
        yield url


@pytest.fixture(scope="session")
def version(backend_url: str) -> str:
    return wait_for_model(backend_url, seconds=60)


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
