"""The command `serve`: the backend under gunicorn."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from gunicorn.app.base import BaseApplication

from backend.labelstudio.server import create_app
from backend.nets.sources import Sources
from backend.pages.source import PageSource
from backend.serving import Serving
from backend.settings import Settings

if TYPE_CHECKING:
    import argparse

    from flask import Flask

__all__ = ["add_arguments", "application", "run"]

_GRACE_SECONDS = 10
_BACKLOG = 1024


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `serve`; each stands for the setting of its name."""
    parser.add_argument("--host", help="address to listen on (HOST)")
    parser.add_argument("--port", type=int, help="port to listen on (PORT)")
    parser.add_argument("--workers", type=int, help="serving processes (WORKERS)")
    parser.add_argument("--model", help="auto, hub, bundled or the name of a trained model (MODEL)")


def run(args: argparse.Namespace) -> int:
    """Serves until it is told to stop.

    Raises:
        SettingsError: A setting cannot be used.
        UnknownModel: MODEL names no model.
    """
    settings = Settings.from_environment(
        os.environ, host=args.host, port=args.port, workers=args.workers, model=args.model
    )
    Sources.of(settings).check()
    _Server(settings).run()
    return os.EX_OK


def application(settings: Settings) -> Flask:
    """The WSGI application of one serving process; its model loads in the background."""
    return create_app(settings, serving=Serving.start(settings), source=lambda access: PageSource(settings, access))


class _Server(BaseApplication):  # type: ignore[misc]
    """Gunicorn, set up from our settings and not from its own command line."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        super().__init__()

    def load_config(self) -> None:
        settings = self._settings
        options: dict[str, Any] = {
            "bind": f"{settings.host}:{settings.port}",
            "workers": settings.workers,
            "worker_class": "gthread",
            "threads": settings.threads,
            # A worker beats by itself while its threads work; only one that hangs as a whole is replaced.
            "timeout": 120,
            "graceful_timeout": _GRACE_SECONDS,
            "backlog": _BACKLOG,
            "proc_name": "contract-marks",
            "loglevel": settings.log_level.lower(),
        }
        for name, value in options.items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        """Called in each worker: threads that were started before the fork would not live there."""
        return application(self._settings)
