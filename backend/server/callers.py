"""Who may speak to this backend: programs that know its name, and no web page that a browser on the way has open.

A browser lets any page send requests to loopback and private addresses. Two checks keep such pages out, without a
password. What changes something must say that it is JSON, which a page cannot do without asking first (CORS), and the
answer to that question is no. The name by which a request calls this backend must be one that nobody else can give to
their own page. A page can turn its own name of the open internet to this address a moment before (DNS rebinding).
"""

from __future__ import annotations

import ipaddress
import logging
import re
import socket
from http import HTTPStatus
from typing import TYPE_CHECKING

import httpx2
from flask import Response, jsonify, request

from backend.errors import SettingsError
from backend.escaping import printable
from backend.markup import page_headers, render

if TYPE_CHECKING:
    from flask import Flask, Request

    from backend.settings import Settings

__all__ = ["Callers", "add_caller_check", "is_loopback", "refusal", "wants_page"]

_LOG = logging.getLogger(__name__)
_READING = ("GET", "HEAD", "OPTIONS")
_HOST = re.compile(r"(\[[0-9a-f:.%]+\]|[^\s:/@\[\]\\]+)(?::\d{1,5})?", re.IGNORECASE)
# How containers call the machine that they run on.
_OF_CONTAINERS = ("host.docker.internal", "gateway.docker.internal", "host.containers.internal")
# Ends of names that are given inside one installation and cannot be registered on the internet (RFC 6761, ICANN).
_INSIDE = (".internal", ".svc", ".cluster.local")
# What programs send. The buttons of /status send forms: a browser says whose page they are on (`Origin`).
_TAKE_JSON = ("/setup", "/predict", "/webhook")
_MOST_TOLD = 100
_LONGEST_PHRASE = 300


def refusal(status: int, kind: str, message: str) -> Response:
    """An error: JSON for programs, a page for people's browsers.

    The reason also stands in the status line: that is all that Label Studio shows of it.
    """
    if wants_page(request):
        title = HTTPStatus(status).phrase
        text = render("refused.html", "backend.server", here="", label_studio="", title=title, message=message)
        response = Response(text, content_type="text/html; charset=utf-8", headers=page_headers())
    else:
        response = jsonify({"error": kind, "message": message})
    phrase = "".join(letter if " " <= letter <= "~" else "?" for letter in message)[:_LONGEST_PHRASE]
    response.status = f"{status} {phrase or HTTPStatus(status).phrase}"
    return response


def wants_page(request: Request) -> bool:
    """Whether a request names HTML among what it takes, as browsers do; `*/*`, as programs send it, is none."""
    accepted = request.accept_mimetypes
    html = max((quality for value, quality in accepted if value == "text/html"), default=0)
    return html > 0 and html >= max((quality for value, quality in accepted if value == "application/json"), default=0)


def is_loopback(host: str) -> bool:
    """Whether an address to listen on, or a name, is of this machine alone."""
    name = host.strip("[]").rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


class Callers:
    """Judges the `Host` and `Origin` of requests.

    Every address is a good name, because only this backend's pages can be at it. So are the names of loopback, of
    Docker's host, of this machine, and of Label Studio's host (a proxy may put both under one name). A backend that
    listens beyond loopback is also known by names without a dot, as services are in Docker and Kubernetes.

    Args:
        settings: HOST, LABEL_STUDIO_URL and ALLOWED_CLIENT_HOSTS.

    Raises:
        SettingsError: ALLOWED_CLIENT_HOSTS has something that is no host.
    """

    def __init__(self, settings: Settings) -> None:
        self._beyond_loopback = not is_loopback(settings.host)
        self._listed = frozenset(_listed(settings.allowed_client_hosts))
        studio = httpx2.URL(settings.label_studio_url)
        self._studio = _origin(str(studio))
        own = {studio.host.lower(), settings.host.lower(), socket.gethostname().lower()}
        self._names = frozenset({*own, *_OF_CONTAINERS, *self._listed} - {""})

    def knows_host(self, host: str) -> bool:
        """Whether a request may call this backend by that name (`Host`, with or without a port)."""
        match = _HOST.fullmatch(host.strip())
        if match is None:
            return False
        name = match[1].strip("[]").rstrip(".").lower()
        if name in self._names or is_loopback(name) or _is_address(name):
            return True
        return self._beyond_loopback and ("." not in name or name.endswith(_INSIDE))

    def knows_origin(self, origin: str, *, host: str) -> bool:
        """Whether a page of that origin may send something: this backend's own pages, Label Studio's, and listed ones.

        Args:
            origin: As the browser names it, such as `http://localhost:8080`; "null" where it does not tell.
            host: What the request calls this backend.
        """
        theirs = _origin(origin)
        if theirs is None:
            return False
        return theirs in (self._studio, _origin(f"http://{host}"), _origin(f"https://{host}")) or (
            theirs[1] in self._listed
        )


def add_caller_check(app: Flask, settings: Settings) -> None:
    """Answers 403 or 415 to what no Label Studio sends; `/` alone, which tells programs nothing, answers whoever asks.

    Raises:
        SettingsError: ALLOWED_CLIENT_HOSTS has something that is no host.
    """
    callers = Callers(settings)
    told: set[str] = set()

    @app.before_request
    def check() -> Response | None:
        # HTTP/1.0 has none; browsers send one always.
        host, origin = request.headers.get("Host", ""), request.headers.get("Origin")
        if (request.path != "/" or wants_page(request)) and host and not callers.knows_host(host):
            return _refused(
                403, f"this backend is not known as {printable(host, most=100)}: see ALLOWED_CLIENT_HOSTS", told
            )
        if request.method in _READING:
            return None
        if origin is not None and not callers.knows_origin(origin, host=host):
            return _refused(
                403, f"pages of {printable(origin, most=100)} may send nothing: see ALLOWED_CLIENT_HOSTS", told
            )
        if request.path in _TAKE_JSON and not _is_json(request.mimetype):
            kind = printable(request.mimetype or "nothing", most=100)
            return _refused(415, f"the Content-Type is {kind}: send application/json", told)
        return None


def _refused(status: int, reason: str, told: set[str]) -> Response:
    """The answer, and a line in the log where it is not there already: a page may send thousands."""
    if reason not in told and len(told) < _MOST_TOLD:
        told.add(reason)
        _LOG.warning("refused %s %s: %s", request.method, request.path, reason)
    return refusal(status, "UnsupportedMediaType" if status == 415 else "Forbidden", reason)


def _is_json(mimetype: str) -> bool:
    return mimetype == "application/json" or (mimetype.startswith("application/") and mimetype.endswith("+json"))


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return True


def _origin(address: str) -> tuple[str, str, int | None] | None:
    """Scheme, host and port of an address; None where it has none."""
    try:
        url = httpx2.URL(address)
    except httpx2.InvalidURL:
        return None
    if url.scheme not in ("http", "https") or not url.host:
        return None
    return url.scheme, url.host.rstrip(".").lower(), url.port or {"http": 80, "https": 443}[url.scheme]


def _listed(text: str) -> list[str]:
    """The names of a setting, in lower case and without ports."""
    found = []
    for entry in filter(None, map(str.strip, text.split(","))):
        match = _HOST.fullmatch(entry)
        if match is None:
            raise SettingsError(f"ALLOWED_CLIENT_HOSTS has {entry!r}: expected names such as marks.example.com")
        found.append(match[1].strip("[]").rstrip(".").lower())
    return found
