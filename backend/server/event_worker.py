"""The kind of worker that gunicorn runs here: one process that receives, and one that works.

gunicorn's own kinds give a thread to each connection while it sends (gthread), so that a hundred slow senders hold up
everybody. Here an event loop reads, within deadlines, and no thread knows of a request that is not whole. The loop has
a small process to itself. So clients are read in time, and `/` and `/health` are answered, while the other process
computes (see `relay`). gunicorn starts, watches and stops the working process. When one of the two ends, the other one
ends, too.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from gunicorn.workers.base import Worker

from backend.server.lanes import Lanes
from backend.server.relay import Courier, Errands, State, pair
from backend.server.wire import Limits, Reception, Wire

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

__all__ = ["EventWorker"]

_LOOK_SECONDS = 0.2
_TURN_SECONDS = 0.0005
# Sent to the whole group, these are for the working process, which tells the receiving one what to do.
_OF_OTHERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGWINCH)
_OF_GUNICORN = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTTIN, signal.SIGTTOU)
_BEGIN, _CLOSE = {"do": "begin"}, {"do": "close"}


class EventWorker(Worker):  # type: ignore[misc]
    """Serves a WSGI application to any number of slow clients; gunicorn makes one in each process.

    The application tells its state by `extensions["health"]`. gunicorn's own application makes by `front` the one that
    answers `/` and `/health` in the receiving process.
    """

    def init_process(self) -> None:
        """Makes the receiving process, before this one has any threads; then loads the application, and works."""
        theirs, self._ours = pair()
        if os.fork() == 0:
            self._ours.close()
            self._receive(theirs)
        theirs.close()
        super().init_process()

    def run(self) -> None:
        """Works until a signal, or the end of the parent process or of the receiving one, says stop."""
        # Who takes requests in waits for a turn among the threads that compute: their turns are a tenth of the usual.
        sys.setswitchinterval(_TURN_SECONDS)
        errands = Errands(self._ours, Lanes(self.wsgi, threads=self.cfg.threads))
        health = self.wsgi.extensions["health"]
        errands.tell({"health": health()})
        errands.tell(_BEGIN)

        def tell() -> None:
            while not errands.over.wait(_LOOK_SECONDS):
                errands.tell({"health": health()})

        # In a thread of its own: a disk that does not answer must be seen as silence, not stop everything.
        threading.Thread(target=tell, name="health", daemon=True).start()
        while self.alive and self.ppid == os.getppid() and not errands.over.wait(_LOOK_SECONDS):
            self.notify()
        errands.tell(_CLOSE)
        give_up = time.monotonic() + self.cfg.graceful_timeout
        while time.monotonic() < give_up and not errands.over.wait(_LOOK_SECONDS):
            self.notify()

    def _receive(self, theirs: socket.socket) -> None:
        """The receiving process, from its beginning to its end."""
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            for number in (*_OF_OTHERS, *_OF_GUNICORN):
                signal.signal(number, signal.SIG_IGN)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            # What was loaded before is shared with the other processes, as long as nobody writes to it.
            gc.freeze()
            state = State()
            limits = Limits(idle_seconds=self.cfg.keepalive)
            quick = self.app.front(state)
            sockets = [one.sock for one in self.sockets]
            asyncio.run(_Receiving(theirs, sockets, backlog=self.cfg.backlog, limits=limits).run(quick, state))
            code = 0
        except BaseException:
            self.log.exception("the process that receives requests failed")
        finally:
            # Nothing that was made ready for the working process is to be done here, too.
            os._exit(code)


class _Receiving:
    """The receiving process: its sockets, and what the working one told it to do."""

    def __init__(self, theirs: socket.socket, sockets: list[socket.socket], *, backlog: int, limits: Limits) -> None:
        self._socket, self._sockets = theirs, sockets
        self._backlog, self._limits = backlog, limits
        self._begun, self._closing = asyncio.Event(), asyncio.Event()

    async def run(self, quick: Any, state: State) -> None:
        """Receives, from when the working process is ready until it says stop or is no more."""
        loop = asyncio.get_running_loop()

        def told(facts: Mapping[str, Any]) -> None:
            if "health" in facts:
                state.tell(facts["health"])
            elif facts == _BEGIN:
                self._begun.set()
            else:
                self._closing.set()

        # Clients see their connections end, and ask again.
        courier = Courier(self._socket, loop, quick=quick, told=told, ended=partial(os._exit, 0))
        reception = Reception(courier, self._limits)
        await self._begun.wait()
        make: Any = partial(Wire, reception, loop)
        servers = [await loop.create_server(make, sock=one, backlog=self._backlog) for one in self._sockets]
        await self._closing.wait()
        for server in servers:
            server.close()
        reception.close()
        while len(reception):
            await asyncio.sleep(_LOOK_SECONDS)
