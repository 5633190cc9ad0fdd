"""A portion is settled: each task has one prediction of this version, whatever was there and whatever goes wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from backend.commands.prelabel.settling import ProjectJob, Settler, Wanted
from backend.commands.prelabel.worker_model import Failed, bulk_settings, served_predictor
from backend.corrections.database import default_url, open_database, writing
from backend.corrections.tables import metadata, prediction, proposal
from backend.errors import LabelStudioError
from backend.settings import Settings
from benchmarks.loopback_studio import LoopbackStudio
from tests.commands.prelabel.conftest import CONFIG

IMPORT = "POST /api/projects/1/import/predictions"
Make = Callable[..., Settler]


@pytest.fixture
def settings(models: tuple[Path, str], studio: LoopbackStudio, tmp_path: Path) -> Iterator[Settings]:
    (tmp_path / "models").symlink_to(models[0] / "models")
    with studio.serving() as url:
        yield Settings(
            data_dir=tmp_path,
            model=models[1],
            detector="colour",
            recall_distance=0.0,
            label_studio_url=url,
            label_studio_api_key="token",
            model_threads=1,
        )


@pytest.fixture
def waited() -> list[float]:
    return []


@pytest.fixture
def make(settings: Settings, waited: list[float]) -> Make:
    def make(**changes: bool) -> Settler:
        failed: Failed = {}
        job = ProjectJob(project=1, label_config=CONFIG, **changes)
        predictor = served_predictor(bulk_settings(settings, processes=1), failed)
        return Settler(job, predictor, failed, sleep=waited.append)

    return make


def wanted(*tasks: int) -> list[Wanted]:
    return [Wanted(task=task) for task in tasks]


def test_each_task_gets_one_prediction_and_a_second_time_nothing(make: Make, studio: LoopbackStudio) -> None:
    settler = make()
    done = settler(wanted(1, 2, 3))
    assert (done.predicted, done.pages, done.failures) == (3, 3, [])
    assert studio.imports == 1
    assert [studio.versions(task) for task in (1, 2, 3, 4)] == [[settler.version]] * 3 + [[]]
    [region] = studio.predictions[1][0]["result"]
    assert region["value"]["rectanglelabels"] == ["stamp"]
    again = settler(wanted(1, 2, 3))
    assert (again.predicted, again.pages, studio.imports) == (0, 0, 1)


def test_what_was_found_is_written_into_the_columns_where_that_is_asked_for(make: Make, studio: LoopbackStudio) -> None:
    studio.data[1] = {"image": "/data/upload/1/1.png", "note": "kept"}
    make(columns=True)(wanted(1))
    assert studio.data[1] == {"image": "/data/upload/1/1.png", "note": "kept", "marks_found": 1}
    make()(wanted(2))
    assert 2 not in studio.data


def test_what_was_stored_is_in_the_ledger_under_the_same_region_ids(
    make: Make, studio: LoopbackStudio, settings: Settings
) -> None:
    make()(wanted(1, 2))
    with open_database(default_url(settings.data_dir)).connect() as ledger:
        shown = {(row.task, row.region) for row in ledger.execute(select(proposal))}
        made = {(row.task, row.project, row.drawn) for row in ledger.execute(select(prediction))}
    stored = {(task, region["id"]) for task in (1, 2) for region in studio.predictions[task][0]["result"]}
    assert shown == stored
    assert len(shown) == 2
    assert made == {(1, 1, False), (2, 1, False)}


def test_second_predictions_of_this_version_go_and_the_oldest_stays(make: Make, studio: LoopbackStudio) -> None:
    settler = make()
    first, second, third = (studio.add(1, settler.version) for _ in range(3))
    done = settler(wanted(1))
    assert (done.predicted, done.duplicates) == (0, 2)
    assert [one["id"] for one in studio.predictions[1]] == [first]
    # One that an annotation was made of is not deleted, even where it is not the oldest.
    fourth = studio.add(1, settler.version)
    studio.annotations[1] = [{"id": 9, "parent_prediction": fourth}]
    assert settler(wanted(1)).duplicates == 1
    assert [one["id"] for one in studio.predictions[1]] == [fourth]
    assert second < third < fourth


def test_predictions_of_other_versions_stay(make: Make, studio: LoopbackStudio) -> None:
    studio.add(1, "older")
    settler = make()
    settler(wanted(1))
    assert studio.versions(1) == ["older", settler.version]


def test_or_are_replaced_but_for_those_that_an_annotation_was_made_of(make: Make, studio: LoopbackStudio) -> None:
    studio.add(1, "older")
    used = studio.add(2, "older")
    studio.annotations[2] = [{"id": 9, "parent_prediction": used}]
    studio.add(3, "older")
    studio.data[3] = {"image": "/data/upload/1/none.png"}
    settler = make(replace=True)
    done = settler(wanted(1, 2, 3))
    assert done.replaced == 1
    assert studio.versions(1) == [settler.version]
    assert studio.versions(2) == ["older", settler.version]
    assert studio.versions(3) == ["older"]  # the new one could not be made


def test_what_is_replaced_keeps_its_id_so_that_whoever_has_it_open_can_submit(
    make: Make, studio: LoopbackStudio
) -> None:
    studio.add(1, "oldest")
    open_in_a_tab = studio.add(1, "older")
    settler = make(replace=True)
    done = settler(wanted(1))
    assert (done.predicted, done.replaced, studio.imports) == (1, 2, 0)
    [one] = studio.predictions[1]
    assert (one["id"], one["model_version"]) == (open_in_a_tab, settler.version)
    assert [region["value"]["rectanglelabels"] for region in one["result"]] == [["stamp"]]
    again = settler(wanted(1))
    assert (again.predicted, again.replaced) == (0, 0)


@pytest.mark.parametrize("answer", [404, 400])
def test_what_cannot_be_rewritten_is_stored_beside_and_then_goes(
    make: Make, studio: LoopbackStudio, answer: int
) -> None:
    old = studio.add(1, "older")
    studio.troubles = {f"PATCH /api/predictions/{old}/": [answer]}
    settler = make(replace=True)
    done = settler(wanted(1))
    assert (done.predicted, done.replaced, studio.imports) == (1, 1, 1)
    assert studio.versions(1) == [settler.version]


def test_a_rewriting_that_was_cut_off_is_done_once(make: Make, studio: LoopbackStudio, waited: list[float]) -> None:
    olds = [studio.add(task, "older") for task in (1, 2)]
    studio.troubles = {f"PATCH /api/predictions/{olds[1]}/": [None]}
    settler = make(replace=True)
    settler(wanted(1, 2))
    assert [[one["id"] for one in studio.predictions[task]] for task in (1, 2)] == [[olds[0]], [olds[1]]]
    assert [studio.versions(task) for task in (1, 2)] == [[settler.version]] * 2
    assert waited == [1.0]


def test_a_version_that_only_begins_alike_is_another(make: Make, studio: LoopbackStudio) -> None:
    settler = make()
    studio.add(1, f"{settler.version}-t0.3")
    assert settler(wanted(1)).predicted == 1


def test_the_second_look_at_named_tasks_only_deletes_what_is_too_much(make: Make, studio: LoopbackStudio) -> None:
    settler = make()
    studio.add(1, settler.version)
    studio.add(1, settler.version)
    done = settler([Wanted(task=1, predict=False), Wanted(task=2, predict=False), Wanted(task=99, predict=False)])
    assert (done.predicted, done.duplicates, done.failures) == (0, 1, [])
    assert studio.versions(2) == []


def test_what_fails_is_told_with_its_reason_and_holds_nothing_up(
    make: Make, studio: LoopbackStudio, settings: Settings
) -> None:
    studio.data[1] = {"image": "/data/upload/1/none.png"}  # not there
    studio.data[2] = {"text": "no page"}  # not what the label config asks for
    studio.data[3] = {"image": "data:image/png;base64,aGFyZGx5"}  # no image
    studio.data[4] = {"image": "http://elsewhere.test/page.png"}  # not on the allow-list
    studio.gone.add(5)
    settler = make()
    done = settler(wanted(1, 2, 3, 4, 5, 6))
    assert {failure.what: failure.kind for failure in done.failures} == {
        1: "PageUnavailable",
        2: "RequestError",
        3: "UndecodablePage",
        4: "ReferenceRefused",
        5: "NoSuchTask",
    }
    assert all(failure.reason for failure in done.failures)
    assert [task for task in range(1, 7) if studio.versions(task)] == [6]
    with open_database(default_url(settings.data_dir)).connect() as ledger:
        assert {row.task for row in ledger.execute(select(prediction))} == {6}


def test_nothing_is_stored_that_the_ledger_did_not_take(make: Make, studio: LoopbackStudio, settings: Settings) -> None:
    settler = make()
    with writing(open_database(default_url(settings.data_dir))) as ledger:
        metadata.tables["prediction"].drop(ledger)
    [failure] = settler(wanted(1)).failures
    assert failure.kind == "LedgerError"
    assert studio.versions(1) == []


def test_an_answer_that_was_lost_makes_no_second_prediction(
    make: Make, studio: LoopbackStudio, waited: list[float]
) -> None:
    answers = iter([False])
    studio.after_import = lambda _: next(answers, True)
    settler = make()
    settler(wanted(1, 2))
    assert [studio.versions(task) for task in (1, 2)] == [[settler.version]] * 2
    assert studio.imports == 1
    assert waited == [1.0]


def test_trouble_is_waited_for(make: Make, studio: LoopbackStudio, waited: list[float]) -> None:
    studio.troubles = {IMPORT: [503], "GET /api/tasks/": [502, None]}
    assert make()(wanted(1)).predicted == 1
    assert waited == [1.0, 2.0, 4.0]


def test_a_token_that_is_refused_is_not_tried_on_the_next_task(make: Make, studio: LoopbackStudio) -> None:
    studio.troubles = {"GET /api/tasks/": [401]}
    with pytest.raises(LabelStudioError, match="LABEL_STUDIO_API_KEY"):
        make()(wanted(1))


def test_a_task_that_is_refused_does_not_hold_up_the_others(make: Make, studio: LoopbackStudio) -> None:
    studio.troubles = {IMPORT: [400, 400]}  # all three together, then the first alone
    done = make()(wanted(1, 2, 3))
    assert (done.predicted, [failure.what for failure in done.failures]) == (2, [1])
    assert "400" in done.failures[0].reason
    assert [bool(studio.versions(task)) for task in (1, 2, 3)] == [False, True, True]


def shown(studio: LoopbackStudio) -> dict[int, list[int]]:
    """Ids of the stored predictions, by task."""
    return {task: [one["id"] for one in stored] for task, stored in studio.predictions.items()}


def emptied(studio: LoopbackStudio, *tasks: int) -> None:
    """Their stored predictions show nothing, as if corrections had brought the boxes since."""
    for task in tasks:
        studio.predictions[task][-1]["result"] = []


def test_a_refresh_replaces_what_comes_out_different_and_nothing_else(make: Make, studio: LoopbackStudio) -> None:
    make()(wanted(1, 2, 3, 4))
    studio.add(5, "older")
    emptied(studio, 1, 2, 3)
    studio.annotations[2] = [{"id": 1, "parent_prediction": studio.predictions[2][0]["id"]}]
    studio.drafts[3] = [{"id": 1}]
    before = shown(studio)
    settled = make(refresh=True)(wanted(1, 2, 3, 4, 5, 6))
    assert (settled.predicted, settled.replaced, settled.pages, settled.failures) == (1, 1, 2, [])
    after = shown(studio)
    # It keeps its id, by which whoever has it open submits.
    assert after == before
    assert studio.predictions[1][0]["result"]
    assert not studio.predictions[2][0]["result"]
    assert not studio.predictions[3][0]["result"]


def test_a_skipped_task_is_refreshed_since_it_comes_up_again(make: Make, studio: LoopbackStudio) -> None:
    make()(wanted(1))
    emptied(studio, 1)
    [stored] = studio.predictions[1]
    studio.annotations[1] = [{"id": 1, "parent_prediction": stored["id"], "was_cancelled": True}]
    assert make(refresh=True)(wanted(1)).predicted == 1
    [kept] = studio.predictions[1]
    assert kept["id"] == stored["id"]
    assert kept["result"]


def test_a_refresh_that_was_killed_leaves_nothing_that_the_next_one_does_not_mend(
    make: Make, studio: LoopbackStudio
) -> None:
    make()(wanted(1))
    emptied(studio, 1)
    [version] = studio.versions(1)
    make(refresh=True)(wanted(1))
    [right] = studio.predictions[1]
    # The one before was stored, and not yet deleted, when it was killed.
    old = {**right, "id": 0, "result": []}
    studio.predictions[1].insert(0, old)
    settled = make(refresh=True)(wanted(1))
    assert (settled.predicted, settled.replaced) == (0, 1)
    assert studio.predictions[1] == [right]
    assert studio.versions(1) == [version]


def test_whoever_begins_to_annotate_during_a_refresh_keeps_what_is_shown(make: Make, studio: LoopbackStudio) -> None:
    make()(wanted(1, 2))
    emptied(studio, 1, 2)
    before = shown(studio)

    def begin(page: int, _: object) -> None:
        studio.drafts[page] = [{"id": 1}]

    settler = make(refresh=True)
    studio.before_page = begin
    assert settler(wanted(1, 2)).predicted == 0
    assert shown(studio) == before


def test_a_refresh_tells_what_it_could_not_look_at(make: Make, studio: LoopbackStudio) -> None:
    make()(wanted(1, 2))
    emptied(studio, 1, 2)
    studio.data[2] = {"image": "/data/upload/1/none.png"}
    settled = make(refresh=True)(wanted(1, 2, 99))
    assert [(one.what, one.kind) for one in settled.failures] == [(99, "NoSuchTask"), (2, "PageUnavailable")]
    assert settled.predicted == 1
    assert studio.predictions[2][0]["result"] == []
