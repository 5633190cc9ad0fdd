"""The HTTP server that Label Studio talks to: an application factory and its five routes."""

from __future__ import annotations

import logging
import secrets
import threading
from typing import TYPE_CHECKING, Any, Protocol

from flask import Flask, Response, g, request
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.exceptions import HTTPException, ServiceUnavailable

from backend.corrections.database import refuses_values
from backend.errors import BackendError
from backend.labelstudio.protocol import PredictRequest, SetupRequest, count_values, parse_body, project_told
from backend.labelstudio.tasks import project_id
from backend.server.callers import RefusedWebhooks, add_caller_check, add_credentials, refusal, wants_page
from backend.server.ml_backend import MODEL_CLASS, MarksBackend, note_event

if TYPE_CHECKING:
    from collections.abc import Callable

    from backend.corrections.remembering import Inbox
    from backend.server.predictor import Predictor
    from backend.settings import Settings

__all__ = ["create_app", "create_front"]

_LOG = logging.getLogger(__name__)
# Room for hundreds of tasks with their annotations; a page that travels as a data URI counts, too.
_MOST_BODY_BYTES = 64 * 1024 * 1024
# A project introduces itself with its label config; an event brings one task, or a batch of them.
_LARGEST_BODIES = {"/predict": None, "/setup": 4 * 1024 * 1024, "/webhook": 16 * 1024 * 1024}
# What the pages of this server send: some hundred decisions.
_LARGEST_OTHERS = 1024 * 1024
# Of every answer that does not say otherwise: they tell of contracts, and are for whoever asked and nobody else.
_GUARDS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_LONGEST_REASON = 2000
# Of all bodies that are worked on at once: some hundred megabytes. A body with few finds room always.
_MOST_VALUES = 2_000_000
_FEW_VALUES = 10_000
# Request threads that predictions never take: the other routes must answer within a second whatever is being predicted.
_KEPT_FREE = 8


class Admits(Protocol):
    """Lets a request about a project pass; `backend.corrections.belonging.Belonging.admit` does."""

    def __call__(self, project: int | None, made: int | None, /, *, hostname: str = "") -> None:
        """Raises OtherLabelStudio where the project is of another Label Studio."""
        ...


def admit_all(project: int | None, made: int | None, /, *, hostname: str = "") -> None:
    """Refuses nothing."""


def create_app(
    settings: Settings,
    *,
    predictor: Predictor,
    inbox: Inbox,
    refused: RefusedWebhooks | None = None,
    page: Callable[[], Response] | None = None,
    admit: Admits = admit_all,
) -> Flask:
    """The application.

    Args:
        settings: Credentials and the number of threads.
        predictor: Predicts tasks.
        inbox: Takes events.
        refused: Counts those that come without their credentials.
        page: Answers `/` to those who name HTML among what they take; None where all get the same JSON.
        admit: Refuses requests about projects of another Label Studio.
    """
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = _MOST_BODY_BYTES
    app.before_request(_bound_body)
    app.json.sort_keys = False  # type: ignore[attr-defined]
    model_class = MarksBackend.served_by(predictor, inbox)

    def health() -> dict[str, Any]:
        troubles = inbox.troubles()
        storage = {"storage": "degraded", "storage_troubles": troubles} if troubles else {"storage": "ready"}
        return {**predictor.serving.state(), **storage}

    app.extensions["health"] = health
    _add_quick_routes(app, health, page=page)
    _add_routes(app, model_class, predictor, inbox, at_once=max(1, settings.threads - _KEPT_FREE), admit=admit)
    _add_errors(app)
    add_caller_check(app, settings)
    add_credentials(app, settings, refused or RefusedWebhooks())
    return app


def create_front(settings: Settings, *, health: Callable[[], dict[str, Any]]) -> Flask:
    """An application of `/` and `/health` alone, for a process that does nothing else.

    Args:
        settings: Credentials.
        health: How the model and the storage are; never waits.
    """
    app = Flask(__name__, static_folder=None)
    app.json.sort_keys = False  # type: ignore[attr-defined]
    _add_quick_routes(app, health, page=None)
    _add_errors(app)
    add_caller_check(app, settings)
    add_credentials(app, settings, RefusedWebhooks())
    return app


def _add_quick_routes(app: Flask, state: Callable[[], dict[str, Any]], *, page: Callable[[], Response] | None) -> None:
    @app.get("/")
    def alive() -> Any:
        if page is not None and wants_page(request):
            return page()
        return {"status": "UP", "model_class": MODEL_CLASS}

    @app.get("/health")
    def health() -> Any:
        # Always 200: Label Studio would not ask for predictions else, and boxes need no ledger.
        return {"status": "UP", "model_class": MODEL_CLASS, **state()}


def _add_routes(
    app: Flask,
    model_class: type[MarksBackend],
    predictor: Predictor,
    inbox: Inbox,
    *,
    at_once: int,
    admit: Admits,
) -> None:
    gate = threading.BoundedSemaphore(at_once)
    room = _Room(_MOST_VALUES)

    def read() -> dict[str, Any]:
        # What was read of a large body is held once, until it is parsed, and not while pages are predicted.
        data = request.get_data(cache=False)
        request.environ["wsgi.input"].close()
        values = count_values(data)
        if values > _FEW_VALUES:
            if not room.take(values):
                raise ServiceUnavailable("too many large requests are under way: ask again later")
            g.values = values
        return parse_body(data)

    @app.teardown_request
    def leave(_: BaseException | None) -> None:
        room.give_back(g.pop("values", 0))

    @app.post("/setup")
    def setup() -> Any:
        wanted = SetupRequest.parse(read())
        admit(project_id(wanted.project), wanted.made, hostname=wanted.hostname)
        model = model_class(project_id=wanted.project, label_config=wanted.label_config)
        predictor.check()
        predictor.connections.learn(wanted.project, hostname=wanted.hostname, token=wanted.access_token)
        return {"model_version": model.get("model_version") or None}

    @app.post("/predict")
    def predict() -> Any:
        wanted = PredictRequest.parse(read())
        admit(project_id(wanted.project), wanted.made)
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
        data = read()
        admit(*project_told(data))
        # Without an object of the class: an event is noted whatever the label config, and the model, have become.
        return {"result": "ok", **note_event(inbox, data.pop("action", None), data)}

    @app.get("/versions")
    def versions() -> Any:
        version = predictor.serving.state()["model_version"]
        return {"versions": [version] if version else []}


class _Room:
    """So many values at once, for the bodies of all requests; shared by threads."""

    def __init__(self, most: int) -> None:
        self._left = most
        self._lock = threading.Lock()

    def take(self, values: int) -> bool:
        """Whether there was room for so many more."""
        with self._lock:
            if values > self._left:
                return False
            self._left -= values
            return True

    def give_back(self, values: int) -> None:
        with self._lock:
            self._left += values


def _bound_body() -> None:
    """Has a body refused before it is read, where it says that it is too large."""
    most = _LARGEST_BODIES.get(request.path, _LARGEST_OTHERS)
    if most is not None:
        request.max_content_length = most


def _add_errors(app: Flask) -> None:
    @app.after_request
    def guard(response: Response) -> Response:
        for name, value in _GUARDS.items():
            response.headers.setdefault(name, value)
        return response

    @app.errorhandler(SQLAlchemyError)
    def without_ledger(error: SQLAlchemyError) -> Response:
        # The driver's own words: SQLAlchemy adds the statement and its values.
        words = str(getattr(error, "orig", None) or error).strip().partition("\n")[0][:_LONGEST_REASON]
        _LOG.warning("%s %s: the ledger: %s", request.method, request.path, words)
        if refuses_values(error):
            return refusal(400, "RequestError", "the request holds a value that the ledger has no room for")
        return refusal(503, "LedgerError", f"the ledger cannot be asked now: {words}; try again in a moment")

    @app.errorhandler(BackendError)
    def refused(error: BackendError) -> Response:
        _LOG.warning("%s %s: %s: %s", request.method, request.path, type(error).__name__, error)
        return refusal(error.status, type(error).__name__, str(error)[:_LONGEST_REASON])

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
