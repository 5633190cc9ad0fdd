"""What people do in Label Studio beside drawing boxes: none of it rejects a box that nobody deleted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Engine, select

from backend.corrections.counts import count
from backend.corrections.crop_store import CropStore
from backend.corrections.journal import Journal
from backend.corrections.remembering import Proposals, ShownPrediction
from backend.corrections.samples import teaches_hard
from backend.corrections.shown import Proposal
from backend.corrections.tables import annotation, sample
from backend.corrections.worker import Worker
from backend.labelstudio.project_annotations import task_parent
from backend.labelstudio.protocol import read_event, without_secrets
from tests.corrections import annotating
from tests.corrections.annotating import CONFIG, HEIGHT, WIDTH, A, B, C, drawn, iso, saved, shown
from tests.corrections.conftest import opened_copy
from tests.corrections.studio import Studio

Json = dict[str, Any]
TAKEN, CHANGED, MANUAL = ({"origin": origin} for origin in ("prediction", "prediction-changed", "manual"))
STAMP, SIGNATURE = drawn("a", "stamp", A, **TAKEN), drawn("b", "signature", B, **TAKEN)
SHOWN = (shown("a", "stamp", A), shown("b", "signature", B))
FURTHER = shown("q", "stamp", C)
ACCEPTED_A, ACCEPTED_B = ("accepted", "stamp", None), ("accepted", "signature", None)
KEPT = {"a": ACCEPTED_A, "b": ACCEPTED_B}
REJECTED_A, REJECTED_B = ("rejected", "none", "stamp"), ("rejected", "none", "signature")


@pytest.fixture
def engine(migrated_file: Path, tmp_path: Path) -> Iterator[Engine]:
    yield from opened_copy(migrated_file, tmp_path)


def remember(engine: Engine, proposals: Sequence[Proposal], *, at: float = 900.0, version: str = "v1") -> None:
    made = ShownPrediction(task=7, project=1, version=version, proposals=list(proposals))
    Proposals(engine, clock=lambda: at).remember(made)


def outcomes(engine: Engine, folder: Path, *events: Json, stored: Sequence[Json] = ()) -> dict[str, Any]:
    """What becomes of events; Label Studio is asked only where it has predictions `stored`."""
    studio = Studio(*events)
    studio.predictions = {one["annotation"]["task"]: list(stored) for one in events if stored}
    journal = Journal(engine)
    for event in events:
        journal.append(event["action"], project=1, body=without_secrets(event))
    with studio.client() as client:
        asked = {"parent_of": task_parent(lambda _: client)} if stored else {}
        crops = CropStore(str(folder))
        Worker(engine=engine, journal=journal, crops=crops, page_of=annotating.page_of, **asked).work()
    with engine.connect() as connection:
        rows = connection.execute(select(sample)).all()
    return {row.region: (row.outcome, row.label, row.wrong) for row in rows}


def hard(engine: Engine) -> set[str]:
    """Regions that are hard examples or hard negatives."""
    with engine.connect() as connection:
        return set(connection.execute(select(sample.c.region).where(teaches_hard())).scalars())


def answer(identity: str, kind: str, value: object, **more: Any) -> Json:
    one = {"id": identity, "type": kind, "from_name": "question", "to_name": "page", "value": {kind: value}}
    return one | MANUAL | more


def labelled(names: list[Any], **more: Any) -> Json:
    one = drawn("a", "stamp", A, **more)
    return one | {"value": one["value"] | {"rectanglelabels": names}}


ARABIC = CONFIG.replace('value="Seal"', 'value="ختم"')
ALIAS = CONFIG.replace('value="Seal"', 'value="Round seal of the company" alias="Seal"')
HOTKEYS = CONFIG.replace('value="Seal"', 'value="Seal" hotkey="q" background="red"')
OTHER_CONTROL = CONFIG.replace('name="mark"', 'name="box"')
TWO_CONTROLS = CONFIG.replace(
    "</View>",
    '<RectangleLabels name="more" toName="page"><Label value="Seal" predicted_values="stamp"/>'
    '<Label value="logo"/></RectangleLabels></View>',
)
SECOND = drawn("z", "stamp", A, **MANUAL) | {"from_name": "more"}
LOGO = drawn("z", "logo", A, **MANUAL) | {"from_name": "more"}
RELATION = {"type": "relation", "from_id": "a", "to_id": "b", "direction": "right"}


@pytest.mark.parametrize(
    ("result", "config", "expected"),
    [
        # answers about a region, under its id; a text, a relation
        ([STAMP, answer("a", "choices", ["faded"]), SIGNATURE], CONFIG, KEPT),
        ([STAMP, SIGNATURE, answer("a", "textarea", ["of 2019"]), answer("b", "rating", 3), RELATION], CONFIG, KEPT),
        # an answer about the page is all that was left of what was shown
        ([answer("z", "choices", ["none"], **TAKEN)], CONFIG, {"a": REJECTED_A, "b": REJECTED_B}),
        # a label taken off, in each way that `allowEmpty` has
        ([labelled([], **CHANGED), SIGNATURE], CONFIG, {"b": ACCEPTED_B}),
        ([labelled([None], **CHANGED), SIGNATURE], CONFIG, {"b": ACCEPTED_B}),
        ([labelled([""], **CHANGED), SIGNATURE], CONFIG, {"b": ACCEPTED_B}),
        # a box turned a little, and the view turned by a quarter
        ([drawn("a", "stamp", A, rotation=5, **CHANGED), SIGNATURE], CONFIG, KEPT),
        ([STAMP | {"image_rotation": 90}, SIGNATURE | {"image_rotation": 90}], CONFIG, KEPT),
        # a box drawn out over the edge of the page
        ([drawn("a", "stamp", (-30.0, -20.0, 110.0, 110.0), **CHANGED), SIGNATURE], CONFIG, KEPT),
        # names in another script, under an alias, with other keys
        ([labelled(["ختم"], **CHANGED), SIGNATURE], ARABIC, KEPT),
        ([STAMP, SIGNATURE], ARABIC, KEPT),
        ([STAMP, SIGNATURE], ALIAS, KEPT),
        ([STAMP, SIGNATURE], HOTKEYS, KEPT),
        # the control was renamed between showing and submitting
        ([STAMP, SIGNATURE], OTHER_CONTROL, KEPT),
        ([one | {"from_name": "box"} for one in (STAMP, SIGNATURE)], OTHER_CONTROL, KEPT),
        # the mark was drawn anew by a second control, or called what is no mark there
        ([SECOND, SIGNATURE], TWO_CONTROLS, {"z": ACCEPTED_A, "b": ACCEPTED_B}),
        ([LOGO, SIGNATURE], TWO_CONTROLS, {"a": REJECTED_A, "b": ACCEPTED_B}),
    ],
)
def test_what_stands_beside_boxes_and_how_they_are_called_changes_no_outcome(
    engine: Engine, tmp_path: Path, result: list[Json], config: str, expected: dict[str, Any]
) -> None:
    remember(engine, SHOWN)
    assert outcomes(engine, tmp_path, saved(1, task=7, at=950, result=result, config=config)) == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"ground_truth": True}, {"a": REJECTED_A, "b": ACCEPTED_B}),
        ({"was_cancelled": True}, {}),
        ({"lead_time": None}, {"a": REJECTED_A, "b": ACCEPTED_B}),
        # what a copy lacks, its model may have lacked; what is renamed in it was renamed by somebody
        ({"parent_annotation": 5, "parent_prediction": None}, {"b": ACCEPTED_B}),
    ],
)
def test_a_deleted_box_is_rejected_by_whoever_had_it_on_the_screen(
    engine: Engine, tmp_path: Path, fields: Json, expected: dict[str, Any]
) -> None:
    remember(engine, SHOWN)
    assert outcomes(engine, tmp_path, saved(1, task=7, at=950, result=[SIGNATURE], **fields)) == expected


def test_a_copy_that_renames_a_box_is_a_hard_example(engine: Engine, tmp_path: Path) -> None:
    remember(engine, SHOWN)
    renamed = drawn("a", "thumb", A, **CHANGED)
    event = saved(1, task=7, at=950, result=[renamed], parent_annotation=5, parent_prediction=None)
    assert outcomes(engine, tmp_path, event) == {"a": ("relabelled", "thumb", "stamp")}


def test_a_copy_onto_a_task_of_another_page_deletes_nothing_there(engine: Engine, tmp_path: Path) -> None:
    """The Data Manager's "propagate annotations": nobody looked at this page."""
    remember(engine, SHOWN)
    result = [drawn("x", "signature", B, **MANUAL)]
    event = saved(1, task=7, at=950, result=result, parent_annotation=5, parent_prediction=None)
    assert outcomes(engine, tmp_path, event) == {"x": ACCEPTED_B}


def test_one_box_drawn_from_scratch_does_not_show_that_the_others_were_seen(engine: Engine, tmp_path: Path) -> None:
    remember(engine, SHOWN)
    result = [drawn("x", "signature", B, **MANUAL)]
    event = saved(1, task=7, at=950, result=result, parent_prediction=None)
    assert outcomes(engine, tmp_path, event) == {"x": ACCEPTED_B, "a": REJECTED_A}
    assert hard(engine) == set(), "its annotator may have begun with an empty page"


@pytest.mark.parametrize(
    "spoilt",
    [
        STAMP | {"value": STAMP["value"] | {"width": 1e308}},
        STAMP | {"value": STAMP["value"] | {"x": "12"}},
        # drawn while the page lay on its side
        STAMP | {"original_width": HEIGHT, "original_height": WIDTH},
    ],
)
def test_a_place_that_cannot_be_meant_teaches_nothing_and_is_told(engine: Engine, tmp_path: Path, spoilt: Json) -> None:
    remember(engine, SHOWN)
    assert outcomes(engine, tmp_path, saved(1, task=7, at=950, result=[spoilt])) == {}
    with engine.connect() as connection:
        row = connection.execute(select(annotation)).one()
    assert row.parked
    assert row.reason.startswith(("region a of page 1: a region is no rectangle", "annotation 1: page 1 was"))


def test_a_page_that_was_replaced_by_one_of_other_proportions_rejects_nothing(engine: Engine, tmp_path: Path) -> None:
    remember(engine, [replace(SHOWN[0], page_size=(HEIGHT, WIDTH)), SHOWN[1]])
    assert outcomes(engine, tmp_path, saved(1, task=7, at=950, result=[])) == {"b": REJECTED_B}


@pytest.mark.parametrize("left", [[], [STAMP, drawn("z", "signature", B, **MANUAL)]])
def test_a_page_that_was_replaced_by_a_finer_scan_is_compared_at_its_size(
    engine: Engine, tmp_path: Path, left: list[Json]
) -> None:
    half = [
        replace(one, page_size=(WIDTH // 2, HEIGHT // 2), region=replace(one.region, box=tuple(np.divide(box, 2))))
        for one, box in zip(SHOWN, (A, B), strict=True)
    ]
    remember(engine, half)
    expected = {"a": ACCEPTED_A, "z": ACCEPTED_B} if left else {"a": REJECTED_A, "b": REJECTED_B}
    assert outcomes(engine, tmp_path, saved(1, task=7, at=950, result=left)) == expected
    with engine.connect() as connection:
        rows = connection.execute(select(sample.c.x2, sample.c.y2).order_by(sample.c.region)).all()
    assert [tuple(row) for row in rows] == [A[2:], B[2:]]


def prediction(*regions: Json, at: float, rewritten: float, version: str = "v1") -> Json:
    made = {"created_at": iso(at), "updated_at": iso(rewritten)}
    return {"id": 1, "model_version": version, "result": list(regions), **made}


NOW = prediction(STAMP, SIGNATURE, drawn("q", "stamp", C), at=900, rewritten=945)
LATER = prediction(drawn("q", "stamp", C), at=900, rewritten=945, version="v2")
REJECTED_Q = {"q": ("rejected", "none", "stamp")}


@pytest.mark.parametrize(
    ("stored", "fields", "expected"),
    [
        # opened before it was rewritten: the third box was never on the screen
        (NOW, {"lead_time": 40.0}, {"a": REJECTED_A, "b": REJECTED_B}),
        (NOW, {"lead_time": 1.0, "draft_created_at": iso(910)}, {"a": REJECTED_A, "b": REJECTED_B}),
        # opened after it
        (NOW, {"lead_time": 20.0}, {"a": REJECTED_A, "b": REJECTED_B} | REJECTED_Q),
        # another model's boxes have come in their place
        (LATER, {"lead_time": 40.0}, {}),
        (LATER, {"lead_time": 20.0}, REJECTED_Q),
    ],
)
def test_a_box_that_came_while_the_task_was_open_was_not_deleted(
    engine: Engine, tmp_path: Path, stored: Json, fields: Json, expected: dict[str, Any]
) -> None:
    remember(engine, SHOWN)
    boxes = [*SHOWN, FURTHER] if stored is NOW else [FURTHER]
    remember(engine, boxes, at=945, version=stored["model_version"])
    at = 980 if fields["lead_time"] == 20 else 960
    event = saved(1, task=7, at=at, result=[], **fields)
    assert outcomes(engine, tmp_path, event, stored=[stored]) == expected


PIECE = shown("a", "stamp", (20.0, 20.0, 45.0, 45.0))
AROUND = shown("b", "signature", (0.0, 200.0, 400.0, 600.0))
ON_ITS_PAGE = shown("c", "thumb", C, page=1)


@pytest.mark.parametrize(
    ("before", "result", "expected"),
    [
        # a piece of a stamp was boxed: it is deleted and drawn anew around the whole, or goes beside the whole
        ((PIECE,), [drawn("z", "stamp", A, **MANUAL)], {"z": ("moved", "stamp", None)}),
        ((PIECE, shown("q", "stamp", A)), [drawn("q", "stamp", A, **TAKEN)],
         {"q": ACCEPTED_A, "a": ("duplicate", "stamp", None)}),
        # one box around several signatures, in whose place each of them is drawn
        ((AROUND,), [drawn("y", "signature", B, **MANUAL), drawn("z", "signature", C, **MANUAL)],
         {"y": ("missed", "signature", None), "z": ("moved", "signature", None)}),
        # a false box is dragged to a mark that had none, and renamed for it
        ((shown("a", "stamp", A),), [drawn("a", "signature", B, **CHANGED)], {"a": ("missed", "signature", None)}),
        # a program numbers the regions of each page anew
        ((SHOWN[0], ON_ITS_PAGE), [drawn("1", "stamp", A), drawn("1", "thumb", C, page=1)],
         {"1": ACCEPTED_A, "#1": ("accepted", "thumb", None)}),
    ],
)  # fmt: skip
def test_what_holds_a_mark_of_its_class_is_no_hard_negative_and_a_new_mark_no_misnamed_one(
    engine: Engine, tmp_path: Path, before: Sequence[Proposal], result: list[Json], expected: dict[str, Any]
) -> None:
    remember(engine, before)
    assert outcomes(engine, tmp_path, saved(1, task=7, at=950, result=result)) == expected
    assert hard(engine) == set()


AGAIN = (12.0, 8.0, 112.0, 108.0)


@pytest.mark.parametrize(
    ("before", "result", "expected"),
    [
        # a box pasted once too often, over what was shown, over what was drawn, over a box of another class
        (SHOWN, [drawn("n", "stamp", AGAIN, **MANUAL), STAMP, SIGNATURE], KEPT),
        ((), [drawn("m", "thumb", C, **MANUAL), drawn("n", "thumb", C, **MANUAL)], {"m": ("missed", "thumb", None)}),
        (SHOWN, [STAMP, SIGNATURE, drawn("n", "thumb", A, **MANUAL)], KEPT | {"n": ("missed", "thumb", None)}),
        # on another page, and where two of a class were shown at one place, both of them stay
        (SHOWN, [STAMP, SIGNATURE, drawn("n", "stamp", A, page=1, **MANUAL)], KEPT | {"n": ("missed", "stamp", None)}),
        ((*SHOWN, shown("q", "stamp", AGAIN)), [STAMP, SIGNATURE, drawn("q", "stamp", AGAIN, **TAKEN)],
         KEPT | {"q": ACCEPTED_A}),
        ((*SHOWN, shown("q", "stamp", AGAIN)), [drawn("n", "stamp", AGAIN, **MANUAL), STAMP, SIGNATURE],
         KEPT | {"q": ("duplicate", "stamp", None)}),
    ],
)  # fmt: skip
def test_a_mark_that_was_boxed_twice_over_is_one(
    engine: Engine, tmp_path: Path, before: Sequence[Proposal], result: list[Json], expected: dict[str, Any]
) -> None:
    remember(engine, before)
    event = saved(1, task=7, at=950, result=result)
    assert outcomes(engine, tmp_path, event) == expected
    [left] = read_event(event).saved
    assert {one.id for one in left.regions({0: (WIDTH, HEIGHT), 1: (WIDTH, HEIGHT)})} == {
        name for name, (outcome, *_) in expected.items() if outcome != "duplicate"
    }, "a data set has it once, too"


@pytest.mark.parametrize(("origin", "weak"), [(TAKEN, True), (CHANGED, False), (MANUAL, False)])
def test_what_is_untouched_of_a_prediction_that_nobody_knows_is_no_more_than_seen(
    engine: Engine, tmp_path: Path, origin: Json, weak: bool
) -> None:
    """It was deleted since, or another program made it and there is no token."""
    assert outcomes(engine, tmp_path, saved(1, task=7, at=950, result=[drawn("x", "thumb", C, **origin)])) == {
        "x": ("missed", "thumb", None)
    }
    with engine.connect() as connection:
        assert connection.execute(select(sample.c.weak)).scalar() is weak


@pytest.mark.parametrize("result", [[STAMP, SIGNATURE], [STAMP, SIGNATURE, drawn("c", "thumb", C, page=1, **TAKEN)]])
def test_a_page_that_the_task_has_no_more_keeps_the_others_from_nothing(
    engine: Engine, tmp_path: Path, result: list[Json]
) -> None:
    remember(engine, (*SHOWN, shown("c", "thumb", C, page=1)))
    assert outcomes(engine, tmp_path, saved(1, task=7, at=950, result=result, pages=1)) == KEPT
    assert [(one.task, one.pages) for one in count(engine).exchanged_such] == [(7, (2,))]


def test_where_nobody_knows_what_was_there_before_nothing_was_deleted(engine: Engine, tmp_path: Path) -> None:
    event = saved(1, task=7, at=960, result=[], lead_time=40.0)
    assert outcomes(engine, tmp_path, event, stored=[NOW]) == {}


def test_what_was_kept_tells_which_boxes_were_on_the_screen(engine: Engine, tmp_path: Path) -> None:
    """It was opened before; the first box is left as it was shown then, the second one was deleted."""
    remember(engine, SHOWN)
    remember(engine, [FURTHER], at=945, version="v2")
    event = saved(1, task=7, at=960, result=[STAMP], lead_time=40.0)
    assert outcomes(engine, tmp_path, event, stored=[LATER]) == {"a": ACCEPTED_A, "b": REJECTED_B}


def test_of_one_versions_boxes_those_count_that_all_its_predictions_had_where_nobody_can_be_asked(
    engine: Engine, tmp_path: Path
) -> None:
    """A correction took the second box away, and was taken back: the ledger does not say which came last."""
    remember(engine, SHOWN)
    remember(engine, SHOWN[:1], at=910)
    remember(engine, SHOWN, at=920)
    assert outcomes(engine, tmp_path, saved(1, task=7, at=950, result=[])) == {"a": REJECTED_A}


def test_a_task_that_was_exported_and_imported_anew_is_understood_by_its_regions(
    engine: Engine, tmp_path: Path
) -> None:
    """Its annotation names a prediction of before; the imported one has the same regions under another id."""
    event = saved(1, task=70, at=950, result=[SIGNATURE], parent_prediction=4711)
    stored = prediction(STAMP, SIGNATURE, at=940, rewritten=940)
    assert outcomes(engine, tmp_path, event, stored=[stored]) == {"a": REJECTED_A, "b": ACCEPTED_B}


def test_annotations_made_of_predictions_by_an_action_confirm_weakly(engine: Engine, tmp_path: Path) -> None:
    """ "Create annotations from predictions": the regions have no origin, and nobody has looked at them."""
    remember(engine, SHOWN)
    result = [drawn("a", "stamp", A), drawn("b", "signature", B)]
    assert outcomes(engine, tmp_path, saved(1, task=7, at=950, result=result, lead_time=None)) == KEPT
    with engine.connect() as connection:
        assert all(connection.execute(select(sample.c.weak)).scalars())


@pytest.mark.parametrize(
    "other",
    [
        saved(2, task=7, at=951, result=[drawn("a", "thumb", A, **CHANGED), SIGNATURE], completed_by=2),
        # the same annotator, by a second copy of the prediction
        saved(2, task=7, at=951, result=[STAMP, SIGNATURE]),
    ],
)
def test_who_deletes_a_box_that_another_annotation_kept_or_renamed_waits_for_a_person(
    engine: Engine, tmp_path: Path, other: Json
) -> None:
    remember(engine, SHOWN)
    outcomes(engine, tmp_path, saved(1, task=7, at=950, result=[SIGNATURE]), other)
    assert hard(engine) == set()


def test_a_deletion_that_was_undone_and_submitted_again_is_none(engine: Engine, tmp_path: Path) -> None:
    remember(engine, SHOWN)
    first = saved(1, task=7, at=950, result=[SIGNATURE])
    again = saved(1, task=7, at=960, created=950, result=[STAMP, SIGNATURE], action="ANNOTATION_UPDATED")
    assert outcomes(engine, tmp_path, first, again) == KEPT


@pytest.mark.parametrize("action", ["REVIEW_CREATED", "ANNOTATION_REVIEWED", "DRAFT_SAVED"])
def test_what_a_reviewer_or_a_draft_says_is_no_submission(engine: Engine, tmp_path: Path, action: str) -> None:
    remember(engine, SHOWN)
    kept = saved(1, task=7, at=950, result=[STAMP, SIGNATURE])
    assert outcomes(engine, tmp_path, kept, saved(1, task=7, at=960, result=[], action=action)) == KEPT
