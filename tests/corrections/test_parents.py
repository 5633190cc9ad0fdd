"""Where the ledger has not seen what was shown, Label Studio's stored predictions tell the same outcomes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlalchemy import Engine, select

from backend.corrections.crop_store import CropStore
from backend.corrections.database import open_database, writing
from backend.corrections.journal import Journal
from backend.corrections.label_history import note_config
from backend.corrections.reconciling import sync
from backend.corrections.remembering import Proposals, ShownPrediction
from backend.corrections.tables import annotation, sample
from backend.corrections.worker import Worker
from backend.errors import LabelStudioError
from backend.labelstudio.client import LabelStudio
from backend.labelstudio.project_annotations import parent_among, task_parent
from backend.labelstudio.protocol import read_event, without_secrets
from tests.corrections import annotating
from tests.corrections.annotating import CONFIG, drawn, iso, saved, shown
from tests.corrections.studio import PROJECT, Studio

A, B, C = (10.0, 10.0, 110.0, 110.0), (200.0, 300.0, 300.0, 360.0), (50.0, 450.0, 150.0, 550.0)
SHIFTED_B = (260.0, 300.0, 360.0, 360.0)
TAKEN = {"origin": "prediction"}
CHANGED = {"origin": "prediction-changed"}


def stored(number: int, *regions: Mapping[str, Any], version: str = "v1", at: float = 900.0) -> dict[str, Any]:
    return {"id": number, "model_version": version, "created_at": iso(at), "result": list(regions)}


PREDICTED = stored(1, drawn("a", "stamp", A), drawn("b", "signature", B), drawn("c", "thumb", C, page=1))
EVENTS = [
    # renamed, moved, deleted, drawn anew
    saved(
        1,
        task=7,
        at=950,
        result=[
            drawn("a", "signature", A, **CHANGED),
            drawn("b", "signature", SHIFTED_B, **CHANGED),
            drawn("n", "thumb", (300.0, 10.0, 380.0, 90.0), origin="manual"),
        ],
    ),
    # all of it deleted
    saved(2, task=8, at=951, result=[]),
    # deleted, and drawn anew under another id at the same place
    saved(3, task=9, at=952, result=[drawn("z", "stamp", A, origin="manual")]),
    # left as it was
    saved(
        4,
        task=10,
        at=953,
        result=[
            drawn(i, k, b, page=p, **TAKEN)
            for i, k, b, p in [("a", "stamp", A, 0), ("b", "signature", B, 0), ("c", "thumb", C, 1)]
        ],
    ),
]


def studio() -> Studio:
    made = Studio(*EVENTS)
    made.predictions = {task: [PREDICTED] for task in (7, 8, 9, 10)}
    return made


def remember(engine: Engine, *tasks: int) -> None:
    ledger = Proposals(engine, clock=lambda: 900.0)
    proposals = [shown("a", "stamp", A), shown("b", "signature", B), shown("c", "thumb", C, page=1)]
    for task in tasks:
        ledger.remember(ShownPrediction(task=task, project=PROJECT, version="v1", proposals=proposals))


def worker(engine: Engine, folder: Path, client: LabelStudio) -> Worker:
    return Worker(
        engine=engine,
        journal=Journal(engine),
        crops=CropStore(str(folder)),
        page_of=annotating.page_of,
        parent_of=task_parent(lambda _: client),
    )


def told(engine: Engine) -> dict[str, tuple[Any, ...]]:
    with engine.connect() as connection:
        rows = connection.execute(select(sample)).all()
    return {row.id: (row.outcome, row.label, row.wrong, row.weak, row.version, row.x1, row.crop) for row in rows}


def test_sync_into_an_empty_ledger_gives_what_the_lost_one_had(engine: Engine, tmp_path: Path) -> None:
    lost = open_database(f"sqlite:///{tmp_path / 'lost.sqlite3'}")
    remember(lost, 7, 8, 9, 10)
    with studio().client() as client:
        first = worker(lost, tmp_path, client)
        for event in EVENTS:
            first.journal.append(event["action"], project=PROJECT, body=without_secrets(event))
        first.work()
        sync(engine, client, PROJECT, everything=True)
        worker(engine, tmp_path, client).work()
    outcomes = {name: row[0] for name, row in told(engine).items()}
    assert outcomes == {
        "1-a": "relabelled",
        "1-b": "moved",
        "1-c": "rejected",
        "1-n": "missed",
        "2-a": "rejected",
        "2-b": "rejected",
        "2-c": "rejected",
        "3-z": "accepted",
        "3-b": "rejected",
        "3-c": "rejected",
        "4-a": "accepted",
        "4-b": "accepted",
        "4-c": "accepted",
    }
    assert told(engine) == told(lost)
    lost.dispose()


def test_of_several_the_prediction_counts_that_the_annotation_was_made_of(engine: Engine, tmp_path: Path) -> None:
    """The ledger shows another one last; everything is deleted, so that no region tells."""
    remember(engine, 8)
    Proposals(engine, clock=lambda: 940.0).remember(
        ShownPrediction(task=8, project=PROJECT, version="v2", proposals=[shown("q", "stamp", SHIFTED_B)])
    )
    made = studio()
    with made.client() as client:
        one = worker(engine, tmp_path, client)
        one.journal.append("ANNOTATION_CREATED", project=PROJECT, body=without_secrets(EVENTS[1]))
        one.work()
    assert set(told(engine)) == {"2-a", "2-b", "2-c"}
    with engine.connect() as connection:
        # What the ledger knows of it is kept: its probabilities, above all.
        assert all(connection.execute(select(sample.c.probabilities)).scalars())


def test_a_prediction_of_another_kind_of_backend_is_read_by_the_label_config(engine: Engine, tmp_path: Path) -> None:
    made = studio()
    odd = {"id": "o", "type": "rectanglelabels", "from_name": "mark", "to_name": "page", "value": {"x": "?"}}
    made.predictions[8] = [stored(1, drawn("a", "stamp", A), drawn("l", "logo", B), odd, version="")]
    with made.client() as client:
        sync(engine, client, PROJECT)
        worker(engine, tmp_path, client).work()
    assert {name: row[:3] for name, row in told(engine).items() if name.startswith("2-")} == {
        "2-a": ("rejected", "none", "stamp")
    }


def test_a_copy_of_an_annotation_is_told_by_the_regions_that_it_took() -> None:
    [left] = read_event(
        saved(5, task=7, at=960, result=[drawn("a", "stamp", A, **TAKEN)], parent_prediction=None)
    ).saved
    other = stored(2, drawn("x", "stamp", A), version="v0")
    found = parent_among([other, PREDICTED], left)
    assert found is not None
    assert found.version == "v1"
    assert parent_among([other], left) is None


@pytest.mark.parametrize(
    "result", [5, "abc", {"a": 1}, [7, None], [drawn("", "stamp", A)] * 1001], ids=lambda one: str(one)[:9]
)
def test_a_prediction_of_no_shape_or_without_end_tells_nothing(result: Any) -> None:
    [left] = read_event(EVENTS[0]).saved
    assert left.parent == 1
    found = parent_among([{**PREDICTED, "result": result}], left)
    assert found is None or not found.regions.result
    assert parent_among([{**PREDICTED, "id": 9, "result": result}, PREDICTED], left) == parent_among([PREDICTED], left)


def failing(status: int | None) -> LabelStudio:
    def answer(request: httpx2.Request) -> httpx2.Response:
        if status is None:
            raise httpx2.ConnectError("refused", request=request)
        return httpx2.Response(status)

    return LabelStudio("http://studio.test", "token", transport=httpx2.MockTransport(answer))


@pytest.mark.parametrize("status", [404, 403, 401])
def test_where_label_studio_does_not_tell_the_ledger_and_clocks_decide(
    engine: Engine, tmp_path: Path, status: int
) -> None:
    remember(engine, 8)
    one = worker(engine, tmp_path, failing(status))
    one.journal.append("ANNOTATION_CREATED", project=PROJECT, body=without_secrets(EVENTS[1]))
    one.work()
    assert set(told(engine)) == {"2-a", "2-b", "2-c"}


@pytest.mark.parametrize("status", [None, 500])
def test_while_label_studio_is_away_the_annotation_waits(engine: Engine, tmp_path: Path, status: int | None) -> None:
    one = worker(engine, tmp_path, failing(status))
    one.journal.append("ANNOTATION_CREATED", project=PROJECT, body=without_secrets(EVENTS[1]))
    one.work()
    with engine.connect() as connection:
        row = connection.execute(select(annotation)).one()
    assert (row.turned, row.parked, row.attempts) == (None, False, 1)
    [left] = read_event(EVENTS[1]).saved
    with pytest.raises(LabelStudioError):
        task_parent(lambda _: failing(status))(left)


def test_without_a_token_nobody_is_asked() -> None:
    [left] = read_event(EVENTS[1]).saved
    assert task_parent(lambda _: LabelStudio("http://studio.test", ""))(left) is None
    assert left.label_config == CONFIG


def test_regions_of_another_prediction_under_the_same_ids_are_told_from_ours(engine: Engine, tmp_path: Path) -> None:
    """Somebody imported our prediction with another name for a box; an annotator left it as it was."""
    remember(engine, 7)
    other = stored(5, drawn("a", "signature", A), drawn("b", "signature", B), version="theirs")
    made = Studio(saved(1, task=7, at=950, result=[drawn("a", "signature", A, **TAKEN)], parent_prediction=5))
    made.predictions = {7: [PREDICTED, other]}
    with made.client() as client:
        sync(engine, client, PROJECT)
        worker(engine, tmp_path, client).work()
    outcomes = {name: row[:3] for name, row in told(engine).items()}
    assert outcomes == {"1-a": ("accepted", "signature", None), "1-b": ("rejected", "none", "signature")}


def test_our_prediction_stays_the_one_where_a_program_left_a_changed_region_marked_as_untouched(
    engine: Engine, tmp_path: Path
) -> None:
    remember(engine, 7)
    regions = [("b", "signature", B, 0), ("c", "thumb", C, 1)]
    result = [drawn("a", "signature", A, **TAKEN), *(drawn(i, k, b, page=p, **TAKEN) for i, k, b, p in regions)]
    made = Studio(saved(1, task=7, at=950, result=result, parent_prediction=1))
    made.predictions = {7: [PREDICTED]}
    with made.client() as client:
        sync(engine, client, PROJECT)
        worker(engine, tmp_path, client).work()
    assert told(engine)["1-a"][:3] == ("relabelled", "signature", "stamp")


def test_without_a_token_boxes_that_somebody_took_from_another_prediction_reject_none_of_ours(
    engine: Engine, tmp_path: Path
) -> None:
    remember(engine, 8)
    one = worker(engine, tmp_path, LabelStudio("http://studio.test", ""))
    event = saved(2, task=8, at=951, result=[drawn("theirs", "thumb", SHIFTED_B, **TAKEN)])
    one.journal.append("ANNOTATION_CREATED", project=PROJECT, body=without_secrets(event))
    one.work()
    assert {name: row[0] for name, row in told(engine).items()} == {"2-theirs": "missed"}


def test_a_prediction_whose_names_have_changed_places_since_is_not_read_by_the_new_ones(
    engine: Engine, tmp_path: Path
) -> None:
    """It was imported under the first label config; the annotator gave the box its right name under the second."""
    swapped = CONFIG.replace('value="signature"', 'value="thumb" predicted_values="signature"', 1)
    swapped = swapped.replace('<Label value="thumb"/>', '<Label value="signature" predicted_values="thumb"/>')
    for text, at in ((CONFIG, 800.0), (swapped, 920.0)):
        with writing(engine) as connection:
            note_config(connection, PROJECT, text, at=at)
    left = named_as("thumb", drawn("b", "signature", B, **CHANGED))
    one_event = saved(1, task=7, at=950, result=[left], config=swapped)
    made = Studio(one_event)
    made.predictions = {7: [stored(1, drawn("b", "signature", B))]}
    with made.client() as client:
        one = worker(engine, tmp_path, client)
        one.journal.append("ANNOTATION_CREATED", project=PROJECT, body=without_secrets(one_event))
        one.work()
    assert told(engine)["1-b"][:3] == ("accepted", "signature", None)


def named_as(name: str, region: dict[str, Any]) -> dict[str, Any]:
    return {**region, "value": {**region["value"], "rectanglelabels": [name]}}


def nameless(region: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in region.items() if key != "id"}


D = (250.0, 20.0, 350.0, 90.0)


@pytest.mark.parametrize(
    ("left", "expected"),
    [
        # b renamed, c on page 2 deleted, d left as it was, a moved a little
        (
            [
                drawn("e1", "stamp", (30.0, 10.0, 130.0, 110.0), **CHANGED),
                drawn("e2", "thumb", B, **CHANGED),
                drawn("e4", "stamp", D, **TAKEN),
            ],
            {
                "e1": ("accepted", "stamp", None),
                "e2": ("relabelled", "thumb", "signature"),
                "?2": ("rejected", "none", "thumb"),
                "e4": ("accepted", "stamp", None),
            },
        ),
        # all deleted
        (
            [],
            {
                "?0": ("rejected", "none", "stamp"),
                "?1": ("rejected", "none", "signature"),
                "?2": ("rejected", "none", "thumb"),
                "?3": ("rejected", "none", "stamp"),
            },
        ),
        # one of page 1 was moved far away, nobody knows which: of that page nothing was deleted for certain
        (
            [drawn("e1", "stamp", C, **CHANGED), drawn("e2", "signature", B, **TAKEN)],
            {
                "e1": ("missed", "stamp", None),
                "e2": ("accepted", "signature", None),
                "?2": ("rejected", "none", "thumb"),
            },
        ),
    ],
)
def test_regions_to_which_another_program_gave_no_ids_are_known_by_their_places(
    engine: Engine, tmp_path: Path, left: list[dict[str, Any]], expected: dict[str, tuple[str, str, str | None]]
) -> None:
    """The editor makes ids up, and rounds places."""
    boxes = [("stamp", A, 0), ("signature", B, 0), ("thumb", C, 1), ("stamp", D, 0)]
    regions = [nameless(drawn("x", label, box, page=page)) for label, box, page in boxes]
    left = [{**one, "value": {**one["value"], "x": one["value"]["x"] + 1e-9}} for one in left]
    event = saved(1, task=7, at=950, result=left)
    made = Studio(event)
    made.predictions = {7: [stored(1, *regions, version="another tool")]}
    with made.client() as client:
        one = worker(engine, tmp_path, client)
        one.journal.append(event["action"], project=PROJECT, body=without_secrets(event))
        one.work()
    with engine.connect() as connection:
        rows = connection.execute(select(sample)).all()
    assert {row.region: (row.outcome, row.label, row.wrong) for row in rows} == expected
