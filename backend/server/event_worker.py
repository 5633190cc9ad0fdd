"""The kind of worker that gunicorn runs here: an event loop that takes requests in, and threads that answer them.

gunicorn's own kinds give a thread to each connection while it sends (gthread), so that a hundred slow senders hold up
everybody. Here the loop reads, within deadlines, and no thread knows of a request that is not whole. gunicorn itself
starts, watches and stops the processes.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from functools import partial
from typing import Any

from gunicorn.workers.base import Worker

from backend.server.lanes import Lanes
from backend.server.wire import Limits, Reception, Wire

__all__ = ["EventWorker"]

_LOOK_SECONDS = 0.2
_TURN_SECONDS = 0.0005


class EventWorker(Worker):  # type: ignore[misc]
    """Serves a WSGI application to any number of slow clients; gunicorn makes one in each process."""

    def run(self) -> None:
        """Serves until a signal, or the end of the parent process, says stop."""
        # The loop waits for its turn among the threads that compute: their turns are a tenth of the usual.
        sys.setswitchinterval(_TURN_SECONDS)
        loop = asyncio.new_event_loop()
        try:
            loop.run_until_complete(self._serve(loop))
        finally:
            loop.close()

    async def _serve(self, loop: asyncio.AbstractEventLoop) -> None:
        reception = Reception(Lanes(self.wsgi, threads=self.cfg.threads), Limits(idle_seconds=self.cfg.keepalive))
        make: Any = partial(Wire, reception, loop)
        servers = [await loop.create_server(make, sock=one.sock, backlog=self.cfg.backlog) for one in self.sockets]
        while self.alive and self.ppid == os.getppid():
            self.notify()
            await asyncio.sleep(_LOOK_SECONDS)
        for server in servers:
            server.close()
        reception.close()
        give_up = time.monotonic() + self.cfg.graceful_timeout
        while len(reception) and time.monotonic() < give_up:
            self.notify()
            await asyncio.sleep(_LOOK_SECONDS)
