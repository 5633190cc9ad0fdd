"""One arm of the loop: a whole backend with a data folder of its own, which serves, is corrected, and retrains.

Nothing here stands in for a part of the program: pages are predicted over `/predict`, corrections come over
`/webhook`, the worker makes samples of them, `python -m backend train` makes and judges a candidate. Only the clock is
the benchmark's own, so that the same run writes the same ledger.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from flask.testing import FlaskClient
from numpy.typing import NDArray
from sqlalchemy import func, select

from backend.commands.select_tasks import LookedTask, looked_at
from backend.corrections.memory import Memory
from backend.corrections.recall import RecallingClassifier
from backend.corrections.service import Feedback, Store
from backend.corrections.tables import annotation
from backend.errors import TrainingError
from backend.evaluation.study import FoundMarks, match
from backend.labelstudio.annotations import Region
from backend.labelstudio.connections import Connections
from backend.labelstudio.projects import label_config
from backend.labelstudio.results import drawn_box
from backend.models.promotion import Models
from backend.models.published import Registry
from backend.models.serving import Serving
from backend.pages.source import PageSource, from_path
from backend.server.application import Application
from backend.training.retraining.starting import folder_of, last_training
from backend.vision.network_config import CLASSES
from benchmarks.annotator import Work, correct, saved

if TYPE_CHECKING:
    from backend.settings import Settings
    from backend.vision.classifier import Classifies
    from benchmarks.loop_work import KnownPage

__all__ = ["Arm", "Served", "Trained"]

_ROOT = Path(__file__).resolve().parents[1]
_PROJECT = 1
_BEGAN = 1_800_000_000.0
_DAY, _HOUR = 86_400.0, 3_600.0
_IOU = 0.5


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What came of a retraining.

    Attributes:
        outcome: `promoted`, `refused` or `candidate`.
        model: The candidate.
        reasons: The gate's.
        seconds: Of the training itself.
    """

    outcome: str
    model: str
    reasons: tuple[str, ...]
    seconds: float


class Served:
    """A backend that serves one model, its memory of corrections filled.

    Args:
        client: Of the real application.
        feedback: Its journal, ledger and worker.
        serving: Holds the pipeline.
        clock: That of all of them.
    """

    def __init__(self, client: FlaskClient, feedback: Feedback, serving: Serving, clock: _Clock) -> None:
        self._client, self._feedback, self._serving, self._clock = client, feedback, serving, clock
        self._config = label_config(paged=False)

    @property
    def version(self) -> str:
        return self._serving.pipeline().version

    def annotate(self, page: KnownPage, *, task: int) -> tuple[Work, int]:
        """Shows one page to the annotator, and takes the corrections; gives the work, and how many boxes were shown."""
        asked = {"id": task, "project": _PROJECT, "data": {"image": page.reference, "document": page.name}}
        body = {"tasks": [asked], "project": str(_PROJECT), "label_config": self._config}
        [answer] = self._post("/predict", body)["results"]
        shown = [_shown(region) for region in answer["result"]]
        left = correct(shown, page.marks, name=f"added-{task}")
        moment = datetime.fromtimestamp(self._clock.now + _HOUR, UTC).isoformat()
        self._post("/webhook", saved(left.regions, task=asked, size=page.size, config=self._config, moment=moment))
        return left.work, len(shown)

    def learn(self) -> None:
        """Turns what was corrected into samples, to the last one.

        Raises:
            TrainingError: Something could not be turned, so that the figures would be wrong.
        """
        self._clock.now += 2 * _HOUR
        while self._feedback.worker.work():
            pass
        if stuck := _not_turned(self._feedback.store):
            raise TrainingError(f"{stuck} corrections did not become samples: see the log")

    def measure(self, pages: Iterable[KnownPage], settings: Settings) -> tuple[Work, NDArray[np.int64]]:
        """What is shown on known pages: the work that it would be, and the confusion (4, 4) at IoU .5."""
        pipeline, work = self._serving.pipeline(), Work()
        confusion = np.zeros((len(CLASSES), len(CLASSES)), np.int64)
        for known in pages:
            marks = pipeline.marks(next(from_path(known.path, settings)))
            shown = [
                Region(id=f"{place:03d}", page=0, label=label, box=(box[0], box[1], box[2], box[3]))
                for place, (label, box) in enumerate(zip(marks.names, marks.boxes.tolist(), strict=True))
            ]
            work += correct(shown, known.marks, name="added").work
            found = FoundMarks(boxes=marks.boxes, labels=marks.labels, scores=marks.scores)
            confusion += match(known.true, found, _IOU).confusion
        return work, confusion

    def look(self, page: KnownPage, settings: Settings, *, task: int) -> LookedTask:
        """A page as `select` sees it, with the model that serves."""
        return looked_at(task, [self._serving.pipeline().marks(next(from_path(page.path, settings)))])

    def _post(self, route: str, body: dict[str, Any]) -> Any:
        answer = self._client.post(route, json=body)
        if answer.status_code >= 300:
            raise TrainingError(f"{route} answered {answer.status_code}: {answer.get_data(as_text=True)[:300]}")
        return answer.get_json()


class _Clock:
    """Stands still until it is set."""

    def __init__(self) -> None:
        self.now = _BEGAN

    def __call__(self) -> float:
        return self.now


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One arm.

    Attributes:
        name: For people.
        settings: Of its backend: its DATA_DIR is its own; MODEL is set anew for each round.
        recipe: Fields that replace those of the retraining recipe; None where nothing is retrained.
    """

    name: str
    settings: Settings
    recipe: dict[str, Any] | None

    def active(self) -> str:
        """The model that serves: the promoted one, else the bundled."""
        return Registry(self.settings.data_dir / "models").active() or "bundled"

    @contextmanager
    def serve(self, model: str, *, day: int) -> Iterator[Served]:
        """A backend that serves `model` on a day of the benchmark's own calendar."""
        settings = replace(self.settings, model=model)
        clock = _Clock()
        clock.now += day * _DAY
        store = Store.open(settings)
        connections = Connections(settings, source=lambda access: PageSource(settings, access))
        feedback = Feedback(store, connections, recall_distance=0, clock=clock)
        serving = Serving(settings, around=lambda inner: _recalling(inner, store, settings))
        serving.load()
        application = Application.build(settings, serving=serving, connections=connections, feedback=feedback)
        try:
            yield Served(application.flask.test_client(), feedback, serving, clock)
        finally:
            feedback.stop()

    def retrain(self, model: str, *, log: Path, threads: int, jobs: int) -> Trained:
        """Runs `train` as it is run by hand, while `model` serves; what was cut off goes on.

        Raises:
            TrainingError: It did not come to a verdict.
        """
        assert self.recipe is not None
        recipe = self.settings.data_dir / "recipe.json"
        recipe.write_text(json.dumps(self.recipe, indent=1))
        settings = replace(self.settings, model=model, retrain_recipe=str(recipe))
        command = [sys.executable, "-m", "backend", "train", "--threads", str(threads), "--jobs", str(jobs)]
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as file:
            environment = os.environ | settings.as_environment()
            ended = subprocess.run(
                command, stdout=file, stderr=subprocess.STDOUT, env=environment, cwd=_ROOT, check=False
            )
        training = last_training(folder_of(settings.data_dir))
        if ended.returncode not in (0, 1) or training is None or training.model is None:
            reason = training.reason if training else "it did not start"
            raise TrainingError(f"{self.name}: the retraining failed ({reason}); {log} has what it said")
        made = Models(settings.data_dir / "models").get(training.model)
        assert made.verdict is not None
        assert made.record is not None
        return Trained(
            outcome=made.status,
            model=made.name,
            reasons=tuple(made.verdict.reasons),
            seconds=made.record.seconds or 0.0,
        )


def _not_turned(store: Store) -> int:
    """How many corrections are no samples yet."""
    with store.engine.connect() as connection:
        return int(connection.execute(select(func.count()).where(annotation.c.turned.is_(None))).scalar_one())


def _recalling(classifier: Classifies, store: Store, settings: Settings) -> Classifies:
    """What a serving process puts around its classifier, with its memory filled before anything is asked."""
    if not settings.recall_distance:
        return classifier
    memory = Memory(
        store.engine,
        store.crops,
        embed=lambda pixels, boxes: classifier.classify(pixels, boxes).embeddings,
        network=classifier.version,
        distance=settings.recall_distance,
    )
    while memory.refresh():
        pass
    return RecallingClassifier(classifier, memory)


def _shown(region: dict[str, Any]) -> Region:
    """A region of a prediction, in pixels."""
    size = {"width": region["original_width"], "height": region["original_height"]}
    x1, y1, x2, y2 = drawn_box(region, **size)[0].tolist()
    [label] = region["value"]["rectanglelabels"]
    return Region(id=region["id"], page=0, label=label, box=(x1, y1, x2, y2))
