"""What the ledger's samples become: crops with side, pool and margin; and a hash that names them all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import update

from backend.corrections.database import writing
from backend.corrections.outcomes import Outcome
from backend.corrections.service import Store
from backend.corrections.tables import sample
from backend.errors import LedgerError, TrainingError
from backend.training.batches import CORRECTED, HARD
from backend.training.crops import SPLITS, CropFolder, box_within
from backend.training.retraining.material import RETRAINING_SEED, Material, draw_base, lessons
from backend.vision.finders import build_detector
from tests.training.retraining.ledger import KINDS, open_ledger, teach


def material(store: Store, drawn: Path) -> Material:
    [crops] = drawn.glob("crops-*")
    return Material({one.crop.file: one for one in lessons(store.engine)}, store.crops, CropFolder(crops))


def test_each_sample_is_a_crop_with_its_side_and_its_pool(tmp_path: Path) -> None:
    store = open_ledger(tmp_path)
    teach(store, 40)
    found = lessons(store.engine)
    assert len(found) == 40
    assert {one.crop.domain for one in found} == {CORRECTED}
    assert {one.crop.split for one in found} == set(SPLITS)
    assert {(one.crop.label, one.wrong, one.crop.origin) for one in found} == {
        ("signature", None, "seen"),
        ("stamp", "signature", HARD),
        ("none", "stamp", HARD),
        ("thumb", None, "seen"),
        ("stamp", None, "seen"),
    }
    store.engine.dispose()


def test_contradicted_samples_and_second_boxes_teach_nothing_and_weak_rejections_are_not_hard(tmp_path: Path) -> None:
    store = open_ledger(tmp_path)
    teach(store, 1, kinds=[("stamp", None, Outcome.DUPLICATE)])
    teach(store, 1, first=1, kinds=[KINDS[1]])
    teach(store, 1, first=2, kinds=[KINDS[2]], weak=True)
    with writing(store.engine) as connection:
        connection.execute(update(sample).where(sample.c.id == "1-a").values(quarantine="another says otherwise"))
    [left] = lessons(store.engine)
    assert (left.crop.file, left.crop.label, left.crop.origin) == ("2-a", "none", "seen")
    store.engine.dispose()


def test_a_crop_is_the_mark_with_the_margin_that_augmentation_moves_in(tmp_path: Path, drawn: Path) -> None:
    store = open_ledger(tmp_path)
    teach(store, 1)
    stuff = material(store, drawn)
    pixels = stuff.image(stuff.read()[0])
    assert pixels.shape == (62, 100, 3)  # 80 x 50, and an eighth more on each side
    left, top, right, bottom = (round(value) for value in box_within(pixels)[0])
    inside = pixels[top + 1 : bottom - 1, left + 1 : right - 1]
    assert inside.max() < 45
    assert np.median(pixels[:3]) > 200
    store.engine.dispose()


def test_the_hash_changes_with_any_sample_and_with_nothing_else(tmp_path: Path, drawn: Path) -> None:
    store = open_ledger(tmp_path)
    teach(store, 5)
    before = material(store, drawn).checksum()
    assert material(store, drawn).checksum() == before
    with writing(store.engine) as connection:
        connection.execute(update(sample).where(sample.c.id == "3-a").values(label="stamp"))
    changed = material(store, drawn).checksum()
    teach(store, 1, first=5)
    assert len({before, changed, material(store, drawn).checksum()}) == 3
    store.engine.dispose()


def test_gold_documents_are_not_among_those_that_were_seen(tmp_path: Path, drawn: Path) -> None:
    store = open_ledger(tmp_path)
    teach(store, 40)
    stuff = material(store, drawn)
    gold = {crop.document for crop in stuff.side("gold")}
    assert gold
    seen = stuff.seen()
    assert not gold & seen
    # Of a sample the name of its document is the hash of its page as well.
    assert {crop.document for crop in stuff.read()} == gold | seen
    with writing(store.engine) as connection:
        connection.execute(update(sample).where(sample.c.split != "gold").values(page_sha256="a" * 64))
        connection.execute(update(sample).where(sample.c.split == "gold").values(page_sha256="b" * 64))
    assert material(store, drawn).seen() == seen | {"a" * 64}
    store.engine.dispose()


def test_a_picture_that_is_gone_is_named(tmp_path: Path, drawn: Path) -> None:
    store = open_ledger(tmp_path)
    teach(store, 1)
    stuff = material(store, drawn)
    for file in (tmp_path / "crops").rglob("*.png"):
        file.unlink()
    with pytest.raises(LedgerError, match="cannot be read"):
        stuff.image(stuff.read()[0])
    store.engine.dispose()


def test_drawn_pages_are_kept_and_have_to_be_on_every_side(drawn: Path, tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in drawn.rglob("*") if path.is_file()}
    pages, crops = draw_base(drawn, pages=4, detector=build_detector("colour"))
    assert {path: path.stat().st_mtime_ns for path in drawn.rglob("*") if path.is_file()} == before
    assert len(pages.read()) == 4
    assert {crop.split for crop in crops.read()} == set(SPLITS)
    fewer, theirs = draw_base(drawn, pages=3, detector=build_detector("colour"))
    assert fewer.read() == [page for page in pages.read() if page.name != f"drawn-{RETRAINING_SEED + 3}"]
    assert {crop.document for crop in theirs.read()} == {page.name for page in fewer.read()}
    assert len(draw_base(drawn, pages=4, detector=build_detector("colour"))[0].read()) == 4, "they are still there"
    with pytest.raises(TrainingError, match="leave no document for train, validation"):
        draw_base(tmp_path, pages=1, detector=build_detector("colour"))
