"""Child processes of the demo: each in a process group of its own, its output in a log file, stopped as a whole."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

import httpx2

from backend.errors import DemoError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

__all__ = ["LOOPBACK", "POLL_SECONDS", "Service", "free_port"]

LOOPBACK = "127.0.0.1"
_STOP_SECONDS = 10.0
POLL_SECONDS = 0.25
_TAIL_LINES = 15


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
        with httpx2.Client(timeout=5.0) as http:
            while not _answers(http, url):
                self.check()
                if time.monotonic() > give_up:
                    raise DemoError(f"{self.name} does not answer at {url} after {seconds:.0f} s\n{self._tail()}")
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
