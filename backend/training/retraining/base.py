"""What a retraining starts from: the weights at the root of those that serve, before any correction taught them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import onnx

from backend.nets.registry import RESERVED
from backend.nets.sources import Sources
from backend.registry.models import Models

if TYPE_CHECKING:
    from backend.nets.weights import Weights
    from backend.settings import Settings

__all__ = ["Base", "read_base", "root_of"]


@dataclass(frozen=True, kw_only=True)
class Base:
    """The weights that a training starts from.

    Attributes:
        name: Of the weights, with the beginning of their checksum.
        path: Their ONNX file.
        pool: Side of the squares over which they average their input first; 1 where they do not.
    """

    name: str
    path: Path
    pool: int


def read_base(weights: Weights) -> Base:
    """What a training has to know of weights to start from them."""
    pools = [node for node in onnx.load(weights.trainable).graph.node if node.op_type == "AveragePool"]
    sides = [attribute.ints[0] for node in pools for attribute in node.attribute if attribute.name == "kernel_shape"]
    return Base(
        name=f"{weights.name}@{weights.config.sha256[:12]}", path=weights.trainable, pool=int(sides[0]) if sides else 1
    )


def root_of(serving: Weights, settings: Settings) -> Weights:
    """The weights that those which serve go back to: bundled, from the Hub, or published from elsewhere.

    All samples are learnt anew from there each time, so that what was retracted since is in no later model.

    Raises:
        RegistryError: A model on the way is no longer there, or its record cannot be read.
        ModelError: The root cannot be opened.
    """
    models, name = Models(settings.data_dir / "models"), serving.name
    while (source := _made_of(models, name)) is not None:
        name = source
    return serving if name == serving.name else Sources(name, settings.data_dir).at_once()


def _made_of(models: Models, name: str) -> str | None:
    """Name of the weights whose classifier a model's was made of; None for a root."""
    record = None if name in RESERVED else models.get(name).record
    if record is None or record.parent is None:
        return None
    return str(record.recipe.get("base", record.parent)).partition("@")[0]
