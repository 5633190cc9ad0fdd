"""What requests must bring: HTTP Basic, and for webhooks a secret of their own, for they come without Basic.

The secret is WEBHOOK_SECRET or, where that is empty, what the command `connect` made and left in the data folder.
"""

from __future__ import annotations

import base64
import hmac
import logging
import secrets
import threading
from typing import TYPE_CHECKING

from flask import request

from backend.files import keep_to_owner, replace_whole
from backend.labelstudio.protocol import LABEL_STUDIO_ENCODING, sent_credentials
from backend.labelstudio.webhooks import SECRET_HEADER
from backend.server.callers import refusal, wants_page

if TYPE_CHECKING:
    from flask import Flask, Response

    from backend.settings import Settings

__all__ = ["SECRET_USER", "RefusedWebhooks", "WebhookSecret", "add_credentials"]

_LOG = logging.getLogger(__name__)
SECRET_USER = "label-studio"  # noqa: S105  a name
"""User name of a connection that brings the secret as its password: "Start training" comes with nothing else."""
_WEBHOOK = "/webhook"
_FILE = "webhook-secret"
_LETTERS = 32


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
        with self._lock:
            self.count += 1
            if self.count > 1:
                return
            self.remedy = f"in Label Studio's project settings, under Webhooks, give the webhook {wanted}"
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
        """The secret; empty where webhooks need none."""
        if self._configured:
            return self._configured
        try:
            found = self._file.stat()
            if (found.st_ino, found.st_mtime_ns) != self._seen:
                self._made = self._file.read_text(encoding="ascii").strip()
                self._seen = found.st_ino, found.st_mtime_ns
        except FileNotFoundError:
            self._made, self._seen = "", None
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
        if request.path == _WEBHOOK and (secret := known.current().encode()):
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
