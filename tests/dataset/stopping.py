"""A real process that comes to a halt at one step of freezing, and says so: for a kill that lands exactly there."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from backend.dataset import store
from backend.dataset.manifest import FrozenPage, Manifest
from backend.dataset.store import Datasets

__all__ = ["STEPS", "publish", "run"]

STEPS: dict[str, tuple[Any, str, str]] = {
    "begun": (tempfile, "mkdtemp", "after"),
    "first page written": (store, "_write", "after"),
    "all pages written": (store, "_drop_unused", "before"),
    "all written": (os, "rename", "before"),
    "renamed": (os, "rename", "after"),
}
"""In the order in which freezing passes them: where the halt is, before or after what."""


def publish(folder: Path) -> str:
    """Freezes two pages as `first`; gives the id."""
    held = Datasets(folder)
    with held.drafting() as draft:
        pages = [
            FrozenPage(
                name=name,
                document="d",
                split="train",
                sha256=draft.add(np.full((20, 30, 3), shade, np.uint8)),
                width=30,
                height=20,
            )
            for name, shade in (("one", 50), ("two", 200))
        ]
        return held.publish(draft, "first", Manifest.of("coco", pages), {"frozen": "now"})[0].id


def _halt(target: Any, name: str, moment: str, said: Connection) -> None:
    original: Callable[..., Any] = getattr(target, name)

    def halting(*arguments: Any, **named: Any) -> Any:
        answer = original(*arguments, **named) if moment == "after" else None
        said.send("reached")
        threading.Event().wait()
        return answer

    setattr(target, name, halting)


def run(step: str, folder: Path, said: Connection) -> None:
    """Freezes, until the step is reached."""
    _halt(*STEPS[step], said)
    publish(folder)
