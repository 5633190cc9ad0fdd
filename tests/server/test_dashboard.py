"""The dashboard: JSON for those who always got it, a page for browsers, and on it what the ledger has."""

from __future__ import annotations

import base64
import dataclasses
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import Engine, delete, insert, text

from backend.corrections.chronicle import Milestone
from backend.corrections.crop_store import CropStore
from backend.corrections.database import writing
from backend.corrections.history_tables import milestone
from backend.corrections.progress import Counts, Progress, progress
from backend.corrections.service import Feedback, Store
from backend.corrections.tables import annotation, prediction
from backend.labelstudio.connections import Connections
from backend.server.application import Application
from backend.server.charts import Bar, ChartMark, Line, Point, bars, timeline
from backend.server.dashboard import Dashboard, by_period, charts
from backend.server.status_pages import feedback_pages
from backend.settings import Settings
from tests.server.conftest import MemoryPages, ToldPipeline, ToldServing
from tests.server.invented import DAY, NOW, fill

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
BASIC = {"Authorization": "Basic " + base64.b64encode(b"ada:pw").decode()}
ALIVE = {"status": "UP", "model_class": "ContractMarks"}
READY = {"model_state": "ready", "model_version": "v1"}


def build(engine: Engine, settings: Settings) -> Flask:
    connections = Connections(settings, source=MemoryPages())
    store = Store(
        engine=engine,
        crops=CropStore(str(settings.data_dir)),
        spool=settings.data_dir / "spool",
        lookalikes=settings.data_dir / "lookalikes",
    )
    feedback = Feedback(store, connections, recall_distance=0.0)
    serving = ToldServing(ToldPipeline())
    return Application.build(settings, serving=serving, connections=connections, feedback=feedback).flask


@pytest.mark.parametrize(
    "accept",
    [
        None,  # a health check
        "*/*",  # Label Studio, curl
        "application/json",
        "application/json, text/html;q=0.5",
        "text/plain",
        "text/html;q=0",
    ],
)
def test_who_does_not_ask_for_a_page_gets_what_everybody_got(
    engine: Engine, tmp_path: Path, accept: str | None
) -> None:
    client = build(engine, Settings(data_dir=tmp_path, basic_auth_user="ada", basic_auth_pass="pw")).test_client()
    headers = {} if accept is None else {"Accept": accept}
    assert client.get("/", headers=headers).json == ALIVE
    assert client.head("/", headers=headers).status_code == 200


def test_a_browser_gets_the_page_and_only_with_the_credentials(engine: Engine, tmp_path: Path) -> None:
    client = build(engine, Settings(data_dir=tmp_path, basic_auth_user="ada", basic_auth_pass="pw")).test_client()
    refused = client.get("/", headers=BROWSER)
    assert refused.status_code == 401
    assert "Basic" in refused.headers["WWW-Authenticate"]
    page = client.get("/", headers=BROWSER | BASIC)
    assert (page.status_code, page.mimetype) == (200, "text/html")
    assert "told-1" in page.text


def test_an_empty_ledger_says_so_and_draws_no_line(engine: Engine, tmp_path: Path) -> None:
    page = build(engine, Settings(data_dir=tmp_path)).test_client().get("/", headers=BROWSER).text
    assert "Nothing was annotated or promoted yet" in page
    assert "boxes accepted as shown: nobody decided on one yet" in page
    assert "<svg" not in page
    assert "By annotator" not in page


def test_the_page_lets_nothing_in_from_elsewhere(engine: Engine, tmp_path: Path) -> None:
    fill(engine)
    page = build(engine, Settings(data_dir=tmp_path)).test_client().get("/", headers=BROWSER)
    policy = page.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert " style=" not in page.text, "the policy would not let it in"
    assert "<script" not in page.text


def test_lines_bars_and_moves_are_drawn(engine: Engine) -> None:
    fill(engine)
    drawn = charts(progress(engine))
    assert drawn.quality is not None
    assert drawn.boxes is not None
    assert drawn.quality.count("▲") == 2
    assert drawn.quality.count('class="gold"') == 2
    assert "refused" not in drawn.quality
    assert len(drawn.rows) == drawn.boxes.count('class="kept"') == 56


@pytest.mark.parametrize("days", [1, 2, 4, 9, 70])
def test_the_newest_day_is_named_and_stands_at_the_end_however_few_there_are(days: int) -> None:
    drawn = bars([Bar(day * DAY, 1, 1, "x") for day in range(days)], title="x", width=DAY)
    assert drawn is not None
    named = re.findall(r">(\d\d [A-Z][a-z]{2} \d{4})<", drawn)
    assert len(named) == len(set(named)) == 5
    assert named[0] == datetime.fromtimestamp((days - 1) * DAY, UTC).strftime("%d %b %Y")
    assert max(float(width) for width in re.findall(r'<rect [^>]*width="([\d.]+)"', drawn)) <= 60
    # A telephone looks at the last 300 of these 900 pixels first.
    assert max(float(x) for x in re.findall(r'<rect [^>]*x="([\d.]+)"', drawn)) > 700


def test_a_single_moment_stands_at_the_end_of_two_weeks() -> None:
    drawn = timeline([], [ChartMark(1.8 * DAY, "●", "serves")], title="x")
    assert drawn is not None
    named = re.findall(r">(\d\d [A-Z][a-z]{2} \d{4})<", drawn)
    assert named == ["02 Jan 1970", "30 Dec 1969", "27 Dec 1969", "24 Dec 1969", "21 Dec 1969"]
    [across] = re.findall(r'class="mark" x1="([\d.]+)"', drawn)
    assert float(across) > 700


def dashboard(engine: Engine, **fields: object) -> str:
    shown = Dashboard(engine=engine, label_studio="http://studio.test", state=lambda: READY)
    return dataclasses.replace(shown, **fields)().get_data(as_text=True)  # type: ignore[arg-type]


def test_annotators_are_shown_only_where_that_was_chosen_and_by_initials_alone(engine: Engine) -> None:
    fill(engine)
    assert "By annotator" not in dashboard(engine)
    page = dashboard(engine, initials=lambda: {1: "AB", 2: "مح"})
    for words in ("By annotator", "<bdi>AB</bdi>", "<bdi>مح</bdi>", "<bdi>#3</bdi>"):
        assert words in page


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (
            {"running": False},
            "There was none yet. 4 hard examples and hard negatives (boxes renamed or deleted) are new; 100 start the "
            "first one.",
        ),
        ({"running": True}, "A training is starting"),
        ({"running": True, "began": 60.0, "why": "asked"}, "A training runs since 1970-01-01 00:01 UTC (asked). 4 "),
        ({"running": True, "began": 60.0, "why": "asked"}, "are new since then; 100 start the next one."),
        ({"running": False, "began": 60.0, "why": "asked", "result": "promoted", "model": "m"}, "<code>m</code>"),
    ],
)
def test_however_little_is_known_of_trainings(engine: Engine, told: dict[str, object], words: str) -> None:
    assert words in dashboard(engine, training=lambda: told | {"new_hard_examples": 4, "retrain_after": 100})


def test_what_comes_from_outside_is_text_and_no_markup(engine: Engine) -> None:
    evil = "<script>alert(1)</script>"
    training = {"running": False, "new_hard_examples": 0, "retrain_after": 0, "began": 1.0, "why": evil}
    training |= {"result": "failed", "reason": evil, "model": evil, "ended": 2.0}
    page = dashboard(
        engine,
        training=lambda: training,
        initials=lambda: {1: evil},
        state=lambda: {"model_state": "failed", "model_version": None, "model_error": evil},
    )
    fill(engine, days=3)
    page += dashboard(engine, initials=lambda: dict.fromkeys(range(9), evil))
    assert "<script" not in page
    assert "&lt;script&gt;" in page


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (READY, "Another model does not serve"),
        ({"model_state": "failed", "model_version": None}, "No model serves"),
    ],
)
def test_status_says_why_a_model_does_not_serve(engine: Engine, state: dict[str, str], words: str) -> None:
    def page(told: dict[str, str]) -> str:
        app = Flask(__name__)
        app.register_blueprint(feedback_pages(engine, state=lambda: told))
        return app.test_client().get("/status", headers=BROWSER).text

    assert words not in page(state)
    told = page(state | {"model_error": "it does not tell <marks> apart"})
    assert words in told
    assert "it does not tell &lt;marks&gt; apart" in told


def test_charts_escape_what_they_are_told() -> None:
    line = Line("a", [Point(1.0, 0.5, "<b>")])
    drawn = str(timeline([line], [ChartMark(2.0, "<i>", "<u>")], title='"<p>')) + str(
        bars([Bar(0.0, 1, 2, "<b>")], title="x", width=1.0)
    )
    for tag in ("<b>", "<i>", "<u>", "<p>"):
        assert tag not in drawn


def test_a_chart_of_one_moment_has_room_and_one_of_none_is_none() -> None:
    one = timeline([Line("a", [Point(5.0, 1.0, "")])], [], title="x")
    assert one is not None
    assert "nan" not in one
    assert timeline([Line("a", [])], [], title="x") is None
    assert bars([], title="x", width=1.0) is None


@pytest.mark.parametrize(
    ("span", "size", "periods"),
    [
        (1, 1, 1),
        (60, 1, 60),
        (61, 7, 9),  # weeks from there on
        (420, 7, 60),
        (600, 10, 60),  # and longer ones, so that the bars stay apart
    ],
)
def test_periods_are_days_then_weeks_then_longer(span: int, size: int, periods: int) -> None:
    days = {day: Counts({"accepted": 1}) for day in range(100, 100 + span)}
    found, by = by_period(days)
    assert (found, len(by)) == (size, periods)
    assert sum(counts.of("accepted") for counts in by.values()) == span


def test_a_first_page_says_how_it_begins_and_sounds_no_alarm(engine: Engine) -> None:
    unable = "torch is not installed here: install the `train` extra"
    training = {"running": False, "new_hard_examples": 0, "retrain_after": 100, "unable": unable, "due": None}
    page = dashboard(engine, training=lambda: training)
    for words in (
        "How it begins",
        "A model serves.",
        "Label Studio has asked for no boxes yet",
        f"meanwhile: {unable}",
    ):
        assert words in page
    for words in ('role="alert"', 'class="fault', "By class", "Seconds a page"):
        assert words not in page
    assert 'http-equiv="refresh"' not in page
    loading = dashboard(engine, state=lambda: {"model_state": "loading", "model_version": None})
    assert "The model is being loaded" in loading
    assert 'http-equiv="refresh"' in loading, "it looks again by itself, until the model is there"
    fill(engine, days=2)
    page = dashboard(engine, training=lambda: training)
    assert "How it begins" not in page
    assert "By class" in page


def test_boxes_that_were_shown_are_a_step_that_is_done(engine: Engine) -> None:
    with writing(engine) as connection:
        shown = {"task": 1, "project": 1, "version": "v1", "edition": "e", "shown": NOW, "drawn": False, "blind": False}
        connection.execute(insert(prediction), shown)
    assert "Label Studio has 1 prediction from here." in dashboard(engine)


def test_what_waits_is_no_alarm_to_who_listens(engine: Engine) -> None:
    training = {"running": False, "new_hard_examples": 9, "retrain_after": 9, "unable": "no torch", "due": "9 new"}
    page = dashboard(engine, training=lambda: training)
    assert 'role="alert"' not in page
    assert '<li class="fault waits"><b dir="auto">A training is due (9 new)' in page


@pytest.mark.parametrize("promoted", [True, False])
def test_after_a_training_the_page_tells_what_serves_since_when_and_why(engine: Engine, promoted: bool) -> None:
    """A ledger as a retraining leaves it: the gate's word and what serves since, told with and without a promotion."""
    what, model = ("promoted" if promoted else "refused"), "20261129-0301-abcd"
    told = [
        {"key": "1", "at": NOW - DAY, "what": "serves", "model": "bundled.model-1"},
        {"key": "2", "at": NOW, "what": what, "model": model, "f1": 0.91, "low": 0.88, "high": 0.94, "documents": 46}
        | {"reason": "the gate's word"},
    ]
    served = f"{model}.model-2" if promoted else "bundled.model-1"
    told += [{"key": "3", "at": NOW + 1, "what": "serves", "model": served}] if promoted else []
    fill(engine, days=3)
    with writing(engine) as connection:
        connection.execute(delete(milestone))
        for one in told:
            connection.execute(insert(milestone), {"reason": ""} | one)
    training: dict[str, object] = {"running": False, "new_hard_examples": 0, "retrain_after": 9}
    training |= {
        "began": NOW - 60,
        "ended": NOW,
        "why": "START_TRAINING",
        "result": what,
        "model": model,
        "reason": "the gate's word",
    }
    page = dashboard(
        engine,
        training=lambda: training,
        state=lambda: {"model_state": "ready", "model_version": served},
    )
    words = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", page))
    assert f"Serving {served} since " in words
    assert "(somebody pressed “Start training”)" in words
    assert f"{model} {what} 0.910 [0.880, 0.940], 46 documents the gate's word" in words.replace("&#39;", "'")
    assert ("the model before it goes on serving" in words) is not promoted
    assert page.count("▲") == 1 + promoted, "the legend, and the promotion on the line"
    assert 'role="alert"' not in page


def test_what_is_parked_leads_to_its_task(engine: Engine) -> None:
    stuck = {"id": 5, "task": 7, "project": 3, "updated": NOW, "folded": NOW, "deleted": False, "body": {}}
    stuck |= {"attempts": 1, "due": NOW, "lease": 0.0, "reason": "no page", "parked": True}
    with writing(engine) as connection:
        connection.execute(insert(annotation), stuck)
    made = Flask("status")
    made.register_blueprint(feedback_pages(engine, state=lambda: READY, label_studio="http://studio.test"))
    page = made.test_client().get("/status", headers=BROWSER).get_data(as_text=True)
    assert re.search(
        r'<a href="http://studio\.test/projects/3/data\?task=7"[^>]*>project 3, task 7, annotation 5</a>', page
    )
    [told] = made.test_client().get("/status", headers={"Accept": "application/json"}).get_json()["parked"]
    assert (told["project"], told["task"], told["id"], told["reason"]) == (3, 7, 5, "no page")


def test_without_a_ledger_the_page_says_so_and_what_serves(engine: Engine) -> None:
    with writing(engine) as connection:
        connection.execute(text("DROP TABLE work"))
    answer = Dashboard(engine=engine, label_studio="http://studio.test", state=lambda: READY)()
    page = answer.get_data(as_text=True)
    assert answer.status_code == 503
    for words in ("The ledger does not answer", "DATABASE_URL", "<code>v1</code> serves"):
        assert words in page
    assert "SELECT" not in page


def test_since_when_is_told_of_what_serves_now_alone() -> None:
    milestones = (Milestone(at=NOW - DAY, what="serves", model="old"), Milestone(at=NOW, what="serves", model="new"))
    known = Progress(days={}, classes={}, annotators={}, paces=(), milestones=milestones, agreement={})
    assert known.serving is not None
    assert known.serving.model == "new"
