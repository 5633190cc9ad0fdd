"""A real server, of several processes if wanted, that can come to a halt in the middle of a swap, and says so.

Run as a program: `python -m tests.models.serving STEP DATA_DIR PORT WORKERS`. It prints "reached" and the process id
of a worker that is at the step; what that worker answers goes on.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import backend.models.serving
from backend.commands.serve import serve
from backend.server.application import Application
from backend.settings import Settings
from tests.patience import SECONDS

__all__ = ["STEPS"]

STEPS = {"pointer read, nothing loaded": "before", "loaded, not in its place": "after"}


def halt_in_a_swap(moment: str) -> None:
    """Lets the second pipeline of each process never be finished: the first is that of the start."""
    original: Callable[..., Any] = backend.models.serving.build_pipeline
    built: list[Any] = []

    def halting(*arguments: Any, **named: Any) -> Any:
        if not built or moment == "after":
            built.append(original(*arguments, **named))
        if len(built) == 1 and not started.is_set():
            started.set()
            return built[0]
        sys.stdout.write(f"reached {os.getpid()}\n")
        sys.stdout.flush()
        threading.Event().wait()
        return None

    started = threading.Event()
    backend.models.serving.build_pipeline = halting


if __name__ == "__main__":
    step, folder, port, workers = sys.argv[1:]
    if step != "none":
        halt_in_a_swap(STEPS[step])
    # By rules, whatever is bundled: what is swapped here is told by its classifier.
    settings = Settings.from_environment(
        {"DETECTOR": "colour"},
        data_dir=Path(folder),
        port=int(port),
        workers=int(workers),
        model_threads=1,
        recall_distance=0,
        predict_deadline=SECONDS,  # a busy machine leaves no task undone
        samples_in_server=0,
    )
    serve(settings, Application.start)
