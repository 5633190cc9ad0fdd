"""What takes something away, where no Label Studio can be asked: an event alone is hearsay, and may prove untrue."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select

from backend.corrections.counts import count
from backend.corrections.crop_store import CropStore
from backend.corrections.journal import Journal
from backend.corrections.label_history import known_of
from backend.corrections.reconciling import sync
from backend.corrections.tables import sample
from backend.corrections.worker import Worker
from backend.labelstudio.protocol import without_secrets
from tests.corrections import annotating
from tests.corrections.annotating import CONFIG, A, B, deleted, drawn, saved
from tests.corrections.studio import Studio

NOW, HOUR = 1_000_000.0, 3600.0
TASK_GONE = {"action": "TASKS_DELETED", "tasks": [{"id": 7}, {"id": 8}], "project": {"id": 1}}
SEAL = '<Label value="Seal" predicted_values="stamp"/>'
LATER = CONFIG.replace(SEAL, '<Label value="Stempel" predicted_values="stamp"/>')


class Ledger:
    """A ledger with a worker that has nobody to ask."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        self.engine = engine
        self.now = NOW
        self.journal = Journal(engine, clock=lambda: self.now)
        crops = CropStore(str(folder))
        self.worker = Worker(engine=engine, journal=self.journal, crops=crops, page_of=annotating.page_of)

    def hear(self, *payloads: dict[str, Any], project: int | None = 1) -> None:
        for payload in payloads:
            self.journal.append(payload["action"], project=project, body=without_secrets(payload))
        self.worker.work()

    def regions(self) -> set[str]:
        with self.engine.connect() as connection:
            return set(connection.execute(select(sample.c.region)).scalars())


@pytest.fixture
def ledger(engine: Engine, tmp_path: Path) -> Ledger:
    return Ledger(engine, tmp_path)


def left(region: str, *, at: float, annotation: int = 1, task: int = 7, **extra: Any) -> dict[str, Any]:
    return saved(annotation, task=task, at=at, result=[drawn(region, "stamp", A)], **extra)


@pytest.mark.parametrize("forged", [TASK_GONE, deleted(1)], ids=["tasks", "annotations"])
def test_numbers_that_were_called_deleted_before_they_were_given_are_learnt_from(
    ledger: Ledger, forged: dict[str, Any]
) -> None:
    ledger.hear(forged)
    ledger.hear(left("a", at=NOW + 2 * HOUR))
    assert ledger.regions() == {"a"}


@pytest.mark.parametrize("true", [TASK_GONE, deleted(1)], ids=["tasks", "annotations"])
@pytest.mark.parametrize("apart", [-HOUR / 2, HOUR / 2], ids=["its clock is behind", "its clock is ahead"])
def test_what_was_saved_before_its_deletion_stays_deleted_in_any_order(
    ledger: Ledger, true: dict[str, Any], apart: float
) -> None:
    before = left("a", at=NOW - 60 + apart)
    ledger.hear(true, before)
    assert ledger.regions() == set()
    ledger.hear(before, true)
    assert ledger.regions() == set()


@pytest.mark.parametrize("forged", [TASK_GONE, deleted(1)], ids=["tasks", "annotations"])
def test_an_annotation_that_is_saved_again_was_not_deleted(ledger: Ledger, forged: dict[str, Any]) -> None:
    ledger.hear(left("a", at=NOW - 60), forged)
    assert ledger.regions() == set(), "nobody can be asked, and Label Studio sends such events"
    again = left("b", at=NOW + 2 * HOUR, created=NOW - 60, action="ANNOTATION_UPDATED")
    ledger.hear(again)
    assert ledger.regions() == {"b"}
    ledger.now = NOW + 3 * HOUR
    ledger.hear(forged, again)
    assert ledger.regions() == set(), "a later deletion counts"


@pytest.mark.parametrize("true", [TASK_GONE, deleted(1)], ids=["tasks", "annotations"])
def test_an_event_that_is_repeated_after_the_deletion_brings_nothing_back(ledger: Ledger, true: dict[str, Any]) -> None:
    """Label Studio's clock was ahead when it was saved."""
    before = left("a", at=NOW + 2 * HOUR)
    ledger.hear(before, true, before)
    assert ledger.regions() == set()


def test_a_task_that_lives_has_all_its_annotations_back(ledger: Ledger) -> None:
    ledger.hear(left("a", at=NOW - 60), left("d", annotation=4, at=NOW - 50), deleted(4))
    ledger.now += 1
    ledger.hear(TASK_GONE)
    ledger.hear(left("b", annotation=2, at=NOW - 60))  # it came late, and waits with the others
    assert ledger.regions() == set()
    ledger.hear(left("c", annotation=3, at=NOW + 2 * HOUR))
    assert ledger.regions() == {"a", "b", "c"}, "but not the one that was deleted by itself"


@pytest.mark.parametrize("forged", [TASK_GONE, deleted(1)], ids=["tasks", "annotations"])
def test_what_label_studio_still_has_comes_back_as_soon_as_it_can_be_asked(
    ledger: Ledger, forged: dict[str, Any]
) -> None:
    here = left("a", at=NOW - 60)
    ledger.hear(here, forged)
    studio = Studio(here)
    assert sync(ledger.engine, studio.client(), 1, everything=True).saved == 1
    ledger.worker.work()
    assert ledger.regions() == {"a"}


@pytest.mark.parametrize("gone", [TASK_GONE, deleted(1)], ids=["tasks", "annotations"])
def test_a_deletion_that_label_studio_confirmed_is_final(ledger: Ledger, gone: dict[str, Any]) -> None:
    here = left("a", at=NOW - 60)
    studio = Studio(here, left("o", annotation=5, task=9, at=NOW - 60))
    ledger.hear(here)
    studio.happen(gone, at=NOW)
    ledger.hear(gone)
    sync(ledger.engine, studio.client(), 1, everything=True)
    ledger.hear(left("b", at=NOW + 2 * HOUR, created=NOW - 60, action="ANNOTATION_UPDATED"))
    assert "b" not in ledger.regions()


@pytest.mark.parametrize("forged", [TASK_GONE, deleted(1), left("b", at=NOW, created=NOW - 60)])
def test_an_event_that_names_no_project_takes_nothing_away(ledger: Ledger, forged: dict[str, Any]) -> None:
    ledger.hear(left("a", at=NOW - 60))
    nameless = forged | {"project": {"label_config": CONFIG}}
    for key in ("annotation", "task"):
        if key in nameless:
            nameless[key] = {name: value for name, value in nameless[key].items() if name != "project"}
    ledger.hear(nameless, project=None)
    assert ledger.regions() == {"a"}
    [parked] = count(ledger.engine).parked
    assert "names no project" in parked.reason


def told(config: str) -> dict[str, Any]:
    return {"action": "PROJECT_UPDATED", "project": {"id": 1, "label_config": config}}


def test_a_forged_label_config_makes_no_label_doubtful_that_another_one_explains(ledger: Ledger) -> None:
    renamed = saved(2, task=8, at=NOW, result=[drawn("r", "stamp", B)], config=LATER)
    ledger.hear(left("a", at=NOW - 60), renamed)
    assert ledger.regions() == {"a", "r"}
    ledger.hear(told(CONFIG.replace(SEAL, '<Label value="Seal" predicted_values="signature"/>')))
    ledger.hear(saved(3, task=9, at=NOW, result=[drawn("s", "stamp", A)], config=LATER))
    assert ledger.regions() == {"a", "r", "s"}


def test_a_label_config_that_only_a_project_told_of_explains_what_no_other_one_knows(ledger: Ledger) -> None:
    ledger.hear(told(CONFIG), saved(2, task=8, at=NOW, result=[drawn("r", "stamp", B)], config=LATER))
    assert ledger.regions() == {"r"}


def test_no_number_of_forged_label_configs_makes_a_true_one_forgotten(ledger: Ledger) -> None:
    ledger.hear(left("a", at=NOW - 60))
    ledger.hear(*(told(LATER.replace("Stempel", f"Stempel{n}")) for n in range(120)))
    with ledger.engine.connect() as connection:
        known = known_of(connection, project=1, task=8, label_config=LATER)
    assert known.configs == (CONFIG,)
    assert len(known.rumoured) < 120
