"""The command `serve`: the backend as Label Studio talks to it."""

from __future__ import annotations

import ctypes
import os
from typing import TYPE_CHECKING

from backend.application import Application
from backend.labelstudio.serve import serve
from backend.nets.sources import Sources
from backend.settings import Settings

if TYPE_CHECKING:
    import argparse

__all__ = ["add_arguments", "give_back_pages", "run"]

# glibc's `mallopt`: parameter (malloc.h) and value.
_TRIM_THRESHOLD = (-1, 32 * 2**20)
_MMAP_THRESHOLD = (-3, 8 * 2**20)
_ARENA_MAX = (-8, 2)


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
    give_back_pages()
    # Before the processes are made: they would load it in the background, and only /health would say what is wrong.
    Sources.of(settings).check()
    serve(settings, Application.start)
    return os.EX_OK


def give_back_pages() -> None:
    """Has glibc return the memory of pages to the system when they are done; does nothing with another C library.

    Left alone, glibc learns from the first page that blocks of that size come and go, keeps them from then on, and does
    so in an arena of each thread: 64 clients that predicted at once left 600 MB behind. Held fast, the limits are:
    blocks from 8 MB go back at once, which is decoded pages and no step of detection; smaller ones are kept for the
    next step, 32 MB in each of two arenas. For this process and those that it forks; before it starts threads.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for parameter, value in (_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX):
            mallopt(parameter, value)
