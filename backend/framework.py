"""The ML backend class for label_studio_ml's own server, which is given a class and nothing else.

Its `_wsgi.py` needs no more than:

    from label_studio_ml.api import init_app
    from backend.framework import ContractMarks
    app = init_app(model_class=ContractMarks)
"""

from __future__ import annotations

import os
from functools import cache

from backend.server import ml_backend
from backend.server.application import Application
from backend.settings import Settings

__all__ = ["ContractMarks"]


class ContractMarks(ml_backend.ContractMarks):
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
    return ml_backend.Parts(predictor=application.predictor, inbox=application.inbox)
