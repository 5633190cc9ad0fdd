"""The whole program of one serving process, put together; the only place that knows all of its parts."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from backend.corrections.chronicle import Chronicle, Registered
from backend.corrections.journal import known_projects
from backend.corrections.service import Feedback, Loop, Store
from backend.labelstudio.connections import Connections
from backend.labelstudio.probing import Initials
from backend.models.promotion import Models
from backend.models.serving import Serving
from backend.pages.source import Cache, PageSource
from backend.server.announcing import Announcer
from backend.server.callers import RefusedWebhooks
from backend.server.dashboard import Dashboard
from backend.server.predictor import Predictor
from backend.server.renewing import Renewer
from backend.server.routes import create_app
from backend.server.status_pages import feedback_pages
from backend.server.wall.wall_decisions import Decisions
from backend.server.wall.wall_pages import Wall, wall_pages
from backend.server.wall.wall_queue import Looks, crops_on_page
from backend.training.retraining.starting import Starter
from backend.vision.engine import give_back_memory

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from flask import Flask
    from numpy.typing import NDArray

    from backend.corrections.remembering import Inbox
    from backend.server.predictor import Serves
    from backend.settings import Settings

__all__ = ["Application", "Freeing"]

_STOP_SECONDS = 5.0
_EMBED_SECONDS = 20.0
_WORKED_SECONDS = 2.0


class Freeing:
    """Gives freed memory back to the system after some work: files of a megabyte that come and go leave holes.

    Args:
        worked: Seconds of a processor that this process has taken so far.
    """

    def __init__(self, *, worked: Callable[[], float] = time.process_time) -> None:
        self._worked = worked
        self._last = worked()

    def look(self) -> int:
        """Does it where two seconds of work were done since the last time; it takes some milliseconds. Gives 0."""
        if self._worked() >= self._last + _WORKED_SECONDS:
            give_back_memory()
            self._last = self._worked()
        return 0


@dataclass(frozen=True, kw_only=True)
class Application:
    """The parts of a running process that others hold on to.

    Attributes:
        flask: The WSGI application.
        predictor: Predicts tasks.
        feedback: Learns from corrections.
        announcer: Tells Label Studio which version serves.
        renewer: Has open tasks predicted anew after a correction.
        chronicle: Writes down what the dashboard's lines are drawn from.
        freeing: Gives freed memory back.
        serving: Loads models; None where somebody else does.
    """

    flask: Flask
    predictor: Predictor
    feedback: Feedback
    announcer: Announcer
    renewer: Renewer
    chronicle: Loop
    freeing: Loop
    serving: Serving | None = None

    @property
    def inbox(self) -> Inbox:
        return self.feedback.intake

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
        predictor = Predictor(settings, serving, connections, ledger=feedback.intake, sights=feedback.sights)
        refused = RefusedWebhooks()
        training = starter.status if starter else None

        def projects() -> list[int]:
            with feedback.store.engine.connect() as connection:
                return known_projects(connection)

        registered = Registered(Models(settings.data_dir / "models"))
        dashboard = Dashboard(
            engine=feedback.store.engine,
            label_studio=settings.label_studio_url,
            state=serving.state,
            training=training,
            refused=refused,
            initials=Initials(connections, projects=projects) if settings.dashboard_people else None,
            registered=registered,
            waiting=feedback.intake,
        )
        admit = feedback.belonging.admit
        flask = create_app(
            settings, predictor=predictor, inbox=feedback.intake, refused=refused, page=dashboard, admit=admit
        )
        pages = feedback_pages(
            feedback.store.engine,
            state=serving.state,
            training=training,
            refused=refused,
            label_studio=settings.label_studio_url,
            waiting=feedback.intake,
        )
        flask.register_blueprint(pages)
        flask.register_blueprint(wall_pages(_wall(settings, feedback, connections, serving, projects)))
        announcer = Announcer(settings, predictor, projects=projects, unread=feedback.ledger.unread_again)
        chronicle = Chronicle(feedback.store.engine, version=lambda: serving.state()["model_version"], told=registered)
        return cls(
            flask=flask,
            predictor=predictor,
            feedback=feedback,
            announcer=announcer,
            renewer=Renewer(settings, predictor, feedback.store.engine, belongs=lambda: feedback.belonging.is_ours),
            serving=serving if isinstance(serving, Serving) else None,
            chronicle=Loop(chronicle.look, name="chronicle"),
            freeing=Loop(Freeing().look, name="freeing"),
        )

    @classmethod
    def start(cls, settings: Settings) -> Application:
        """Opens the ledger, begins to load the model and to learn; after a fork, never before.

        Raises:
            LedgerError: The database or the crop store cannot be used.
        """
        cache = Cache.of(settings)  # one, however many tokens come with /setup
        connections = Connections(settings, source=lambda access: PageSource(settings, access, cache=cache))
        store = Store.open(settings, patient=True)
        starter = Starter(settings, store.engine)
        feedback = Feedback(store, connections, recall_distance=settings.recall_distance, retrain=starter.look)
        serving = Serving.start(settings, around=feedback.recalling)
        application = cls.build(settings, serving=serving, connections=connections, feedback=feedback, starter=starter)
        feedback.start(working=bool(settings.samples_in_server))
        application.announcer.start()
        application.renewer.start()
        application.chronicle.start()
        application.freeing.start()
        return application

    def stop(self) -> None:
        """Ends the threads and closes the database."""
        if self.serving is not None:
            self.serving.stop()
        self.announcer.stop()
        self.renewer.stop()
        self.chronicle.stop(timeout=_STOP_SECONDS)
        self.freeing.stop(timeout=_STOP_SECONDS)
        self.feedback.stop()


def _wall(
    settings: Settings,
    feedback: Feedback,
    connections: Connections,
    serving: Serves,
    projects: Callable[[], list[int]],
) -> Wall:
    """The crop wall over the same ledger, pages and model as everything else."""
    engine = feedback.store.engine

    def embed(pixels: NDArray[np.uint8], boxes: NDArray[np.float64]) -> NDArray[np.float32]:
        return serving.pipeline(timeout=_EMBED_SECONDS).classifier.classify(pixels, boxes).embeddings

    return Wall(
        engine=engine,
        label_studio=settings.label_studio_url,
        studio=connections.studio,
        projects=projects,
        looks=Looks(
            connections,
            on_page=lambda project, task, page: crops_on_page(engine, project=project, task=task, page=page),
            embed=embed,
        ),
        decisions=Decisions(engine, studio=connections.studio),
        guarded=bool(settings.basic_auth_user),
    )
