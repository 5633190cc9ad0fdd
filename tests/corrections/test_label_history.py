"""Labels are renamed, and their regions live on: each is read by what it stood for; what nobody knows stays open."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, create_engine, select, text

from backend.corrections.counts import count, tables
from backend.corrections.crop_store import CropStore
from backend.corrections.database import MIGRATIONS, open_database, writing
from backend.corrections.journal import Journal
from backend.corrections.label_history import LabelHistory, note_config
from backend.corrections.reconciling import sync
from backend.corrections.remembering import Proposals, ShownPrediction
from backend.corrections.tables import annotation, label_config, sample
from backend.corrections.worker import Worker
from backend.labelstudio.project_annotations import rulings
from backend.labelstudio.protocol import without_secrets
from tests.corrections import annotating
from tests.corrections.annotating import CONFIG, drawn, saved, shown
from tests.corrections.studio import PROJECT, Studio

A, B = (10.0, 10.0, 110.0, 110.0), (200.0, 300.0, 300.0, 360.0)
SEAL = '<Label value="Seal" predicted_values="stamp"/>'
LATER = CONFIG.replace(SEAL, '<Label value="Stempel" predicted_values="stamp"/>')
FOREIGN = CONFIG.replace(SEAL, '<Label value="Foo" predicted_values="stamp"/>')
SWAPPED = CONFIG.replace(
    '<Label value="signature"/><Label value="thumb"/>',
    '<Label value="signature" predicted_values="thumb"/><Label value="thumb" predicted_values="signature"/>',
)


class Ledger:
    """A ledger that gets events and turns them into samples."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        self.engine = engine
        self.journal = Journal(engine)
        crops = CropStore(str(folder))
        self.worker = Worker(engine=engine, journal=self.journal, crops=crops, page_of=annotating.page_of)

    def show(self, *, at: float = 900.0) -> None:
        proposals = [shown("a", "stamp", A), shown("b", "signature", B)]
        Proposals(self.engine, clock=lambda: at).remember(
            ShownPrediction(task=7, project=1, version="v1", proposals=proposals)
        )

    def send(self, *payloads: dict[str, Any]) -> None:
        for payload in payloads:
            self.journal.append(payload["action"], project=1, body=without_secrets(payload))
        self.worker.work()

    def outcomes(self) -> dict[str, tuple[str, str, str | None]]:
        with self.engine.connect() as connection:
            rows = connection.execute(select(sample)).all()
        return {row.region: (row.outcome, row.label, row.wrong) for row in rows}


@pytest.fixture
def ledger(engine: Engine, tmp_path: Path) -> Ledger:
    return Ledger(engine, tmp_path)


def named(region: str, name: str | None, box: tuple[float, float, float, float], **more: Any) -> dict[str, Any]:
    one = drawn(region, "stamp", box, **more)
    if name is None:
        del one["value"]["rectanglelabels"]
    else:
        one["value"]["rectanglelabels"] = [name]
    return one


def renamed(config: str) -> dict[str, Any]:
    return {"action": "PROJECT_UPDATED", "project": {"id": 1, "label_config": config}}


@pytest.mark.parametrize(
    "name", ["Seal", None]
)  # as a program sends it, and as the editor does, which knows no such name
def test_a_box_submitted_untouched_after_its_label_was_renamed_is_accepted(ledger: Ledger, name: str | None) -> None:
    ledger.show()
    kept = [named("a", name, A, origin="prediction"), drawn("b", "signature", B, origin="prediction")]
    ledger.send(saved(1, task=7, at=950, result=kept, config=LATER))
    assert ledger.outcomes() == {"a": ("accepted", "stamp", None), "b": ("accepted", "signature", None)}


def test_a_label_that_an_annotator_took_off_is_open_and_no_rejection(ledger: Ledger) -> None:
    ledger.show()
    ledger.send(saved(1, task=7, at=950, result=[named("a", None, A), drawn("b", "signature", B)]))
    assert ledger.outcomes() == {"b": ("accepted", "signature", None)}
    [told] = count(ledger.engine).unknown
    assert (told.project, told.label, told.regions, told.task) == (1, "", 1, 7)


def test_a_name_that_nobody_knows_teaches_nothing_until_the_label_config_says_what_it_is(ledger: Ledger) -> None:
    ledger.show()
    drawn_too = named("z", "Foo", (10.0, 400.0, 90.0, 480.0))
    ledger.send(saved(1, task=7, at=950, result=[named("a", "Foo", A), drawn("b", "signature", B), drawn_too]))
    assert ledger.outcomes() == {"b": ("accepted", "signature", None)}
    [told] = count(ledger.engine).unknown
    assert (told.label, told.regions) == ("Foo", 2)
    assert "2 regions have the label 'Foo', such as on task 7" in tables(count(ledger.engine))
    ledger.send(renamed(CONFIG.replace('"stamp"/>', '"stamp,Foo"/>')))
    assert ledger.outcomes()["a"] == ("accepted", "stamp", None)
    assert ledger.outcomes()["z"] == ("missed", "stamp", None)
    assert not count(ledger.engine).unknown


MIXED = CONFIG.replace(SEAL, '<Label value="Seal" predicted_values="stamp,thumb"/>')


def test_a_label_of_two_marks_says_which_only_of_a_box_that_was_shown_and_left(ledger: Ledger) -> None:
    """And it holds up nothing else in the annotation."""
    ledger.show()
    by_hand = named("z", "Seal", (10.0, 400.0, 90.0, 480.0), origin="manual")
    left = [named("a", "Seal", A, origin="prediction"), drawn("b", "thumb", B, origin="prediction-changed"), by_hand]
    ledger.send(saved(1, task=7, at=950, result=left, config=MIXED))
    assert ledger.outcomes() == {"a": ("accepted", "stamp", None), "b": ("relabelled", "thumb", "signature")}
    [told] = count(ledger.engine).unknown
    assert (told.label, told.regions) == ("Seal", 1)
    assert "say which one mark it stands for" in told.remedy


def test_a_box_that_was_renamed_to_a_label_of_two_marks_is_no_rejection(ledger: Ledger) -> None:
    ledger.show()
    left = [named("a", "Seal", A, origin="prediction"), named("b", "Seal", B, origin="prediction-changed")]
    ledger.send(saved(1, task=7, at=950, result=left, config=MIXED))
    assert ledger.outcomes() == {"a": ("accepted", "stamp", None)}


def test_a_deleted_box_where_a_region_of_an_unknown_name_lies_is_no_rejection(ledger: Ledger) -> None:
    ledger.show()
    ledger.send(saved(1, task=7, at=950, result=[named("z", "Foo", A), drawn("b", "signature", B)]))
    assert ledger.outcomes() == {"b": ("accepted", "signature", None)}


def test_a_label_that_came_to_mean_something_else_meanwhile_says_nothing(ledger: Ledger) -> None:
    """Nobody renamed the box: it still bears the word under which it was shown."""
    ledger.show()
    ledger.send(saved(1, task=7, at=950, result=[drawn("a", "stamp", A), drawn("b", "signature", B)], config=SWAPPED))
    assert ledger.outcomes() == {"a": ("accepted", "stamp", None)}


def test_a_renamed_control_and_image_are_followed(ledger: Ledger) -> None:
    ledger.show()
    later = CONFIG.replace('"mark"', '"box"').replace('"page"', '"scan"')
    ledger.send(saved(1, task=7, at=950, result=[drawn("a", "stamp", A)], config=later))
    assert ledger.outcomes() == {"a": ("accepted", "stamp", None), "b": ("rejected", "none", "signature")}


def test_an_older_ledger_which_kept_no_words_still_takes_an_unnamed_box_for_what_was_shown(ledger: Ledger) -> None:
    ledger.show()
    with writing(ledger.engine) as connection:
        connection.exec_driver_sql("UPDATE proposal SET word = NULL")
    ledger.send(saved(1, task=7, at=950, result=[named("a", None, A), drawn("b", "signature", B)], config=LATER))
    assert ledger.outcomes()["a"] == ("accepted", "stamp", None)


@pytest.mark.parametrize("told", [True, False])
def test_annotated_first_and_renamed_later_is_read_as_it_was_meant(ledger: Ledger, *, told: bool) -> None:
    """By an event that told under which label config it was saved, or by the label configs that there were."""
    event = saved(1, task=7, at=950, result=[drawn("n", "stamp", A), drawn("m", "signature", B)])
    studio = Studio(event)
    if told:
        ledger.send(event)
    else:
        ledger.send(renamed(CONFIG))
    ledger.send(renamed(LATER))
    studio.label_config = LATER
    with studio.client() as client:
        sync(ledger.engine, client, PROJECT)
        ledger.worker.work()
        [(_, ruling)] = rulings(client, PROJECT, past=LabelHistory(engine=ledger.engine))
    assert {region: row[:2] for region, row in ledger.outcomes().items()} == {
        "n": ("missed", "stamp"),
        "m": ("missed", "signature"),
    }
    assert not isinstance(ruling, Exception)
    assert ruling is not None
    sizes = dict.fromkeys(range(2), (annotating.WIDTH, annotating.HEIGHT))
    assert {one.id: one.label for one in ruling.annotation.regions(sizes)} == {"n": "stamp", "m": "signature"}


def test_without_any_history_a_data_set_leaves_the_place_of_an_unknown_name_open(ledger: Ledger) -> None:
    studio = Studio(saved(1, task=7, at=950, result=[drawn("n", "stamp", A), drawn("m", "signature", B)]))
    studio.label_config = LATER
    with studio.client() as client:
        [(_, ruling)] = rulings(client, PROJECT, past=LabelHistory(engine=ledger.engine))
    assert not isinstance(ruling, Exception)
    assert ruling is not None
    sizes = dict.fromkeys(range(2), (annotating.WIDTH, annotating.HEIGHT))
    assert [one.id for one in ruling.annotation.regions(sizes)] == ["m"]
    assert [one.id for one in ruling.annotation.unread(sizes)] == ["n"]


def test_a_state_that_nobody_told_of_is_open_where_its_names_have_changed_places(ledger: Ledger) -> None:
    event = saved(1, task=7, at=950, result=[drawn("n", "stamp", A), drawn("m", "signature", B)])
    studio = Studio(event)
    studio.label_config = SWAPPED
    ledger.send(renamed(CONFIG), renamed(SWAPPED))
    with studio.client() as client:
        sync(ledger.engine, client, PROJECT)
        ledger.worker.work()
    assert set(ledger.outcomes()) == {"n"}
    ledger.send(event)  # late, but it says under which label config it was saved
    assert ledger.outcomes()["m"] == ("missed", "signature", None)


def test_label_configs_are_kept_once_each_time_that_they_come_and_not_without_end(engine: Engine) -> None:
    with writing(engine) as connection:
        news = [note_config(connection, 1, text, at=at) for text, at in [(CONFIG, 10), (CONFIG, 20), (LATER, 30)]]
        assert news == [True, False, True]
        assert not note_config(connection, 1, LATER, at=25)  # told later, of earlier
        assert not note_config(connection, 1, CONFIG, at=40)  # changed back: kept, and no news
        for number in range(300):
            note_config(connection, 1, f"<View>{number}</View>", at=100 + number)
        kept = connection.execute(select(label_config.c.since).order_by(label_config.c.since)).scalars().all()
    assert len(kept) == 100
    assert kept[-1] == 399


def test_no_label_config_is_forgotten_for_events_that_come_late_and_tell_of_the_same_few(engine: Engine) -> None:
    with writing(engine) as connection:
        note_config(connection, 1, LATER, at=5)
        for number in range(400):
            note_config(connection, 1, CONFIG if number % 2 else "<View/>", at=1000 - number)
        kept = connection.execute(select(label_config.c.config)).scalars().all()
    assert len(kept) <= 100
    assert set(kept) == {CONFIG, LATER, "<View/>"}


_OLD_ANNOTATION = text(
    "INSERT INTO annotation (id, task, updated, folded, deleted, body, turned, attempts, due, lease, parked) "
    "VALUES (:number, 7, 1, 1, false, '{}', 1, 3, 9, 9, false)"
)
_OLD_SAMPLE = text(
    "INSERT INTO sample (id, annotation, task, page, region, outcome, label, wrong, weak, x1, y1, x2, y2, "
    "page_width, page_height, page_sha256, crop, crop_sha256, phash, margin, document, split, annotated) "
    "VALUES (:id, :number, 7, 0, 'a', 'duplicate', 'signature', :wrong, false, 1, 1, 2, 2, "
    "9, 9, 'p', 'c', 's', 'h', '[0, 0, 9, 9]', 'd', 'train', 1)"
)


def test_an_older_ledgers_boxes_on_marks_of_another_class_are_looked_at_once_more(database_url: str) -> None:
    """They were called duplicates, and were no hard negatives."""
    values = ((1, "stamp"), (2, None))
    old = create_engine(database_url.replace("postgresql://", "postgresql+psycopg://"))
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with old.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0003")
        for number, wrong in values:
            named = {"number": number, "wrong": wrong, "id": f"{number}-a"}
            connection.execute(_OLD_ANNOTATION, named)
            connection.execute(_OLD_SAMPLE, named)
    old.dispose()
    engine = open_database(database_url)
    with engine.connect() as connection:
        rows = connection.execute(select(annotation.c.id, annotation.c.turned).order_by(annotation.c.id)).all()
    engine.dispose()
    assert rows == [(1, None), (2, 1.0)]
