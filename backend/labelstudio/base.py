"""The class contract of label_studio_ml 2.x: its own base and response where it is installed, equal ones elsewhere.

The 2.x line is not on PyPI; the package of that name there is 1.0.9, whose classes have another shape.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["LabelStudioMLBase", "ModelResponse", "has_framework"]


def has_framework() -> bool:
    """Whether label_studio_ml 2.x or newer is installed."""
    try:
        return int(metadata.version("label-studio-ml").partition(".")[0]) >= 2
    except (metadata.PackageNotFoundError, ValueError):
        return False


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
