"""The loop's folder: what was planned, the pages, and each finished step, so that a run that was cut off goes on."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image
from tqdm import tqdm

from backend.errors import EvaluationError
from backend.evaluation.truth import TruePage
from backend.files import replace_whole
from backend.geometry import as_boxes
from backend.synthetic.drawn_page import draw_page
from backend.vision.network_config import MARKS
from benchmarks.annotator import TrueMark
from benchmarks.loop_pages import new_page

__all__ = ["HELD_OUT", "POOL", "KnownPage", "Plan", "draw_series", "keep_plan", "once"]

HELD_OUT = 0
"""Series of the pages that only measure; those of the rounds follow it."""
POOL = 900
"""Series of the pages that the orders choose from; no loop has so many rounds."""
_QUALITY = 95
_FAMILIAR_SEEDS = 7_300_000
"""Far from those of training and of the demo."""
_TRUTH = "truth.json"
_PLAN = "plan.json"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything that decides the figures, but for the machine.

    Attributes:
        version: Of the pipeline that serves at first.
        rounds: Each predicts, is corrected, and retrains.
        pages: Of a round.
        held_out: Pages that measure after each round.
        dpi: Of all of them.
        epochs: Of the whole net, after one of the head.
        samples: Crops of drawn pages that an epoch shows beside the corrections.
        detector_epochs: Of the detector, on annotators' pages and drawn ones.
        detector_samples: Pages of such an epoch.
        drawn_pages: Drawn pages that a retraining has beside the corrections.
        replay_pages: More of them, for the detector alone.
        detector: The DETECTOR setting.
        recall: The RECALL_DISTANCE setting, of all arms.
        arms: Which are run.
        pool: Pages that the orders choose from.
    """

    version: str
    rounds: int
    pages: int
    held_out: int
    dpi: int
    epochs: int
    samples: int
    detector_epochs: int
    detector_samples: int
    drawn_pages: int
    replay_pages: int
    detector: str
    recall: float
    arms: tuple[str, ...]
    pool: int


@dataclass(frozen=True, kw_only=True)
class KnownPage:
    """A page on disk with its marks.

    Attributes:
        name: Also its document: each page is a contract of its own.
        path: The image.
        reference: By which a task names it.
        size: Width and height in pixels.
    """

    name: str
    path: Path
    reference: str
    size: tuple[int, int]
    marks: tuple[TrueMark, ...]

    @cached_property
    def true(self) -> TruePage:
        """The page as the evaluation knows it."""
        return TruePage(
            name=self.name,
            path=self.path,
            document=self.name,
            size=self.size,
            boxes=as_boxes([mark.box for mark in self.marks]),
            labels=np.array([MARKS.index(mark.label) for mark in self.marks], np.intp),
            traits=(frozenset(),) * len(self.marks),
            ignored=as_boxes([]),
        )


def keep_plan(folder: Path, plan: Plan) -> None:
    """Notes the plan of a new folder; that of a folder that has one has to be the same, but for how many rounds it has.

    Raises:
        EvaluationError: The folder belongs to another plan.
    """
    folder.mkdir(parents=True, exist_ok=True)
    wanted = json.loads(json.dumps(dataclasses.asdict(plan)))
    path = folder / _PLAN
    known = once(path, lambda: wanted)
    names = [name for name in wanted if name != "rounds" and known.get(name) != wanted[name]]
    if names:
        differs = ", ".join(f"{name} {known.get(name)} → {wanted[name]}" for name in names)
        raise EvaluationError(f"{folder} holds a run of another plan ({differs}): choose another --work, or delete it")


def once(path: Path, make: Callable[[], Any]) -> Any:
    """What a finished step gave; does the step, and notes what it gives as JSON, where that was not done before."""
    if not path.exists():
        made = make()
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_whole(path, json.dumps(made, indent=1) + "\n")
    return json.loads(path.read_text(encoding="utf-8"))


def draw_series(
    root: Path, series: int, *, pages: int, dpi: int, jobs: int, familiar: bool = False
) -> Sequence[KnownPage]:
    """The pages of one series below `root`, drawn where they are not there yet, by `jobs` processes.

    Args:
        root: Holds the series.
        series: Its number.
        pages: How many.
        dpi: Resolution.
        jobs: Processes.
        familiar: Whether every second page is in the style that the first model knows.
    """
    folder = root / f"series-{series}"
    folder.mkdir(parents=True, exist_ok=True)

    def draw() -> list[dict[str, Any]]:
        wanted = [(folder, series, number, dpi, familiar and number % 2 == 1) for number in range(pages)]
        with tqdm(total=pages, unit="page", desc=f"drawing series {series}", disable=None) as bar:
            if jobs < 2:
                return [_counted(bar, _draw(one)) for one in wanted]
            # Not forked: a model that served before has left threads, which no fork survives.
            with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
                return [_counted(bar, one) for one in pool.map(_draw, wanted)]

    return [_known(folder, facts) for facts in once(folder / _TRUTH, draw)]


def _counted(bar: Any, facts: dict[str, Any]) -> dict[str, Any]:
    bar.update()
    return facts


def _draw(one: tuple[Path, int, int, int, bool]) -> dict[str, Any]:
    """Draws one page into a folder; gives what is true of it."""
    folder, series, number, dpi, familiar = one
    cv2.setNumThreads(1)
    seed = _FAMILIAR_SEEDS + 1000 * series + number
    page = draw_page(seed, dpi=dpi) if familiar else new_page(series, number, dpi=dpi)
    name = f"series-{series}-page-{number:03d}"
    Image.fromarray(page.pixels).save(folder / f"{name}.jpg", quality=_QUALITY, dpi=(dpi, dpi))
    height, width = page.pixels.shape[:2]
    return {"name": name, "size": [width, height], "marks": [dataclasses.asdict(mark) for mark in page.marks]}


def _known(folder: Path, facts: dict[str, Any]) -> KnownPage:
    file = f"{facts['name']}.jpg"
    width, height = facts["size"]
    marks = tuple(TrueMark(label=mark["label"], box=tuple(mark["box"])) for mark in facts["marks"])
    return KnownPage(
        name=facts["name"],
        path=folder / file,
        reference=f"/data/local-files/?d={folder.name}/{file}",
        size=(width, height),
        marks=marks,
    )
