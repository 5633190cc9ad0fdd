"""The HTTP server that Label Studio talks to: an application factory and its five routes.

What requests must bring: HTTP Basic, and for webhooks a secret of their own, for they come without Basic.

The one shape of an answer that says no, and who wants a page instead of JSON.
"""

from __future__ import annotations

import base64
import hmac
import logging
import secrets
import threading
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from flask import Flask, Response, jsonify, request
from werkzeug.exceptions import HTTPException, ServiceUnavailable

from backend.errors import BackendError
from backend.labelstudio.protocol import (
    LABEL_STUDIO_ENCODING,
    PredictRequest,
    SetupRequest,
    parse_body,
    sent_credentials,
)
from backend.labelstudio.webhooks import SECRET_HEADER
from backend.server.ml_backend import ContractMarks

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Request

    from backend.corrections.shown import Inbox
    from backend.server.predictor import Predictor
    from backend.settings import Settings

__all__ = ["RefusedWebhooks", "add_credentials", "create_app", "refusal", "wants_page"]

_LONGEST_PHRASE = 300
_LOG = logging.getLogger(__name__)
_WEBHOOK = "/webhook"
# Room for hundreds of tasks with their annotations; a page that travels as a data URI counts, too.
_MOST_BODY_BYTES = 64 * 1024 * 1024
# Request threads that predictions never take: the other routes must answer within a second whatever is being predicted.
_KEPT_FREE = 8


def refusal(status: int, kind: str, message: str) -> Response:
    """A JSON error, whose reason also stands in the status line: that is all that Label Studio shows of it."""
    response = jsonify({"error": kind, "message": message})
    phrase = "".join(letter if " " <= letter <= "~" else "?" for letter in message)[:_LONGEST_PHRASE]
    response.status = f"{status} {phrase or HTTPStatus(status).phrase}"
    return response


def wants_page(request: Request) -> bool:
    """Whether a request names HTML among what it takes, as browsers do; `*/*`, as programs send it, is none."""
    accepted = request.accept_mimetypes
    html = max((quality for value, quality in accepted if value == "text/html"), default=0)
    return html > 0 and html >= max((quality for value, quality in accepted if value == "application/json"), default=0)


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
    """Asks for BASIC_AUTH_USER and _PASS everywhere but at `/`, where a container's health check has none.

    The page that browsers get there is no health check: it wants them as well.

    With WEBHOOK_SECRET, /webhook asks for that or, where it is set, for Basic: the webhooks of a project come with the
    headers that somebody gave them in Label Studio, but "Start training" comes with the connection's own credentials.
    """
    basic = sent_credentials(settings.basic_auth_user, settings.basic_auth_pass) if settings.basic_auth_user else ()
    secret = settings.webhook_secret.encode()

    @app.before_request
    def check() -> Response | None:
        if basic and any(hmac.compare_digest(_brought(), one) for one in basic):
            return None
        if request.path == _WEBHOOK and secret:
            if hmac.compare_digest(request.headers.get(SECRET_HEADER, "").encode(LABEL_STUDIO_ENCODING), secret):
                return None
            refused.note(f"the header {SECRET_HEADER} with the value of WEBHOOK_SECRET")
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


def create_app(
    settings: Settings,
    *,
    predictor: Predictor,
    inbox: Inbox,
    refused: RefusedWebhooks | None = None,
    page: Callable[[], Response] | None = None,
) -> Flask:
    """The application.

    Args:
        settings: Credentials and the number of threads.
        predictor: Predicts tasks.
        inbox: Takes events.
        refused: Counts those that come without their credentials.
        page: Answers `/` to those who name HTML among what they take; None where all get the same JSON.
    """
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = _MOST_BODY_BYTES
    app.json.sort_keys = False  # type: ignore[attr-defined]
    model_class = ContractMarks.served_by(predictor, inbox)
    _add_routes(app, model_class, predictor, inbox, at_once=max(1, settings.threads - _KEPT_FREE), page=page)
    _add_errors(app)
    add_credentials(app, settings, refused or RefusedWebhooks())
    return app


def _add_routes(
    app: Flask,
    model_class: type[ContractMarks],
    predictor: Predictor,
    inbox: Inbox,
    *,
    at_once: int,
    page: Callable[[], Response] | None,
) -> None:
    gate = threading.BoundedSemaphore(at_once)

    @app.get("/")
    def alive() -> Any:
        if page is not None and wants_page(request):
            return page()
        return {"status": "UP", "model_class": ContractMarks.__name__}

    @app.get("/health")
    def health() -> Any:
        # Always 200: Label Studio would not ask for predictions else, and boxes need no ledger.
        troubles = inbox.troubles()
        storage = {"storage": "degraded", "storage_troubles": troubles} if troubles else {"storage": "ready"}
        return {"status": "UP", "model_class": ContractMarks.__name__, **predictor.serving.state(), **storage}

    @app.post("/setup")
    def setup() -> Any:
        wanted = SetupRequest.parse(parse_body(request.get_data()))
        model = model_class(project_id=wanted.project, label_config=wanted.label_config)
        predictor.check()
        predictor.connections.learn(wanted.project, hostname=wanted.hostname, token=wanted.access_token)
        return {"model_version": model.get("model_version") or None}

    @app.post("/predict")
    def predict() -> Any:
        wanted = PredictRequest.parse(parse_body(request.get_data()))
        model = model_class(project_id=wanted.project, label_config=wanted.label_config)
        if not gate.acquire(blocking=False):
            raise ServiceUnavailable(f"{at_once} predictions are under way already: ask again later, or raise THREADS")
        try:
            response = model.predict(wanted.tasks, context=wanted.context)
        finally:
            gate.release()
        return {"results": response.model_dump()["predictions"]}

    @app.post("/webhook")
    def webhook() -> Any:
        data = parse_body(request.get_data())
        # An event is noted whatever the project's label config has become: so none is handed over.
        result = model_class().fit(data.pop("action", None), data)
        return {"result": "ok", **result}

    @app.get("/versions")
    def versions() -> Any:
        version = predictor.serving.state()["model_version"]
        return {"versions": [version] if version else []}


def _add_errors(app: Flask) -> None:
    @app.errorhandler(BackendError)
    def refused(error: BackendError) -> Response:
        _LOG.warning("%s %s: %s: %s", request.method, request.path, type(error).__name__, error)
        return refusal(error.status, type(error).__name__, str(error))

    @app.errorhandler(HTTPException)
    def unroutable(error: HTTPException) -> Response:
        response = refusal(error.code or 500, type(error).__name__, error.description or error.name)
        response.headers.extend((name, value) for name, value in error.get_headers() if name != "Content-Type")
        return response

    @app.errorhandler(Exception)
    def unexpected(_: Exception) -> Response:
        incident = secrets.token_hex(4)
        _LOG.exception("%s %s: incident %s", request.method, request.path, incident)
        return refusal(
            500, "InternalError", f"something unexpected failed; the server's log has it as incident {incident}"
        )
