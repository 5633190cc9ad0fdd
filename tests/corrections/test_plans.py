"""What an event asks of the ledger is found by an index: it costs no more in an archive of a hundred thousand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event

from backend.corrections.counts import count
from backend.corrections.crop_store import CropStore
from backend.corrections.database import open_database
from backend.corrections.journal import Journal
from backend.corrections.memory import acting_verdicts
from backend.corrections.remembering import Proposals, ShownPrediction
from backend.corrections.worker import Worker
from tests.corrections import annotating
from tests.corrections.annotating import CONFIG, drawn, saved, send, shown

A, B = (10.0, 10.0, 110.0, 110.0), (200.0, 300.0, 300.0, 360.0)


def test_what_an_event_asks_of_the_ledger_is_found_by_an_index(tmp_path: Path) -> None:
    engine = open_database(f"sqlite:///{tmp_path / 'ledger.sqlite3'}")
    worker = Worker(engine=engine, journal=Journal(engine), crops=CropStore(str(tmp_path)), page_of=annotating.page_of)
    with _asked(engine) as asked:
        for task in range(7, 20):
            asked.clear()  # what the first ones ask, such as about a label config that is new, is not asked again
            region = shown("a", "stamp", A)
            Proposals(engine).remember(ShownPrediction(task=task, project=1, version="v1", proposals=[region]))
            result = [drawn("a", "thumb", A), drawn("b", "thumb", B)]
            send(worker.journal, saved(task, task=task, at=950, result=result))
            worker.work()
        send(worker.journal, saved(7, task=7, at=960, result=[drawn("a", "stamp", A)]))
        worker.work()
    plans = _plans(engine, asked)
    assert len(asked) > 25
    assert not [plan for plan in plans if _goes_through_all(plan[0])]


def test_what_an_event_asks_of_a_project_is_found_by_an_index(tmp_path: Path) -> None:
    """Anybody may name a project: what is asked of it happens while nobody else can write."""
    engine = open_database(f"sqlite:///{tmp_path / 'ledger.sqlite3'}")
    worker = Worker(engine=engine, journal=Journal(engine), crops=CropStore(str(tmp_path)), page_of=annotating.page_of)
    send(worker.journal, saved(7, task=7, at=950, result=[drawn("a", "thumb", A)]))
    worker.work()
    with _asked(engine) as asked:
        for project in (1, 999):
            worker.journal.append("START_TRAINING", project=project, body={})
            config = CONFIG.replace("logo", f"logo of {project}")
            body = {"project": {"id": project, "label_config": config}}
            worker.journal.append("PROJECT_UPDATED", project=project, body=body)
            worker.journal.append("TASKS_DELETED", project=project, body={"tasks": [{"id": 7}]})
        worker.work()
        worker.journal.newest(1, ["START_TRAINING", "PROJECT_UPDATED"])
    plans = _plans(engine, asked)
    assert {state for _, state in worker.journal.counts()} == {"done", "parked"}
    assert [step for step, _ in plans if "_project" in step]
    assert not [plan for plan in plans if _goes_through_all(plan[0])]


def test_all_is_counted_by_indexes_alone(tmp_path: Path) -> None:
    """`/status` and `/metrics` read no event or crop: there may be a hundred thousand, and each has kilobytes."""
    engine = open_database(f"sqlite:///{tmp_path / 'ledger.sqlite3'}")
    with _asked(engine) as asked:
        count(engine)
        with engine.connect() as connection:
            acting_verdicts(connection, most=50)
    plans = _plans(engine, asked)
    assert len(asked) > 15
    assert not [plan for plan in plans if _reads_all(plan[0])]


@contextmanager
def _asked(engine: Engine) -> Iterator[dict[str, Any]]:
    """Statements that are asked meanwhile, with their parameters."""
    asked: dict[str, Any] = {}

    def ask(_: Any, __: Any, statement: str, parameters: Any, ___: Any, many: bool) -> None:
        if statement.startswith(("SELECT", "UPDATE", "DELETE", "WITH")):
            asked[statement] = parameters[0] if many else parameters

    event.listen(engine, "before_cursor_execute", ask)
    yield asked
    event.remove(engine, "before_cursor_execute", ask)


def _plans(engine: Engine, asked: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Each step by which SQLite would answer, and its statement."""
    with engine.connect() as connection:
        plans = [
            (row[3], statement)
            for statement, parameters in asked.items()
            for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", tuple(parameters))
        ]
    engine.dispose()
    return plans


def _reads_all(step: str) -> bool:
    """An index that has all that is asked for, or only few rows, may be gone through."""
    is_large = step.split()[1] in {"annotation", "event", "sample", "memory", "prediction", "proposal"}
    return step.startswith("SCAN") and is_large and "INDEX" not in step


def _goes_through_all(step: str) -> bool:
    """Of the index of open annotations all may be gone through: those that are done are not in it."""
    is_large = step.split()[1] in {"annotation", "event", "sample", "document", "prediction", "proposal"}
    return step.startswith("SCAN") and is_large and not step.endswith("USING INDEX ix_annotation_open")
