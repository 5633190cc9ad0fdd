"""The command `serve`: the backend as Label Studio talks to it.

Runs the server under gunicorn: threads that mostly wait, a model that loads beside them, a graceful stop.
"""

from __future__ import annotations

import ctypes
import errno
import importlib.util
import json
import logging
import os
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.glogging import Logger as GunicornLogger

from backend.commands.amounts import one_or_more, port_number
from backend.errors import BackendError, SettingsError
from backend.models.serving import Sources
from backend.outgoing import CERTIFICATES, certificates
from backend.pages.decoders import finish
from backend.pages.references import AllowList
from backend.server.application import Application
from backend.server.callers import Callers, is_loopback
from backend.server.event_worker import EventWorker
from backend.server.reception import return_bodies_at_once
from backend.server.routes import create_front
from backend.settings import Settings
from backend.terminal import begin_log

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable
    from types import FrameType

    from flask import Flask

__all__ = ["Serveable", "add_arguments", "check_free", "give_back_pages", "run", "serve"]

_LOG = logging.getLogger(__name__)
# Label Studio waits 100 s for predictions; a stop lets those under way finish, within reason.
_GRACEFUL_SECONDS = 30
# After which a page that is being decoded is given up.
_LAST_PAGE_SECONDS = 3.0
# A worker that gives no sign for this long is replaced; on a crowded machine a sign may take its time.
_SILENCE_SECONDS = 120
# Where it gives them: in memory, for no disk that is slow or can only be read must make it silent.
_SIGNS = "/dev/shm"  # noqa: S108  a folder of memory, in which gunicorn makes a file that has no name
# An idle connection that is closed just when its client writes again is an error to that client; it costs no thread.
_KEPT_SECONDS = 75
# glibc's `mallopt`: parameter (malloc.h) and value.
_TRIM_THRESHOLD = (-1, 32 * 2**20)
_MMAP_THRESHOLD = (-3, 8 * 2**20)
_ARENA_MAX = (-8, 2)


class Serveable(Protocol):
    """A program that was started in a worker process."""

    @property
    def flask(self) -> Flask: ...

    def stop(self) -> None: ...


class _Log(GunicornLogger):  # type: ignore[misc]
    """gunicorn's own log, written by this program's: in its form, text or JSON, for it quotes what clients send."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        self.error_log.handlers.clear()
        self.error_log.propagate = True


class _Server(BaseApplication):  # type: ignore[misc]
    """gunicorn, told what to run by the settings alone: it reads no configuration file and no command line."""

    def __init__(self, settings: Settings, start: Callable[[Settings], Serveable]) -> None:
        self._settings = settings
        self._start = start
        self._started: Serveable | None = None
        super().__init__()

    def load_config(self) -> None:
        settings = self._settings
        options: dict[str, Any] = {
            "bind": f"{settings.host}:{settings.port}",
            "worker_class": EventWorker,
            "worker_tmp_dir": _SIGNS if os.access(_SIGNS, os.W_OK) else None,
            "workers": settings.workers,
            "threads": settings.threads,
            "preload_app": False,
            "timeout": _SILENCE_SECONDS,
            "graceful_timeout": _GRACEFUL_SECONDS,
            "keepalive": _KEPT_SECONDS,
            "control_socket_disable": True,
            "logger_class": _Log,
            "loglevel": "warning",  # its own lines about starting and stopping are said better here
            "proc_name": "contract-marks",
            "when_ready": _announce,
            "worker_exit": self._leave,
        }
        for name, value in options.items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        """Called in each worker, after the fork: the model and the threads are the worker's own."""
        try:
            self._started = self._start(self._settings)
        except BackendError as error:
            # gunicorn would show where in the program that is, which says nothing to who has to mend it.
            _LOG.error("%s", error)
            sys.exit(Arbiter.WORKER_BOOT_ERROR)
        _hurry_when_told_to_stop()
        return self._started.flask

    def front(self, health: Callable[[], dict[str, Any]]) -> Flask:
        """What answers `/` and `/health` in the process that receives requests, in which alone this is called."""
        return_bodies_at_once()
        return create_front(self._settings, health=health)

    def _leave(self, _: Any, __: Any) -> None:
        """Called in each worker, when its last request is answered; it does not come back."""
        if self._started is None:
            return  # it did not start, which gunicorn tells by its exit code
        try:
            self._started.stop()
        except Exception:
            _LOG.exception("a part of this process could not be stopped as it should")
        _end_here()


def _end_here() -> NoReturn:
    """Ends this process at once, with the exit code that it is about to have.

    What a library computes in threads of its own, such as a model that still loads or a page that took too long, would
    be torn down under its feet, and the process end by SIGABRT. All that is to be kept is on disk by now.
    """
    ending = sys.exc_info()[1]
    code = ending.code if isinstance(ending, SystemExit) and isinstance(ending.code, int) else 0
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code & 0xFF)


def _hurry_when_told_to_stop() -> None:
    """Requests under way are answered before a stop, but a page that takes for ever does not hold it up."""
    stop = signal.getsignal(signal.SIGTERM)

    def hurry(number: int, frame: FrameType | None) -> None:
        finish(within=_LAST_PAGE_SECONDS)
        if callable(stop):
            stop(number, frame)

    signal.signal(signal.SIGTERM, hurry)


def serve(settings: Settings, start: Callable[[Settings], Serveable]) -> None:
    """Serves until it is told to stop (SIGTERM, SIGINT).

    Args:
        settings: Address, processes and threads.
        start: Starts the program, in each worker process.
    """
    begin_log(settings.log_level, form=settings.log_format)
    if not settings.basic_auth_user and not is_loopback(settings.host):
        _LOG.warning(
            "HOST=%s is beyond loopback and BASIC_AUTH_USER is empty: whoever reaches port %d can read /status and "
            "send tasks and events; set BASIC_AUTH_USER and _PASS, or keep the port to Label Studio's network",
            settings.host,
            settings.port,
        )
    if settings.workers > 1 and not settings.label_studio_api_key:
        _LOG.warning(
            "%d workers and no LABEL_STUDIO_API_KEY: the token that Label Studio sends reaches one worker only, "
            "the others cannot fetch its uploads",
            settings.workers,
        )
    _Server(settings, start).run()


def _announce(arbiter: Any) -> None:
    addresses = ", ".join(f"http://{':'.join(map(str, address))}" for address in arbiter.cfg.address)
    _LOG.info("listening on %s; Label Studio connects to this address, a browser gets the dashboard there", addresses)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `serve`; each stands for the setting of its name."""
    parser.add_argument("--host", help="address to listen on (HOST)")
    parser.add_argument("--port", type=port_number, help="port to listen on (PORT)")
    parser.add_argument("--workers", type=one_or_more, help="serving processes (WORKERS)")
    parser.add_argument("--model", help="auto, hub, bundled or the name of a published model (MODEL)")


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Serves until it is told to stop.

    Raises:
        SettingsError: A setting cannot be used.
        UnknownModel: MODEL names no model.
        SettingsError: Another program listens at the address.
    """
    settings = settings.with_arguments(host=args.host, port=args.port, workers=args.workers, model=args.model)
    give_back_pages()
    # Before the processes are made: they would load it in the background, and only /health would say what is wrong.
    Sources.of(settings).check()
    AllowList(base_url=settings.label_studio_url, allowed_hosts=settings.allowed_hosts)
    Callers(settings)
    _check_what_is_named(settings)
    if any(os.environ.get(name) for name in CERTIFICATES):
        certificates()
    check_free(settings.host, settings.port)
    serve(settings, Application.start)
    return os.EX_OK


def _check_what_is_named(settings: Settings) -> None:
    """Refuses folders, files and classes that are not there: they would be missed page by page, or weeks later.

    Raises:
        SettingsError: LOCAL_FILES_ROOT is no folder, or a training could not begin with RETRAIN_RECIPE or TRACKER.
    """
    root = settings.local_files_root
    if root and not os.access(f"{root}/.", os.R_OK | os.X_OK):
        raise SettingsError(
            f"LOCAL_FILES_ROOT is {root!r}, which is no folder to read: name the one that Label Studio serves"
        )
    if settings.retrain_recipe:
        try:
            recipe = json.loads(Path(settings.retrain_recipe).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise SettingsError(f"RETRAIN_RECIPE {settings.retrain_recipe} cannot be read: {error}") from error
        if not isinstance(recipe, dict):
            raise SettingsError(f"RETRAIN_RECIPE {settings.retrain_recipe} holds no object with fields")
    module = settings.tracker.partition(":")[0].partition(".")[0]
    try:
        is_there = not module or importlib.util.find_spec(module) is not None
    except ValueError:  # such as of the program itself
        is_there = False
    if not is_there:
        way_out = "put the module's folder into PYTHONPATH"
        raise SettingsError(f"TRACKER is {settings.tracker!r}: there is no module {module!r}; {way_out}")


def check_free(host: str, port: int) -> None:
    """Refuses an address that cannot be listened at; gunicorn would try five times, and say less.

    Raises:
        SettingsError: It is taken, or none of this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except PermissionError as error:
            raise SettingsError(f"port {port} needs more rights: choose one above 1023 with PORT or --port") from error
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                way_out = "stop that, or choose another with PORT or --port"
                raise SettingsError(f"port {port} of {host} is taken by another program: {way_out}") from error
            raise SettingsError(f"{host} cannot be listened at ({error.strerror}): set HOST or --host") from error
        except (TypeError, ValueError) as error:  # it has characters that no name has
            raise SettingsError(f"{host!r} cannot be listened at (it is no name): set HOST or --host") from error


def give_back_pages() -> None:
    """Has glibc return the memory of pages to the system when they are done; does nothing with another C library.

    Left alone, glibc learns from the first page that blocks of that size come and go. It then keeps them, in an arena
    of each thread. So 64 clients that predicted at once left 600 MB behind. With these fixed limits, blocks from 8 MB
    go back at once: decoded pages, but no step of detection. Smaller ones are kept for the next step, 32 MB in each of
    two arenas. For this process and those that it forks; before it starts threads.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for parameter, value in (_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX):
            mallopt(parameter, value)
