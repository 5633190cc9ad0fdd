"""A tracker is told what a training was made of, each epoch, and its end; the documented ones understand it."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import pytest

from backend.errors import SettingsError
from backend.models.promotion import Model
from backend.models.published import Record
from backend.models.tracking import track, tracker_named

ROOT = Path(__file__).parents[2]
CLASSIFIER = [
    {"stage": 0, "epoch": 0, "loss": 0.9, "score": 0.5, "by_domain": {"drawn": 0.6}, "seconds": 3.0},
    {"stage": 1, "epoch": 0, "loss": 0.4, "score": 0.7, "by_domain": {"drawn": 0.8}, "seconds": 4.0},
]
DETECTOR = [{"epoch": 0, "heat_loss": 2.0, "edge_loss": 0.3, "score": {"corrected": 0.7}, "seconds": 9.0}]


@pytest.fixture
def model(tmp_path: Path) -> Model:
    for file, history in (("training.json", CLASSIFIER), ("detector-training.json", DETECTOR)):
        (tmp_path / file).write_text(json.dumps({"history": history}))
    record = Record(
        source="retraining",
        parent="bundled",
        recipe={"batch": 16},
        seed=7,
        versions={"torch": "2.13"},
        dataset="ab12",
        name="20261128-1200-ab12",
        published="2026-11-28T12:00:00+00:00",
        files={},
    )
    return Model(name=record.name, record=record, verdict=None, promoted=None, active=False)


class Recorder:
    """Writes down what it is told."""

    told: ClassVar[list[Any]] = []

    def __init__(self, name: str, facts: Mapping[str, str]) -> None:
        self.told[:] = [(name, dict(facts))]

    def figures(self, step: int, values: Mapping[str, float]) -> None:
        self.told.append((step, dict(values)))

    def end(self, outcome: str) -> None:
        self.told.append(outcome)


def test_everything_is_told_in_order(model: Model, tmp_path: Path) -> None:
    track(model, tmp_path, tracker_named(f"{__name__}:Recorder"))
    (name, facts), first, second, detector, outcome = Recorder.told
    assert (name, facts["parent"], facts["recipe"]) == (model.name, "bundled", '{"batch": 16}')
    assert facts["version torch"] == "2.13"
    expected = {"loss": 0.9, "score": 0.5, "by_domain/drawn": 0.6, "seconds": 3.0}
    assert first == (0, {f"classifier/{key}": value for key, value in expected.items()})
    assert (second[0], second[1]["classifier/loss"]) == (1, 0.4)
    expected = {"heat_loss": 2.0, "edge_loss": 0.3, "score/corrected": 0.7, "seconds": 9.0}
    assert detector == (0, {f"detector/{key}": value for key, value in expected.items()})
    assert outcome == "candidate"


def test_without_a_detector_that_learnt_there_are_the_classifiers_epochs_alone(model: Model, tmp_path: Path) -> None:
    (tmp_path / "detector-training.json").unlink()
    track(model, tmp_path, Recorder)
    assert len(Recorder.told) == 4


@pytest.mark.parametrize("name", ["", "nothing", "no_such_module:Tracker", "json:Tracker", "json:__name__", ":x"])
def test_what_names_no_class_is_refused_with_the_way_out(name: str) -> None:
    with pytest.raises(SettingsError, match="PYTHONPATH"):
        tracker_named(name)


class Library(ModuleType):
    """A module whose functions, and whose `SummaryWriter`, write down what they are called with."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)

        def call(*values: Any, **named: Any) -> Any:
            self.calls.append((name, values, named))
            return self

        return call


def documented(library: str) -> str:
    """The class that the documentation has for a library."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "trackers.md").read_text(encoding="utf-8"), re.DOTALL)
    [found] = [block for block in blocks if library in block]
    return str(found)


@pytest.mark.parametrize(
    ("library", "calls"),
    [
        ("mlflow", ["start_run", "log_params", *["log_metrics"] * 3, "set_tag", "end_run"]),
        ("torch.utils.tensorboard", ["SummaryWriter", "add_text", *["add_scalar"] * 12, "add_text", "close"]),
    ],
)
def test_the_documented_trackers_understand_it(
    library: str, calls: list[str], model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in = Library(library)
    monkeypatch.setitem(sys.modules, library, stand_in)
    (tmp_path / "my_tracker.py").write_text(documented(library))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_tracker", raising=False)
    track(model, tmp_path, tracker_named("my_tracker:Tracker"))
    monkeypatch.delitem(sys.modules, "my_tracker")
    assert [name for name, _, _ in stand_in.calls] == calls
