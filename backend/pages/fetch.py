"""Bytes from an http(s) address: allow-listed hop by hop, limited in bytes and in total time."""

from __future__ import annotations

import ipaddress
import logging
import threading
import time
from typing import TYPE_CHECKING, NoReturn

import httpx2

from backend.errors import FetchTimeout, LimitExceeded, PageUnavailable, ReferenceRefused
from backend.outgoing import AS_IT_IS, NAMES, Names, Transport, Way, refused_packing
from backend.pages.references import SMALLER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from backend.pages.page import Limits
    from backend.pages.references import AllowList

__all__ = ["Fetcher", "FileRoom", "is_public"]

_HTML = (b"<!doctype html", b"<html")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_COMPATIBLE = ipaddress.IPv6Network("::/96")
# A NAT64 of one's own network, and what has no meaning any more: who knows where they lead.
_NEVER_GLOBAL = tuple(map(ipaddress.IPv6Network, ("64:ff9b:1::/48", "fec0::/10", "5f00::/16", "3fff::/20")))
# What an answer may have beside the file: headers, answers before the answer (1xx), the frames of chunks, trailers.
_MOST_BESIDES = 256 << 10
_BODY_TO_BESIDES = 8
_KEY_HINT = "check LABEL_STUDIO_API_KEY, and that its user may see the project"

# The client logs every address at INFO, signatures of cloud storage included.
logging.getLogger("httpx2").setLevel(logging.WARNING)


class FileRoom:
    """How much memory the files of a process may take that come in, or wait for their turn to be decoded.

    Dozens of pages are waited for at once, each of which may be as large as MAX_BYTES.

    Args:
        most: Bytes of all of them.
        few: A file of so many bytes finds room always.
    """

    def __init__(self, *, most: int = 128 << 20, few: int = 3 << 20) -> None:
        self.most = most
        self.few = few
        self.taken = 0
        self._lock = threading.Lock()

    def take(self, more: int, *, held: int = 0) -> bool:
        """Whether a file that has `held` bytes has room for more."""
        with self._lock:
            if self.taken + more > self.most and held + more > self.few and self.taken > held:
                return False
            self.taken += more
            return True

    def give_back(self, held: int) -> None:
        with self._lock:
            self.taken -= held


class Fetcher:
    """Gets files within limits; shared by threads.

    Each hop of a redirect must be allow-listed. There is one exception. Label Studio signs addresses of cloud storage
    whose hosts nobody listed. So where its own page routes redirect to, the next hop is trusted if it is https and its
    host is on public addresses. The host is looked up for that check, and again for the connection. So the addresses of
    that second look-up are judged, too, before anybody connects to them.

    Args:
        allow_list: Which addresses may be asked, and which get `headers`.
        limits: Bytes (after decompression), seconds (in all, however slowly names are looked up, or bytes drip in) and
            redirects.
        room: For the bytes that come in.
        names: Looks up hosts.
    """

    def __init__(self, allow_list: AllowList, limits: Limits, room: FileRoom, *, names: Names = NAMES) -> None:
        self._allow_list = allow_list
        self._limits = limits
        self._room = room
        self._names = names

    def fetch(self, url: httpx2.URL, headers: Mapping[str, str], *, shown: str) -> bytes:
        """The body behind `url`; `headers` go to Label Studio's page routes and nowhere else.

        Raises:
            ReferenceRefused: A redirect leads to an address that is not allowed.
            PageUnavailable: No connection, no such name, an error status, a log-in page, or an empty body.
            FetchTimeout: Seconds.
            LimitExceeded: Bytes or redirects.
        """
        # A client for each fetch: no cookie or connection of one fetch serves another, and all is closed at the end.
        way = _Way(self._limits.seconds, self._names)
        with httpx2.Client(transport=Transport(way), timeout=self._limits.seconds, trust_env=False) as client:
            try:
                data = self._follow(client, url, headers, shown, way)
            except _PrivateAddress as error:
                reason = (
                    "redirected to a name that leads to a private address: add it to ALLOWED_HOSTS if that is meant"
                )
                raise ReferenceRefused(shown, reason) from error
            except (httpx2.HTTPError, httpx2.StreamError) as error:
                if way.is_over or isinstance(error, httpx2.TimeoutException):
                    self._too_slow(shown, error)
                host = error.request.url.host if isinstance(error, httpx2.RequestError) else url.host
                raise PageUnavailable(shown, f"{host} did not answer properly ({type(error).__name__})") from error
        if not data:
            raise PageUnavailable(shown, "the answer is empty")
        if data[:64].lstrip().lower().startswith(_HTML):
            raise PageUnavailable(shown, f"the answer is a web page, not an image; if it is a log-in page, {_KEY_HINT}")
        return data

    def _too_slow(self, shown: str, error: Exception | None = None) -> NoReturn:
        raise FetchTimeout(shown, f"took longer than FETCH_TIMEOUT ({self._limits.seconds:g} s)") from error

    def _follow(
        self, client: httpx2.Client, url: httpx2.URL, headers: Mapping[str, str], shown: str, way: _Way
    ) -> bytes:
        for _ in range(self._limits.redirects + 1):
            way.only_public = not self._allow_list.allows(url)
            authorised = self._allow_list.authorises(url)
            request = client.build_request("GET", url, headers={**AS_IT_IS, **(headers if authorised else {})})
            way.begin()
            response = client.send(request, stream=True)
            try:
                if response.has_redirect_location:
                    url = self._next_hop(response, shown, way, trusted=authorised)
                    continue
                self._check_status(response, shown)
                if trouble := refused_packing(response.headers.get("content-encoding", "")):
                    raise PageUnavailable(shown, f"{response.url.host}: {trouble}")
                return self._body(response, shown, way)
            finally:
                response.close()
        raise LimitExceeded(shown, f"redirected more than {self._limits.redirects} times")

    def _next_hop(self, response: httpx2.Response, shown: str, way: _Way, *, trusted: bool) -> httpx2.URL:
        try:
            url = response.url.join(response.headers["location"])
        except httpx2.InvalidURL as error:
            raise PageUnavailable(shown, "redirected to something that is no address") from error
        if self._allow_list.is_login(url):
            raise PageUnavailable(shown, f"Label Studio asks for a log-in: {_KEY_HINT}")
        if url.scheme not in ("http", "https") or not url.host or url.userinfo:
            raise ReferenceRefused(shown, "redirected to something other than a plain http(s) address")
        try:
            if self._allow_list.allows(url) or (trusted and url.scheme == "https" and way.leads_outside(url.host)):
                return url
        except TimeoutError as error:
            self._too_slow(shown, error)
        except OSError as error:
            raise PageUnavailable(shown, f"redirected to {url.host}: its name cannot be looked up now") from error
        host = url.netloc.decode("ascii")
        raise ReferenceRefused(shown, f"redirected to {host}: add it to ALLOWED_HOSTS if pages may come from it")

    def _check_status(self, response: httpx2.Response, shown: str) -> None:
        status = response.status_code
        if status == httpx2.codes.OK:
            return
        if status in (httpx2.codes.UNAUTHORIZED, httpx2.codes.FORBIDDEN):
            own = self._allow_list.authorises(response.url)
            way_out = (
                f"Label Studio answered {status}: {_KEY_HINT}" if own else f"{response.url.host} answered {status}"
            )
            raise PageUnavailable(shown, way_out)
        if status in (httpx2.codes.NOT_FOUND, httpx2.codes.GONE):
            raise PageUnavailable(shown, f"{response.url.host} answered {status}: there is no such file")
        raise PageUnavailable(shown, f"{response.url.host} answered {status}")

    def _body(self, response: httpx2.Response, shown: str, way: _Way) -> bytes:
        """Reads until the end or a limit; the length a server declares can only end it earlier."""
        limit = self._limits.max_bytes
        declared = response.headers.get("content-length", "")
        if declared.isdecimal() and int(declared[:20]) > limit:
            self._too_large(shown)
        data = bytearray()
        try:
            for chunk in response.iter_bytes():
                if not self._room.take(len(chunk), held=len(data)):
                    raise PageUnavailable(shown, "too many large files arrive at once: ask again")
                data += chunk
                if len(data) > limit:
                    self._too_large(shown)
                if way.is_over:
                    self._too_slow(shown)
                way.granted = _MOST_BESIDES + response.num_bytes_downloaded * (1 + 1 / _BODY_TO_BESIDES)
            return bytes(data)
        finally:
            self._room.give_back(len(data))

    def _too_large(self, shown: str) -> NoReturn:
        raise LimitExceeded(shown, f"larger than MAX_BYTES ({self._limits.max_bytes} bytes): {SMALLER}")


def is_public(host: str, *, names: Names = NAMES, seconds: float | None = None) -> bool:
    """Whether every address of `host` is on the open internet.

    Raises:
        TimeoutError: The name is not looked up in so many seconds.
        OSError: The name cannot be looked up: there is none such, or nobody to ask.
    """
    try:
        addresses = names.addresses(host, seconds=seconds)
    except ValueError:
        return False
    return bool(addresses) and all(_is_global(_address(one)) for one in addresses)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    return ipaddress.ip_address(text.partition("%")[0])


def _is_global(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether an address is on the open internet; one of IPv6 that stands for one of IPv4 is judged as that one."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = _inner(address)
        if inner is not None:
            return _is_global(inner)
        if any(address in network for network in _NEVER_GLOBAL):
            return False
    return address.is_global and not address.is_multicast


def _inner(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The address of IPv4 that one of IPv6 leads to: mapped, compatible, 6to4, Teredo, or by a NAT64 (RFC 6052)."""
    if address.ipv4_mapped or address.sixtofour:
        return address.ipv4_mapped or address.sixtofour
    if address.teredo:
        return address.teredo[1]
    if address in _NAT64 or address in _COMPATIBLE:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return None


class _PrivateAddress(Exception):
    """A host that was public when it was looked up, and is not where the connection leads."""


class _Way(Way):
    """All connections of one fetch.

    Attributes:
        only_public: Whether the next connection may lead to addresses of the open internet alone.
    """

    def __init__(self, seconds: float, names: Names) -> None:
        super().__init__(seconds, names=names)
        self.only_public = False

    def begin(self) -> None:
        """Before each request."""
        self.granted, self.came = _MOST_BESIDES, 0

    def leads_outside(self, host: str) -> bool:
        """Whether a host is on public addresses; raises OSError."""
        return is_public(host, names=self._names, seconds=max(0.0, self._end - time.monotonic()))

    def judge(self, addresses: Sequence[str]) -> None:
        if self.only_public and not all(_is_global(_address(one)) for one in addresses):
            raise _PrivateAddress
