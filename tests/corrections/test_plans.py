"""What an event asks of the ledger is found by an index: it costs no more in an archive of a hundred thousand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import event

from backend.corrections.counts import count
from backend.corrections.crop_store import CropStore
from backend.corrections.database import open_database
from backend.corrections.journal import Journal
from backend.corrections.memory import acting_verdicts
from backend.corrections.remembering import Proposals, ShownPrediction
from backend.corrections.worker import Worker
from tests.corrections import annotating
from tests.corrections.annotating import drawn, saved, send, shown

A, B = (10.0, 10.0, 110.0, 110.0), (200.0, 300.0, 300.0, 360.0)


def test_what_an_event_asks_of_the_ledger_is_found_by_an_index(tmp_path: Path) -> None:
    engine = open_database(f"sqlite:///{tmp_path / 'ledger.sqlite3'}")
    asked: dict[str, Any] = {}

    def ask(_: Any, __: Any, statement: str, parameters: Any, ___: Any, many: bool) -> None:
        if statement.startswith(("SELECT", "UPDATE", "DELETE")):
            asked[statement] = parameters[0] if many else parameters

    event.listen(engine, "before_cursor_execute", ask)
    worker = Worker(engine=engine, journal=Journal(engine), crops=CropStore(str(tmp_path)), page_of=annotating.page_of)
    for task in range(7, 20):
        asked.clear()  # what the first ones ask, such as about a label config that is new, is not asked again
        region = shown("a", "stamp", A)
        Proposals(engine).remember(ShownPrediction(task=task, project=1, version="v1", proposals=[region]))
        send(worker.journal, saved(task, task=task, at=950, result=[drawn("a", "thumb", A), drawn("b", "thumb", B)]))
        worker.work()
    send(worker.journal, saved(7, task=7, at=960, result=[drawn("a", "stamp", A)]))
    worker.work()

    event.remove(engine, "before_cursor_execute", ask)
    plans: dict[str, list[str]] = {}
    with engine.connect() as connection:
        for statement, parameters in asked.items():
            rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", tuple(parameters))
            plans[statement] = [row[3] for row in rows]
    engine.dispose()
    large = [(step, statement) for statement, steps in plans.items() for step in steps if _goes_through_all(step)]
    assert len(plans) > 25
    assert not large


def test_all_is_counted_by_indexes_alone(tmp_path: Path) -> None:
    """`/status` and `/metrics` read no event or crop: there may be a hundred thousand, and each has kilobytes."""
    engine = open_database(f"sqlite:///{tmp_path / 'ledger.sqlite3'}")
    asked: dict[str, Any] = {}

    def ask(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> None:
        asked[statement] = parameters

    event.listen(engine, "before_cursor_execute", ask)
    count(engine)
    with engine.connect() as connection:
        acting_verdicts(connection, most=50)
    event.remove(engine, "before_cursor_execute", ask)
    with engine.connect() as connection:
        steps = [
            (row[3], statement)
            for statement, parameters in asked.items()
            for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", tuple(parameters))
        ]
    engine.dispose()
    assert len(asked) > 15
    assert not [(step, statement) for step, statement in steps if _reads_all(step)]


def _reads_all(step: str) -> bool:
    """An index that has all that is asked for, or only few rows, may be gone through."""
    is_large = step.split()[1] in {"annotation", "event", "sample", "memory", "prediction", "proposal"}
    return step.startswith("SCAN") and is_large and "INDEX" not in step


def _goes_through_all(step: str) -> bool:
    """Of the index of open annotations all may be gone through: those that are done are not in it."""
    is_large = step.split()[1] in {"annotation", "event", "sample", "document", "prediction", "proposal"}
    return step.startswith("SCAN") and is_large and not step.endswith("USING INDEX ix_annotation_open")
