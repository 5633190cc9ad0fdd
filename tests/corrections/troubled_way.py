"""A way to a database or a store, on the loopback, that can be in trouble: nobody there, no answer, a bad day."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

__all__ = ["TROUBLES", "TroubledWay", "troubled_way"]

TROUBLES = ("refused", "silent", "slow", "500")
_DRIP_SECONDS = 0.1
_BAD_DAY = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class TroubledWay:
    """Hands bytes on, both ways, as long as all is well.

    Attributes:
        port: Where it listens.
        trouble: One of `TROUBLES`, or "". `refused` ends every connection. `silent` takes them and says nothing. `slow`
            says a byte now and then. `500` is what a server of HTTP answers to everything.
        came: Connections that were made while there was trouble.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = int(self._listener.getsockname()[1])
        self.trouble = ""
        self.came = 0
        self._well = threading.Event()
        self._well.set()
        self._open: set[socket.socket] = set()
        threading.Thread(target=self._listen, daemon=True).start()

    def begin(self, trouble: str) -> None:
        self.trouble, self.came = trouble, 0
        self._well.clear()
        if trouble not in ("silent", "slow"):
            self._hang_up()

    def end(self) -> None:
        """All is well again; what was silent is over, as after a restart."""
        self.trouble = ""
        self._hang_up()
        self._well.set()

    def close(self) -> None:
        self._listener.close()
        self._hang_up()
        self._well.set()

    def _hang_up(self) -> None:
        for one in list(self._open):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def _listen(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        self.came += bool(self.trouble)
        with client:
            if self.trouble == "refused":
                return
            self._open.add(client)
            with suppress(OSError):
                if self.trouble == "500":
                    client.recv(1 << 16)
                    client.sendall(_BAD_DAY)
                    return
                with socket.create_connection(("127.0.0.1", self._target)) as server:
                    self._open.add(server)
                    back = threading.Thread(target=self._hand_on, args=(server, client), daemon=True)
                    back.start()
                    self._hand_on(client, server)
                    back.join()
                    self._open.discard(server)
            self._open.discard(client)

    def _hand_on(self, one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while data := one.recv(1 << 16):
                while data and self.trouble == "slow":
                    other.sendall(data[:1])
                    data = data[1:]
                    time.sleep(_DRIP_SECONDS)
                self._well.wait()
                other.sendall(data)
        for end in (one, other):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@contextmanager
def troubled_way(port: int) -> Iterator[TroubledWay]:
    """One to a port of this host."""
    way = TroubledWay(port)
    try:
        yield way
    finally:
        way.close()
