"""What annotators left becomes a version: upright, the newest that counts, nothing that cannot be vouched for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import select

from backend.corrections.journal import Journal
from backend.corrections.reconciling import sync
from backend.corrections.service import Store, page_opener
from backend.corrections.splits import split_of
from backend.corrections.tables import sample
from backend.corrections.worker import Worker
from backend.dataset.freezing import Frozen, datasets, freeze
from backend.dataset.manifest import FrozenPage
from backend.errors import DatasetError, LabelConfigError, LabelStudioError
from backend.labelstudio.client import LabelStudio
from backend.labelstudio.connections import Connections
from backend.pages.source import PageSource
from backend.settings import Settings
from tests.dataset.studio import PROJECT, TITLE, TOKEN, Studio, annotation, file_of, page, region

SIZE = (240, 320)
A, B = (40, 60, 120, 100), (100, 200, 220, 260)
Freeze = Callable[..., Frozen]


def pages_of(frozen: Frozen) -> dict[str, FrozenPage]:
    return {one.name: one for one in frozen.version.manifest.pages}


def inked(frozen: Frozen, one: FrozenPage) -> tuple[int, ...]:
    """The box of what is dark on a page, x1, y1, x2, y2."""
    rows, columns = np.nonzero(frozen.version.pixels(one).max(axis=2) < 110)
    return int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1


def test_pages_marks_and_their_origin_are_kept_and_the_annotator_is_not(studio: Studio, frozen: Freeze) -> None:
    pages = [file_of(page(1, A)), file_of(page(2, B))]
    marks = region("a", "stamp", A, SIZE), region("b", "thumb", B, SIZE, item=1)
    studio.task(3, pages, annotation(9, *marks), document="lease.pdf", page_numbers=[11, 12], language="ar")
    done = frozen()
    first, second = done.version.manifest.pages
    assert [(mark.label, mark.box) for mark in first.marks] == [("stamp", A)]
    assert [(mark.label, mark.box) for mark in second.marks] == [("thumb", B)]
    assert (inked(done, first), inked(done, second)) == (A, B)
    assert second.origin is not None
    origin = second.origin
    assert (origin.project, origin.task, origin.item, origin.annotation) == (PROJECT, 3, 1, 9)
    assert (origin.shown, origin.number, origin.updated) == ("model-1", 12, "1970-01-01T00:16:40+00:00")
    assert (second.language, second.classes) == ("ar", ("signature", "stamp", "thumb"))
    assert b"4711" not in done.version.manifest.text
    assert b"lease" not in done.version.manifest.text


@pytest.mark.parametrize("kind", ["JPEG", "TIFF", "PNG"])
def test_scans_that_exif_turns_are_upright_and_boxes_lie_on_their_ink(
    kind: str, studio: Studio, frozen: Freeze
) -> None:
    turned = file_of(page(1, A), kind, orientation=6)
    studio.task(3, [turned], annotation(9, region("a", "stamp", A, SIZE)))
    done = frozen()
    [one] = done.version.manifest.pages
    assert (one.width, one.height) == SIZE
    np.testing.assert_allclose(one.marks[0].box, A, atol=0.01)
    np.testing.assert_allclose(inked(done, one), A, atol=1)


def test_a_turned_rectangle_becomes_the_upright_box_around_it(studio: Studio, frozen: Freeze) -> None:
    # A quarter turn clockwise about the top left corner (120, 60): 40 across, 80 down become 80 to its left, 40 down.
    drawn = region("a", "stamp", (120, 60, 160, 140), SIZE, rotation=90)
    studio.task(3, [file_of(page(1))], annotation(9, drawn))
    [one] = frozen().version.manifest.pages
    np.testing.assert_allclose(one.marks[0].box, (40, 60, 120, 100), atol=0.01)
    assert one.marks[0].rotation == 90


def test_a_page_that_lay_on_its_side_when_it_was_annotated_is_refused(studio: Studio, frozen: Freeze) -> None:
    studio.task(3, [file_of(page(1))], annotation(9, region("a", "stamp", A, SIZE, original=(320, 240))))
    with pytest.raises(DatasetError, match="task 3: page 1 was annotated at 320 x 240 pixels, but it is 240 x 320 now"):
        frozen()


def test_the_newest_submitted_annotation_rules(studio: Studio, frozen: Freeze) -> None:
    older = annotation(8, region("a", "stamp", A, SIZE), at=1000)
    newer = annotation(9, region("b", "stamp", B, SIZE), at=2000)
    skipped = annotation(10, at=3000, was_cancelled=True)
    studio.task(3, [file_of(page(1))], newer, older, skipped)
    [one] = frozen().version.manifest.pages
    assert one.origin is not None
    assert (one.origin.annotation, [mark.id for mark in one.marks]) == (9, ["b"])


def test_pages_without_marks_are_kept_and_tasks_that_nobody_annotated_are_not(studio: Studio, frozen: Freeze) -> None:
    studio.task(3, [file_of(page(1)), file_of(page(2))], annotation(9, region("a", "stamp", A, SIZE)))
    studio.task(4, [file_of(page(3))], annotation(10))
    studio.task(5, [file_of(page(4))])
    studio.task(6, [file_of(page(5))], annotation(11, was_cancelled=True))
    done = frozen()
    assert {name: len(one.marks) for name, one in pages_of(done).items()} == {
        "task-3-0": 1,
        "task-3-1": 0,
        "task-4-0": 0,
    }
    assert done.unannotated == 2
    assert sum(row["pages_without_marks"] for row in done.version.manifest.counts().values()) == 2


def test_a_mark_that_two_annotators_call_by_different_names_is_neither_right_nor_wrong(
    studio: Studio, frozen: Freeze
) -> None:
    one = annotation(8, region("a", "stamp", A, SIZE), region("b", "thumb", B, SIZE), at=1000)
    other = annotation(9, region("c", "signature", A, SIZE), region("d", "thumb", B, SIZE), at=2000)
    studio.task(3, [file_of(page(1))], one, other)
    [kept] = frozen().version.manifest.pages
    assert [mark.id for mark in kept.marks] == ["d"]
    assert kept.ignored == (A,)


def test_tasks_are_found_however_many_portions_they_come_in(studio: Studio, frozen: Freeze) -> None:
    for task in range(1, 106):
        studio.task(task, [file_of(page(1))], *([] if task == 7 else [annotation(task)]))
    done = frozen()
    assert set(pages_of(done)) == {f"task-{task}-0" for task in range(1, 106) if task != 7}
    assert done.unannotated == 1


def test_a_label_that_stands_for_no_mark_makes_none(studio: Studio, frozen: Freeze) -> None:
    studio.task(3, [file_of(page(1))], annotation(9, region("a", "logo", A, SIZE)))
    [one] = frozen().version.manifest.pages
    assert one.marks == ()


def test_pages_are_complete_in_the_classes_that_there_were_labels_for(studio: Studio, frozen: Freeze) -> None:
    studio.label_config = (
        '<View><Image name="page" valueList="$pages"/><RectangleLabels name="mark" toName="page">'
        '<Label value="Seal" predicted_values="stamp"/></RectangleLabels></View>'
    )
    studio.task(3, [file_of(page(1))], annotation(9, region("a", "stamp", A, SIZE)))
    [one] = frozen().version.manifest.pages
    assert one.classes == ("stamp",)


class TestATaskWithAPageThatCannotBeHad:
    @pytest.fixture(autouse=True)
    def one_is_gone(self, studio: Studio) -> None:
        studio.task(3, [file_of(page(1))], annotation(9, region("a", "stamp", A, SIZE)))
        studio.task(4, [file_of(page(2)), b"no image"], annotation(10, region("b", "stamp", A, SIZE)))
        studio.task(5, [file_of(page(3))], annotation(11))
        del studio.uploads[f"/data/upload/{PROJECT}/t5p0"]

    def test_is_named_and_nothing_is_frozen(self, frozen: Freeze, settings: Settings) -> None:
        with pytest.raises(DatasetError, match=r"(?s)2 tasks cannot be frozen.*--allow-missing.*task 4: .*task 5: "):
            frozen()
        assert datasets(settings).names() == []

    def test_is_left_out_whole_where_that_is_allowed(self, frozen: Freeze) -> None:
        done = frozen(allow_missing=True)
        assert list(pages_of(done)) == ["task-3-0"]
        assert [reason.partition(":")[0] for reason in done.missing] == ["task 4", "task 5"]
        stored = list(done.version.folder.glob("pages/*/*.png"))
        assert [file.stem for file in stored] == [done.version.manifest.pages[0].sha256]


def test_the_same_annotations_freeze_to_the_same_id_whatever_their_order_and_name(
    studio: Studio, frozen: Freeze, settings: Settings, tmp_path: Path
) -> None:
    for task in range(3, 9):
        marks = region("b", "thumb", B, SIZE), region("a", "stamp", A, SIZE)
        studio.task(task, [file_of(page(task))], annotation(task + 10, *marks))
    first = frozen("first")
    again = frozen("first")
    assert (first.new, again.new, again.version.id) == (True, False, first.version.id)
    studio.tasks.reverse()
    for one in studio.tasks:
        one["annotations"][0]["result"].reverse()
    assert frozen("second").version.id == first.version.id
    elsewhere = Settings(**vars(settings) | {"data_dir": tmp_path / "elsewhere"})
    with LabelStudio(studio.url, TOKEN) as client:
        there = freeze("third", projects=[TITLE], studio=client, settings=elsewhere)
    assert there.version.id == first.version.id


def test_other_content_under_a_name_that_is_taken_is_refused(studio: Studio, frozen: Freeze) -> None:
    studio.task(3, [file_of(page(1))], annotation(9, region("a", "stamp", A, SIZE)))
    before = frozen().version.id
    studio.tasks[0]["annotations"][0] = annotation(9, region("a", "thumb", A, SIZE), at=2000)
    with pytest.raises(DatasetError, match="first is frozen already, with other content"):
        frozen()
    assert frozen("second").version.id != before


@pytest.mark.parametrize(
    ("wanted", "error", "reason"),
    [
        ("Deeds", LabelStudioError, "no project with the title 'Deeds'"),
        ("8", LabelStudioError, "no project 8"),
    ],
)
def test_a_project_that_there_is_not_is_named(
    wanted: str, error: type[Exception], reason: str, studio: Studio, settings: Settings
) -> None:
    with LabelStudio(studio.url, TOKEN) as client, pytest.raises(error, match=reason):
        freeze("first", projects=[wanted], studio=client, settings=settings)


def test_a_label_config_without_marks_is_the_project_s_fault_and_not_a_task_s(studio: Studio, frozen: Freeze) -> None:
    studio.label_config = "<View/>"
    studio.task(3, [file_of(page(1))], annotation(9))
    with pytest.raises(LabelConfigError, match="no Image tag"):
        frozen(allow_missing=True)


def test_nothing_annotated_is_nothing_to_freeze(studio: Studio, frozen: Freeze) -> None:
    studio.task(3, [file_of(page(1))])
    with pytest.raises(DatasetError, match="nothing to freeze"):
        frozen()


class TestBesideTheLedger:
    """Twelve documents of two pages; the first bears no mark, so that the ledger has samples of the second only."""

    @pytest.fixture
    def store(self, studio: Studio, settings: Settings) -> Store:
        for task in range(1, 13):
            files = [file_of(page(100 + task)), file_of(page(task, A))]
            studio.task(task, files, annotation(task, region("a", "stamp", A, SIZE, item=1), at=float(task)))
        return Store.open(settings)

    def learn(self, store: Store, settings: Settings) -> None:
        """What `sync` does."""
        with LabelStudio(settings.label_studio_url, TOKEN) as client:
            sync(store.engine, client, PROJECT)
        reach = Connections(settings, source=lambda access: PageSource(settings, access))
        worker = Worker(
            engine=store.engine, journal=Journal(store.engine), crops=store.crops, page_of=page_opener(reach)
        )
        while worker.work():
            pass

    def sides(self, store: Store) -> dict[str, str]:
        with store.engine.connect() as connection:
            return {f"task-{row.task}-1": row.split for row in connection.execute(select(sample))}

    def test_documents_are_on_the_ledger_s_side_and_its_samples_come_along(
        self, store: Store, settings: Settings, frozen: Freeze
    ) -> None:
        self.learn(store, settings)
        done = frozen(store=store)
        theirs = self.sides(store)
        assert len(set(theirs.values())) > 1
        assert {name: one.split for name, one in pages_of(done).items() if name in theirs} == theirs
        by_task = [{one.split for name, one in pages_of(done).items() if f"task-{t}-" in name} for t in range(1, 13)]
        assert {len(sides) for sides in by_task} == {1}
        assert [one.page for one in done.version.manifest.samples] == sorted(theirs, key=lambda n: f"{n[5:-2]}-a")
        assert {(one.outcome, one.label) for one in done.version.manifest.samples} == {("missed", "stamp")}
        store.engine.dispose()

    def test_a_side_that_freezing_decided_stays_when_the_ledger_learns_of_the_document(
        self, store: Store, settings: Settings, frozen: Freeze
    ) -> None:
        done = frozen(store=store)
        assert done.version.manifest.samples == ()
        self.learn(store, settings)
        theirs = self.sides(store)
        assert {name: one.split for name, one in pages_of(done).items() if name in theirs} == theirs
        store.engine.dispose()

    def test_the_side_is_the_one_that_the_key_alone_decides(self, store: Store, frozen: Freeze) -> None:
        done = frozen(store=store)
        assert all(one.split == split_of(one.document) for one in done.version.manifest.pages)
        store.engine.dispose()

    def test_samples_of_an_older_state_are_left_out(
        self, store: Store, studio: Studio, settings: Settings, frozen: Freeze
    ) -> None:
        self.learn(store, settings)
        studio.tasks[0]["annotations"][0] = {
            **annotation(1, region("a", "thumb", A, SIZE, item=1), at=5000),
            "task": 1,
            "project": PROJECT,
        }
        done = frozen(store=store)
        assert "task-1-1" not in {one.page for one in done.version.manifest.samples}
        assert len(done.version.manifest.samples) == 11
        store.engine.dispose()
