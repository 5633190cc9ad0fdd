"""The ML backend class, in the shape of label_studio_ml 2.x: setup, predict, fit."""

from __future__ import annotations

import logging
import os
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

from backend.errors import LabelConfigError, RequestError
from backend.labelstudio.annotations import without_secrets
from backend.labelstudio.base import LabelStudioMLBase, ModelResponse
from backend.labelstudio.events import Event
from backend.labelstudio.labelling import bind
from backend.labelstudio.tasks import listed
from backend.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from backend.application import Application
    from backend.labelstudio.predictor import Predictor
    from backend.labelstudio.recording import Inbox

__all__ = ["ContractMarks"]

_LOG = logging.getLogger(__name__)


class ContractMarks(LabelStudioMLBase):
    """Boxes the signatures, stamps and thumbprints of contract pages; made anew for each request, it holds no model.

    `create_app` serves a subclass that knows its predictor. Under label_studio_ml's own `_wsgi.py` the class makes one
    for the process, from the environment:

        from label_studio_ml.api import init_app
        from backend.labelstudio.model import ContractMarks
        app = init_app(model_class=ContractMarks)

    Args:
        project_id: Label Studio's id of the project, as text.
        label_config: The project's label config, XML.

    Raises:
        LabelConfigError: The label config offers nothing to put marks on.
    """

    predictor: ClassVar[Predictor | None] = None
    inbox: ClassVar[Inbox | None] = None

    def __init__(self, project_id: str | None = None, label_config: str | None = None) -> None:
        # Before the base class reads it: label_studio_ml's own parser is not made for hostile XML.
        self.bindings = () if label_config is None else bind(label_config, confidence=self._predictor().confidence)
        super().__init__(project_id=project_id, label_config=label_config)

    @classmethod
    def served_by(cls, predictor: Predictor, inbox: Inbox) -> type[ContractMarks]:
        """This class, with the predictor that its objects use, and the inbox of their events."""
        return type(cls.__name__, (cls,), {"predictor": predictor, "inbox": inbox, "__doc__": cls.__doc__})

    def setup(self) -> None:
        """Names the version: "" while no model is ready, which is not waited for."""
        # Not None: label_studio_ml keeps nothing but strings.
        self.set("model_version", self._predictor().version(self.bindings) or "")

    def predict(
        self, tasks: list[dict[str, Any]], context: dict[str, Any] | None = None, **kwargs: Any
    ) -> ModelResponse:
        """One prediction for each task, `[]` where a task is not done yet; with a context, what was drawn, refined.

        Args:
            tasks: Tasks as Label Studio serialises them.
            context: In interactive labelling, the regions just drawn, under `result`.
            kwargs: Further parameters of Label Studio's request; none is needed.

        Raises:
            LabelConfigError: The object was made without a label config.
            ModelError: There is no model.
            PageError: The page of a drawn region cannot be had.
            RequestError: What was drawn is no rectangle.
        """
        del kwargs
        predictor = self._predictor()
        if not self.bindings:
            raise LabelConfigError("the project has no label config yet: give it one, then ask again")
        drawn = (context or {}).get("result")
        if not drawn:
            version, predictions = predictor.predict(tasks, self.bindings, project=self.project_id)
            return ModelResponse(model_version=version, predictions=predictions)
        if len(tasks) != 1 or not isinstance(drawn, list) or not all(isinstance(region, dict) for region in drawn):
            raise RequestError("params.context.result belongs to one task and is a list of regions")
        version, prediction = predictor.refine(tasks[0], drawn, self.bindings, project=self.project_id)
        return ModelResponse(model_version=version, predictions=[prediction])

    def fit(self, event: str, data: Mapping[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Stores an event, durably and without its secrets; what it says is made of it later.

        Raises:
            RequestError: The event has no name.
            LedgerError: It could not be stored.
        """
        del kwargs
        noted = Event.parse(event, data)
        kept = without_secrets({"action": noted.action, **data})
        (self.inbox or _of_environment().inbox).append(noted.action, project=noted.project, body=kept)
        tasks, annotations = listed(noted.tasks), listed(noted.annotations)
        _LOG.info("event %s project=%s tasks=%s annotations=%s", noted.action, noted.project, tasks, annotations)
        return {"status": "stored", "action": noted.action}

    def _predictor(self) -> Predictor:
        return self.predictor or _of_environment().predictor


@cache
def _of_environment() -> Application:
    """The program of a process that was started by label_studio_ml's own server: there, this class is the way in."""
    from backend.application import Application  # noqa: PLC0415  it is made of this class, among others

    return Application.start(Settings.from_environment(os.environ))
