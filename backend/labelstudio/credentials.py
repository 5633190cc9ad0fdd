"""What requests must bring: HTTP Basic, and for webhooks a secret of their own, for they come without Basic."""

from __future__ import annotations

import base64
import hmac
import logging
import threading
from typing import TYPE_CHECKING

from flask import request

from backend.labelstudio.refusals import refusal

if TYPE_CHECKING:
    from flask import Flask, Response

    from backend.settings import Settings

__all__ = ["SECRET_HEADER", "RefusedWebhooks", "add_credentials"]

_LOG = logging.getLogger(__name__)
SECRET_HEADER = "X-Webhook-Secret"  # noqa: S105  a name
_WEBHOOK = "/webhook"


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


def add_credentials(app: Flask, settings: Settings, refused: RefusedWebhooks) -> None:
    """Asks for BASIC_AUTH_USER and _PASS everywhere but at `/` (a container's health check has none).

    With WEBHOOK_SECRET, /webhook asks for that or, where it is set, for Basic: the webhooks of a project come with the
    headers that somebody gave them in Label Studio, but "Start training" comes with the connection's own credentials.
    """
    basic = _encoded(settings.basic_auth_user, settings.basic_auth_pass) if settings.basic_auth_user else ()
    secret = settings.webhook_secret.encode()

    @app.before_request
    def check() -> Response | None:
        if basic and any(hmac.compare_digest(_brought(), one) for one in basic):
            return None
        if request.path == _WEBHOOK and secret:
            if hmac.compare_digest(request.headers.get(SECRET_HEADER, "").encode("latin-1"), secret):
                return None
            refused.note(f"the header {SECRET_HEADER} with the value of WEBHOOK_SECRET")
            return refusal(401, "Unauthorized", f"webhooks of this backend bear {SECRET_HEADER}: see WEBHOOK_SECRET")
        if not basic or request.path == "/":
            return None
        if request.path == _WEBHOOK:
            refused.note(f"the header {SECRET_HEADER} with a secret, and set WEBHOOK_SECRET to it here")
        response = refusal(401, "Unauthorized", "this backend wants HTTP Basic credentials: BASIC_AUTH_USER and _PASS")
        response.headers["WWW-Authenticate"] = 'Basic realm="contract-marks", charset="UTF-8"'
        return response


def _encoded(user: str, password: str) -> tuple[bytes, ...]:
    """As browsers send them, and as Label Studio does: its `requests` writes Latin-1, and can send nothing beyond."""
    pair = f"{user}:{password}"
    try:
        return pair.encode(), pair.encode("latin-1")
    except UnicodeEncodeError:
        return (pair.encode(),)


def _brought() -> bytes:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    try:
        return base64.b64decode(token, validate=True) if scheme.lower() == "basic" else b""
    except ValueError:
        return b""
