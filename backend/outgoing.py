"""How this program asks others over HTTP: names in time, certificates of the operator's, nothing packed twice.

The system's look-up of a name cannot be told to end. So it has a thread of its own, which may stay behind. Whoever
asked goes on when their time is over.

Each packing (`Content-Encoding`) makes up to a thousand bytes of one. A few hundred bytes that are packed five times
keep a processor busy for days, and nothing may come out of it that could be counted.
"""

from __future__ import annotations

import errno
import functools
import ipaddress
import os
import socket
import threading
import time
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

import httpcore2
import httpx2

from backend.errors import SettingsError
from backend.escaping import printable

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Sequence

__all__ = [
    "AS_IT_IS",
    "CERTIFICATES",
    "NAMES",
    "Connector",
    "Names",
    "Transport",
    "Way",
    "ask_store",
    "certificates",
    "refuse_packed",
    "refused_packing",
]

CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR")
"""What the environment may name instead of the system's own; the first counts."""
AS_IT_IS = {"Accept-Encoding": "identity"}
"""Asks for an answer that is not packed; servers need not heed it."""
_UNPACKED = frozenset({"gzip", "deflate"})
_LONGEST = 60
# Of a client's connections: how many, and how long an idle one is kept.
_MOST_CONNECTIONS = 100
_KEPT_SECONDS = 5.0


class Names:
    """Looks up the addresses of hosts; shared by threads.

    Whoever asks for a name that is being looked up waits for the same look-up. So a name server that says nothing
    costs one thread for each name, until the system gives up.

    Args:
        most: Look-ups under way at once.
        ask: The system's look-up.

    Example:
        >>> Names().addresses("127.0.0.1", seconds=1.0)
        ('127.0.0.1',)
    """

    def __init__(self, *, most: int = 64, ask: Callable[..., Sequence[Any]] = socket.getaddrinfo) -> None:
        self._most = most
        self._ask = ask
        self._lock = threading.Lock()
        self._under_way: dict[str, Future[tuple[str, ...]]] = {}

    def addresses(self, host: str, *, seconds: float | None) -> tuple[str, ...]:
        """The addresses of a host, each once, in the order in which they are to be tried.

        Args:
            host: A name, or an address, which nobody is asked for.
            seconds: How long it may take; None for as long as the system tries.

        Raises:
            TimeoutError: It takes longer, or too many others are under way.
            OSError: There is no such name, or nobody to ask.
            ValueError: No name can be so, such as one with a part of 64 letters.
        """
        try:
            ipaddress.ip_address(host.partition("%")[0])
        except ValueError:
            return self._flight(host).result(seconds)
        return (host,)

    def _flight(self, host: str) -> Future[tuple[str, ...]]:
        with self._lock:
            found = self._under_way.get(host)
            if found is None:
                if len(self._under_way) >= self._most:
                    raise TimeoutError(f"{self._most} names are being looked up already")
                found = Future()
                thread = threading.Thread(target=self._look_up, args=(host, found), name="name", daemon=True)
                try:
                    thread.start()
                except RuntimeError as error:
                    raise OSError(errno.EAGAIN, f"{host} cannot be looked up now: {error}") from error
                self._under_way[host] = found
        return found

    def _look_up(self, host: str, flight: Future[tuple[str, ...]]) -> None:
        try:
            entries = self._ask(host, None, type=socket.SOCK_STREAM)
            found = tuple(dict.fromkeys(str(entry[4][0]) for entry in entries))
        except Exception as error:
            with self._lock:
                del self._under_way[host]
            flight.set_exception(error)
            return
        with self._lock:
            del self._under_way[host]
        flight.set_result(found)


NAMES = Names()
"""Those of this process."""


class Connector(httpcore2.NetworkBackend):
    """Makes connections, each within its time: the look-up of the name, and all addresses of it together.

    Args:
        names: Looks up names.
        system: Connects to addresses.
    """

    def __init__(self, names: Names = NAMES, *, system: httpcore2.NetworkBackend | None = None) -> None:
        self._names = names
        self._system = system or httpcore2.SyncBackend()

    def judge(self, addresses: Sequence[str]) -> None:
        """Raises what the request is to fail with, where these addresses are not to be connected to."""

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Any = None,
    ) -> httpcore2.NetworkStream:
        end = None if timeout is None else time.monotonic() + timeout
        try:
            addresses = self._names.addresses(host, seconds=timeout)
        except TimeoutError as error:
            raise httpcore2.ConnectTimeout(f"{host} was not looked up in time") from error
        except (OSError, ValueError) as error:
            raise httpcore2.ConnectError(str(error)) from error
        self.judge(addresses)
        refused: httpcore2.ConnectError | httpcore2.ConnectTimeout = httpcore2.ConnectError(f"{host} has no address")
        for place, address in enumerate(addresses):
            # One that does not answer leaves the others their part of the time.
            left = None if end is None else max(0.0, end - time.monotonic()) / (len(addresses) - place)
            try:
                return self._system.connect_tcp(address, port, left, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                refused = error
        raise refused


class Way(Connector):
    """All connections of one errand: they have so many seconds together, from the first name to the last byte.

    Timeouts of a client count from each read, so that a server which sends a byte now and then, in its headers too,
    could hold a thread for hours.

    Args:
        seconds: For all of it.
        granted: Bytes that may come in before more are granted.
        names: Looks up names.

    Attributes:
        granted: As above.
        came: Bytes that came in.
    """

    def __init__(self, seconds: float, *, granted: float = 0.0, names: Names = NAMES) -> None:
        super().__init__(names)
        self._end = time.monotonic() + seconds
        self.granted = granted
        self.came = 0

    @property
    def is_over(self) -> bool:
        return time.monotonic() >= self._end

    def left(self, timeout: float | None = None) -> float:
        """Seconds for the next step; raises the client's timeout where none are left."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise httpcore2.ReadTimeout("the time for all of it is over")
        return left if timeout is None else min(left, timeout)

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Any = None,
    ) -> httpcore2.NetworkStream:
        return _Stream(super().connect_tcp(host, port, self.left(timeout), local_address, socket_options), self)


class _Stream(httpcore2.NetworkStream):
    """A connection within the time and the bytes of its errand."""

    def __init__(self, stream: httpcore2.NetworkStream, way: Way) -> None:
        self._stream = stream
        self._way = way

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if self._way.came > self._way.granted:
            # Thousands of answers before the answer, or chunks of a byte, would only cost a processor.
            raise httpcore2.RemoteProtocolError("there is more in the answer than any server has to say")
        try:
            data = self._stream.read(max_bytes, self._way.left(timeout))
        except httpcore2.ReadTimeout:
            self._way.left()  # says so where it is the time for all of it
            raise
        self._way.came += len(data)
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._way.left(timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, self._way.left(timeout)), self._way)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class Transport(httpx2.HTTPTransport):
    """A client's way out through a `Connector`, and through no proxy but one that is named here.

    Args:
        connector: Makes the connections.
        proxy: Its address; empty for none.
    """

    def __init__(self, connector: Connector, *, proxy: str = "") -> None:
        super().__init__(verify=certificates(), trust_env=False)
        # The transport takes no backend for its pool, so the pool is replaced; without it no name would have an end.
        options: dict[str, Any] = {
            "ssl_context": certificates(),
            "max_connections": _MOST_CONNECTIONS,
            "keepalive_expiry": _KEPT_SECONDS,
            "network_backend": connector,
        }
        if proxy.startswith("https:"):
            options["proxy_ssl_context"] = certificates()
        self._pool = httpcore2.HTTPProxy(proxy, **options) if proxy else httpcore2.ConnectionPool(**options)


@functools.cache
def certificates() -> ssl.SSLContext:
    """Whom to trust: whom the system does, or SSL_CERT_FILE and SSL_CERT_DIR say. Loaded once: it takes a while.

    Raises:
        SettingsError: What the environment names cannot be read.
    """
    try:
        return httpx2.create_ssl_context()
    except OSError as error:
        named = next((f"{name} is {os.environ[name]}" for name in CERTIFICATES if os.environ.get(name)), "")
        reason = f"{named or 'the certificates of this system'}: it cannot be read ({error.strerror or error})"
        raise SettingsError(f"{reason}; name a file of certificates (PEM), or leave the variable out") from error


def refused_packing(named: str) -> str:
    """Why nobody is to unpack an answer, in words; empty where it may be read.

    Args:
        named: The answer's `Content-Encoding`; several headers are joined by commas.

    Example:
        >>> refused_packing("identity"), refused_packing("gzip")
        ('', '')
        >>> refused_packing("gzip, gzip")
        'its answer is packed as gzip, gzip: have it send files as they are'
    """
    packings = [name for name in map(str.strip, named.lower().split(",")) if name not in ("", "identity")]
    if len(packings) < 2 and _UNPACKED.issuperset(packings):
        return ""
    return f"its answer is packed as {printable(', '.join(packings), most=_LONGEST)}: have it send files as they are"


def refuse_packed(answer: httpx2.Response) -> None:
    """A client's hook that looks at each answer before its body is read.

    Raises:
        httpx2.DecodingError: Nobody is to unpack it.
    """
    if trouble := refused_packing(answer.headers.get("content-encoding", "")):
        raise httpx2.DecodingError(f"{answer.url.host}: {trouble}", request=answer.request)


def ask_store(files: Any, call: str, *args: Any, seconds: float) -> Any:
    """What a folder or an object store says to a call of fsspec's, such as `pipe_file`.

    A store's driver bounds the wait for each piece of an answer, but not for all of them. So it would listen for hours
    to a store that says a byte now and then.

    Raises:
        TimeoutError: An object store has not answered within `seconds`.
        Exception: Whatever the store's driver raises.
    """
    from fsspec.asyn import AsyncFileSystem, sync  # noqa: PLC0415  most processes ask no store

    if isinstance(files, AsyncFileSystem):
        return sync(files.loop, getattr(files, f"_{call}"), *args, timeout=seconds)
    return getattr(files, call)(*args)
