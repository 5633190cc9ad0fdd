"""The ML backend class for label_studio_ml's own server, which is given a class and nothing else.

Its `_wsgi.py` needs no more than:

    from label_studio_ml.api import init_app
    from backend.framework import ContractMarks
    app = init_app(model_class=ContractMarks)

That server drops the events whose names are plural, such as ANNOTATIONS_DELETED. What they told is asked for instead:
see `_MISSED_SECONDS`.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from functools import cache
from typing import TYPE_CHECKING

from backend.corrections.journal import known_projects
from backend.corrections.reconciling import sync
from backend.errors import BackendError
from backend.server import ml_backend
from backend.server.application import Application
from backend.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Engine

    from backend.labelstudio.client import LabelStudio

__all__ = ["ContractMarks", "catch_up"]

_LOG = logging.getLogger(__name__)
_MISSED_SECONDS = 60.0
"""How often Label Studio is asked for corrections whose events that server dropped."""
# The bundled model is loaded in less than the 3 s that Label Studio waits for /setup; a late answer is asked for again.
_FIRST_SECONDS = 60.0
_LOOK_SECONDS = 0.05


class ContractMarks(ml_backend.MarksBackend):
    """The same class, with parts that the process starts from its environment when they are first asked for."""

    @classmethod
    def parts(cls) -> ml_backend.Parts:
        """The process's parts.

        Raises:
            SettingsError: An environment variable cannot be used.
            LedgerError: The database cannot be opened.
        """
        return _parts()


@cache
def _parts() -> ml_backend.Parts:
    application = Application.start(Settings.from_environment(os.environ))
    threading.Thread(target=_catch_up_for_ever, args=(application,), name="missed events", daemon=True).start()
    # Else the first /setup would answer "" for a version, which that server and Label Studio take for one.
    give_up = time.monotonic() + _FIRST_SECONDS
    while application.predictor.serving.state()["model_state"] == "loading" and time.monotonic() < give_up:
        time.sleep(_LOOK_SECONDS)
    return ml_backend.Parts(predictor=application.predictor, inbox=application.inbox)


def catch_up(engine: Engine, studio_of: Callable[[str], LabelStudio]) -> int:
    """Asks Label Studio what changed in the known projects since the last time; gives how many annotations did.

    Args:
        engine: The ledger's database.
        studio_of: Label Studio's API, for a project by its id.

    Raises:
        LabelStudioError: Label Studio refused or did not answer.
        LedgerError: The database cannot be used.
        OtherLabelStudio: The ledger is of another one.
    """
    with engine.connect() as connection:
        projects = known_projects(connection)
    changed = 0
    for project in projects:
        studio = studio_of(str(project))
        found = sync(engine, studio, project, address=studio.base_url)
        changed += found.saved + found.deleted
    return changed


def _catch_up_for_ever(application: Application) -> None:
    """In a thread of its own; what fails is said, and tried again."""
    while True:
        time.sleep(_MISSED_SECONDS)
        try:
            changed = catch_up(application.feedback.store.engine, application.predictor.connections.studio)
        except BackendError as error:
            _LOG.warning("corrections whose events were dropped are not known yet: %s", error)
        except Exception:
            _LOG.exception("asking for corrections whose events were dropped failed")
        else:
            if changed:
                _LOG.info("%d annotations changed without an event that was let through", changed)
