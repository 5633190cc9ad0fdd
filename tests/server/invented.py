"""A ledger with an invented history of two months: a style is learnt, a model is promoted, corrections become fewer."""

from __future__ import annotations

import numpy as np
from sqlalchemy import Engine, insert

from backend.corrections.database import writing
from backend.corrections.history_tables import milestone, work
from backend.corrections.tables import sample
from backend.vision.network_config import MARKS

__all__ = ["NOW", "fill", "sample_row"]

NOW = 1_795_000_000.0
DAY = 86_400.0


def sample_row(number: int, **fields: object) -> dict[str, object]:
    """A row of the table of samples."""
    return {
        "id": f"{number}-r{number}",
        "annotation": number,
        "task": number,
        "project": 1,
        "page": 0,
        "region": f"r{number}",
        "outcome": "accepted",
        "label": "stamp",
        "wrong": None,
        "weak": False,
        "blind": False,
        "x1": 10.0,
        "y1": 10.0,
        "x2": 60.0,
        "y2": 40.0,
        "page_width": 400,
        "page_height": 600,
        "page_sha256": f"{number:064x}",
        "crop": f"{number:064x}",
        "crop_sha256": f"{number:064x}",
        "phash": f"{number:016x}",
        "margin": [0, 0, 10, 10],
        "document": f"{number:064x}",
        "split": "train",
        "annotator": 1,
        "annotated": NOW,
    } | fields


def fill(engine: Engine, *, days: int = 56) -> None:
    """Fills a fresh ledger; the same every time."""
    dice = np.random.default_rng(5)
    samples, works, number = [], [], 0
    for day in range(days):
        at = NOW - (days - day) * DAY
        right = 0.62 if day < 30 else 0.88
        for _ in range(int(dice.integers(6, 16))):
            number += 1
            blind = number % 9 == 0
            annotator = 1 + number % 3
            works.append(
                {
                    "annotation": number,
                    "turned": at,
                    "task": number,
                    "project": 1,
                    "annotator": annotator,
                    "at": at,
                    "pages": 1,
                    "seconds": float(dice.gamma(6, 11 if blind else 5 if day < 30 else 3)),
                    "saw": "blind" if blind else "boxes",
                }
            )
            for place in range(3):
                label = MARKS[int(dice.choice(3, p=[0.55, 0.35, 0.1]))]
                accepted = dice.random() < right
                outcome = (
                    "accepted" if accepted else str(dice.choice(["moved", "relabelled", "rejected", "missed", "moved"]))
                )
                wrong = "stamp" if label == "signature" else "signature"
                samples.append(
                    sample_row(
                        number,
                        id=f"{number}-r{place}",
                        region=f"r{place}",
                        outcome=outcome,
                        label="none" if outcome == "rejected" else label,
                        wrong=wrong if outcome in {"relabelled", "rejected"} else None,
                        annotator=annotator,
                        annotated=at + place,
                        blind=blind,
                    )
                )
    moved = [
        ("serves", "bundled-131969d6.model-1317feda", NOW - days * DAY, None, ""),
        ("refused", "20261003-0912-a1b2", NOW - 45 * DAY, 0.779, "signatures’ recall fell by 3.8 points"),
        ("promoted", "20261018-2140-c3d4", NOW - 26 * DAY, 0.910, "the gate let it pass"),
        ("serves", "20261018-2140-c3d4.model-77aa01fe", NOW - 26 * DAY + 2, None, ""),
        ("promoted", "20261106-0310-e5f6", NOW - 8 * DAY, 0.931, "the gate let it pass"),
        ("serves", "20261106-0310-e5f6.model-5d0c11ab", NOW - 8 * DAY + 2, None, ""),
    ]
    milestones = [
        {
            "key": f"{what} {at:.0f} {model}",
            "at": at,
            "what": what,
            "model": model,
            "f1": f1,
            "low": None if f1 is None else f1 - 0.03,
            "high": None if f1 is None else f1 + 0.025,
            "documents": None if f1 is None else 46,
            "reason": reason,
        }
        for what, model, at, f1, reason in moved
    ]
    with writing(engine) as connection:
        connection.execute(insert(sample), samples)
        connection.execute(insert(work), works)
        connection.execute(insert(milestone), milestones)
