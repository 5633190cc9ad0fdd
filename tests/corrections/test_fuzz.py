"""Random edits of a project, with events lost, repeated and late, workers killed and clocks put forward and back.

`--annotator-edits 2000` makes it as long as you like; `--annotator-seed` repeats one.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any, NoReturn

import pytest
from sqlalchemy import Engine, select

from backend.corrections.crop_store import CropStore
from backend.corrections.database import open_database
from backend.corrections.journal import Journal
from backend.corrections.reconciling import sync
from backend.corrections.remembering import Proposals, ShownPrediction
from backend.corrections.samples import teaches_hard
from backend.corrections.service import held_state
from backend.corrections.shown import Proposal
from backend.corrections.tables import annotation, sample
from backend.corrections.worker import Worker
from backend.labelstudio.annotations import Annotation, Region
from backend.labelstudio.client import LabelStudio
from backend.labelstudio.project_annotations import drawn_by, task_parent
from backend.labelstudio.protocol import without_secrets
from backend.pages.page import Page
from tests.corrections import annotating
from tests.corrections.fuzz_reading import outcomes, unaware
from tests.corrections.fuzzing import Annotators, box_of
from tests.corrections.studio import PROJECT

DAY = 86_400.0


class Killed(BaseException):
    """Stands for a process that is gone: nothing of ours catches it."""


class Program:
    """The program beside a Label Studio: what it shows is remembered, what it is told becomes samples."""

    def __init__(self, engine: Engine, folder: Path, client: LabelStudio, seed: int) -> None:
        self.engine = engine
        self.random = random.Random(seed)  # noqa: S311
        self.journal = Journal(engine)
        self.late: list[dict[str, Any]] = []
        self.clock = 1_000_000.0
        self.mortal = True
        self.client = client
        self.crops = CropStore(str(folder))

    def page_of(self, left: Annotation, index: int) -> Page:
        if self.mortal and self.random.random() < 0.02:
            raise Killed
        return annotating.page_of(left, index)

    def studio(self, project: str) -> LabelStudio:
        """Asked what it holds where stamps cannot tell: its clock is put back now and then."""
        return self.client

    def pages(self, project: str) -> NoReturn:
        raise AssertionError("pages come from `page_of`")

    def remember(self, world: Annotators) -> None:
        for made, task in world.remembered:
            proposals = [
                Proposal(
                    region=Region(
                        id=one["id"],
                        page=one["item_index"],
                        label=str(world.meant[one["value"]["rectanglelabels"][0]]),
                        box=box_of(one),
                    ),
                    probabilities=(0.7, 0.1, 0.1, 0.1),
                    score=0.7,
                    page_size=(annotating.WIDTH, annotating.HEIGHT),
                    word=one["value"]["rectanglelabels"][0],
                    drawn_by=drawn_by(one),
                )
                for one in made["result"]
            ]
            ledger = Proposals(self.engine, clock=lambda: self.clock)
            ledger.remember(
                ShownPrediction(task=task, project=PROJECT, version=made["model_version"], proposals=proposals)
            )
        world.remembered.clear()

    def hear(self, world: Annotators, events: list[dict[str, Any]]) -> None:
        """Webhooks have one try: one in ten is lost, some come twice, some late."""
        for event in events:
            chance = self.random.random()
            if chance < 0.1:
                continue
            self.late += [event] * (2 if chance > 0.9 else 1)
        while self.late and self.random.random() < 0.7:
            event = self.late.pop(self.random.randrange(len(self.late)))
            if config := event["project"].get("label_config"):
                world.told.add(config)
            self.journal.append(event["action"], project=PROJECT, body=without_secrets(event))

    def work(self) -> None:
        """A worker of its own each time; its clock is right, or hours or a day off."""
        self.clock += self.random.choice([1.0, 200.0, 5000.0, DAY, -DAY, -7200.0])
        worker = Worker(
            engine=self.engine,
            journal=self.journal,
            crops=self.crops,
            page_of=self.page_of,
            clock=lambda: self.clock,
            parent_of=task_parent(lambda _: self.client),
            held=held_state(self),
        )
        try:
            worker.work()
        except Killed:
            self.clock += 500.0  # until its lease is over

    def settle(self, world: Annotators) -> None:
        """Everything is told and reconciled, and all work is done."""
        self.late.clear()
        self.mortal = False
        world.told.add(world.studio.label_config)
        sync(self.engine, self.client, PROJECT, everything=True, clock=lambda: self.clock)
        open_ones = select(annotation.c.id).where(annotation.c.turned.is_(None), annotation.c.deleted.is_(False))
        for _ in range(1000):
            self.clock += 10 * DAY
            self.work()
            with self.engine.connect() as connection:
                if connection.execute(open_ones.limit(1)).first() is None:
                    break
        self.mortal = True


def made(engine: Engine) -> dict[str, tuple[str, str, str | None]]:
    with engine.connect() as connection:
        rows = connection.execute(select(sample)).all()
    return {row.id: (row.outcome, row.label, row.wrong) for row in rows}


def hard_negatives(engine: Engine) -> set[str]:
    with engine.connect() as connection:
        return set(connection.execute(select(sample.c.id).where(teaches_hard(), sample.c.label == "none")).scalars())


def test_whatever_is_edited_and_lost_the_samples_are_what_label_studio_holds_in_the_end(
    tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    edits, seed = pytestconfig.getoption("--annotator-edits"), pytestconfig.getoption("--annotator-seed")
    engine = open_database(f"sqlite:///{tmp_path / 'ledger.sqlite3'}")
    world = Annotators(seed)
    with world.studio.client() as client:
        program = Program(engine, tmp_path, client, seed)
        for number in range(1, edits + 1):
            events = world.step()
            program.remember(world)
            program.hear(world, events)
            if number % 3 == 0:
                program.work()
            if number in (edits // 2, edits):
                program.settle(world)
                right, unsure = outcomes(world), {f"{one}-" for one in unaware(world)}
                negative = {name for name, row in right.items() if row[:2] == ("rejected", "none")}
                wrong = hard_negatives(engine) - negative
                assert not wrong, f"wrong hard negatives with --annotator-seed {seed}"
                found = made(engine)
                for known in (found, right):
                    for name in [name for name in known if name.startswith(tuple(unsure))]:
                        del known[name]
                assert found == right, f"--annotator-seed {seed}, after {number} edits"
    assert {row[0] for row in made(engine).values()} >= {"accepted", "rejected", "relabelled", "missed"}
    engine.dispose()
