"""Which weights serve: a model promoted here, the Hub's checkpoint, or the bundled ones, in this order."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from backend.nets.hub import Hub
from backend.nets.registry import RESERVED, Registry
from backend.nets.weights import BUNDLED, Weights

if TYPE_CHECKING:
    from backend.settings import Settings

__all__ = ["Sources"]


class Sources:
    """Answers the MODEL setting.

    Args:
        model: `auto`, `hub`, `bundled` or the name of a trained model.
        data_dir: Holds trained and downloaded models.
        hub: Where the checkpoint is; the seed's by default.
        bundled: Folder of the bundled weights.
    """

    def __init__(self, model: str, data_dir: Path, *, hub: Hub | None = None, bundled: Path = BUNDLED) -> None:
        self._model = model
        self._registry = Registry(data_dir / "models")
        self._hub = hub or Hub(folder=data_dir / "hub")
        self._bundled = bundled

    @classmethod
    def of(cls, settings: Settings) -> Sources:
        return cls(settings.model, settings.data_dir)

    def versions(self) -> list[str]:
        """What MODEL may be, besides `auto`: `hub`, `bundled`, and the models trained here."""
        return ["hub", "bundled", *self._registry.names()]

    def check(self) -> None:
        """Refuses a MODEL that there is not, before anything is loaded.

        Raises:
            UnknownModel: MODEL names no model.
        """
        if self._model not in RESERVED:
            self._registry.folder_of(self._model)

    def at_once(self) -> Weights:
        """The best weights on this disk; only MODEL=hub, without them, waits for a download.

        Raises:
            UnknownModel: MODEL names no model.
            WeightsUnavailable: MODEL is `hub`, and the Hub or torch is out of reach.
            BadWeights: A file is missing or is not what it should be.
        """
        if self._model == "bundled":
            return self._open(self._bundled, "bundled")
        if self._model == "hub":
            return self._open(self._hub.converted if self._hub.is_here() else self._hub.pull(), "hub")
        if self._model != "auto":
            return self._open(self._registry.folder_of(self._model), self._model)
        promoted = self._registry.active()
        if promoted is not None:
            return self._open(self._registry.folder_of(promoted), promoted)
        if self._hub.is_here():
            return self._open(self._hub.converted, "hub")
        return self._open(self._bundled, "bundled")

    def better_later(self) -> bool:
        """Whether `auto` would rather serve the Hub's weights, which are not on this disk yet."""
        return self._model == "auto" and self._registry.active() is None and not self._hub.is_here()

    def from_hub(self) -> Weights:
        """Fetches and converts the Hub's weights.

        Raises:
            WeightsUnavailable: The Hub or torch is out of reach.
            BadWeights: The checkpoint is not what it should be.
        """
        return self._open(self._hub.pull(), "hub")

    def _open(self, folder: Path, name: str) -> Weights:
        return Weights.open(folder, name=name, gate_folder=self._bundled)
