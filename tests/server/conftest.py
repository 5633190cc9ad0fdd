"""The server over a pipeline that finds what it is told and pages from memory; Label Studio's recorded requests.

The ledger's databases, for pages that are drawn out of it.
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from backend.corrections.remembering import ShownPrediction
from backend.errors import ModelError, WeightsUnavailable
from backend.labelstudio.connections import Connections
from backend.pages.page import Page
from backend.server.predictor import Predictor
from backend.server.routes import create_app
from backend.settings import Settings
from backend.vision.network_config import MARKS
from backend.vision.pipeline import Marks, Rejected
from tests.corrections.conftest import database_url, engine, migrated_database, migrated_file, postgresql

__all__ = ["database_url", "engine", "migrated_database", "migrated_file", "postgresql"]

PAYLOADS = Path(__file__).parent / "payloads"
VERSION = "told-1"
# The same for the recorded project, whose label config names control and image otherwise than this program's own.
NAMED = f"{VERSION}-c3631aaa4"


def payload(name: str) -> dict:
    """The body of a request as Label Studio 1.23.2 sent it."""
    return json.loads((PAYLOADS / f"{name}.json").read_text())["body"]


def found(
    *marks: tuple[str, tuple[float, float, float, float], float],
    certainty: float | None = None,
    candidates: int = 0,
    nearest: Rejected | None = None,
) -> Marks:
    """Marks given as (name, box, score)."""
    probabilities = np.zeros((len(marks), 4))
    for row, (name, _, score) in enumerate(marks):
        probabilities[row] = (1 - score) / 3
        probabilities[row, MARKS.index(name)] = score
    scores = [score for _, _, score in marks]
    return Marks(
        np.array([box for _, box, _ in marks], dtype=np.float64).reshape(-1, 4),
        probabilities,
        np.array([MARKS.index(name) for name, _, _ in marks], dtype=np.intp),
        np.array(scores, dtype=np.float64),
        np.zeros((len(marks), 512), np.float32),
        min(scores, default=1.0) if certainty is None else certainty,
        VERSION,
        candidates=max(candidates, len(marks)),
        nearest=nearest,
    )


@dataclass(frozen=True)
class ToldClassifier:
    """Names the network whose sights are noted."""

    version: str = "told-network-1"


@dataclass
class ToldPipeline:
    """Finds on each page what it was told; an exception among it is raised."""

    on_page: dict[str, Marks | Exception] = field(default_factory=dict)
    asked_confidence: list[float | None] = field(default_factory=list)
    refine_to: Marks = field(default_factory=lambda: found(("stamp", (20, 20, 60, 40), 0.9)))
    refined_boxes: list[np.ndarray] = field(default_factory=list)
    said: list[dict] = field(default_factory=list)
    version: str = VERSION
    classifier: ToldClassifier = field(default_factory=ToldClassifier)

    def marks(self, page: Page, *, confidence: float | None = None) -> Marks:
        self.asked_confidence.append(confidence)
        answer = self.on_page.get(page.reference, found())
        if isinstance(answer, Exception):
            raise answer
        return answer

    def refine(self, page: Page, box: np.ndarray, **said: object) -> Marks:
        self.said.append(said)
        self.refined_boxes.append(box)
        return self.refine_to


class ToldServing:
    """Holds a pipeline, or loads until it is told to be done, or failed."""

    def __init__(self, pipeline: ToldPipeline, *, loading: bool = False, failure: str = "") -> None:
        self.held = pipeline
        self.failure = failure
        self.settled = threading.Event()
        if not loading:
            self.settled.set()

    def pipeline(self, *, timeout: float | None = None) -> ToldPipeline:
        if not self.settled.wait(timeout):
            raise WeightsUnavailable("still loading")
        if self.failure:
            raise ModelError(self.failure)
        return self.held

    def state(self) -> dict:
        condition = "loading" if not self.settled.is_set() else "failed" if self.failure else "ready"
        return {
            "model": "auto",
            "model_state": condition,
            "model_version": self.held.version if condition == "ready" else None,
        }


class MemoryPages:
    """Pages by reference; an exception among them is raised. Others are white, 200 × 100."""

    def __init__(self) -> None:
        self.kept: dict[str, tuple[int, int] | Exception] = {}
        self.asked: list[tuple[str, int | None]] = []
        self.accesses: list = []

    def __call__(self, access) -> MemoryPages:
        self.accesses.append(access)
        return self

    def pages(self, reference: str, *, task_id: int | None, pages: slice | None, enough: float | None = None):
        self.asked.append((reference, task_id))
        kept = self.kept.get(reference, (200, 100))
        if isinstance(kept, Exception):
            raise kept
        width, height = kept
        return iter([Page(pixels=np.full((height, width, 3), 255, np.uint8), reference=reference)])


@pytest.fixture
def pipeline() -> ToldPipeline:
    return ToldPipeline()


@pytest.fixture
def pages() -> MemoryPages:
    return MemoryPages()


@pytest.fixture
def serving(pipeline: ToldPipeline) -> ToldServing:
    return ToldServing(pipeline)


@dataclass
class MemoryLedger:
    """Takes events and what was shown, and keeps both in lists; an error that it was told is raised instead."""

    events: list[tuple[str, int | None, dict]] = field(default_factory=list)
    shown: list[dict] = field(default_factory=list)
    unread: list[dict] = field(default_factory=list)
    failure: Exception | None = None

    def troubles(self) -> list[str]:
        return []

    def append(self, action: str, *, project: int | None, body: dict) -> None:
        if self.failure:
            raise self.failure
        self.events.append((action, project, body))

    def remember(self, shown: ShownPrediction) -> None:
        if self.failure:
            raise self.failure
        self.shown.append(vars(shown))

    def note_unread(self, **unread) -> None:
        if self.failure:
            raise self.failure
        self.unread.append(unread)


def make_app(settings: Settings, *, serving: ToldServing, pages: MemoryPages, ledger: MemoryLedger | None = None):
    ledger = ledger or MemoryLedger()
    predictor = Predictor(settings, serving, Connections(settings, source=pages), ledger=ledger)
    return create_app(settings, predictor=predictor, inbox=ledger)


@pytest.fixture
def ledger() -> MemoryLedger:
    return MemoryLedger()


@pytest.fixture
def app(serving: ToldServing, pages: MemoryPages, ledger: MemoryLedger):
    return make_app(Settings(), serving=serving, pages=pages, ledger=ledger)


@pytest.fixture
def client(app):
    return app.test_client()
