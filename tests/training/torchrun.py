"""The environments that torchrun gives to the processes of one host."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from typing import Any

from tests.ports import port_for_later

__all__ = ["run_both"]


def run_both(work: Callable[..., None], *given: Any) -> list[int | None]:
    """Runs `work(*given, environment)` in two processes of one group; gives the exit code of each."""
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port_for_later())}
    own = [shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in (0, 1)]
    context = multiprocessing.get_context("spawn")
    started = [context.Process(target=work, args=(*given, environment)) for environment in own]
    for one in started:
        one.start()
    for one in started:
        one.join()
    return [one.exitcode for one in started]
