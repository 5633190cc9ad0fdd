"""Who may speak to this backend: programs that know its name and bring a password, and no page of a browser's.

A browser lets any page send requests to loopback and private addresses. Two checks keep such pages out, without a
password. What changes something must say that it is JSON, which a page cannot do without asking first (CORS), and the
answer to that question is no. The name by which a request calls this backend must be one that nobody else can give to
their own page. A page can turn its own name of the open internet to this address a moment before (DNS rebinding).

The password is HTTP Basic's. Webhooks come without it and have a secret of their own: WEBHOOK_SECRET or, where that is
empty, what the command `connect` made and left in the data folder.
"""

from __future__ import annotations

import base64
import hmac
import ipaddress
import logging
import re
import secrets
import socket
import threading
from http import HTTPStatus
from typing import TYPE_CHECKING

import httpx2
from flask import Flask, Request, Response, jsonify, request
from werkzeug.exceptions import MethodNotAllowed

from backend.errors import SettingsError
from backend.escaping import printable
from backend.files import keep_to_owner, replace_whole
from backend.labelstudio.webhooks import LABEL_STUDIO_ENCODING, SECRET_HEADER, sent_credentials
from backend.markup import page_headers, render

if TYPE_CHECKING:
    from backend.settings import Settings

__all__ = [
    "SECRET_USER",
    "Callers",
    "RefusedWebhooks",
    "WebhookSecret",
    "add_caller_check",
    "add_credentials",
    "is_loopback",
    "refusal",
    "wants_page",
]

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
        if request.method in _READING or isinstance(request.routing_exception, MethodNotAllowed):
            return None
        if origin is not None and not callers.knows_origin(origin, host=host):
            return _refused(
                403, f"pages of {printable(origin, most=100)} may send nothing: see ALLOWED_CLIENT_HOSTS", told
            )
        if request.path in _TAKE_JSON and not _is_json(request.mimetype):
            kind = printable(request.mimetype or "nothing", most=100)
            return _refused(415, f"the Content-Type is {kind}: send application/json", told)
        packing = request.headers.get("Content-Encoding", "").strip().lower()
        if packing not in ("", "identity"):
            # A few kilobytes may unpack to gigabytes; Label Studio sends bodies as they are.
            return _refused(415, f"the body is packed as {printable(packing, most=100)}: send it as it is", told)
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
        ipaddress.ip_address(name)
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
        if match is None or "*" in entry:
            reason = "expected names such as marks.example.com, each written out"
            raise SettingsError(f"ALLOWED_CLIENT_HOSTS has {entry!r}: {reason}")
        found.append(match[1].strip("[]").rstrip(".").lower())
    return found


SECRET_USER = "label-studio"  # noqa: S105  a name
"""User name of a connection that brings the secret as its password: "Start training" comes with nothing else."""
_WEBHOOK = "/webhook"
_FILE = "webhook-secret"
_LETTERS = 32
_ANOTHER = "run `connect`, which makes another, as the user that `serve` runs as"


class RefusedWebhooks:
    """Webhooks that came to this process without their credentials; shared by threads.

    Attributes:
        count: How many.
        remedy: What to do about it; empty while there was none.
    """

    def __init__(self) -> None:
        self.count = 0
        self.remedy = ""
        self._lock = threading.Lock()

    def note(self, wanted: str) -> None:
        """Counts one that lacked what is wanted, and says so once: every save of every annotator would repeat it."""
        self._count(f"in Label Studio's project settings, under Webhooks, give the webhook {wanted}")

    def note_unknown(self, reason: str) -> None:
        """Counts one of which nobody can tell whether it brought the secret, with the reason and the way out."""
        self._count(reason)

    def _count(self, remedy: str) -> None:
        with self._lock:
            self.count += 1
            if self.remedy == remedy:
                return
            self.remedy = remedy
        told = "webhooks arrive without their credentials and are refused, so no correction is learnt from: %s"
        _LOG.error(told, self.remedy)


class WebhookSecret:
    """The secret of this backend's webhooks, as it is now: a file that comes or changes counts from then on.

    Args:
        settings: WEBHOOK_SECRET, and the data folder that holds the file.
    """

    def __init__(self, settings: Settings) -> None:
        self._configured = settings.webhook_secret
        self._file = settings.data_dir / _FILE
        self._seen: tuple[int, int] | None = None
        self._made = ""

    def current(self) -> str:
        """The secret; empty where webhooks need none.

        Raises:
            SettingsError: There is a file, and no secret in it: nobody knows what webhooks would have to bring.
        """
        if self._configured:
            return self._configured
        try:
            found = self._file.stat()
            if (found.st_ino, found.st_mtime_ns) != self._seen:
                self._made = self._file.read_text(encoding="ascii").strip()
                self._seen = found.st_ino, found.st_mtime_ns
        except FileNotFoundError:
            self._made, self._seen = "", None
            return ""
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no text"
            raise SettingsError(f"{self._file} cannot be read ({reason}): {_ANOTHER}") from error
        if not self._made or not self._made.isprintable():
            raise SettingsError(f"{self._file} holds no secret: {_ANOTHER}")
        return self._made

    def keep(self, secret: str) -> None:
        """Leaves a secret for every process over this data folder.

        Raises:
            OSError: The folder cannot be written.
        """
        keep_to_owner(self._file.parent)
        replace_whole(self._file, f"{secret}\n")

    @staticmethod
    def make() -> str:
        """A new secret, of letters and digits."""
        return secrets.token_urlsafe(_LETTERS)


def add_credentials(app: Flask, settings: Settings, refused: RefusedWebhooks) -> None:
    """Asks for BASIC_AUTH_USER and _PASS everywhere but at `/`, where a container's health check has none.

    The page that browsers get there is no health check: it wants them as well.

    With a secret, /webhook asks for the secret or, if that is set, for Basic. A project's webhooks bring the headers
    that somebody gave them in Label Studio. "Start training" brings the connection's own credentials, so their password
    may be the secret.
    """
    basic = sent_credentials(settings.basic_auth_user, settings.basic_auth_pass) if settings.basic_auth_user else ()
    known = WebhookSecret(settings)

    @app.before_request
    def check() -> Response | None:
        brought = _brought()
        if basic and any(hmac.compare_digest(brought, one) for one in basic):
            return None
        try:
            secret = known.current().encode() if request.path == _WEBHOOK else b""
        except SettingsError as error:
            refused.note_unknown(str(error))
            return refusal(503, "SettingsError", str(error))
        if secret:
            header = request.headers.get(SECRET_HEADER, "").encode(LABEL_STUDIO_ENCODING)
            if hmac.compare_digest(header, secret) or hmac.compare_digest(brought.partition(b":")[2], secret):
                return None
            if request.method == "POST":
                refused.note(f"the header {SECRET_HEADER} with the secret; `connect --project ID` does it")
            return refusal(401, "Unauthorized", f"webhooks of this backend bear {SECRET_HEADER}: see WEBHOOK_SECRET")
        if not basic or (request.path == "/" and not wants_page(request)):
            return None
        if request.path == _WEBHOOK:
            refused.note(f"the header {SECRET_HEADER} with a secret, and set WEBHOOK_SECRET to it here")
        response = refusal(401, "Unauthorized", "this backend wants HTTP Basic credentials: BASIC_AUTH_USER and _PASS")
        response.headers["WWW-Authenticate"] = 'Basic realm="contract-marks", charset="UTF-8"'
        return response


def _brought() -> bytes:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    try:
        return base64.b64decode(token, validate=True) if scheme.lower() == "basic" else b""
    except ValueError:
        return b""
