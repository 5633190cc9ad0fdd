"""Label Studio is brought to the version that serves: once, by one process, in small portions, whatever goes wrong."""

from __future__ import annotations

import logging
from itertools import chain, repeat
from pathlib import Path

import pytest

from backend.labelstudio.labelling import bind
from tests.patience import SECONDS
from tests.server.announced_studio import CONFIG, OURS, Clock, FakeStudio, announcer, looks
from tests.server.conftest import ToldPipeline


@pytest.fixture
def studio() -> FakeStudio:
    return FakeStudio()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def pipeline() -> ToldPipeline:
    return ToldPipeline(version="v2")


def test_titles_move_then_open_tasks_are_predicted_anew_in_portions_and_then_all_is_quiet(
    studio: FakeStudio, pipeline: ToldPipeline, clock: Clock, tmp_path: Path
) -> None:
    studio.add(1, tasks=9)
    studio.tasks[1][5] = set()  # nobody asked for its prediction yet
    one = announcer(studio, pipeline, clock, tmp_path)
    looks(one, clock)
    assert (studio.titles(1), studio.shown[1]) == (["v2"], "v2")
    assert studio.portions == [[1, 2, 3, 4], [6, 7, 8, 9]]
    asked = len(studio.asked)
    looks(one, clock, times=100)
    assert studio.asked[asked:] in (["GET /api/projects/1/"], ["GET /api/projects/1/"] * 2)


def test_tasks_that_nothing_was_stored_for_are_asked_for_again_and_less_and_less_often(
    studio: FakeStudio, pipeline: ToldPipeline, clock: Clock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    studio.add(1, tasks=6)
    studio.away = {2, 5}
    one = announcer(studio, pipeline, clock, tmp_path)
    looks(one, clock, times=600)
    assert studio.portions[:3] == [[1, 2, 3, 4], [5, 6], [2, 5]]
    assert 6 <= studio.portions.count([2, 5]) <= 10
    assert any("project 1: 2 tasks had no prediction of v2 yet" in message for message in caplog.messages)
    studio.away.clear()
    looks(one, clock, times=600)
    assert all("v2" in versions for versions in studio.tasks[1].values())
    asked = len(studio.portions)
    looks(one, clock, times=600)
    assert len(studio.portions) == asked


def test_a_task_that_somebody_else_asked_for_as_well_keeps_one_prediction(
    studio: FakeStudio, pipeline: ToldPipeline, clock: Clock, tmp_path: Path
) -> None:
    studio.add(1, tasks=3)
    studio.doubled = {2}
    looks(announcer(studio, pipeline, clock, tmp_path), clock)
    assert all("v2" in versions for versions in studio.tasks[1].values())
    assert not studio.doubled


def test_what_cannot_be_read_of_one_project_holds_up_no_other_and_is_not_asked_for_without_end(
    studio: FakeStudio, pipeline: ToldPipeline, clock: Clock, tmp_path: Path
) -> None:
    """Through its API, Label Studio takes predictions of any shape."""
    studio.add(1, tasks=6)
    studio.add(2, tasks=0)
    studio.doubled, studio.shapeless = {2}, {2}
    one = announcer(studio, pipeline, clock, tmp_path)
    looks(one, clock, times=5)
    assert studio.shown[2] == "v2"
    looks(one, clock, times=600)
    assert [5, 6] in studio.portions
    assert len(studio.portions) < 12


def test_it_goes_on_however_long_something_is_away(
    studio: FakeStudio, pipeline: ToldPipeline, clock: Clock, tmp_path: Path
) -> None:
    studio.add(1, tasks=2)
    studio.add(2)
    studio.away = {2}
    one = announcer(studio, pipeline, clock, tmp_path)
    looks(one, clock)
    studio.configs[3], studio.tasks[3] = CONFIG.format(""), {}  # and a project that nobody connected
    studio.connections[3] = []
    looks(one, clock, times=2500, seconds=3600.0)
    studio.away.clear()
    studio.add(3)
    looks(one, clock, times=3, seconds=3600.0)
    assert "v2" in studio.tasks[1][2]
    assert studio.titles(3) == ["v2"]


def test_a_project_that_changes_its_threshold_is_told_anew_without_a_restart(
    studio: FakeStudio, pipeline: ToldPipeline, clock: Clock, tmp_path: Path
) -> None:
    studio.add(1, tasks=3)
    one = announcer(studio, pipeline, clock, tmp_path)
    looks(one, clock)
    assert studio.titles(1) == ["v2"]
    for threshold, version in ((' model_score_threshold="0.7"', "v2-t0.7"), ("", "v2")):
        studio.configs[1] = CONFIG.format(threshold)
        studio.answers = version
        looks(one, clock, times=100)
        assert (studio.titles(1), studio.shown[1]) == ([version], version)
        assert all(version in versions for versions in studio.tasks[1].values())


def test_a_project_whose_labels_are_renamed_is_told_anew_and_predicted_anew(
    studio: FakeStudio, pipeline: ToldPipeline, clock: Clock, tmp_path: Path
) -> None:
    studio.add(1, title="v2", tasks=2)
    one = announcer(studio, pipeline, clock, tmp_path)
    looks(one, clock)
    assert not studio.portions
    studio.configs[1] = studio.configs[1].replace('"stamp"', '"Seal" predicted_values="stamp"')
    renamed = one._predictor.version(
        bind(studio.configs[1], confidence=one._predictor.confidence)
    )  # the version that /setup answers
    assert renamed is not None
    assert renamed.startswith("v2-c")
    studio.answers = renamed
    looks(one, clock, times=100)
    assert studio.titles(1) == [renamed]
    assert studio.portions == [[1, 2]]


def test_what_could_not_be_looked_at_is_asked_for_again_once_all_else_is_done(
    studio: FakeStudio, pipeline: ToldPipeline, clock: Clock, tmp_path: Path
) -> None:
    studio.add(1, title="v2", tasks=0)
    studio.tasks[1] = {number: set() for number in (4, 8)}
    one = announcer(studio, pipeline, clock, tmp_path, unread=chain([[], [4, 8], [8]], repeat([])).__next__)
    looks(one, clock, times=200)
    assert studio.portions == [[4, 8], [8]]


def test_a_longer_version_does_not_pass_for_the_one_that_serves(
    studio: FakeStudio, pipeline: ToldPipeline, clock: Clock, tmp_path: Path
) -> None:
    studio.add(1, title="v2-t0.7", tasks=5)
    studio.tasks[1][3] = {"v1"}
    studio.tasks[1][4] = {"v2", "v2-t0.7"}
    looks(announcer(studio, pipeline, clock, tmp_path), clock)
    assert studio.portions == [[1, 2, 3, 5]]


def test_while_label_studio_is_away_a_project_that_is_where_it_should_be_stays_so_and_is_not_complained_of(
    studio: FakeStudio, pipeline: ToldPipeline, clock: Clock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    studio.add(1)
    one = announcer(studio, pipeline, clock, tmp_path)
    looks(one, clock)
    studio.failing.add("/api/projects/1/")
    looks(one, clock, times=300)
    assert not any("does not show" in message for message in caplog.messages)
    studio.failing.clear()
    studio.configs[1], studio.answers = CONFIG.format(' model_score_threshold="0.7"'), "v2-t0.7"
    looks(one, clock, times=100)
    assert studio.titles(1) == ["v2-t0.7"]


def test_a_project_that_is_there_already_is_looked_at_and_left_alone(
    studio: FakeStudio, pipeline: ToldPipeline, clock: Clock, tmp_path: Path
) -> None:
    studio.add(1, title="v2", tasks=3)
    looks(announcer(studio, pipeline, clock, tmp_path), clock)
    assert (studio.patches, studio.portions) == ([], [])


def test_each_project_gets_the_version_of_its_own_thresholds(
    studio: FakeStudio, pipeline: ToldPipeline, clock: Clock, tmp_path: Path
) -> None:
    studio.add(1, config=CONFIG.format(' model_score_threshold="0.7"'))
    studio.answers = "v2-t0.7"
    looks(announcer(studio, pipeline, clock, tmp_path), clock)
    assert studio.titles(1) == ["v2-t0.7"]


def test_other_backends_of_a_project_keep_their_titles(
    studio: FakeStudio, pipeline: ToldPipeline, clock: Clock, tmp_path: Path
) -> None:
    studio.add(1)
    studio.connections[1].append({"id": 11, "url": "http://other", "title": "other", "model_version": "other-7"})
    looks(announcer(studio, pipeline, clock, tmp_path), clock)
    assert studio.titles(1) == ["v2", "other"]


def test_while_another_worker_still_answers_with_the_old_model_it_waits(
    studio: FakeStudio, pipeline: ToldPipeline, clock: Clock, tmp_path: Path
) -> None:
    studio.add(1)
    studio.answers = "v1"
    one = announcer(studio, pipeline, clock, tmp_path)
    looks(one, clock)
    assert studio.titles(1) == ["v1"]
    studio.answers = "v2"
    looks(one, clock)
    assert studio.titles(1) == ["v2"]


def test_a_label_studio_that_does_not_answer_is_asked_less_and_less_often(
    studio: FakeStudio, pipeline: ToldPipeline, clock: Clock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    studio.add(1)
    studio.failing.add("/api/ml/")
    one = announcer(studio, pipeline, clock, tmp_path)
    looks(one, clock, times=600)
    assert 6 <= studio.asked.count("GET /api/ml/") <= 10
    assert "project 1 does not show v2 yet, again in 2 s: Label Studio answered 500" in caplog.messages[0]
    studio.failing.clear()
    looks(one, clock, times=600)
    assert studio.titles(1) == ["v2"]


def test_a_project_that_is_gone_is_given_up_and_the_next_one_told(
    studio: FakeStudio, pipeline: ToldPipeline, clock: Clock, tmp_path: Path
) -> None:
    studio.add(1)
    studio.add(2)
    del studio.configs[1]
    looks(announcer(studio, pipeline, clock, tmp_path), clock, times=300)
    assert studio.asked.count("GET /api/projects/1/") == 1
    assert studio.titles(2) == ["v2"]


def test_a_project_without_a_place_for_marks_is_left_alone_until_it_has_one(
    studio: FakeStudio, pipeline: ToldPipeline, clock: Clock, tmp_path: Path
) -> None:
    studio.add(1, config="<View/>")
    one = announcer(studio, pipeline, clock, tmp_path)
    looks(one, clock)
    assert studio.asked == ["GET /api/projects/1/"]
    studio.configs[1] = CONFIG.format("")
    looks(one, clock, times=100)
    assert studio.titles(1) == ["v2"]


def test_without_a_token_it_is_said_once_and_nothing_is_asked(
    studio: FakeStudio, pipeline: ToldPipeline, clock: Clock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    studio.add(1)
    looks(announcer(studio, pipeline, clock, tmp_path, token=""), clock, times=300)
    assert studio.asked == []
    [message] = [message for message in caplog.messages if "project 1" in message]
    assert "set LABEL_STUDIO_API_KEY" in message


def test_the_credentials_of_the_backend_go_with_the_new_title(
    studio: FakeStudio, pipeline: ToldPipeline, clock: Clock, tmp_path: Path
) -> None:
    studio.add(1)
    one = announcer(studio, pipeline, clock, tmp_path, basic_auth_user="u", basic_auth_pass="p")
    looks(one, clock)
    credentials = {"auth_method": "BASIC_AUTH", "basic_auth_user": "u", "basic_auth_pass": "p"}
    assert studio.patches == [{"project": 1, "url": OURS, "title": "v2"} | credentials]


def test_one_of_two_processes_tells_and_the_other_takes_over_when_it_is_gone(
    studio: FakeStudio, pipeline: ToldPipeline, clock: Clock, tmp_path: Path
) -> None:
    studio.add(1)
    first = announcer(studio, pipeline, clock, tmp_path)
    second = announcer(studio, pipeline, clock, tmp_path)
    looks(first, clock)
    asked = len(studio.asked)
    looks(second, clock)
    assert len(studio.asked) == asked
    first.stop()
    studio.connections[1][0]["title"] = "v1"
    looks(second, clock)
    assert studio.titles(1) == ["v2"]


def test_tasks_that_cannot_be_predicted_do_not_keep_the_others_from_it(
    studio: FakeStudio, pipeline: ToldPipeline, clock: Clock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    studio.add(1, tasks=6)
    studio.failing.add("/api/dm/actions/")
    one = announcer(studio, pipeline, clock, tmp_path)
    while not any("are left out for now" in message for message in caplog.messages):
        looks(one, clock, times=1)
        assert clock.now < 5000
    studio.failing.clear()
    looks(one, clock)
    assert studio.portions == [[5, 6], [1, 2, 3, 4]]


def test_a_title_that_is_overwritten_meanwhile_is_given_again(
    studio: FakeStudio, pipeline: ToldPipeline, clock: Clock, tmp_path: Path
) -> None:
    studio.add(1, tasks=1)
    studio.overwritten = 2
    looks(announcer(studio, pipeline, clock, tmp_path), clock)
    assert studio.titles(1) == ["v2"]
    assert len(studio.patches) == 3
    assert studio.portions == [[1]]


def test_another_version_on_the_way_takes_the_place_of_the_one_before(
    studio: FakeStudio, pipeline: ToldPipeline, clock: Clock, tmp_path: Path
) -> None:
    studio.add(1, tasks=20)
    one = announcer(studio, pipeline, clock, tmp_path)
    while len(studio.portions) < 2:
        looks(one, clock, times=1)
    assert studio.titles(1) == ["v2"]
    pipeline.version = studio.answers = "v3"
    looks(one, clock, times=30)
    assert studio.titles(1) == ["v3"]
    assert all("v3" in versions for versions in studio.tasks[1].values())
    assert sum("v2" in versions for versions in studio.tasks[1].values()) == 8


def test_a_project_that_comes_in_later_is_found(
    studio: FakeStudio, pipeline: ToldPipeline, clock: Clock, tmp_path: Path
) -> None:
    one = announcer(studio, pipeline, clock, tmp_path)
    looks(one, clock)
    studio.add(1, title="whatever somebody typed")
    looks(one, clock, times=100)
    assert (studio.titles(1), studio.shown[1]) == (["v2"], "v2")


def test_while_no_model_is_ready_nothing_is_asked(
    studio: FakeStudio, pipeline: ToldPipeline, clock: Clock, tmp_path: Path
) -> None:
    studio.add(1)
    one = announcer(studio, pipeline, clock, tmp_path)
    one._predictor.serving.settled.clear()  # type: ignore[attr-defined]
    looks(one, clock)
    assert studio.asked == []


def test_its_thread_outlives_a_failure(
    studio: FakeStudio, pipeline: ToldPipeline, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import threading

    monkeypatch.setattr("backend.server.announcing._LOOK_SECONDS", 0.01)
    monkeypatch.setattr("backend.server.announcing._FIRST_WAIT", 0.01)
    studio.add(1)
    one = announcer(studio, pipeline, clock, tmp_path)
    known, failures = one._known, iter([ConnectionError("the database is away")])
    told = threading.Event()

    def projects() -> list[int]:
        for failure in failures:
            raise failure
        told.set()
        return list(known())

    one._known = projects
    with pytest.MonkeyPatch.context() as quiet:
        quiet.setattr(logging.getLogger("backend.server.announcing"), "disabled", True)
        one.start()
        assert told.wait(SECONDS)
    one.stop()


def test_a_data_folder_that_was_taken_away_is_not_made_anew(
    studio: FakeStudio, pipeline: ToldPipeline, clock: Clock, tmp_path: Path
) -> None:
    studio.add(1)
    data = tmp_path / "data"
    one = announcer(studio, pipeline, clock, data)
    looks(one, clock, times=3)
    assert not data.exists()
    assert studio.asked == []
    data.mkdir()
    looks(one, clock, times=3)
    assert studio.asked != []
    one.stop()
