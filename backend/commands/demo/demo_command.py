"""The demo's course: Label Studio up, backend up, contracts drawn and boxed; all of it stopped again on Ctrl-C.

What the demo says while it works: one line a step, rewritten in place on a terminal.
"""

from __future__ import annotations

import importlib.util
import os
import shlex
import shutil
import signal
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from backend.commands.amounts import port_number
from backend.commands.demo.demo_projects import (
    Filled,
    best_first,
    connect,
    document_pages,
    draw_contracts,
    fill_project,
    retrieve_boxes,
    single_pages,
)
from backend.commands.demo.services import (
    DATABASE,
    LOOPBACK,
    Login,
    Service,
    backend_service,
    check_whole,
    free_port,
    label_studio_service,
    wait_for_model,
    write_settings,
)
from backend.commands.doctor.check_model import TRAINING_MODULES
from backend.errors import DemoError
from backend.escaping import printable
from backend.files import hold
from backend.labelstudio.client import LabelStudio
from backend.settings import Settings
from backend.terminal import painted

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator
    from types import FrameType
    from typing import NoReturn

__all__ = ["Step", "Steps", "add_arguments", "run"]

_ROOT = Path(__file__).resolve().parents[3]
_PORT, _BACKEND_PORT = 8080, 9090
_LABEL_STUDIO_SECONDS = 600.0
_BACKEND_SECONDS = 300.0
_WATCH_SECONDS = 0.5
_ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Step:
    """A step under way."""

    def __init__(self, out: TextIO, what: str) -> None:
        self._out = out
        self._what = what
        self._started = time.monotonic()
        self.outcome = what

    def note(self, progress: str) -> None:
        """Shows how far the step is, on a terminal only: a log file needs the outcome, not each tick."""
        if self._out.isatty():
            self._out.write(f"\r\033[K  … {printable(self._what)} · {printable(progress)}")
            self._out.flush()

    def waited(self) -> None:
        """Notes the seconds that have passed."""
        self.note(f"{time.monotonic() - self._started:.0f} s")

    def close(self, tick: str) -> None:
        """Replaces the progress by the outcome and the time it took."""
        clear = "\r\033[K" if self._out.isatty() else ""
        self._out.write(f"{clear}  {tick} {printable(self.outcome)} ({time.monotonic() - self._started:.1f} s)\n")
        self._out.flush()


class Steps:
    """Writes steps to `out`.

    Example:
        >>> with Steps(sys.stdout).step("Drawing contracts") as step:  # doctest: +SKIP
        ...     step.note("3 of 12")
    """

    def __init__(self, out: TextIO) -> None:
        self._out = out

    @contextmanager
    def step(self, what: str) -> Iterator[Step]:
        """Opens a step; it ends with a tick, or with a cross when the block raises."""
        step = Step(self._out, what)
        if self._out.isatty():
            step.waited()
        try:
            yield step
        except BaseException:
            step.close(painted("✗", "red", self._out))
            raise
        step.close(painted("✓", "green", self._out))

    def say(self, text: str) -> None:
        """Prints `text` as it is."""
        self._out.write(f"{text}\n")
        self._out.flush()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the demo's options."""
    parser.add_argument(
        "--folder", type=Path, default=Path(".demo"), help="folder for all that it makes (default: %(default)s)"
    )
    parser.add_argument("--fresh", action="store_true", help="forget earlier runs: delete the folder first")
    parser.add_argument(
        "--port", type=port_number, help=f"port of Label Studio (default: {_PORT}, or a free one if that is taken)"
    )
    parser.add_argument(
        "--backend-port",
        type=port_number,
        help=f"port of the backend (default: {_BACKEND_PORT}, or a free one if that is taken)",
    )
    parser.add_argument(
        "--label-studio",
        type=Path,
        default=_ROOT / ".venv-label-studio" / "bin" / "label-studio",
        metavar="EXECUTABLE",
        help="the Label Studio to start (default: the one that `make label-studio` installs)",
    )


def run(args: argparse.Namespace, _: Settings) -> int:
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
    check_whole(folder / "label-studio" / DATABASE, folder)
    studio_url = _address(steps, args.port, _PORT, name="Label Studio", option="--port")
    backend_url = _address(steps, args.backend_port, _BACKEND_PORT, name="the backend", option="--backend-port")

    steps.say("\n  Contracts with their signatures, stamps and thumbprints boxed, in Label Studio\n")
    label_studio = label_studio_service(
        args.label_studio, folder / "label-studio", login=login, port=int(studio_url.rpartition(":")[2])
    )
    first = not (folder / "label-studio" / DATABASE).exists()
    stack.enter_context(label_studio)
    with steps.step("Drawing contracts") as step:
        draw_contracts(folder / "contracts", drawn=lambda done, total: step.note(f"{done} of {total} pages"))
        step.outcome = "Contracts are drawn"
    with steps.step("Starting Label Studio" + (": it makes its database, about a minute" if first else "")) as step:
        label_studio.wait_until_answers(f"{studio_url}/health", seconds=_LABEL_STUDIO_SECONDS, waited=step.waited)
        studio = stack.enter_context(LabelStudio(studio_url, login.token))
        step.outcome = f"Label Studio {studio.version()} is at {studio_url}"
    port, data_dir = int(backend_url.rpartition(":")[2]), folder / "backend"
    # Without the `train` extra no training can start: none is announced, and `doctor` warns of none.
    retrain_after = None if all(map(importlib.util.find_spec, TRAINING_MODULES)) else 0
    asked = {} if retrain_after is None else {"RETRAIN_AFTER": str(retrain_after)}
    backend = backend_service(
        port=port, studio_url=studio_url, token=login.token, data_dir=data_dir, log=folder / "backend.log", **asked
    )
    settings = write_settings(
        folder,
        port=port,
        studio_url=studio_url,
        token=login.token,
        data_dir=data_dir,
        retrain_after=retrain_after,
    )
    with steps.step("Starting the backend") as step:
        stack.enter_context(backend)
        backend.wait_until_answers(f"{backend_url}/health", seconds=_BACKEND_SECONDS, waited=step.waited)
        version = wait_for_model(backend_url, seconds=_BACKEND_SECONDS, waited=step.waited)
        step.outcome = f"The backend is at {backend_url} with model {version}"
    singles, document = _box(folder, steps, studio, backend_url=backend_url, version=version)
    _invite(steps, studio_url, login, singles, document, dashboard=f"{backend_url}/", settings=settings)
    return [label_studio, backend]


def _box(folder: Path, steps: Steps, studio: LabelStudio, *, backend_url: str, version: str) -> tuple[Filled, Filled]:
    """Fills both projects and waits for their boxes; gives that of single pages, and that of a document."""
    contracts = folder / "contracts"
    config, pages_config = _label_config("label_config.xml"), _label_config("label_config_pages.xml")
    with steps.step("Importing the contracts") as step:
        singles = fill_project(
            studio,
            title="Contracts",
            label_config=config,
            field="image",
            documents=[[page] for page in best_first(single_pages(contracts))],
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
    return singles, document


def _invite(
    steps: Steps, url: str, login: Login, singles: Filled, document: Filled, *, dashboard: str, settings: Path
) -> None:
    def link(filled: Filled) -> str:
        return f"{url}/projects/{filled.project}/data?task={filled.tasks[0]}"

    steps.say(
        f"\n  Open      {link(singles)}\n"
        f"  or        {link(document)}  (a contract of several pages)\n"
        f"  log in    {login.email}\n"
        f"  password  {login.password}\n"
        f"  dashboard {dashboard}  (what is shown, corrected and learnt)\n"
        f"  commands  SETTINGS_FILE={shlex.quote(str(settings))} {shlex.quote(_python())} -m backend "
        f"doctor --project {singles.project}\n\n"
        "  Ctrl-C stops it."
    )


def _python() -> str:
    """This Python, as it is called from here: `sys.executable`, or its path below the working folder."""
    python = Path(sys.executable)
    return str(python.relative_to(Path.cwd()) if python.is_relative_to(Path.cwd()) else python)


def _address(steps: Steps, wanted: int | None, usual: int, *, name: str, option: str) -> str:
    """Where a service is to listen: at the port that was asked for, or near the usual one, which is said."""
    port = free_port(usual if wanted is None else wanted)
    if wanted not in (None, 0, port):
        raise DemoError(f"port {wanted} is taken by another program: stop that, or give {name} another with {option}")
    if wanted is None and port != usual:
        steps.say(f"  Port {usual} is taken by another program: {name} is at {port} this time ({option} chooses one).")
    return f"http://{LOOPBACK}:{port}"


def _folder(folder: Path, stack: ExitStack, *, fresh: bool) -> Path:
    """Makes or empties the demo's folder, and keeps a second demo out of it."""
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()) and not Login.is_in(folder):
        raise DemoError(f"{folder} holds files that are not the demo's: give it a folder of its own with --folder")
    lock = os.open(folder, os.O_RDONLY)
    stack.callback(os.close, lock)
    if not hold(lock):
        raise DemoError(f"a demo is running in {folder} already: stop it, or use another --folder")
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
