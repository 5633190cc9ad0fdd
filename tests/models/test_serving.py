"""The start never waits for the Hub, one answer is of one version, what is promoted serves, what cannot says why."""

from __future__ import annotations

import dataclasses
import logging
import shutil
import threading
import time
import weakref
from pathlib import Path

import numpy as np
import pytest

from backend.errors import ModelError, WeightsUnavailable
from backend.models.original_model import Hub
from backend.models.promotion import Models
from backend.models.published import Facts
from backend.models.serving import AGAIN_SECONDS, Serving, Sources
from backend.pages.page import Page
from backend.settings import Settings
from backend.vision.weights import WEIGHTS_FILE, Weights
from tests.models.tiny import says
from tests.patience import SECONDS, eventually

PAGE = Page(pixels=np.full((400, 300, 3), 255, np.uint8), reference="blank")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.from_environment({"DETECTOR": "colour"}, data_dir=tmp_path, model_threads=1)


class SlowSources(Sources):
    """Sources whose Hub answers when it is let, with given weights or an error."""

    def __init__(self, settings: Settings, bundled: Path, answer: Weights | Exception) -> None:
        super().__init__(settings.model, settings.data_dir, bundled=bundled, ask_hub=True)
        self.let = threading.Event()
        self._answer = answer

    def from_hub(self) -> Weights:
        assert self.let.wait(SECONDS)
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
    first = serving.pipeline(timeout=SECONDS)
    assert first.version.startswith("bundled-")
    assert serving.state() == {"model": "auto", "model_state": "ready", "model_version": first.version}
    sources.let.set()
    loading.join(SECONDS)
    second = serving.pipeline(timeout=0)
    assert second.version.startswith(f"hub-{hub.config.digest}+bundled-")
    assert serving.state()["model_version"] == second.version
    assert first.marks(PAGE).version == first.version, "an answer under way keeps the pipeline that it began with"


def test_a_hub_out_of_reach_is_told_once_and_the_bundled_model_goes_on(
    settings: Settings, four_class_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hub = Hub(folder=settings.data_dir / "hub", endpoint="http://127.0.0.1:9")
    serving = Serving(
        settings, sources=Sources("auto", settings.data_dir, hub=hub, bundled=four_class_folder, ask_hub=True)
    )
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


class TestWhatIsPromoted:
    """MODEL=auto follows the registry's pointer without a restart."""

    @pytest.fixture
    def models(self, settings: Settings) -> Models:
        return Models(settings.data_dir / "models")

    @pytest.fixture
    def bundled(self, tmp_path: Path) -> Path:
        return says("none", tmp_path / "bundled")

    @pytest.fixture
    def serving(self, settings: Settings, bundled: Path) -> Serving:
        serving = Serving(settings, sources=SlowSources(settings, bundled, WeightsUnavailable("no Hub")))
        serving._sources.let.set()  # type: ignore[attr-defined]
        return serving

    def publish(self, models: Models, label: str, tmp_path: Path) -> str:
        return models.publish(says(label, tmp_path / f"candidate-{label}"), Facts(source="training")).name

    def promote(self, models: Models, label: str, tmp_path: Path) -> str:
        name = self.publish(models, label, tmp_path)
        models.promote(name, why="a test", by="tests", force=True)
        return name

    def test_takes_the_serving_ones_place_and_a_rollback_gives_it_back(
        self, serving: Serving, models: Models, tmp_path: Path
    ) -> None:
        serving.load()
        before = serving.pipeline(timeout=0)
        assert before.version.startswith("bundled-")
        serving.look()
        assert serving.pipeline(timeout=0) is before, "nothing is loaded where nothing was promoted"
        name = self.promote(models, "stamp", tmp_path)
        serving.look()
        assert serving.pipeline(timeout=0).version.startswith(f"{name}-")
        assert before.marks(PAGE).version == before.version, "an answer under way keeps the pipeline it began with"
        models.rollback(why="a test", by="tests")
        serving.look()
        assert serving.pipeline(timeout=0).version == before.version

    def test_waits_for_the_last_request_of_the_model_before_so_that_two_live_at_once(
        self, serving: Serving, models: Models, tmp_path: Path
    ) -> None:
        serving.load()
        answering = serving.pipeline(timeout=0)
        first = self.promote(models, "stamp", tmp_path)
        serving.look()
        assert serving.pipeline(timeout=0).version.startswith(f"{first}-"), "beside it there is room for one"
        second = self.promote(models, "thumb", tmp_path)
        for _ in range(3):
            serving.look()
            assert serving.pipeline(timeout=0).version.startswith(f"{first}-")
        assert "model_error" not in serving.state()
        gone = weakref.ref(answering)
        del answering
        assert gone() is None, "nothing else holds it"
        serving.look()
        assert serving.pipeline(timeout=0).version.startswith(f"{second}-")

    def test_does_not_wait_for_ever_for_the_model_before(
        self, serving: Serving, models: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        serving.load()
        held = serving.pipeline(timeout=0)
        self.promote(models, "stamp", tmp_path)
        serving.look()
        name = self.promote(models, "thumb", tmp_path)
        serving.look()
        with monkeypatch.context() as patched:
            patched.setattr("backend.models.serving.time.monotonic", lambda: time.monotonic_ns() / 1e9 + 1000)
            serving.look()
        assert serving.pipeline(timeout=0).version.startswith(f"{name}-")
        assert held.version.startswith("bundled-")

    def test_that_comes_back_while_requests_still_hold_it_is_not_loaded_again(
        self, serving: Serving, models: Models, tmp_path: Path
    ) -> None:
        serving.load()
        answering = serving.pipeline(timeout=0)
        self.promote(models, "stamp", tmp_path)
        serving.look()
        models.rollback(why="a test", by="tests")
        serving.look()
        assert serving.pipeline(timeout=0) is answering

    def test_before_the_first_load_serves_at_once(self, serving: Serving, models: Models, tmp_path: Path) -> None:
        name = self.promote(models, "stamp", tmp_path)
        serving.load()
        first = serving.pipeline(timeout=0)
        assert first.version.startswith(f"{name}-")
        serving.look()
        assert serving.pipeline(timeout=0) is first, "the same model is not loaded twice"

    def test_but_damaged_leaves_the_old_one_and_is_said_once(
        self, serving: Serving, models: Models, settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        self.promote(models, "stamp", tmp_path)
        serving.load()
        old = serving.pipeline(timeout=0)
        bad = self.promote(models, "thumb", tmp_path)
        weights = settings.data_dir / "models" / bad / WEIGHTS_FILE
        weights.chmod(0o644)
        weights.write_bytes(weights.read_bytes()[:-1])
        with caplog.at_level(logging.ERROR, logger="backend"):
            for _ in range(3):
                serving.look()
        assert serving.pipeline(timeout=0) is old
        (record,) = caplog.records
        assert f"{old.version} goes on serving" in record.message
        assert "was damaged or changed" in record.message
        state = serving.state()
        assert (state["model_state"], state["model_version"]) == ("ready", old.version)
        assert bad in state["model_error"]

        better = self.promote(models, "signature", tmp_path)
        serving.look()
        assert serving.pipeline(timeout=0).version.startswith(f"{better}-")
        assert "model_error" not in serving.state()

    def test_but_breaking_whoever_loads_it_leaves_the_old_one(
        self, serving: Serving, models: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        serving.load()
        old = serving.pipeline(timeout=0)
        self.promote(models, "stamp", tmp_path)
        with monkeypatch.context() as patched:
            patched.setattr("backend.models.serving.build_pipeline", lambda *_, **__: 1 / 0)
            serving.look()
        assert serving.pipeline(timeout=0) is old
        assert "could not be loaded (ZeroDivisionError)" in serving.state()["model_error"]

    def test_but_not_to_be_loaded_for_a_moment_is_tried_again(
        self, serving: Serving, models: Models, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        serving.load()
        old = serving.pipeline(timeout=0)
        name = self.promote(models, "stamp", tmp_path)
        weights = settings.data_dir / "models" / name / WEIGHTS_FILE
        weights.rename(tmp_path / "away")
        serving.look()
        (tmp_path / "away").rename(weights)
        serving.look()
        assert serving.pipeline(timeout=0) is old, "not at once again"
        with monkeypatch.context() as patched:
            patched.setattr("backend.models.serving.time.monotonic", lambda: time.monotonic_ns() / 1e9 + AGAIN_SECONDS)
            serving.look()
        assert serving.pipeline(timeout=0).version.startswith(f"{name}-")
        assert "model_error" not in serving.state()

    def test_is_looked_for_again_where_the_folder_could_not_be_read(
        self, serving: Serving, models: Models, settings: Settings, tmp_path: Path
    ) -> None:
        serving.load()
        old = serving.pipeline(timeout=0)
        folder = settings.data_dir / "models"
        self.promote(models, "stamp", tmp_path)
        folder.rename(tmp_path / "away")
        folder.write_text("no folder")
        serving.look()
        assert serving.pipeline(timeout=0) is old
        assert "NotADirectoryError" in serving.state()["model_error"]
        folder.unlink()
        (tmp_path / "away").rename(folder)
        serving.look()
        assert serving.pipeline(timeout=0) is not old

    def test_heals_a_process_that_found_no_model_to_serve(
        self, serving: Serving, models: Models, settings: Settings, tmp_path: Path
    ) -> None:
        name = self.promote(models, "stamp", tmp_path)
        shutil.rmtree(settings.data_dir / "models" / name)
        serving.load()
        assert serving.state()["model_state"] == "failed"
        self.promote(models, "thumb", tmp_path)
        serving.look()
        assert serving.state()["model_state"] == "ready"

    def test_while_the_hub_is_asked_comes_before_the_hub(
        self, settings: Settings, models: Models, bundled: Path, four_class_folder: Path, tmp_path: Path
    ) -> None:
        sources = SlowSources(settings, bundled, Weights.open(four_class_folder, name="hub"))
        serving = Serving(settings, sources=sources)
        loading = threading.Thread(target=serving.load)
        loading.start()
        assert serving.pipeline(timeout=SECONDS).version.startswith("bundled-")
        name = self.promote(models, "stamp", tmp_path)
        serving.look()
        sources.let.set()
        loading.join(SECONDS)
        assert serving.pipeline(timeout=0).version.startswith(f"{name}-")

    def test_is_looked_for_by_a_thread_of_its_own(
        self, settings: Settings, models: Models, bundled: Path, tmp_path: Path
    ) -> None:
        self.promote(models, "stamp", tmp_path)
        others = watches()
        serving = Serving.start(settings, sources=SlowSources(settings, bundled, AssertionError("no Hub")))
        assert serving.pipeline(timeout=SECONDS)
        name = self.promote(models, "thumb", tmp_path)
        eventually(lambda: serving.pipeline(timeout=0).version.startswith(f"{name}-"), name)
        assert watches() - others
        serving.stop()
        eventually(lambda: not watches() - others, "the end of the watch")

    def test_is_not_looked_for_where_model_says_which(
        self, settings: Settings, models: Models, bundled: Path, tmp_path: Path
    ) -> None:
        fixed = self.publish(models, "stamp", tmp_path)
        others = watches()
        for choice in (fixed, "bundled"):
            chosen = dataclasses.replace(settings, model=choice)
            Serving.start(chosen, sources=Sources(choice, settings.data_dir, bundled=bundled)).pipeline(timeout=SECONDS)
        assert not watches() - others


def watches() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "watch-models"}
