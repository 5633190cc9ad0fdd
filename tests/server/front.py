"""The server's front over a free port, in a thread of its own, and what a client of it does."""

from __future__ import annotations

import asyncio
import socket
import threading
from functools import partial
from typing import Any

from backend.server.lanes import Lanes
from backend.server.reception import ClientLimits, Reception
from backend.server.wire import Wire
from tests.patience import SECONDS, eventually

__all__ = ["GET", "LET", "Front", "all_of", "answer", "application"]

GET = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"


def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """Says what it was asked; /wait answers when it is let."""
    if environ["PATH_INFO"] == "/wait":
        environ["wsgi.input"].read()
        LET.wait(SECONDS)
    body = environ["wsgi.input"].read()
    told = f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']} {environ['QUERY_STRING']} {len(body)}".encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(told)))])
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [told]


LET = threading.Event()


class Front:
    """The front over a free port, in a thread of its own."""

    def __init__(self, **limits: Any) -> None:
        self.loop = asyncio.new_event_loop()
        self.lanes = Lanes(application, threads=4)
        self.reception = Reception(self.lanes, ClientLimits(**limits))
        started: threading.Event = threading.Event()

        async def serve() -> None:
            make = partial(Wire, self.reception, self.loop)
            self.server = await self.loop.create_server(make, "127.0.0.1", 0)
            self.port = self.server.sockets[0].getsockname()[1]
            started.set()

        def run() -> None:
            self.loop.run_until_complete(serve())
            self.loop.run_forever()

        self.thread = threading.Thread(target=run, daemon=True)
        self.thread.start()
        started.wait(SECONDS)

    def open(self, data: bytes = b"") -> socket.socket:
        one = socket.create_connection(("127.0.0.1", self.port), timeout=SECONDS)
        one.sendall(data)
        return one

    def close(self) -> None:
        LET.set()
        self.loop.call_soon_threadsafe(self.reception.close)
        self.loop.call_soon_threadsafe(self.server.close)
        eventually(lambda: not len(self.reception), "the end of the last connection")
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(SECONDS)
        self.loop.close()
        self.lanes.end()


def all_of(one: socket.socket) -> bytes:
    """What comes until the other side ends; what came before a reset counts."""
    found = b""
    try:
        while data := one.recv(65536):
            found += data
    except ConnectionResetError:
        pass
    return found


def answer(one: socket.socket) -> bytes:
    """One answer of a connection that stays open."""
    found = b""
    while b"\r\n\r\n" not in found:
        data = one.recv(65536)
        assert data, found
        found += data
    head, _, body = found.partition(b"\r\n\r\n")
    length = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
    while len(body) < length:
        body += one.recv(65536)
    return body
