"""Recall and precision by the word of people who saw no boxes, beside those who did, on a ledger made by hand."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, update

from backend.cli import main
from backend.corrections.database import default_url, open_database, writing
from backend.corrections.journal import Journal
from backend.corrections.reconciling import fold_event
from backend.corrections.remembering import Proposals, ShownPrediction
from backend.corrections.tables import annotation
from backend.errors import EvaluationError
from backend.evaluation.blind import Group, blind_table, compare, readings
from backend.labelstudio.protocol import without_secrets
from tests.corrections.annotating import deleted, drawn, saved, shown
from tests.corrections.conftest import database_url, postgresql

__all__ = ["database_url", "postgresql"]

STAMP, SIGNATURE = (10.0, 10.0, 110.0, 110.0), (200.0, 300.0, 300.0, 360.0)
MISSED_STAMP, THUMB = (50.0, 450.0, 150.0, 550.0), (300.0, 10.0, 380.0, 90.0)
DOCUMENTS = 20


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    opened = open_database(default_url(tmp_path))
    yield opened
    opened.dispose()


class Office:
    """People at work: each task is predicted, then annotated; what samples that makes is another question."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.journal = Journal(engine)
        self.tasks = 0

    def predict(self, *, blind: bool, version: str = "v1") -> int:
        """The model finds a stamp and a signature, and nothing else."""
        self.tasks += 1
        Proposals(self.engine, clock=lambda: 900.0).remember(
            ShownPrediction(
                task=self.tasks,
                project=1,
                version=version,
                proposals=[
                    shown(f"stamp {self.tasks}", "stamp", STAMP),
                    shown(f"signature {self.tasks}", "signature", SIGNATURE),
                ],
                blind=blind,
            )
        )
        return self.tasks

    def annotate(self, task: int, *marks: dict[str, Any], document: str = "", at: float = 950.0, **fields: Any) -> None:
        payload = saved(10 * task + int(at) % 10, task=task, at=at, result=marks, **fields)
        if document:
            payload["task"]["data"]["document"] = document
        self.send(payload)

    def send(self, payload: dict[str, Any]) -> None:
        self.journal.append(payload["action"], project=1, body=without_secrets(payload))

    def learn(self) -> None:
        """As the worker does, but for the samples, which need pictures."""
        while self.journal.take(fold_event, limit=100):
            pass
        with writing(self.engine) as connection:
            connection.execute(update(annotation).values(turned=annotation.c.updated))


def unaided(*, signature: bool, second: bool) -> list[dict[str, Any]]:
    """What somebody draws who sees no box."""
    marks = [drawn("drawn-1", "stamp", (12.0, 9.0, 112.0, 108.0)), drawn("drawn-2", "thumb", THUMB)]
    marks += [drawn("drawn-3", "signature", SIGNATURE)] if signature else []
    return marks + ([drawn("drawn-4", "stamp", MISSED_STAMP, page=1)] if second else [])


def aided(task: int, *, second: bool) -> list[dict[str, Any]]:
    """What somebody leaves who sees the boxes: both of them, and seldom what they lack."""
    kept = [drawn(f"stamp {task}", "stamp", STAMP), drawn(f"signature {task}", "signature", SIGNATURE)]
    return kept + ([drawn("added", "stamp", MISSED_STAMP, page=1)] if second else [])


@pytest.fixture
def office(engine: Engine) -> Office:
    return _staffed(engine)


def _staffed(engine: Engine) -> Office:
    """Twenty documents served blind, twenty with their boxes."""
    made = Office(engine)
    for number in range(DOCUMENTS):
        marks = unaided(signature=number < 15, second=number % 2 == 0)
        made.annotate(made.predict(blind=True), *marks, document=f"blind {number}")
        task = made.predict(blind=False)
        made.annotate(task, *aided(task, second=number < 2), document=f"shown {number}")
    made.learn()
    return made


def figures(group: Group, name: str) -> tuple[object, ...]:
    one = group.end_to_end["0.5"].classes[name]
    return one.marks, one.recall.value, one.precision.value


def test_recall_and_precision_by_class_blind_and_shown(database_url: str) -> None:
    engine = open_database(database_url)
    one = compare(readings(_staffed(engine).engine))
    engine.dispose()
    assert one.versions == {"v1": DOCUMENTS}
    assert (one.blind.documents, one.blind.tasks, one.shown.documents, one.shown.tasks) == (20, 20, 20, 20)
    # The second stamp is missed in 10 of 20 documents: who sees the boxes adds it in 2.
    assert figures(one.blind, "stamp") == (30, pytest.approx(20 / 30), 1.0)
    assert figures(one.shown, "stamp") == (22, pytest.approx(20 / 22), 1.0)
    # In 5 documents nobody drew a signature where one was found: who sees the box leaves it.
    assert figures(one.blind, "signature") == (15, 1.0, 0.75)
    assert figures(one.shown, "signature") == (20, 1.0, 1.0)
    # The thumb is never found: who sees the boxes does not draw it, and it cannot be told.
    assert figures(one.blind, "thumb") == (20, 0.0, 0.0)
    assert figures(one.shown, "thumb") == (0, None, None)
    assert one.blind.end_to_end["0.5"].confusion == [[15, 0, 0, 0], [0, 20, 0, 10], [0, 0, 0, 20], [5, 0, 0, 0]]


def test_intervals_are_over_documents(office: Office) -> None:
    recall = compare(readings(office.engine)).blind.end_to_end["0.5"].classes["stamp"].recall
    assert recall.value is not None
    assert recall.low is not None
    assert recall.high is not None
    # 20 documents with one or two stamps each: 20 / (20 + Binomial(20, .5)), whose middle 95 % is 6 to 14.
    assert 20 / 35 <= recall.low <= 20 / 34
    assert 20 / 26 <= recall.high <= 20 / 25


def test_one_document_of_many_tasks_has_no_interval(engine: Engine) -> None:
    made = Office(engine)
    for _ in range(5):
        made.annotate(made.predict(blind=True), *unaided(signature=True, second=False), document="the same")
    made.learn()
    one = compare(readings(engine))
    recall = one.blind.end_to_end["0.5"].classes["stamp"].recall
    assert (one.blind.documents, one.blind.tasks, recall.value, recall.low, recall.high) == (1, 5, 1.0, None, None)
    assert (one.shown.documents, one.shown.end_to_end["0.5"].macro.recall.value) == (0, None)


def test_only_what_can_be_compared_is(office: Office) -> None:
    # Another version that never was blind.
    task = office.predict(blind=False, version="v0")
    office.annotate(task, *aided(task, second=True))
    # Drawn from scratch although boxes were there.
    office.annotate(office.predict(blind=False), drawn("mine", "stamp", MISSED_STAMP), parent_prediction=None)
    # Skipped, deleted, never predicted, and predicted but not annotated.
    office.annotate(office.predict(blind=True), was_cancelled=True)
    task = office.predict(blind=True)
    office.annotate(task)
    office.send(deleted(10 * task))
    office.annotate(9_999, drawn("mine", "stamp", STAMP))
    office.predict(blind=True)
    before = compare(readings(office.engine))
    office.learn()
    assert compare(readings(office.engine)) == before


def test_of_several_annotations_the_newest_counts(office: Office) -> None:
    before = compare(readings(office.engine)).blind
    task = office.predict(blind=True)
    for at, marks in ((951.0, unaided(signature=True, second=True)), (952.0, [])):
        office.annotate(task, *marks, document="read twice", at=at)
    office.learn()
    after = compare(readings(office.engine)).blind
    assert after.tasks == before.tasks + 1
    assert after.end_to_end["0.5"].macro.marks == before.end_to_end["0.5"].macro.marks


def test_a_version_can_be_asked_for(office: Office) -> None:
    office.annotate(office.predict(blind=True, version="v2"), *unaided(signature=True, second=False))
    office.learn()
    assert compare(readings(office.engine)).versions == {"v1": DOCUMENTS, "v2": 1}
    assert compare(readings(office.engine), version="v2").blind.tasks == 1
    with pytest.raises(EvaluationError, match="begins with 'v3' was served blind: set BLIND_SHARE"):
        compare(readings(office.engine), version="v3")


def test_the_table_has_both_sides(office: Office) -> None:
    told = blind_table(compare(readings(office.engine))).splitlines()
    assert told[0] == "v1: 20 blind tasks"
    [stamp, _] = [line.split() for line in told if line.lstrip().startswith("stamp")]
    assert (stamp[1], stamp[2], stamp[5]) == ("30", "0.667", "1.000")
    assert "22" in stamp
    assert "0.909" in stamp
    assert max(map(len, told)) <= 120


def test_the_command_prints_the_table_and_writes_the_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    assert main(["evaluate", "--blind"]) == 2
    assert "set BLIND_SHARE, such as 0.1, and let people annotate" in capsys.readouterr().err
    engine = open_database(default_url(tmp_path))
    made = Office(engine)
    made.annotate(made.predict(blind=True), *unaided(signature=True, second=True))
    made.learn()
    engine.dispose()
    file = tmp_path / "blind.json"
    assert main(["evaluate", "--blind", "--json", str(file)]) == 0
    assert "v1: 1 blind tasks" in capsys.readouterr().out
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert json.loads(file.read_text())["blind"]["end_to_end"]["0.5"]["classes"]["stamp"]["recall"]["value"] == 0.5


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--blind", "--coco", "a.json"], "goes with --json"),
        (["--blind", "--html", "a.html"], "goes with --json"),
        (["--coco", "a.json"], "name the pages with --coco FILE --images DIR"),
        ([], "or ask for --blind"),
    ],
)
def test_pages_and_blind_are_two_questions(
    arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", *arguments]) == 2
    assert reason in capsys.readouterr().err
