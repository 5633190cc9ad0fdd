"""Processes that train: one, or two with the environments that torchrun gives to those of one host."""

from __future__ import annotations

from collections.abc import Callable
from multiprocessing.context import ForkServerProcess
from typing import Any

from tests.forked import copy, load
from tests.ports import port_for_later

__all__ = ["run_both", "trainer"]

load("backend.training.bundled", "backend.training.retraining.session")


def trainer(work: Callable[..., None], *given: Any) -> ForkServerProcess:
    """A process that does `work(*given)`, to be started; see `copy`."""
    return copy(work, *given)


def run_both(work: Callable[..., None], *given: Any) -> list[int | None]:
    """Runs `work(*given, environment)` in two processes of one group; gives the exit code of each."""
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port_for_later())}
    own = [shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in (0, 1)]
    started = [trainer(work, *given, environment) for environment in own]
    for one in started:
        one.start()
    for one in started:
        one.join()
    return [one.exitcode for one in started]
