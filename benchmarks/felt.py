"""Recall as annotators meet it: in a project that was filled before they began, task after task, over some rounds.

    python -m benchmarks.felt [--companies N] [--rounds N] [--seals] [--slips N] [--model NAME] [--json]

Invented companies send one page a round. All pages are tasks of one project, on a Label Studio of this program's own
on loopback, and all have stored predictions from the beginning, as after `prelabel`. The annotator takes a page of each
company in each round, and corrects what is stored for its task at that moment. The server hears of it by webhooks.
What it does about open tasks, it does by itself, in the background; before the next round begins it is waited for.

Each task is looked at twice: as it was filled, and as it is when the annotator comes to it. So the same run tells what
corrections did. A mistake is repeated when an earlier page of that company had it: a box on the company's logo, or its
stamp under the same wrong name. It is avoided when it was there as the task was filled, and is not any more. A false
box that has to be deleted on a logo a second time is a defect. A right mark that was there, and is not any more, is
lost.

`--slips N` lets the annotator delete or rename N right marks over the run, on top of all corrections.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
from sqlalchemy import func, select
from tqdm import tqdm

from backend.corrections.service import Feedback, Store
from backend.corrections.tables import annotation, event, renewal
from backend.errors import ModelError
from backend.geometry import as_boxes, iou
from backend.labelstudio.annotations import Region
from backend.labelstudio.connections import Connections
from backend.labelstudio.results import drawn_box
from backend.models.serving import Sources, build_pipeline
from backend.pages.source import PageSource
from backend.server.application import Application
from backend.settings import Settings
from backend.vision.classifier import Classifies
from backend.vision.network_config import MARKS
from backend.vision.pipeline import Pipeline
from benchmarks.annotator import TrueMark, Work, correct, saved
from benchmarks.companies import CompanyPage, company_page
from benchmarks.loopback_studio import LoopbackStudio

__all__ = ["Figures", "Project", "RoundRow", "project", "repeatable", "right_marks", "run", "table"]

Around = Callable[[Classifies], Classifies]
CONFIG = (
    '<View><Image name="page" value="$image"/><RectangleLabels name="mark" toName="page">'
    + "".join(f'<Label value="{mark}"/>' for mark in MARKS)
    + "</RectangleLabels></View>"
)
_PROJECT = 1
_DPI = 110
_RIGHT_PLACE, _ON_LOGO = 0.5, 0.1
# The server looks every five seconds at what was learnt, and ten later at open tasks.
_QUIET_SECONDS, _PATIENCE_SECONDS = 17.0, 900.0


@dataclass(frozen=True, kw_only=True)
class RoundRow:
    """What one round took.

    Attributes:
        pages: Pages that were corrected.
        filled: Corrections that what was stored in the beginning would have taken.
        met: Corrections that were made.
    """

    pages: int
    filled: Work
    met: Work


@dataclass(kw_only=True)
class Figures:
    """What a run counted.

    Attributes:
        rounds: By round.
        right: Right marks of what was stored in the beginning, by class.
        lost: Of these, the ones that were not right any more when the annotator came, by class.
        gained: Marks that were right only then.
        repeated: Mistakes of what was stored in the beginning that an earlier page had had, by kind.
        avoided: Of these, the ones that were gone when the annotator came.
        deleted_twice: False boxes on a logo that had to be deleted although one there had been deleted before.
        slips: Right marks that the annotator deleted or renamed.
    """

    rounds: list[RoundRow] = field(default_factory=list)
    right: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)
    gained: Counter[str] = field(default_factory=Counter)
    repeated: Counter[str] = field(default_factory=Counter)
    avoided: Counter[str] = field(default_factory=Counter)
    deleted_twice: int = 0
    slips: int = 0


def right_marks(page: CompanyPage, shown: Sequence[Region]) -> set[int]:
    """Indices of the true marks that are shown under their name."""
    overlaps = iou(as_boxes([box for _, box in page.marks]), as_boxes([one.box for one in shown]))
    return {
        place
        for place, (label, _) in enumerate(page.marks)
        if any(overlaps[place, n] >= _RIGHT_PLACE and one.label == label for n, one in enumerate(shown))
    }


def repeatable(page: CompanyPage, shown: Sequence[Region]) -> set[str]:
    """Mistakes that another page of the company can have, too: `logo`, or such as `stamp as signature`."""
    if not shown:
        return set()
    boxes = as_boxes([one.box for one in shown])
    found = set()
    on_marks = iou(boxes, as_boxes([box for _, box in page.marks])).max(axis=1, initial=0)
    if page.logo is not None:
        on_logo = iou(boxes, as_boxes([page.logo]))[:, 0]
        found |= {"logo" for n in range(len(shown)) if on_logo[n] >= _ON_LOGO and on_marks[n] < _ON_LOGO}
    if page.stamp is not None:
        on_stamp = iou(boxes, as_boxes([page.stamp]))[:, 0] >= _RIGHT_PLACE
        names = {shown[n].label for n in np.flatnonzero(on_stamp).tolist()}
        found |= {f"stamp as {name}" for name in names if "stamp" not in names}
    return found


@dataclass(frozen=True, kw_only=True)
class Held:
    """Serves one pipeline."""

    held: Pipeline

    def pipeline(self, *, timeout: float) -> Pipeline:  # noqa: ARG002  there is nothing to wait for
        return self.held

    def state(self) -> dict[str, Any]:
        return {"model_state": "ready", "model_version": self.held.version}


@dataclass(frozen=True, kw_only=True)
class Project:
    """A project whose tasks are the pages of companies, and the server that it is connected to.

    Attributes:
        pages: By task.
        filled: What was stored in the beginning, by task.
    """

    studio: LoopbackStudio
    application: Application
    pages: dict[int, CompanyPage]
    filled: dict[int, list[Region]] = field(default_factory=dict)

    def fill(self, task: int) -> None:
        """Stores the prediction that the server answers, as `prelabel` and Label Studio do."""
        body = {
            "tasks": [self.studio.task(task, whole=False)],
            "project": f"{_PROJECT}.17",
            "label_config": CONFIG,
        }
        answer = self.application.flask.test_client().post("/predict", json=body)
        [found] = answer.get_json()["results"]
        self.studio.add(task, found["model_version"], result=found["result"], score=found["score"])
        self.filled[task] = self.shown(task)

    def shown(self, task: int) -> list[Region]:
        """What is stored for a task, in pixels."""
        height, width = self.pages[task].pixels.shape[:2]
        return [
            Region(
                id=one["id"],
                page=0,
                label=one["value"]["rectanglelabels"][0],
                box=tuple(drawn_box(one, width=width, height=height)[0].tolist()),
            )
            for one in self.studio.predictions[task][-1]["result"]
        ]

    def submit(self, task: int, left: Sequence[Region]) -> None:
        """Submits what the annotator left; Label Studio tells the server."""
        stored = self.studio.predictions[task][-1]
        before = {one["id"]: one for one in stored["result"]}
        height, width = self.pages[task].pixels.shape[:2]
        bare = {"id": task, "project": _PROJECT, "data": self.studio.task(task, whole=False)["data"]}
        now = datetime.now(UTC).isoformat()
        told = saved(left, task=bare, size=(width, height), config=CONFIG, moment=now)
        told["annotation"] |= {"parent_prediction": stored["id"]}
        for one in told["annotation"]["result"]:
            same = one["id"] in before and one["value"] == before[one["id"]]["value"]
            one["origin"] = "prediction" if same else "prediction-changed" if one["id"] in before else "manual"
        self.studio.annotations[task] = [told["annotation"]]
        answer = self.application.flask.test_client().post("/webhook", json=told)
        if answer.status_code >= 300:
            raise RuntimeError(f"the webhook of task {task} was answered {answer.status_code}: {answer.text}")

    def settle(self) -> None:
        """Waits until the server has done by itself whatever there was to do.

        Raises:
            TimeoutError: It is not done after a quarter of an hour.
        """
        patience = time.monotonic() + _PATIENCE_SECONDS
        quiet = time.monotonic()
        while time.monotonic() < quiet + _QUIET_SECONDS:
            if time.monotonic() > patience:
                raise TimeoutError("the server did not come to rest")
            if self._busy():
                quiet = time.monotonic()
            time.sleep(0.2)

    def _busy(self) -> bool:
        waiting = (
            select(func.count()).select_from(event).where(event.c.state == "open"),
            select(func.count()).select_from(annotation).where(annotation.c.turned.is_(None)),
            select(func.count()).select_from(renewal),
        )
        with self.application.feedback.store.engine.connect() as connection:
            return any(connection.execute(one).scalar() for one in waiting)


@contextmanager
def project(
    pages: dict[int, CompanyPage], settings: Settings, *, build: Callable[[Around], Pipeline]
) -> Iterator[Project]:
    """A project over some pages, and a server, until the end of the `with`.

    Args:
        pages: By task, from 1.
        settings: The server's; its Label Studio is the one on loopback.
        build: Makes the pipeline, its classifier wrapped by what it is given.
    """
    files = {
        number % len(pages): cv2.imencode(".png", np.ascontiguousarray(page.pixels[..., ::-1]))[1].tobytes()
        for number, page in pages.items()
    }
    studio = LoopbackStudio(CONFIG, tasks=len(pages), pages=tuple(files[place] for place in range(len(pages))))
    with studio.serving() as address:
        ours = replace(settings, label_studio_url=address, label_studio_api_key="key")
        connections = Connections(ours, source=lambda access: PageSource(ours, access))
        feedback = Feedback(Store.open(ours), connections, recall_distance=ours.recall_distance)
        serving = Held(held=build(feedback.recalling))
        application = Application.build(ours, serving=serving, connections=connections, feedback=feedback)
        feedback.start()
        application.renewer.start()
        try:
            yield Project(studio=studio, application=application, pages=pages)
        finally:
            application.stop()
            connections.studio(str(_PROJECT)).close()


def slipped(left: Sequence[Region], right: set[int], page: CompanyPage, choice: random.Random) -> list[Region]:
    """What is left where one right mark is deleted or renamed besides."""
    box = page.marks[choice.choice(sorted(right))][1]
    place = int(iou(as_boxes([one.box for one in left]), as_boxes([box]))[:, 0].argmax())
    one = left[place]
    others = [region for region in left if region is not one]
    if choice.random() < 0.5:
        return others
    return [*others, replace(one, label=choice.choice([mark for mark in MARKS if mark != one.label]))]


def run(found: Project, *, companies: int, rounds: int, slips: int, seed: int) -> Figures:
    """All rounds over a project that is filled; task t is of company (t − 1) mod `companies`."""
    figures = Figures()
    choice = random.Random(seed)  # noqa: S311
    known: dict[int, set[str]] = {company: set() for company in range(companies)}
    when = set(choice.sample(range(companies * rounds), min(slips, companies * rounds)))
    for number in tqdm(range(rounds), unit="round", disable=None, file=sys.stderr):
        filled = met = Work()
        for company in range(companies):
            task = 1 + number * companies + company
            page, before, now = found.pages[task], found.filled[task], found.shown(task)
            marks = [TrueMark(label=label, box=box) for label, box in page.marks]
            corrected = correct(now, marks, name=f"t{task}")
            met += corrected.work
            filled += correct(before, marks, name="").work
            _count(figures, page, before, now, known[company])
            known[company] |= repeatable(page, now)
            left: Sequence[Region] = corrected.regions
            right = right_marks(page, now)
            if task - 1 in when and right:
                left = slipped(left, right, page, choice)
                figures.slips += 1
            found.submit(task, left)
        figures.rounds.append(RoundRow(pages=companies, filled=filled, met=met))
        if number + 1 < rounds:
            found.settle()
    return figures


def _count(
    figures: Figures, page: CompanyPage, before: Sequence[Region], now: Sequence[Region], known: set[str]
) -> None:
    """Compares what was stored in the beginning with what the annotator meets."""
    had, has = right_marks(page, before), right_marks(page, now)
    figures.right.update(page.marks[one][0] for one in had)
    figures.lost.update(page.marks[one][0] for one in had - has)
    figures.gained.update(page.marks[one][0] for one in has - had)
    repeated = repeatable(page, before) & known
    figures.repeated.update(repeated)
    figures.avoided.update(repeated - repeatable(page, now))
    figures.deleted_twice += "logo" in repeatable(page, now) & known


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--companies", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seals", action="store_true", help="their logos are printed seals, which look like stamps")
    parser.add_argument("--slips", type=int, default=0, metavar="N", help="right marks that the annotator gets wrong")
    parser.add_argument("--seed", type=int, default=1, help="of the slips")
    parser.add_argument("--model", help="as MODEL")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of the tables")
    args = parser.parse_args()
    with TemporaryDirectory(prefix="felt-") as folder:
        settings = replace(
            Settings.from_environment(os.environ, model=args.model),
            data_dir=Path(folder),
            predict_deadline=_PATIENCE_SECONDS,
        )
        numbered = enumerate((company, number) for number in range(args.rounds) for company in range(args.companies))
        pages = {
            place + 1: company_page(company, number, dpi=_DPI, seal=args.seals) for place, (company, number) in numbered
        }
        try:
            weights = Sources.of(settings).at_once()
            with project(
                pages, settings, build=lambda around: build_pipeline(weights, settings, around=around)
            ) as found:
                for task in tqdm(pages, unit="page", disable=None, file=sys.stderr):
                    found.fill(task)
                figures = run(found, companies=args.companies, rounds=args.rounds, slips=args.slips, seed=args.seed)
                version = found.application.predictor.serving.state()["model_version"]
        except ModelError as error:
            raise SystemExit(f"no weights to measure with: {error}") from error
    print(json.dumps({"model_version": version, **asdict(figures)}) if args.json else table(figures, version))


def table(figures: Figures, version: str) -> str:
    """The figures for a terminal."""
    lines = [version, f"{'round':>5}{'pages':>7}{'as filled':>11}{'as met':>8}   corrections a page"]
    for number, one in enumerate(figures.rounds, 1):
        kinds = ", ".join(f"{count} {kind}" for kind, count in asdict(one.met).items())
        lines.append(
            f"{number:>5}{one.pages:>7}{one.filled.all / one.pages:>11.2f}{one.met.all / one.pages:>8.2f}   {kinds}"
        )
    repeated, avoided = figures.repeated.total(), figures.avoided.total()
    share = f" ({avoided / repeated:.0%})" if repeated else ""
    lines.append(f"repeated mistakes: {repeated}, avoided: {avoided}{share}")
    lines.append(f"deleted twice on one logo: {figures.deleted_twice}")
    for mark in MARKS:
        lines.append(
            f"right {mark} marks: {figures.right[mark]}, lost: {figures.lost[mark]}, gained: {figures.gained[mark]}"
        )
    if figures.slips:
        lines.append(f"slips of the annotator: {figures.slips}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
