"""The start never waits for the Hub, one answer is of one version, and what cannot serve says why."""

from __future__ import annotations

import dataclasses
import logging
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest

from backend.errors import ModelError, WeightsUnavailable
from backend.nets.hub import Hub
from backend.nets.sources import Sources
from backend.nets.weights import WEIGHTS_FILE, Weights
from backend.pages.page import Page
from backend.serving import Serving
from backend.settings import Settings

PAGE = Page(pixels=np.full((400, 300, 3), 255, np.uint8), reference="blank")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path, model_threads=1)


class SlowSources(Sources):
    """Sources whose Hub answers when it is let, with given weights or an error."""

    def __init__(self, settings: Settings, bundled: Path, answer: Weights | Exception) -> None:
        super().__init__(settings.model, settings.data_dir, bundled=bundled)
        self.let = threading.Event()
        self._answer = answer

    def from_hub(self) -> Weights:
        assert self.let.wait(30)
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


def test_auto_serves_at_once_and_takes_the_hubs_weights_when_they_come(
    settings: Settings, four_class_folder: Path, three_class_folder: Path
) -> None:
    hub = Weights.open(three_class_folder, name="hub", gate_folder=four_class_folder)
    sources = SlowSources(settings, four_class_folder, hub)
    serving = Serving(settings, sources=sources)
    loading = threading.Thread(target=serving.load)
    loading.start()
    first = serving.pipeline(timeout=30)
    assert first.version.startswith("bundled-")
    assert serving.state() == {"model": "auto", "model_state": "ready", "model_version": first.version}
    sources.let.set()
    loading.join(30)
    second = serving.pipeline(timeout=0)
    assert second.version.startswith(f"hub-{hub.config.digest}+bundled-")
    assert serving.state()["model_version"] == second.version
    assert first.marks(PAGE).version == first.version, "an answer under way keeps the pipeline that it began with"


def test_a_hub_out_of_reach_is_told_once_and_the_bundled_model_goes_on(
    settings: Settings, four_class_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hub = Hub(folder=settings.data_dir / "hub", endpoint="http://127.0.0.1:9")
    serving = Serving(settings, sources=Sources("auto", settings.data_dir, hub=hub, bundled=four_class_folder))
    with caplog.at_level(logging.WARNING, logger="backend"):
        serving.load()
    assert serving.pipeline(timeout=0).version.startswith("bundled-")
    (record,) = [record for record in caplog.records if record.name.startswith("backend")]
    assert "goes on serving" in record.message
    assert "could not be fetched from http://127.0.0.1:9" in record.message


def test_any_other_choice_leaves_the_hub_alone(settings: Settings, four_class_folder: Path) -> None:
    bundled = dataclasses.replace(settings, model="bundled")
    serving = Serving(bundled, sources=SlowSources(bundled, four_class_folder, AssertionError("the Hub was asked")))
    serving.load()
    assert serving.pipeline(timeout=0).version.startswith("bundled-")


def test_while_it_loads(settings: Settings) -> None:
    serving = Serving(settings)
    assert serving.state() == {"model": "auto", "model_state": "loading", "model_version": None}
    with pytest.raises(WeightsUnavailable, match="still loading"):
        serving.pipeline(timeout=0)


def test_what_cannot_serve_says_why(settings: Settings, four_class_folder: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(four_class_folder, broken)
    (broken / WEIGHTS_FILE).write_bytes(b"damaged")
    serving = Serving(settings, sources=SlowSources(settings, broken, WeightsUnavailable("no Hub")))
    serving._sources.let.set()  # type: ignore[attr-defined]
    serving.load()
    with pytest.raises(ModelError, match="SHA-256"):
        serving.pipeline(timeout=0)
    state = serving.state()
    assert state["model_state"] == "failed"
    assert "SHA-256" in state["model_error"]


def test_version_changes_with_the_confidence(settings: Settings, four_class_folder: Path) -> None:
    versions = set()
    for confidence in (0.5, 0.6):
        choice = dataclasses.replace(settings, model="bundled", confidence=confidence)
        serving = Serving(choice, sources=Sources("bundled", settings.data_dir, bundled=four_class_folder))
        serving.load()
        versions.add(serving.pipeline(timeout=0).version)
    assert len(versions) == 2
