"""An archive of drawn contracts, the same with planted mistakes, and the bundled model."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from backend.dataset.store import Version
from backend.geometry import Boxes
from backend.models.serving import Sources, build_pipeline
from backend.settings import Settings
from backend.vision.candidates import Candidates
from backend.vision.classifier import Classification, Classifies
from backend.vision.finders import Detects
from backend.vision.pipeline import Pipeline
from tests.commands.review.archive import Sheet, draw, frozen

# By the page: what was done to it, and the doubt that should come of it.
PLANTED = {
    "lease-362": ("overlooked", "stamp"),
    "lease-351": ("swapped", "stamp"),
    "lease-327": ("swapped", "signature"),
    "lease-363": ("badly placed", "stamp"),
}


@pytest.fixture(scope="session")
def sheets() -> list[Sheet]:
    return draw()


@pytest.fixture(scope="session")
def planted(sheets: list[Sheet]) -> list[Sheet]:
    """The same pages, four of them with a mistake."""
    by_name = {sheet.name: sheet for sheet in sheets}
    by_name["lease-362"] = by_name["lease-362"].without(0)
    by_name["lease-351"] = by_name["lease-351"].renamed(0, "signature")
    by_name["lease-327"] = by_name["lease-327"].renamed(1, "stamp")
    by_name["lease-363"] = by_name["lease-363"].shifted(1)
    return list(by_name.values())


@pytest.fixture(scope="session")
def folder(planted: list[Sheet], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose `data` holds the planted pages as the frozen version `leases`."""
    made = tmp_path_factory.mktemp("review")
    frozen(planted, made)
    return made


class LooksOnce:
    """The bundled detector, which looks at each page once: annotations change here, and pages do not."""

    def __init__(self, inner: Detects) -> None:
        self._inner = inner
        self._found: dict[tuple[bytes, float | None], Candidates] = {}
        self.name, self.facts, self.fusion = inner.name, inner.facts, inner.fusion

    def __call__(self, pixels: NDArray[np.uint8], dpi: float | None = None) -> Candidates:
        page = hashlib.sha256(pixels.tobytes()).digest(), dpi
        if page not in self._found:
            self._found[page] = self._inner(pixels, dpi)
        return self._found[page]

    def second_look(
        self, pixels: NDArray[np.uint8], boxes: Boxes, labels: NDArray[np.intp], *, dpi: float | None, times: int
    ) -> Boxes:
        return self._inner.second_look(pixels, boxes, labels, dpi=dpi, times=times)


class NamesOnce:
    """The bundled classifier, which looks at each crop once: most of it is in an archive with mistakes and without."""

    def __init__(self, inner: Classifies) -> None:
        self._inner = inner
        self._known: dict[tuple[bytes, bytes], tuple[NDArray[np.float64], NDArray[np.float32]]] = {}
        self.version, self.thresholds = inner.version, inner.thresholds

    def classify(self, pixels: NDArray[np.uint8], boxes: Boxes) -> Classification:
        page = hashlib.sha256(pixels.tobytes()).digest()
        crops = [(page, box.tobytes()) for box in boxes]
        new = [place for place, crop in enumerate(crops) if crop not in self._known]
        found = self._inner.classify(pixels, boxes[new])
        rows = zip(found.probabilities, found.embeddings, strict=True)
        self._known |= {crops[place]: row for place, row in zip(new, rows, strict=True)}
        if not crops:
            return found
        probabilities, embeddings = zip(*(self._known[crop] for crop in crops), strict=True)
        return Classification(np.stack(probabilities), np.stack(embeddings))


@pytest.fixture(scope="session")
def pipeline() -> Pipeline:
    settings = Settings(model="bundled", model_threads=1)
    built = build_pipeline(Sources.of(settings).at_once(), settings)
    return Pipeline(LooksOnce(built.detector), NamesOnce(built.classifier), built.config)


@pytest.fixture(scope="session")
def honest(sheets: list[Sheet], tmp_path_factory: pytest.TempPathFactory) -> Version:
    """The pages as they are, as a frozen version."""
    return frozen(sheets, tmp_path_factory.mktemp("honest"), "honest")
