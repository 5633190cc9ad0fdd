"""The ML backend class, in the shape of label_studio_ml 2.x: setup, predict, fit.

The class contract of label_studio_ml 2.x: its own base and response where it is installed, equal ones elsewhere.

The 2.x line is not on PyPI; the package of that name there is 1.0.9, whose classes have another shape.
"""

from __future__ import annotations

import importlib.util
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backend.errors import LabelConfigError, RequestError
from backend.escaping import printable
from backend.labelstudio.labelling import bind
from backend.labelstudio.protocol import Event, worth_keeping
from backend.labelstudio.tasks import listed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from backend.corrections.remembering import Inbox
    from backend.server.predictor import Predictor

__all__ = ["MODEL_CLASS", "LabelStudioMLBase", "MarksBackend", "ModelResponse", "Parts", "has_framework", "note_event"]

_LOG = logging.getLogger(__name__)
MODEL_CLASS = "ContractMarks"
"""What / and /health call the class that serves."""


def has_framework() -> bool:
    """Whether label_studio_ml 2.x or newer can be imported: installed, or merely on the path, as a checkout is.

    Its server takes nothing but subclasses of its own base. It is known by its `response` module, which 1.0.9 does not
    have: a checkout has no version that could be asked for.
    """
    package = importlib.util.find_spec("label_studio_ml")
    places = (package and package.submodule_search_locations) or ()
    return any((Path(place) / "response.py").is_file() for place in places)


@dataclass
class _ModelResponse:
    """What `predict` gives: one prediction, or list of predictions, for each task, and the version that made them."""

    model_version: str | None
    predictions: list[Any]

    def model_dump(self) -> dict[str, Any]:
        return {"model_version": self.model_version, "predictions": self.predictions}


class _LabelStudioMLBase:
    """The part of the 2.x base class that a backend class relies on, without its cache on disk.

    Args:
        project_id: Label Studio's id of the project, as text.
        label_config: The project's label config, XML.
    """

    def __init__(self, project_id: str | None = None, label_config: str | None = None) -> None:
        self.project_id = project_id or ""
        self._kept: dict[str, Any] = {} if label_config is None else {"label_config": label_config}
        self.setup()

    def get(self, key: str) -> Any:
        return self._kept.get(key)

    def set(self, key: str, value: Any) -> None:
        self._kept[key] = value

    def has(self, key: str) -> bool:
        return key in self._kept

    @property
    def label_config(self) -> str | None:
        found: str | None = self.get("label_config")
        return found

    @property
    def model_version(self) -> str | None:
        found: str | None = self.get("model_version")
        return found

    def setup(self) -> None:
        """Prepares the model; called at the end of construction."""
        raise NotImplementedError

    def predict(self, tasks: list[dict[str, Any]], context: dict[str, Any] | None = None, **kwargs: Any) -> Any:
        """Predicts tasks, in order."""
        raise NotImplementedError

    def fit(self, event: str, data: Mapping[str, Any], **kwargs: Any) -> Any:
        """Takes note of an event."""
        raise NotImplementedError


if TYPE_CHECKING or not has_framework():
    LabelStudioMLBase = _LabelStudioMLBase
    ModelResponse = _ModelResponse
else:
    from label_studio_ml.model import LabelStudioMLBase
    from label_studio_ml.response import ModelResponse


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What all objects of the class share in one process."""

    predictor: Predictor
    inbox: Inbox


class MarksBackend(LabelStudioMLBase):
    """Boxes the signatures, stamps and thumbprints of contract pages; made anew for each request, it holds no model.

    `create_app` serves a subclass that knows its parts; under label_studio_ml's own `_wsgi.py`,
    `backend.framework.ContractMarks` serves, which makes them from the environment.

    Args:
        project_id: Label Studio's id of the project, as text.
        label_config: The project's label config, XML.

    Raises:
        LabelConfigError: The label config offers nothing to put marks on.
    """

    def __init__(self, project_id: str | None = None, label_config: str | None = None) -> None:
        # Before the base class reads it: label_studio_ml's own parser is not made for hostile XML.
        self.bindings = () if label_config is None else bind(label_config, confidence=self.parts().predictor.confidence)
        super().__init__(project_id=project_id, label_config=label_config)

    @classmethod
    def parts(cls) -> Parts:
        """The process's parts; subclasses know them."""
        raise NotImplementedError(f"{cls.__name__} is served by a subclass: see served_by and backend.framework")

    @classmethod
    def served_by(cls, predictor: Predictor, inbox: Inbox) -> type[MarksBackend]:
        """This class, with the predictor that its objects use, and the inbox of their events."""
        parts = Parts(predictor=predictor, inbox=inbox)
        return type(MODEL_CLASS, (cls,), {"parts": classmethod(lambda _: parts), "__doc__": cls.__doc__})

    def setup(self) -> None:
        """Names the version: "" while no model is ready, which is not waited for."""
        # Not None: label_studio_ml keeps nothing but strings.
        self.set("model_version", self.parts().predictor.version(self.bindings) or "")

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
        predictor = self.parts().predictor
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
        return note_event(self.parts().inbox, event, data)


def note_event(inbox: Inbox, action: object, data: Mapping[str, Any]) -> dict[str, Any]:
    """Stores an event, durably, without its secrets and without what nobody will need.

    It needs neither a model nor a label config.

    Args:
        inbox: Where it is stored.
        action: Its name, such as `ANNOTATION_CREATED`.
        data: The rest of what Label Studio sent.

    Raises:
        RequestError: The event has no name.
        LedgerError: It could not be stored.
    """
    noted = Event.parse(action, data)
    inbox.append(noted.action, project=noted.project, body=worth_keeping({"action": noted.action, **data}))
    tasks, annotations = listed(noted.tasks), listed(noted.annotations)
    name = printable(noted.action, most=100)
    _LOG.info("event %s project=%s tasks=%s annotations=%s", name, noted.project, tasks, annotations)
    return {"status": "stored", "action": noted.action}
