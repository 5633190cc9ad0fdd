"""Child processes of the demo: each in a process group of its own, its output in a log file, stopped as a whole.

This backend as a process of its own, and the wait for its model.

A Label Studio of the demo's own: its database, its log-in, its environment; reachable from this machine alone.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

import httpx2

from backend.errors import DemoError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

__all__ = [
    "DATABASE",
    "LOOPBACK",
    "POLL_SECONDS",
    "Login",
    "Service",
    "backend_service",
    "check_whole",
    "free_port",
    "label_studio_service",
    "wait_for_model",
    "write_settings",
]

LOOPBACK = "127.0.0.1"
_STOP_SECONDS = 10.0
POLL_SECONDS = 0.25
_TAIL_LINES = 15
DATABASE = "label_studio.sqlite3"
_LOGIN_FILE = "login.json"
_SETTINGS_FILE = "settings.toml"
# Seconds that Label Studio waits for each short answer of the backend. Health, setup and predictions together have to
# come sooner than its own answer to whoever asked it to retrieve them is given up.
_PATIENCE = "10"
_HEALTH_SECONDS = 30.0


class Service:
    """A server process, started on entering and stopped, with all its children, on leaving.

    Args:
        name: What to call it in messages.
        command: Program and arguments.
        environment: Variables set on top of this process's own.
        log: File that receives its output.
    """

    def __init__(self, name: str, command: Sequence[str], *, environment: Mapping[str, str], log: Path) -> None:
        self.name = name
        self.log = log
        self._command = list(command)
        self._environment = {**os.environ, **environment}
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("wb") as log:
            try:
                self._process = subprocess.Popen(  # noqa: S603 - the command is the demo's own
                    self._command,
                    env=self._environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    # A group of its own: Ctrl-C in the terminal reaches the demo alone, which then stops all in order.
                    start_new_session=True,
                )
            except OSError as error:
                raise DemoError(f"{self.name} cannot be started: {error}") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int | None:
        """Process id, which is the group's id too; None before the start and after the stop."""
        return self._process.pid if self._process else None

    def wait_until_answers(self, url: str, *, seconds: float, waited: Callable[[], None] = lambda: None) -> None:
        """Returns once `url` answers with success; `waited` is called while it does not.

        Raises:
            DemoError: The process ended, or `seconds` passed; the message has the end of its log.
        """
        give_up = time.monotonic() + seconds
        with httpx2.Client(timeout=5.0, trust_env=False) as http:
            while not _answers(http, url):
                self.check()
                if time.monotonic() > give_up:
                    way_out = "is the machine busy? What was made is kept: start it again"
                    raise DemoError(
                        f"{self.name} does not answer at {url} after {seconds:.0f} s ({way_out})\n{self._tail()}"
                    )
                waited()
                time.sleep(POLL_SECONDS)

    def check(self) -> None:
        """Raises DemoError when the process has ended, with the end of its log."""
        if self._process is None or (code := self._process.poll()) is None:
            return
        raise DemoError(f"{self.name} ended with exit code {code}\n{self._tail()}")

    def stop(self) -> None:
        """Asks the whole group to end, and ends it after some seconds; does nothing when it is not running."""
        if self._process is None:
            return
        _signal_group(self._process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):  # the next line ends what did not listen
            self._process.wait(_STOP_SECONDS)
        _signal_group(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._process = None

    def _tail(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines()[-_TAIL_LINES:]
        return "\n".join([f"the end of {self.log}:", *(f"    {line}" for line in lines)])


def free_port(preferred: int) -> int:
    """`preferred` if nothing listens there, else a port that the system picks."""
    for port in (preferred, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise DemoError(f"no free port on {LOOPBACK}")


def _answers(http: httpx2.Client, url: str) -> bool:
    try:
        return http.get(url).is_success
    except httpx2.TransportError:
        return False


def _signal_group(group: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):  # all of it has ended already
        os.killpg(group, number)


def backend_service(*, port: int, studio_url: str, token: str, data_dir: Path, log: Path, **settings: str) -> Service:
    """This backend, with further `settings` by their names in the environment; it is not started yet."""
    environment = {
        "HOST": LOOPBACK,
        "LABEL_STUDIO_URL": studio_url,
        "LABEL_STUDIO_API_KEY": token,
        "DATA_DIR": str(data_dir.absolute()),
        # Without credentials: Label Studio is told none when the demo connects it.
        "BASIC_AUTH_USER": "",
        "BASIC_AUTH_PASS": "",
        "WEBHOOK_SECRET": "",
        # Its corrections stay in its own folder, whatever this machine's own server uses.
        "DATABASE_URL": "",
        "STORAGE_URL": "",
        # What is empty here would be taken from it.
        "SETTINGS_FILE": "",
    }
    command = [sys.executable, "-m", "backend", "serve", "--port", str(port)]
    return Service("The backend", command, environment=environment | settings, log=log)


def write_settings(
    folder: Path, *, port: int, studio_url: str, token: str, data_dir: Path, retrain_after: int | None = None
) -> Path:
    """Writes what other commands need to work with the demo, readable by its owner alone; gives the file."""
    path = folder / _SETTINGS_FILE
    named = {
        "label_studio_url": studio_url,
        "label_studio_api_key": token,
        "data_dir": str(data_dir.absolute()),
        "port": port,
    } | ({} if retrain_after is None else {"retrain_after": retrain_after})
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.writelines(f"{name} = {json.dumps(value, ensure_ascii=False)}\n" for name, value in named.items())
    return path


def wait_for_model(url: str, *, seconds: float, waited: Callable[[], None] = lambda: None) -> str:
    """Returns the version of the model that the backend at `url` serves, once it is loaded.

    Raises:
        DemoError: No model could be loaded, or `seconds` passed.
    """
    give_up = time.monotonic() + seconds
    while time.monotonic() < give_up:
        try:
            answer = httpx2.get(f"{url}/health", trust_env=False, timeout=_HEALTH_SECONDS)
        except httpx2.TransportError:
            state = {}  # late, or about to be replaced: as long as there is time, it is asked again
        else:
            state = answer.raise_for_status().json()
        if state.get("model_state") == "ready":
            return str(state["model_version"])
        if state.get("model_state") == "failed":
            raise DemoError(f"the backend has no model to serve: {state['model_error']}")
        waited()
        time.sleep(POLL_SECONDS)
    raise DemoError(f"the backend at {url} is still loading its model after {seconds:.0f} s")


@dataclass(frozen=True, kw_only=True)
class Login:
    """The one user of the demo's Label Studio; drawn by chance once for each folder, and kept there."""

    email: str = "demo@example.com"
    password: str = field(default_factory=lambda: secrets.token_urlsafe(9), repr=False)
    token: str = field(default_factory=lambda: secrets.token_hex(20), repr=False)

    @classmethod
    def of(cls, folder: Path) -> Login:
        """Reads the log-in of `folder`; makes one, readable by its owner alone, where there is none yet.

        Raises:
            DemoError: The file is damaged.
        """
        path = folder / _LOGIN_FILE
        if path.exists():
            try:
                return cls(**json.loads(path.read_text(encoding="utf-8")))
            except (ValueError, TypeError) as error:
                raise _damaged(folder, path, "it holds no log-in") from error
        login = cls()
        folder.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump(asdict(login), file)
        return login

    @staticmethod
    def is_in(folder: Path) -> bool:
        """Whether `folder` was made by the demo."""
        return (folder / _LOGIN_FILE).exists()


def check_whole(database: Path, folder: Path) -> None:
    """Looks whether Label Studio can read its database, where there is one: else it only shows where in Django it fell.

    Raises:
        DemoError: The file is damaged.
    """
    if not database.exists():
        return
    try:
        with closing(sqlite3.connect(database)) as connection:
            [(found,)] = connection.execute("PRAGMA quick_check(1)").fetchall()
    except sqlite3.DatabaseError as error:
        raise _damaged(folder, database, str(error)) from error
    if found != "ok":
        raise _damaged(folder, database, str(found).splitlines()[-1])


def _damaged(folder: Path, file: Path, reason: str) -> DemoError:
    return DemoError(f"{file} cannot be used ({reason}): --fresh makes {folder} anew, --folder takes another")


def label_studio_service(executable: Path, folder: Path, *, login: Login, port: int, **settings: str) -> Service:
    """Label Studio over SQLite in `folder`, listening on loopback only; it is not started yet.

    Args:
        executable: Label Studio's own.
        folder: Holds its database and its log.
        login: Its one user.
        port: Where it listens.
        settings: Further ones of Label Studio's, by their names in the environment.

    Raises:
        DemoError: There is no such executable.
    """
    if not os.access(executable, os.X_OK):
        raise DemoError(f"{executable}: no Label Studio there; `make label-studio` installs it")
    environment = {
        "LABEL_STUDIO_BASE_DATA_DIR": str(folder.absolute()),
        # With the prefix, so that HOST or DATABASE_NAME, meant for another program, do not reach this one.
        "LABEL_STUDIO_DATABASE_NAME": str(folder.absolute() / DATABASE),
        "LABEL_STUDIO_DJANGO_DB": "sqlite",
        "LABEL_STUDIO_HOST": "",
        "LABEL_STUDIO_USERNAME": login.email,
        "LABEL_STUDIO_PASSWORD": login.password,
        "LABEL_STUDIO_USER_TOKEN": login.token,
        "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
        # The backend of the demo is on loopback, which Label Studio refuses by default, for requests and for webhooks.
        "ML_BLOCK_LOCAL_IP": "false",
        "SSRF_PROTECTION_ENABLED": "false",
        # A demo asks nobody outside anything.
        "COLLECT_ANALYTICS": "false",
        "LATEST_VERSION_CHECK": "false",
        "SENTRY_DSN": "",
        "FRONTEND_SENTRY_DSN": "",
        # It gives up after a second otherwise, mostly without a word; a machine that starts all this is busy.
        "ML_CONNECTION_TIMEOUT": _PATIENCE,
        "ML_TIMEOUT_HEALTH": _PATIENCE,
        "ML_TIMEOUT_SETUP": _PATIENCE,
        "WEBHOOK_TIMEOUT": _PATIENCE,
    }
    command = [str(executable), "start", "--no-browser", "--internal-host", LOOPBACK, "--port", str(port)]
    folder.mkdir(parents=True, exist_ok=True)
    return Service("Label Studio", command, environment=environment | settings, log=folder / "label-studio.log")
