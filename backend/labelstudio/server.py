"""The HTTP server that Label Studio talks to: an application factory and its five routes."""

from __future__ import annotations

import logging
import secrets
import threading
from typing import TYPE_CHECKING, Any

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException, ServiceUnavailable

from backend.errors import BackendError
from backend.labelstudio.credentials import RefusedWebhooks, add_credentials
from backend.labelstudio.model import ContractMarks
from backend.labelstudio.protocol import PredictRequest, SetupRequest, parse_body
from backend.labelstudio.refusals import refusal

if TYPE_CHECKING:
    from backend.labelstudio.predictor import Predictor
    from backend.labelstudio.recording import Inbox
    from backend.settings import Settings

__all__ = ["create_app"]

_LOG = logging.getLogger(__name__)
# Room for hundreds of tasks with their annotations; a page that travels as a data URI counts, too.
_MOST_BODY_BYTES = 64 * 1024 * 1024
# Request threads that predictions never take: the other routes must answer within a second whatever is being predicted.
_KEPT_FREE = 8


def create_app(
    settings: Settings, *, predictor: Predictor, inbox: Inbox, refused: RefusedWebhooks | None = None
) -> Flask:
    """The application.

    Args:
        settings: Credentials and the number of threads.
        predictor: Predicts tasks.
        inbox: Takes events.
        refused: Counts those that come without their credentials.
    """
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = _MOST_BODY_BYTES
    app.json.sort_keys = False  # type: ignore[attr-defined]
    model_class = ContractMarks.served_by(predictor, inbox)
    _add_routes(app, model_class, predictor, at_once=max(1, settings.threads - _KEPT_FREE))
    _add_errors(app)
    add_credentials(app, settings, refused or RefusedWebhooks())
    return app


def _add_routes(app: Flask, model_class: type[ContractMarks], predictor: Predictor, *, at_once: int) -> None:
    gate = threading.BoundedSemaphore(at_once)

    @app.get("/")
    def alive() -> Any:
        return {"status": "UP", "model_class": ContractMarks.__name__}

    @app.get("/health")
    def health() -> Any:
        return {"status": "UP", "model_class": ContractMarks.__name__, **predictor.serving.state()}

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
