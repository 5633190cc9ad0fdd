"""What Label Studio left out of an annotation, because its View awaited an answer, was deleted by nobody."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from backend.corrections.crop_store import CropStore
from backend.corrections.journal import Journal
from backend.corrections.worker import Worker
from tests.corrections.annotating import CONFIG, A, drawn, page_of, samples, saved, send, show
from tests.corrections.conftest import opened_copy

KIND = '<Choices name="kind" toName="page"><Choice value="Contract"/><Choice value="Letter"/></Choices>'
VIEW = '<View visibleWhen="choice-selected" whenTagName="kind" whenChoiceValue="Contract">'
AWAITING = CONFIG.replace("<RectangleLabels", f"{KIND}{VIEW}<RectangleLabels").replace("</View>", "</View></View>")
NOTES = '<RectangleLabels name="notes" toName="page"><Label value="stamp"/></RectangleLabels>'
CONTRACT = {"id": "c", "type": "choices", "from_name": "kind", "to_name": "page", "value": {"choices": ["Contract"]}}
KEPT = drawn("a", "stamp", A, origin="prediction")


@pytest.fixture
def engine(migrated_file: Path, tmp_path: Path) -> Iterator[Engine]:
    yield from opened_copy(migrated_file, tmp_path)


@pytest.mark.parametrize(
    ("config", "result", "rejected"),
    [
        (AWAITING, [], set()),  # the annotator forgot to answer
        (AWAITING, [CONTRACT], {"a", "b", "c"}),
        (AWAITING, [CONTRACT, KEPT], {"b", "c"}),
        (AWAITING, [KEPT], {"b", "c"}),
        # where another control awaits nothing, what the first had shown is not known to be deleted
        (AWAITING.replace("</View></View>", f"</View>{NOTES}</View>"), [], set()),
    ],
)
def test_only_what_would_have_been_submitted_can_be_deleted(
    engine: Engine, tmp_path: Path, config: str, result: list[dict[str, Any]], rejected: set[str]
) -> None:
    show(engine)
    journal = Journal(engine)
    send(journal, saved(1, task=7, at=1000, result=result, config=config))
    while Worker(engine=engine, journal=journal, crops=CropStore(str(tmp_path)), page_of=page_of).work():
        pass
    found = samples(engine)
    assert {region for region, (outcome, _, _) in found.items() if outcome == "rejected"} == rejected
