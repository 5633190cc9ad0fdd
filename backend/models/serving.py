"""The pipeline that serves: loaded in the background, and swapped whole when a model is promoted or the Hub has one.

Which weights serve: a model promoted here, the Hub's checkpoint where it passed its trial, or the bundled ones, in this
order.
"""

from __future__ import annotations

import gc
import logging
import math
import threading
import time
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backend.errors import BackendError, BadWeights, ModelError, WeightsUnavailable
from backend.models.hub_files import HubWay
from backend.models.original_model import BROKEN, SERVES, WORSE, Hub
from backend.models.published import RESERVED, Registry, Stamp
from backend.vision.classifier import load_classifier
from backend.vision.finders import build_detector
from backend.vision.pipeline import Pipeline, PipelineConfig
from backend.vision.weights import BUNDLED, Weights

if TYPE_CHECKING:
    from collections.abc import Callable

    from backend.settings import Settings
    from backend.vision.classifier import Classifies

__all__ = ["Serving", "Sources", "build_pipeline"]

_LOG = logging.getLogger(__name__)
# How often a process looks whether another model was promoted; one look is one stat of one file.
LOOK_SECONDS = 0.2
LOAD_SECONDS = 5.0
# A request keeps its pipeline until PREDICT_DEADLINE, and a moment longer while it is answered.
_ANSWER_SECONDS = 10.0
AGAIN_SECONDS = 30.0
"""After which what could not be loaded is tried again: memory, a disk or the Hub may have been short for a moment."""


class Sources:
    """Answers the MODEL setting.

    Args:
        model: `auto`, `hub`, `bundled` or the name of a published model.
        data_dir: Holds trained and downloaded models.
        hub: Where the checkpoint is; the original one by default.
        bundled: Folder of the bundled weights.
        ask_hub: Whether `auto` may ask the Hub; what was fetched before serves without it.
    """

    def __init__(
        self, model: str, data_dir: Path, *, hub: Hub | None = None, bundled: Path = BUNDLED, ask_hub: bool = False
    ) -> None:
        self._ask_hub = ask_hub
        self._model = model
        self._registry = Registry(data_dir / "models")
        self._hub = hub or Hub(folder=data_dir / "hub")
        self._bundled = bundled

    @classmethod
    def of(cls, settings: Settings) -> Sources:
        hub = Hub(folder=settings.data_dir / "hub", way=HubWay(proxy=settings.hub_proxy))
        return cls(settings.model, settings.data_dir, hub=hub, ask_hub=bool(settings.ask_hub))

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
        """The best weights on this disk; only MODEL=hub, without them, waits for a download and a trial.

        Raises:
            UnknownModel: MODEL names no model.
            WeightsUnavailable: MODEL is `hub`, and the Hub or torch is out of reach.
            BadWeights: A file is missing or is not what it should be, or MODEL is `hub` and its checkpoint is broken.
        """
        if self._model == "bundled":
            return self._open(self._bundled, "bundled")
        if self._model == "hub":
            return self._wanted_from_hub()
        if self._model != "auto":
            return self._open(self._registry.folder_of(self._model), self._model)
        promoted = self._registry.active()
        if promoted is not None:
            return self._open(self._registry.folder_of(promoted), promoted)
        if self._hub.is_here() and (verdict := self._hub.verdict(self._bundled)) and verdict.state == SERVES:
            return self._open(self._hub.converted, "hub")
        return self._open(self._bundled, "bundled")

    def better_later(self) -> bool:
        """Whether `auto` would rather serve the Hub's weights: they had no trial yet, or are to be fetched."""
        if self._model != "auto" or self._registry.active() is not None:
            return False
        if self._hub.is_here():
            return self._hub.verdict(self._bundled) is None
        return self._ask_hub and not self._hub.lacks()

    def from_hub(self) -> Weights:
        """Fetches the Hub's weights where they are not here, and tries them; for `auto`.

        Raises:
            WeightsUnavailable: The Hub or torch is out of reach.
            BadWeights: The checkpoint is not what it should be, is broken, or worse than the bundled weights.
        """
        if not self._hub.is_here():
            self._hub.pull()
        verdict = self._hub.tried(self._bundled)
        if verdict.state != SERVES:
            raise BadWeights(self._hub.refusal(verdict))
        return self._open(self._hub.converted, "hub")

    def refused(self) -> str | None:
        """Why the Hub's weights, which are on this disk, do not serve, and the way out; None where nothing does so."""
        wanted = self._model == "hub" or (self._model == "auto" and self._registry.active() is None)
        if not wanted or not self._hub.is_here():
            return None
        verdict = self._hub.verdict(self._bundled)
        refuses = (BROKEN,) if self._model == "hub" else (BROKEN, WORSE)
        return self._hub.refusal(verdict) if verdict is not None and verdict.state in refuses else None

    def _wanted_from_hub(self) -> Weights:
        """What MODEL=hub stands for: the operator's word counts more than a comparison, but what is broken is refused.

        What was fetched before there were trials serves on where none can be held.
        """
        here = self._hub.is_here()
        if not here:
            self._hub.pull()
        try:
            verdict = self._hub.tried(self._bundled)
        except WeightsUnavailable as error:
            if not here:
                raise
            _LOG.warning("MODEL=hub serves weights that had no trial: %s", error)
        else:
            if verdict.state == BROKEN:
                raise BadWeights(self._hub.refusal(verdict))
            if verdict.state != SERVES:
                _LOG.warning("MODEL=hub serves weights that are %s than the bundled ones: %s", verdict.state, verdict)
        return self._open(self._hub.converted, "hub")

    def _open(self, folder: Path, name: str) -> Weights:
        return Weights.open(folder, name=name, gate_folder=self._bundled)


def _as_it_is(classifier: Classifies) -> Classifies:
    return classifier


def build_pipeline(
    weights: Weights, settings: Settings, *, around: Callable[[Classifies], Classifies] = _as_it_is
) -> Pipeline:
    """Loads weights into a pipeline.

    Args:
        weights: What to load.
        settings: Threads and confidence.
        around: Puts something between the classifier and the pipeline.

    Raises:
        BadWeights: A file is not what its config promises.
    """
    classifier = around(load_classifier(weights, threads=settings.model_threads))
    detector = build_detector(settings.detector, weights.folder, threads=settings.model_threads)
    return Pipeline(detector, classifier, PipelineConfig(confidence=settings.confidence))


@dataclass(frozen=True)
class _Superseded:
    """The pipeline that served before, which requests that began with it may still hold."""

    weights: Weights
    pipeline: weakref.ref[Pipeline]
    since: float


class Serving:
    """Holds the pipeline that serves.

    A caller takes the pipeline once for each answer: every answer is of one version, also while another moves in.
    With MODEL=auto, each process watches the registry's pointer. A model that was promoted, or rolled back to, is
    loaded beside the serving one and takes its place. If it cannot be loaded, the old one stays. Two pipelines live at
    once, at most: a third is loaded when the last request has left the first.

    Args:
        settings: Which weights, where, and how sure.
        sources: Where weights come from; those of the settings by default.
        around: Puts something between each classifier and its pipeline.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        sources: Sources | None = None,
        around: Callable[[Classifies], Classifies] = _as_it_is,
    ) -> None:
        self._settings = settings
        self._around = around
        self._sources = sources or Sources.of(settings)
        self._registry = Registry(settings.data_dir / "models")
        # Taken before the first load reads the pointer: a promotion in between is seen as one.
        self._seen = self._registry.stamp()
        self._settled = threading.Event()
        self._stopped = threading.Event()
        self._swapping = threading.Lock()
        self._weights: Weights | None = None
        self._pipeline: Pipeline | None = None
        self._superseded: _Superseded | None = None
        self._held_up: tuple[Stamp | None] | None = None
        self._failure: BackendError | None = None
        self._again = math.inf
        self._loader: threading.Thread | None = None

    @classmethod
    def start(
        cls,
        settings: Settings,
        *,
        sources: Sources | None = None,
        around: Callable[[Classifies], Classifies] = _as_it_is,
    ) -> Serving:
        """A holder that loads in the background, first what is on this disk, then, in `auto`, what comes later."""
        serving = cls(settings, sources=sources, around=around)
        serving._loader = threading.Thread(target=serving.load, name="load-model", daemon=True)
        serving._loader.start()
        if settings.model == "auto":
            threading.Thread(target=serving.watch, name="watch-models", daemon=True).start()
        return serving

    def stop(self) -> None:
        """Ends the watch, and gives a load under way a moment to finish.

        A process that ends in the middle of a load may crash. So whoever stops while a model still loads ends the
        process at once, as `serve` does.
        """
        self._stopped.set()
        if self._loader is not None:
            self._loader.join(LOAD_SECONDS)

    def pipeline(self, *, timeout: float | None = None) -> Pipeline:
        """The pipeline of this moment, waited for while the first one loads.

        Raises:
            ModelError: There is none, or not within `timeout` seconds.
        """
        pipeline = self._pipeline
        if pipeline is not None:
            return pipeline  # it serves a moment before the load has settled all else
        if not self._settled.wait(timeout):
            raise WeightsUnavailable(f"MODEL={self._settings.model} is still loading: ask again in a moment")
        pipeline = self._pipeline
        if pipeline is not None:
            return pipeline
        raise ModelError(str(self._failure)) from self._failure

    def state(self) -> dict[str, Any]:
        """What /health says: `model` (the setting), `model_state`, `model_version`; `model_error` where one failed.

        A `model_error` beside the state `ready` is of a promoted model that could not take the serving one's place, or
        of the Hub's checkpoint, which was refused.
        """
        pipeline, failure = self._pipeline, self._failure
        condition = "ready" if pipeline else "failed" if failure else "loading"
        state = {
            "model": self._settings.model,
            "model_state": condition,
            "model_version": pipeline and pipeline.version,
        }
        return state | ({"model_error": str(failure)} if failure else {})

    def load(self) -> None:
        """Loads what is on this disk, then looks for better on the Hub; returns when nothing is left to do."""
        try:
            with self._swapping:
                self._swap(self._sources.at_once())
        except BackendError as error:
            _LOG.error("MODEL=%s cannot serve: %s", self._settings.model, error)
            self._failure, self._again = error, time.monotonic() + AGAIN_SECONDS
        except Exception as error:
            self._failure = BadWeights(f"MODEL={self._settings.model} could not be loaded ({type(error).__name__})")
            self._again = time.monotonic() + AGAIN_SECONDS
            raise
        finally:
            self._settled.set()
        if self._registry_is_well():
            if self._sources.better_later():
                self._look_at_the_hub()
            elif self._pipeline is not None and (reason := self._sources.refused()) is not None:
                self._refuse(BadWeights(reason))

    def watch(self) -> None:
        """Looks for another promoted model, again and again, until it is stopped."""
        self._settled.wait()
        while not self._stopped.wait(LOOK_SECONDS):
            self.look()

    def look(self) -> None:
        """Takes over what was promoted since the last look, if anything was.

        What cannot serve is said once, and tried again now and then.
        """
        try:
            stamp = self._registry.stamp()
            if stamp == self._seen and time.monotonic() < self._again:
                return
            if self._held_up == (stamp,) and self._is_crowded():
                return
            before = self._seen, self._again
            self._seen, self._again, self._held_up = stamp, math.inf, None
            with self._swapping:
                weights = self._sources.at_once()
                if weights != self._weights:
                    if not self._has_room_for(weights):
                        (self._seen, self._again), self._held_up = before, (stamp,)
                        return
                    self._swap(weights)
                self._failure = None
        except BackendError as error:
            self._keep(error)
        except Exception as error:
            # Whatever a model does while it is loaded, the watch must go on: the next one may be better.
            self._keep(BadWeights(f"the promoted model could not be loaded ({type(error).__name__})"), cause=error)

    def _has_room_for(self, weights: Weights) -> bool:
        """Whether no more than two pipelines live when these weights are loaded."""
        old = self._superseded
        if (old is not None and old.weights == weights) or not self._is_crowded():
            return True
        gc.collect()  # an error of a request that is over may hold it still
        return not self._is_crowded()

    def _is_crowded(self) -> bool:
        """Whether the pipeline before the serving one may still be answering; it is not waited for for ever."""
        old = self._superseded
        if old is None or old.pipeline() is None:
            return False
        return time.monotonic() < old.since + self._settings.predict_deadline + _ANSWER_SECONDS

    def _keep(self, error: BackendError, *, cause: Exception | None = None) -> None:
        said = self._failure is not None and str(self._failure) == str(error)
        self._failure, self._again = error, time.monotonic() + AGAIN_SECONDS
        serves = self._pipeline.version if self._pipeline else "nothing"
        if not said:
            _LOG.error("the promoted model cannot serve, %s goes on serving: %s", serves, error, exc_info=cause)

    def _registry_is_well(self) -> bool:
        """Whether the pointer, if there is one, names a model; if not, that was said already."""
        return self._registry.pointed() in (None, *self._registry.names())

    def _look_at_the_hub(self) -> None:
        try:
            weights = self._sources.from_hub()
            while not self._has_room_for(weights) and not self._stopped.wait(LOOK_SECONDS):
                continue
            with self._swapping:
                # A model that was promoted while the Hub was asked comes first.
                if self._registry.active() is None:
                    self._swap(weights)
        except BadWeights as error:
            self._refuse(error)
        except ModelError as error:
            serves = self._pipeline.version if self._pipeline else "nothing"
            # The Hub is asked only where ASK_HUB says so: whoever set it should hear of it.
            _LOG.warning("MODEL=auto: the Hub's weights are not to be had, %s goes on serving: %s", serves, error)

    def _refuse(self, error: BadWeights) -> None:
        """Says of the Hub's weights that they do not serve, here, in /health and /status."""
        self._failure = error
        serves = self._pipeline.version if self._pipeline else "nothing"
        _LOG.error("MODEL=auto: the Hub's weights do not serve, %s does: %s", serves, error)

    def _swap(self, weights: Weights) -> None:
        """Loads weights beside the serving ones, then puts them in their place; for the holder of the lock only."""
        old = self._superseded
        pipeline = old.pipeline() if old is not None and old.weights == weights else None
        if pipeline is None:
            pipeline = build_pipeline(weights, self._settings, around=self._around)
        if self._pipeline is not None and self._weights is not None:
            self._superseded = _Superseded(self._weights, weakref.ref(self._pipeline), time.monotonic())
        self._pipeline, self._weights, self._failure = pipeline, weights, None
        _LOG.info("serving %s from %s", pipeline.version, weights.folder)
