"""A real serving process that comes to a halt at one step, and says so: for a kill that lands exactly there."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, select

from backend.commands.serve import serve
from backend.corrections import intake, worker
from backend.corrections.crop_store import CropStore
from backend.corrections.database import open_database
from backend.corrections.service import Feedback, Store
from backend.corrections.tables import annotation
from backend.labelstudio.connections import Connections
from backend.server.application import Application
from backend.settings import Settings
from tests.server.conftest import MemoryPages, ToldPipeline, ToldServing

__all__ = ["STEPS", "run"]

# Where the halt is: before or after what, of which object. In the order in which a correction passes them.
STEPS: dict[str, tuple[Any, str, str]] = {
    "acknowledged, not yet in the ledger": (intake, "store", "before"),
    "in the ledger, not yet committed": (intake, "store", "after"),
    "in the ledger and in the spool": (intake.Intake, "_store", "after"),
    "acknowledged, not yet taken": (worker, "fold_event", "before"),
    "taken, not yet committed": (worker, "fold_event", "after"),
    "committed, not yet leased": (worker, "lease", "before"),
    "leased": (worker, "lease", "after"),
    "pages fetched": (worker, "make_samples", "before"),
    "samples made": (worker, "make_samples", "after"),
    "crop written aside": (os, "replace", "before"),
    "crop renamed": (os, "replace", "after"),
    "crops stored": (worker.Worker, "_store", "before"),
    "samples written, not yet committed": (worker, "replace_samples", "after"),
    "samples committed": (worker.Worker, "_store", "after"),
}


def halt(target: Any, name: str, moment: str, said: Connection) -> None:
    """Lets the first call that is about an annotation halt."""
    original: Callable[..., Any] = getattr(target, name)

    def halting(*arguments: Any, **named: Any) -> Any:
        if name == "lease" and not _waits(arguments[0]):
            return original(*arguments, **named)
        answer = original(*arguments, **named) if moment == "after" else None
        said.send("reached")
        threading.Event().wait()
        return answer

    setattr(target, name, halting)


def _waits(engine: Engine) -> bool:
    """Whether anything is there to be leased: an idle worker looks as well."""
    with engine.connect() as connection:
        return connection.execute(select(annotation.c.id)).first() is not None


def start(url: str, folder: str) -> Callable[[Settings], Application]:
    def started(settings: Settings) -> Application:
        connections = Connections(settings, source=MemoryPages())
        store = Store(
            engine=open_database(url, patient=True),
            crops=CropStore(os.environ.get("STORAGE_URL", folder)),
            spool=Path(folder) / "spool",
            lookalikes=Path(folder) / "lookalikes",
        )
        feedback = Feedback(store, connections, recall_distance=0)
        serving = ToldServing(ToldPipeline())
        application = Application.build(settings, serving=serving, connections=connections, feedback=feedback)
        feedback.start()
        return application

    return started


def run(step: str, url: str, folder: str, port: int, said: Connection) -> None:
    """Serves under gunicorn; says "reached" when the worker thread is at the step, and stays there until it is killed.

    Args:
        step: One of `STEPS`, or "none".
        url: The ledger's.
        folder: Of the data.
        port: Where it serves.
        said: Where it says so.
    """
    if step != "none":
        halt(*STEPS[step], said)
    serve(Settings(port=port, data_dir=Path(folder)), start(url, folder))
