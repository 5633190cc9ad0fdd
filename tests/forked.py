"""Processes that are copies of one that has loaded what they need: loading takes longer than what most of them do.

The copied one is started with the first copy. By then the head of each test file has named what its copies need.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from backend.cli import main
from tests.patience import SECONDS

__all__ = ["Command", "copy", "end_group", "kill_at_its_step", "load"]

_CONTEXT: ForkServerContext = multiprocessing.get_context("forkserver")
_LOADED: list[str] = []


def load(*modules: str) -> None:
    """Names modules, for the head of a test file; none of them may start anything when it is imported."""
    _LOADED.extend(name for name in modules if name not in _LOADED)
    _CONTEXT.set_forkserver_preload(_LOADED)


def copy(work: Callable[..., object], *given: Any, environment: Mapping[str, str] | None = None) -> ForkServerProcess:
    """A process that does `work(*given)`, to be started: in a session of its own.

    What it prints goes where the copied one printed when it was started: to no test's `capfd`.

    Args:
        work: A function of a module.
        given: What it takes, by pickle.
        environment: All of its environment; None for this process's.
    """
    whole = dict(os.environ if environment is None else environment)
    return _CONTEXT.Process(target=_begin, args=(work, given, whole, os.getcwd()))


def end_group(process: ForkServerProcess) -> None:
    """Kills a process and all that it started, where they have not ended."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid or 0, signal.SIGKILL)
    process.join()


def kill_at_its_step(work: Callable[..., object], *given: Any, reached: threading.Event | None = None) -> None:
    """Lets a copy do `work(*given, said)`, and kills it when it says through the connection `said` that it is there.

    Args:
        work: A function of a module.
        given: What it takes, by pickle.
        reached: Tells of the step in the copy's place, where a server of the test sees it.
    """
    heard, said = multiprocessing.Pipe(duplex=False)
    process = copy(work, *given, said)
    process.start()
    said.close()
    with heard:
        if reached is not None:
            assert reached.wait(SECONDS), "the server was not asked"
        else:
            assert heard.poll(SECONDS), "nothing was said"
            assert heard.recv() == "reached"
        process.kill()
        process.join()
    assert process.exitcode == -signal.SIGKILL


class Command:
    """A command of this program that runs, as `python -m backend` runs it; used as `subprocess.Popen` is.

    Args:
        arguments: Of the command line.
        environment: All of its environment.
    """

    def __init__(self, *arguments: str, environment: Mapping[str, str]) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._files = [Path(self._folder.name) / name for name in ("stdout", "stderr")]
        self._process = copy(_typed, arguments, *map(str, self._files), environment=environment)
        self._process.start()

    @property
    def returncode(self) -> int | None:
        """As of a process; None while it runs."""
        return self._process.exitcode

    def kill(self) -> None:
        """By SIGKILL: the command alone, and not what it has started."""
        self._process.kill()

    def terminate(self) -> None:
        """By SIGTERM: the command alone, too."""
        self._process.terminate()

    def communicate(self, timeout: float) -> tuple[str, str]:
        """What it has printed on its two ways, when it has ended."""
        self._process.join(timeout)
        assert self.returncode is not None, f"it has not ended within {timeout} s"
        out, err = (file.read_text() for file in self._files)
        return out, err

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.join()
        self._folder.cleanup()


def _begin(work: Callable[..., object], given: tuple[Any, ...], environment: dict[str, str], folder: str) -> None:
    os.setsid()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    work(*given)


def _typed(arguments: tuple[str, ...], out: str, err: str) -> None:
    for number, file in ((1, out), (2, err)):
        handle = os.open(file, os.O_WRONLY | os.O_CREAT)
        os.dup2(handle, number)
        os.close(handle)
    sys.exit(main(arguments))
