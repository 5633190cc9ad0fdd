"""This backend as a process of its own, and the wait for its model."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import httpx2

from backend.demo.services import LOOPBACK, POLL_SECONDS, Service
from backend.errors import DemoError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["backend_service", "wait_for_model"]


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
    }
    command = [sys.executable, "-m", "backend", "serve", "--port", str(port)]
    return Service("The backend", command, environment=environment | settings, log=log)


def wait_for_model(url: str, *, seconds: float, waited: Callable[[], None] = lambda: None) -> str:
    """Returns the version of the model that the backend at `url` serves, once it is loaded.

    Raises:
        DemoError: No model could be loaded, or `seconds` passed.
    """
    give_up = time.monotonic() + seconds
    while time.monotonic() < give_up:
        state = httpx2.get(f"{url}/health").raise_for_status().json()
        if state["model_state"] == "ready":
            return str(state["model_version"])
        if state["model_state"] == "failed":
            raise DemoError(f"the backend has no model to serve: {state['model_error']}")
        waited()
        time.sleep(POLL_SECONDS)
    raise DemoError(f"the backend at {url} is still loading its model after {seconds:.0f} s")
