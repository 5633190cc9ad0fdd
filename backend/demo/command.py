"""The demo's course: Label Studio up, backend up, contracts drawn and boxed; all of it stopped again on Ctrl-C."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from backend.demo.backend import backend_service, wait_for_model
from backend.demo.contracts import document_pages, draw_contracts, single_pages
from backend.demo.projects import Filled, connect, fill_project, retrieve_boxes
from backend.demo.services import LOOPBACK, Service, free_port
from backend.demo.steps import Steps
from backend.demo.studio import Login, label_studio_service
from backend.errors import DemoError
from backend.labelstudio.client import LabelStudio

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable
    from types import FrameType
    from typing import NoReturn

__all__ = ["add_arguments", "run"]

_ROOT = Path(__file__).resolve().parents[2]
_LABEL_STUDIO_SECONDS = 600.0
_BACKEND_SECONDS = 60.0
_WATCH_SECONDS = 0.5
_ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the demo's options."""
    parser.add_argument("--folder", type=Path, default=Path(".demo"), help="holds all it makes (%(default)s)")
    parser.add_argument("--fresh", action="store_true", help="forget earlier runs: delete the folder first")
    parser.add_argument("--port", type=int, default=8080, help="Label Studio's; a free one if taken (%(default)s)")
    parser.add_argument("--backend-port", type=int, default=9090, help="the backend's, likewise (%(default)s)")
    parser.add_argument(
        "--label-studio",
        type=Path,
        default=_ROOT / ".venv-label-studio" / "bin" / "label-studio",
        metavar="EXECUTABLE",
        help="which Label Studio to start (the one that `make label-studio` installs)",
    )


def run(args: argparse.Namespace) -> int:
    """Runs the demo until Ctrl-C, SIGTERM or the end of the terminal; gives the exit code.

    Raises:
        DemoError: Something did not start, or ended; all that did start has been stopped.
    """
    steps = Steps(sys.stdout)
    for number in _ENDINGS:
        signal.signal(number, _interrupt)
    with ExitStack() as stack:
        try:
            _watch(_start(args, steps, stack))
        except KeyboardInterrupt:
            for number in _ENDINGS:  # a second Ctrl-C must not leave a server behind
                signal.signal(number, signal.SIG_IGN)
            steps.say("\n  Stopping …")
    steps.say("  Stopped. What was imported is kept: the next start is quick.")
    return 0


def _start(args: argparse.Namespace, steps: Steps, stack: ExitStack) -> list[Service]:
    """Does all of it; gives the services, running."""
    folder = _folder(args.folder, stack, fresh=args.fresh)
    login = Login.of(folder)
    studio_url, backend_url = (f"http://{LOOPBACK}:{free_port(port)}" for port in (args.port, args.backend_port))

    steps.say("\n  Contracts with their signatures, stamps and thumbprints boxed, in Label Studio\n")
    label_studio = label_studio_service(
        args.label_studio, folder / "label-studio", login=login, port=int(studio_url.rpartition(":")[2])
    )
    first = not (folder / "label-studio" / "label_studio.sqlite3").exists()
    stack.enter_context(label_studio)
    with steps.step("Drawing contracts") as step:
        draw_contracts(folder / "contracts", drawn=lambda done, total: step.note(f"{done} of {total} pages"))
        step.outcome = "Contracts are drawn"
    with steps.step("Starting Label Studio" + (": it makes its database, about a minute" if first else "")) as step:
        label_studio.wait_until_answers(f"{studio_url}/health", seconds=_LABEL_STUDIO_SECONDS, waited=step.waited)
        studio = stack.enter_context(LabelStudio(studio_url, login.token))
        step.outcome = f"Label Studio {studio.version()} is at {studio_url}"
    backend = backend_service(
        port=int(backend_url.rpartition(":")[2]),
        studio_url=studio_url,
        token=login.token,
        data_dir=folder / "backend",
        log=folder / "backend.log",
    )
    with steps.step("Starting the backend") as step:
        stack.enter_context(backend)
        backend.wait_until_answers(f"{backend_url}/health", seconds=_BACKEND_SECONDS, waited=step.waited)
        version = wait_for_model(backend_url, seconds=_BACKEND_SECONDS, waited=step.waited)
        step.outcome = f"The backend is at {backend_url} with model {version}"
    _box(folder, steps, studio, login, backend_url=backend_url, version=version)
    return [label_studio, backend]


def _box(folder: Path, steps: Steps, studio: LabelStudio, login: Login, *, backend_url: str, version: str) -> None:
    """Fills both projects, waits for their boxes, and says where to look."""
    contracts = folder / "contracts"
    config, pages_config = _label_config("label_config.xml"), _label_config("label_config_pages.xml")
    with steps.step("Importing the contracts") as step:
        singles = fill_project(
            studio,
            title="Contracts",
            label_config=config,
            field="image",
            documents=[[page] for page in single_pages(contracts)],
        )
        document = fill_project(
            studio,
            title="Contracts of several pages",
            label_config=pages_config,
            field="pages",
            documents=[document_pages(contracts)],
        )
        for filled in (singles, document):
            connect(studio, filled.project, backend_url, version=version)
        step.outcome = f"{len(singles.tasks) + len(document.tasks)} contracts are in, the backend is connected"
    with steps.step("Boxing") as step:
        boxes = retrieve_boxes(
            studio,
            (singles, document),
            version=version,
            done=lambda done, total: step.note(f"{done} of {total} contracts"),
        )
        step.outcome = f"{boxes} boxes are in Label Studio"
    _invite(steps, studio.base_url, login, singles, document)


def _invite(steps: Steps, url: str, login: Login, singles: Filled, document: Filled) -> None:
    def link(filled: Filled) -> str:
        return f"{url}/projects/{filled.project}/data?task={filled.tasks[0]}"

    steps.say(
        f"\n  Open      {link(singles)}\n"
        f"  or        {link(document)}  (a contract of several pages)\n"
        f"  log in    {login.email}\n"
        f"  password  {login.password}\n\n"
        "  Ctrl-C stops it."
    )


def _folder(folder: Path, stack: ExitStack, *, fresh: bool) -> Path:
    """Makes or empties the demo's folder, and keeps a second demo out of it."""
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()) and not Login.is_in(folder):
        raise DemoError(f"{folder} holds files that are not the demo's: give it a folder of its own with --folder")
    lock = os.open(folder, os.O_RDONLY)
    stack.callback(os.close, lock)
    try:
        # The system lets go when this process ends, however it ends.
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise DemoError(f"a demo is running in {folder} already: stop it, or use another --folder") from error
    if fresh:
        for entry in folder.iterdir():
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    return folder


def _label_config(name: str) -> str:
    try:
        return (_ROOT / name).read_text()
    except FileNotFoundError as error:
        raise DemoError(f"{error.filename} is missing: the demo runs from a checkout of the repository") from error


def _watch(services: Iterable[Service]) -> NoReturn:
    """Waits for Ctrl-C; raises DemoError when a service ends by itself."""
    while True:
        for service in services:
            service.check()
        time.sleep(_WATCH_SECONDS)


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
