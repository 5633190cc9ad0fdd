"""Trainings told to a tracker of the operator's own, such as MLflow or TensorBoard: three calls, and no dependency."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, cast

from backend.errors import SettingsError

if TYPE_CHECKING:
    from backend.models.promotion import Model

__all__ = ["MakesTracker", "Tracker", "track", "tracker_named"]

_HISTORIES = {"classifier": "training.json", "detector": "detector-training.json"}
"""Beside a model's weights: what each epoch of a network came to."""


class Tracker(Protocol):
    """Is told of one training, when it has ended."""

    def figures(self, step: int, values: Mapping[str, float]) -> object:
        """Takes the figures of one epoch, by names such as `classifier/loss`; steps count from 0 for each network."""
        ...

    def end(self, outcome: str) -> object:
        """Takes what became of the model: `promoted`, `refused` or `candidate`. Nothing comes after it."""
        ...


MakesTracker: TypeAlias = Callable[[str, Mapping[str, str]], Tracker]
"""Makes a tracker for a training: the model's name, and what is known of it (recipe, data, versions) as text."""


def tracker_named(name: str) -> MakesTracker:
    """What a setting such as `my_tracker:Tracker` names: an importable module, and a class or function in it.

    Raises:
        SettingsError: There is no such thing.
    """
    module, _, attribute = name.partition(":")
    way_out = "write module:Class, and put the module's folder into PYTHONPATH"
    try:
        found = getattr(importlib.import_module(module), attribute) if module and attribute else None
    except (ImportError, AttributeError) as error:
        raise SettingsError(f"TRACKER is {name}, which cannot be imported ({error}): {way_out}") from error
    if not callable(found):
        raise SettingsError(f"TRACKER is {name}, which names no class or function: {way_out}")
    return cast("MakesTracker", found)


def track(model: Model, folder: Path, make: MakesTracker) -> None:
    """Tells a tracker of a published model: what it was made of, each epoch, and what became of it.

    Args:
        model: The model.
        folder: Its own folder, with the histories of its networks.
        make: Makes the tracker.
    """
    tracker = make(model.name, dict(_facts(model)))
    for network, file in _HISTORIES.items():
        if (folder / file).is_file():
            for step, values in enumerate(_epochs(folder / file, network)):
                tracker.figures(step, values)
    tracker.end(model.status)


def _facts(model: Model) -> Iterator[tuple[str, str]]:
    record = model.record
    if record is None:
        return
    yield "source", record.source
    plain = {"parent": record.parent, "seed": record.seed, "dataset": record.dataset, "seconds": record.seconds}
    yield from ((name, str(value)) for name, value in plain.items() if value is not None)
    yield "recipe", json.dumps(record.recipe, sort_keys=True)
    yield from ((f"version {name}", version) for name, version in record.versions.items())


def _epochs(file: Path, network: str) -> Iterator[dict[str, float]]:
    """The figures of each epoch; those by domain are named behind a slash."""
    for line in json.loads(file.read_text(encoding="utf-8"))["history"]:
        yield {f"{network}/{name}": value for name, value in _numbers(line) if name not in ("stage", "epoch")}


def _numbers(values: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from ((f"{name}/{inner}", number) for inner, number in _numbers(value))
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield name, float(value)
