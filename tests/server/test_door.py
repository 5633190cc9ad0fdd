"""Who asks whether the program is well is let in before all others, however many came first."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from backend.server import reception
from backend.server.reception import Door
from tests.patience import SECONDS


class Guest(asyncio.Protocol):
    """Notes when it was let in, and by which words it began."""

    def __init__(self, entered: list[Guest]) -> None:
        self._entered = entered
        self.said = b""
        self.heard = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self._entered.append(self)

    def data_received(self, data: bytes) -> None:
        self.said += data
        self.heard.set()


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0), backlog=200) as one:
        yield one


def comes(stack: ExitStack, listener: socket.socket, words: bytes) -> socket.socket:
    one = stack.enter_context(socket.create_connection(listener.getsockname(), timeout=SECONDS))
    one.sendall(words)
    return one


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    """As if all descriptors that this process may have were taken."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.open(os.devnull, os.O_RDONLY)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_of_a_crowd_the_urgent_one_is_let_in_first(listener: socket.socket) -> None:
    entered: list[Guest] = []

    async def crowd() -> None:
        with ExitStack() as stack:
            for _ in range(60):
                comes(stack, listener, b"POST /predict HTTP/1.1\r\n")
            comes(stack, listener, b"GET /health HTTP/1.1\r\n\r\n")
            door = Door(listener, lambda: Guest(entered), asyncio.get_running_loop())
            while len(entered) < 61:
                await asyncio.sleep(0)
            await asyncio.gather(*(one.heard.wait() for one in entered))
            door.close()

    asyncio.run(asyncio.wait_for(crowd(), SECONDS))

    assert entered[0].said.startswith(b"GET /health ")  # and nothing of it was lost by looking
    assert all(one.said.startswith(b"POST /predict ") for one in entered[1:])


def test_who_says_nothing_is_let_in_too(listener: socket.socket) -> None:
    entered: list[Guest] = []

    async def silent() -> None:
        with ExitStack() as stack:
            stack.enter_context(socket.create_connection(listener.getsockname(), timeout=SECONDS))
            door = Door(listener, lambda: Guest(entered), asyncio.get_running_loop())
            while not entered:
                await asyncio.sleep(0)
            door.close()

    asyncio.run(asyncio.wait_for(silent(), SECONDS))


def test_without_descriptors_it_tries_again(listener: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reception, "_FULL_SECONDS", 0.02)
    entered: list[Guest] = []

    async def full() -> None:
        with ExitStack() as stack:
            comes(stack, listener, b"GET / HTTP/1.1\r\n\r\n")
            door = Door(listener, lambda: Guest(entered), asyncio.get_running_loop())
            with no_descriptor_left():
                await asyncio.sleep(0.05)
                assert not entered
            while not entered:
                await asyncio.sleep(0.01)
            door.close()

    asyncio.run(asyncio.wait_for(full(), SECONDS))


def test_a_closed_door_sends_away_who_waits(listener: socket.socket) -> None:
    entered: list[Guest] = []

    async def closing() -> bytes:
        loop = asyncio.get_running_loop()
        with ExitStack() as stack:
            one = comes(stack, listener, b"POST /predict HTTP/1.1\r\n")
            door = Door(listener, lambda: Guest(entered), loop)
            door._look()
            door.close()
            one.setblocking(False)
            try:
                return await loop.sock_recv(one, 1)
            except ConnectionResetError:
                return b""

    assert asyncio.run(asyncio.wait_for(closing(), SECONDS)) == b""
    assert not entered
