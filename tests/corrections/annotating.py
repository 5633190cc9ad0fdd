"""An annotator to test with: pages, what was shown on them, Label Studio's payloads about what was left.

And the samples that a ledger has of them in the end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import Engine, select

from backend.corrections.crop_store import CropStore
from backend.corrections.database import open_database
from backend.corrections.journal import Journal
from backend.corrections.remembering import Proposals, ShownPrediction
from backend.corrections.shown import Proposal
from backend.corrections.tables import sample
from backend.corrections.worker import Worker
from backend.labelstudio.annotations import Annotation, Region
from backend.labelstudio.protocol import without_secrets
from backend.pages.page import Page

CONFIG = (
    '<View><Image name="page" valueList="$pages"/><RectangleLabels name="mark" toName="page">'
    '<Label value="Seal" predicted_values="stamp"/><Label value="signature"/><Label value="thumb"/>'
    '<Label value="logo"/></RectangleLabels></View>'
)
WIDTH, HEIGHT = 400, 600
WORDS = {"stamp": "Seal"}
A, B, C = (10.0, 10.0, 110.0, 110.0), (200.0, 300.0, 300.0, 360.0), (50.0, 450.0, 150.0, 550.0)
SHIFTED_B = (260.0, 300.0, 360.0, 360.0)


def page_of(annotation: Annotation, index: int) -> Page:
    """A page of noise that belongs to its reference alone."""
    seed = abs(hash_of(annotation.references[index]))
    pixels = np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    return Page(pixels=pixels, reference=annotation.references[index], index=0)


def hash_of(text: str) -> int:
    return int.from_bytes(text.encode()[-8:], "big")


def shown(region: str, label: str, box: tuple[float, float, float, float], *, page: int = 0) -> Proposal:
    return Proposal(
        region=Region(id=region, page=page, label=label, box=box),
        probabilities=(0.7, 0.1, 0.1, 0.1),
        score=0.7,
        page_size=(WIDTH, HEIGHT),
        word=WORDS.get(label, label),
    )


def drawn(
    region: str, label: str, box: tuple[float, float, float, float], *, page: int = 0, rotation: float = 0, **extra: Any
) -> dict[str, Any]:
    x1, y1, x2, y2 = box
    return {
        "id": region,
        "type": "rectanglelabels",
        "from_name": "mark",
        "to_name": "page",
        "item_index": page,
        "original_width": WIDTH,
        "original_height": HEIGHT,
        "image_rotation": 0,
        "value": {
            "x": 100 * x1 / WIDTH,
            "y": 100 * y1 / HEIGHT,
            "width": 100 * (x2 - x1) / WIDTH,
            "height": 100 * (y2 - y1) / HEIGHT,
            "rotation": rotation,
            "rectanglelabels": [WORDS.get(label, label)],
        },
        **extra,
    }


def iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat().replace("+00:00", "Z")


def saved(
    annotation: int,
    *,
    task: int,
    at: float,
    result: Sequence[Mapping[str, Any]],
    created: float | None = None,
    action: str = "ANNOTATION_CREATED",
    pages: int = 2,
    config: str = CONFIG,
    **fields: Any,
) -> dict[str, Any]:
    """The payload that Label Studio sends when an annotation is saved."""
    return {
        "action": action,
        "annotation": {
            "id": annotation,
            "task": task,
            "project": 1,
            "result": list(result),
            "was_cancelled": False,
            "created_at": iso(at if created is None else created),
            "updated_at": iso(at),
            "completed_by": 1,
            "lead_time": 3.5,
            "parent_prediction": 1,
            **fields,
        },
        "task": {"id": task, "project": 1, "data": {"pages": [f"/data/upload/1/t{task}p{n}" for n in range(pages)]}},
        "project": {"id": 1, "label_config": config, "token": "secret-token"},
    }


def deleted(*annotations: int) -> dict[str, Any]:
    return {"action": "ANNOTATIONS_DELETED", "annotations": [{"id": one} for one in annotations], "project": {"id": 1}}


def send(journal: Journal, *payloads: dict[str, Any]) -> None:
    for payload in payloads:
        journal.append(payload["action"], project=1, body=without_secrets(payload))


def samples(engine: Engine) -> dict[str, tuple[str, str, str | None]]:
    with engine.connect() as connection:
        return {
            row.region: (row.outcome, row.label, row.wrong)
            for row in connection.execute(select(sample).order_by(sample.c.id))
        }


def show(engine: Engine, task: int = 7, version: str = "v1", at: float = 900.0) -> None:
    Proposals(engine, clock=lambda: at).remember(
        ShownPrediction(
            task=task,
            project=1,
            version=version,
            proposals=[shown("a", "stamp", A), shown("b", "signature", B), shown("c", "thumb", C, page=1)],
        )
    )


def everything(engine: Engine) -> list[dict[str, Any]]:
    with engine.connect() as connection:
        return [dict(row._mapping) for row in connection.execute(select(sample).order_by(sample.c.id))]


HISTORY = [
    saved(1, task=7, at=1000, result=[drawn("a", "stamp", A), drawn("b", "signature", B)]),
    saved(1, task=7, at=1010, created=1000, result=[drawn("a", "thumb", A)], action="ANNOTATION_UPDATED"),
    saved(2, task=7, at=1020, result=[drawn("a", "stamp", A)], completed_by=2),
    saved(3, task=8, at=1000, result=[drawn("n", "stamp", C)]),
    saved(3, task=8, at=1005, created=1000, result=[], action="ANNOTATION_UPDATED"),
    saved(4, task=8, at=1001, result=[drawn("m", "thumb", B)]),
    deleted(4),
    saved(5, task=9, at=1002, result=[drawn("q", "stamp", A)]),
    {"action": "TASKS_DELETED", "tasks": [{"id": 9}], "project": {"id": 1}},
    {"action": "START_TRAINING", "project": {"id": 1}},
]
"""Events of four tasks, of which some replace or undo others."""


def replay(folder: Path, payloads: list[dict[str, Any]], *, chunk: int) -> list[dict[str, Any]]:
    """The samples that a new ledger has after these events, worked on after every few."""
    engine = open_database(f"sqlite:///{folder / 'ledger.sqlite3'}")
    show(engine)
    journal = Journal(engine)
    worker = Worker(engine=engine, journal=journal, crops=CropStore(str(folder)), page_of=page_of)
    for start in range(0, len(payloads), chunk):
        send(journal, *payloads[start : start + chunk])
        worker.work()
    rows = everything(engine)
    engine.dispose()
    return rows
