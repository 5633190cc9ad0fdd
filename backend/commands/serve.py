"""The command `serve`: the backend as Label Studio talks to it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from backend.application import Application
from backend.labelstudio.serve import serve
from backend.nets.sources import Sources
from backend.settings import Settings

if TYPE_CHECKING:
    import argparse

__all__ = ["add_arguments", "run"]


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
    # Before the processes are made: they would load it in the background, and only /health would say what is wrong.
    Sources.of(settings).check()
    serve(settings, Application.start)
    return os.EX_OK
