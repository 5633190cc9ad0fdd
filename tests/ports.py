"""Ports for servers that tests start."""

from __future__ import annotations

import itertools
import os

from backend.commands.demo.services import free_port

__all__ = ["port_for_later"]

# Below those that the system gives to whoever asks for any: a server may bind its port long after it was chosen.
_FIRST, _COUNT = 18_000, 14_000
# Processes that share the tests, and other runs on this machine, begin at places of their own.
_NUMBERS = itertools.count(97 * os.getpid())


def port_for_later() -> int:
    """A free port on loopback that nobody takes before the server that it is for."""
    for number in _NUMBERS:
        port = _FIRST + number % _COUNT
        if free_port(port) == port:
            return port
    raise AssertionError("numbers do not end")
