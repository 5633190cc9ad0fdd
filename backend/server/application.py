"""The whole program of one serving process, put together; the only place that knows all of its parts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from backend.corrections.journal import known_projects
from backend.corrections.service import Feedback, Store
from backend.labelstudio.connections import Connections
from backend.models.serving import Serving
from backend.pages.source import PageSource
from backend.server.announcing import Announcer
from backend.server.predictor import Predictor
from backend.server.routes import RefusedWebhooks, create_app
from backend.server.status_pages import feedback_pages
from backend.training.retraining.starting import Starter

if TYPE_CHECKING:
    from flask import Flask

    from backend.corrections.shown import Inbox
    from backend.server.predictor import Serves
    from backend.settings import Settings

__all__ = ["Application"]


@dataclass(frozen=True, kw_only=True)
class Application:
    """The parts of a running process that others hold on to.

    Attributes:
        flask: The WSGI application.
        predictor: Predicts tasks.
        feedback: Learns from corrections.
        announcer: Tells Label Studio which version serves.
    """

    flask: Flask
    predictor: Predictor
    feedback: Feedback
    announcer: Announcer

    @property
    def inbox(self) -> Inbox:
        return self.feedback.journal

    @classmethod
    def build(
        cls,
        settings: Settings,
        *,
        serving: Serves,
        connections: Connections,
        feedback: Feedback,
        starter: Starter | None = None,
    ) -> Application:
        """Wires the parts; starts nothing."""
        predictor = Predictor(settings, serving, connections, ledger=feedback.ledger)
        refused = RefusedWebhooks()
        flask = create_app(settings, predictor=predictor, inbox=feedback.journal, refused=refused)
        training = starter.status if starter else None
        pages = feedback_pages(feedback.store.engine, state=serving.state, training=training, refused=refused)
        flask.register_blueprint(pages)

        def projects() -> list[int]:
            with feedback.store.engine.connect() as connection:
                return known_projects(connection)

        announcer = Announcer(settings, predictor, projects=projects, unread=feedback.ledger.unread_again)
        return cls(flask=flask, predictor=predictor, feedback=feedback, announcer=announcer)

    @classmethod
    def start(cls, settings: Settings) -> Application:
        """Opens the ledger, begins to load the model and to learn; after a fork, never before.

        Raises:
            LedgerError: The database or the crop store cannot be used.
        """
        connections = Connections(settings, source=lambda access: PageSource(settings, access))
        store = Store.open(settings)
        starter = Starter(settings, store.engine)
        feedback = Feedback(store, connections, recall_distance=settings.recall_distance, retrain=starter.look)
        serving = Serving.start(settings, around=feedback.recalling)
        application = cls.build(settings, serving=serving, connections=connections, feedback=feedback, starter=starter)
        feedback.start(working=bool(settings.samples_in_server))
        application.announcer.start()
        return application

    def stop(self) -> None:
        """Ends the threads and closes the database."""
        self.announcer.stop()
        self.feedback.stop()
