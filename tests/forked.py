"""Processes that are copies of one that has loaded what they need: loading takes longer than what most of them do.

The copied one is started with the first copy. By then the head of each test file has named what its copies need.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.context import ForkServerContext, ForkServerProcess
from typing import Any

__all__ = ["copy", "end_group", "load"]

_CONTEXT: ForkServerContext = multiprocessing.get_context("forkserver")
_LOADED: list[str] = []


def load(*modules: str) -> None:
    """Names modules, for the head of a test file; none of them may start anything when it is imported."""
    _LOADED.extend(name for name in modules if name not in _LOADED)
    _CONTEXT.set_forkserver_preload(_LOADED)


def copy(work: Callable[..., object], *given: Any, **environment: str) -> ForkServerProcess:
    """A process that does `work(*given)`, to be started: in a session of its own, and in this process's environment.

    What it prints goes where the copied one printed when it was started: to no test's `capfd`.

    Args:
        work: A function of a module.
        given: What it takes, by pickle.
        environment: What is different for it.
    """
    return _CONTEXT.Process(target=_begin, args=(work, given, {**os.environ, **environment}, os.getcwd()))


def end_group(process: ForkServerProcess) -> None:
    """Kills a process and all that it started, where they have not ended."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid or 0, signal.SIGKILL)
    process.join()


def _begin(work: Callable[..., object], given: tuple[Any, ...], environment: dict[str, str], folder: str) -> None:
    os.setsid()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    work(*given)
