"""Earlier hard examples are what annotators corrected, in the pixels that they saw."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import update

from backend.corrections.crop_store import CropStore
from backend.corrections.database import default_url, open_database
from backend.corrections.journal import Journal
from backend.corrections.remembering import Proposals, ShownPrediction
from backend.corrections.tables import sample
from backend.corrections.worker import Worker
from backend.evaluation.trial import HardExample, hard_examples
from backend.labelstudio.protocol import without_secrets
from tests.corrections import annotating
from tests.corrections.annotating import drawn, saved, shown

RENAMED, KEPT, DELETED = (200.0, 300.0, 300.0, 360.0), (20.0, 30.0, 120.0, 130.0), (50.0, 450.0, 150.0, 550.0)


def corrected(folder: Path, *, quarantined: str | None = None) -> list[HardExample]:
    """One stamp renamed to a signature, one left alone, a thumb deleted, and a mark drawn where nothing was shown."""
    engine, crops = open_database(default_url(folder)), CropStore(str(folder))
    journal = Journal(engine)
    Proposals(engine, clock=lambda: 900.0).remember(
        ShownPrediction(
            task=7,
            project=1,
            version="v1",
            proposals=[shown("a", "stamp", RENAMED), shown("b", "stamp", KEPT), shown("c", "thumb", DELETED)],
        )
    )
    left = [
        drawn("a", "signature", RENAMED),
        drawn("b", "stamp", KEPT),
        drawn("n", "thumb", (300.0, 10.0, 380.0, 90.0)),
    ]
    payload = saved(1, task=7, at=950, result=left)
    journal.append(payload["action"], project=1, body=without_secrets(payload))
    Worker(engine=engine, journal=journal, crops=crops, page_of=annotating.page_of, clock=lambda: 1000.0).work()
    if quarantined:
        with engine.begin() as connection:
            connection.execute(update(sample).where(sample.c.region == quarantined).values(quarantine="disputed"))
    found = list(hard_examples(engine, crops))
    engine.dispose()
    return found


def test_what_was_renamed_or_rejected_with_its_place_in_the_crop(tmp_path: Path) -> None:
    renamed, rejected = corrected(tmp_path)
    assert (renamed.label, rejected.label) == ("signature", "none")
    # A quarter of each side is margin: 25 px left and right of 100, 15 above and below 60.
    assert renamed.pixels.shape == (90, 150, 3)
    assert renamed.box.tolist() == [pytest.approx([25, 15, 125, 75])]
    assert rejected.pixels.shape == (150, 150, 3)
    assert rejected.box.tolist() == [pytest.approx([25, 25, 125, 125])]


def test_what_annotators_dispute_is_left_out(tmp_path: Path) -> None:
    assert [one.label for one in corrected(tmp_path, quarantined="a")] == ["none"]
