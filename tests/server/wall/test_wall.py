"""The wall: which crops hang on it and how they look, and who is let near."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Engine

from backend.corrections.crop_store import CropStore
from backend.corrections.journal import Journal
from backend.corrections.remembering import Proposals, ShownPrediction
from backend.corrections.shown import Proposal
from backend.corrections.worker import Worker
from backend.errors import PageUnavailable
from backend.pages.page import Page
from backend.server.wall.wall_decisions import Decisions
from backend.server.wall.wall_pages import Wall, wall_pages
from backend.server.wall.wall_queue import CropItem, Looks, alike_first, crops_on_page, in_likeness, queue, totals
from tests.corrections.annotating import HEIGHT, WIDTH, deleted, drawn, page_of, saved, shown
from tests.server.wall.reviewed_studio import ReviewedStudio, shown_region

LEFT, RIGHT = (20.0, 20.0, 120.0, 80.0), (200.0, 20.0, 300.0, 80.0)
OURS = {"X-Review": "1", "Sec-Fetch-Site": "same-origin"}


def proposed(region: str, label: str, box: tuple[float, float, float, float], score: float) -> Proposal:
    one = shown(region, label, box)
    return Proposal(region=one.region, probabilities=one.probabilities, score=score, page_size=one.page_size)


def remember(engine: Engine, task: int, *proposals: Proposal, at: float = 900.0, **fields: Any) -> None:
    version = f"v{at:.0f}"
    Proposals(engine, clock=lambda: at).remember(
        ShownPrediction(task=task, project=1, version=version, proposals=proposals, **fields)
    )


def correct(engine: Engine, tmp_path: Path, *payloads: dict[str, Any]) -> None:
    journal = Journal(engine)
    for body in payloads:
        journal.append(body["action"], project=1, body=body)
    Worker(engine=engine, journal=journal, crops=CropStore(str(tmp_path)), page_of=page_of).work()


def hanging(engine: Engine, label: str = "stamp", **fields: Any) -> list[tuple[int, str]]:
    return [(one.task, one.region) for one in queue(engine, project=1, label=label, **fields)]


def test_the_most_doubtful_hang_first_and_each_under_its_class(engine: Engine) -> None:
    remember(engine, 1, proposed("a", "stamp", LEFT, 0.95), proposed("b", "signature", RIGHT, 0.6))
    remember(engine, 2, proposed("c", "stamp", LEFT, 0.55))
    assert hanging(engine) == [(2, "c"), (1, "a")]
    assert hanging(engine, "signature") == [(1, "b")]
    assert totals(engine, project=1) == {"signature": 1, "stamp": 2, "thumb": 0}
    assert queue(engine, project=2, label="stamp") == []


def test_of_a_task_the_newest_prediction_hangs(engine: Engine) -> None:
    remember(engine, 1, proposed("a", "stamp", LEFT, 0.9))
    remember(engine, 1, proposed("b", "stamp", LEFT, 0.9), at=950.0)
    remember(engine, 1, proposed("drawn", "stamp", RIGHT, 0.9), at=960.0, drawn=True)  # an answer in the editor
    assert hanging(engine) == [(1, "b")]


def test_blind_tasks_stay_blind(engine: Engine) -> None:
    remember(engine, 1, proposed("a", "stamp", LEFT, 0.9), blind=True)
    remember(engine, 1, proposed("b", "stamp", LEFT, 0.9), at=950.0)
    assert hanging(engine) == []


def test_an_annotated_task_hangs_as_it_was_annotated(engine: Engine, tmp_path: Path) -> None:
    remember(engine, 1, proposed("a", "stamp", LEFT, 0.9), proposed("b", "thumb", RIGHT, 0.9))
    moved = [drawn("a", "signature", LEFT), drawn("n", "stamp", RIGHT, page=1)]
    correct(engine, tmp_path, saved(4, task=1, at=950, result=moved))
    assert (hanging(engine), hanging(engine, "signature"), hanging(engine, "thumb")) == ([(1, "n")], [(1, "a")], [])
    [found] = queue(engine, project=1, label="signature")
    assert (found.annotation, found.updated, found.doubt) == (4, 950.0, pytest.approx(0.3))
    # The newest annotation rules, and with the last one gone the prediction hangs again.
    correct(engine, tmp_path, saved(5, task=1, at=960, result=[drawn("x", "thumb", LEFT)]))
    assert (hanging(engine), hanging(engine, "thumb")) == ([], [(1, "x")])
    correct(engine, tmp_path, deleted(4, 5))
    assert (hanging(engine), hanging(engine, "thumb")) == ([(1, "a")], [(1, "b")])


def test_what_was_decided_on_hangs_no_longer_unless_it_is_asked_for(engine: Engine) -> None:
    studio = ReviewedStudio()
    studio.add(7, shown_region("a", "stamp"))
    remember(engine, 7, proposed("a", "stamp", LEFT, 0.9))
    client = app(engine, studio).test_client()
    body = {"project": 1, "reviewer": None, "decisions": [told("1", 7, "a", "stamp", "stamp")]}
    client.post("/review/decisions", json=body, headers=OURS)
    assert (hanging(engine), hanging(engine, every=True)) == ([], [(7, "a")])
    client.post("/review/undo", json={"ids": ["1"]}, headers=OURS)
    assert hanging(engine) == [(7, "a")]


class ColouredPages:
    """Pages with a mark of a colour of its own on each side; those that are gone are an error."""

    def __init__(self, *gone: str) -> None:
        self.gone = gone
        self.decoded: list[str] = []

    def pages(self, reference: str, *, task_id: int | None, pages: slice | None, enough: float | None = None) -> Any:
        if reference in self.gone:
            raise PageUnavailable(reference, "gone")
        self.decoded.append(reference)
        pixels = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
        number = int(reference.rpartition("t")[2].partition("p")[0])
        pixels[20:80, 20:120] = (200, 0, 0) if number % 2 else (0, 0, 200)
        pixels[20:80, 200:300] = (0, 200, 0)
        return iter([Page(pixels=pixels, reference=reference)])


class Reach:
    def __init__(self, studio: ReviewedStudio, pages: ColouredPages) -> None:
        self.studio = studio.client
        self._pages = pages

    def pages(self, _project: str) -> ColouredPages:
        return self._pages


def colours(pixels: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """An embedding: the mean colour of the box."""
    return np.array([pixels[int(y1) : int(y2), int(x1) : int(x2)].mean((0, 1)) for x1, y1, x2, y2 in boxes])


def looks(engine: Engine, studio: ReviewedStudio, pages: ColouredPages) -> Looks:
    def on_page(project: int, task: int, page: int) -> list[CropItem]:
        return crops_on_page(engine, project=project, task=task, page=page)

    return Looks(Reach(studio, pages), on_page=on_page, embed=colours)  # type: ignore[arg-type]


def app(
    engine: Engine,
    studio: ReviewedStudio,
    *,
    pages: ColouredPages | None = None,
    guarded: bool = False,
    projects: tuple[int, ...] = (1,),
) -> Flask:
    wall = Wall(
        engine=engine,
        label_studio="http://studio.test",
        studio=studio.client,
        projects=lambda: list(projects),
        looks=looks(engine, studio, pages or ColouredPages()),
        decisions=Decisions(engine, studio=studio.client),
        guarded=guarded,
    )
    made = Flask(__name__)
    made.register_blueprint(wall_pages(wall))
    return made


def told(identity: str, task: int, region: str, was: str, label: str) -> dict[str, Any]:
    return {"id": identity, "task": task, "region": region, "was": was, "label": label, "seconds": 1.0}


@pytest.fixture
def studio(engine: Engine) -> ReviewedStudio:
    """Six tasks with a stamp and a signature each; stamps of odd tasks are red, of even ones blue."""
    found = ReviewedStudio()
    for task in range(1, 7):
        found.add(task, shown_region(f"a{task}", "stamp"), shown_region(f"b{task}", "signature", x=200.0))
        remember(
            engine,
            task,
            proposed(f"a{task}", "stamp", LEFT, 0.5 + task / 20),
            proposed(f"b{task}", "signature", RIGHT, 0.9),
        )
    return found


def test_each_page_is_decoded_once_for_all_its_crops(engine: Engine, studio: ReviewedStudio) -> None:
    pages = ColouredPages()
    client = app(engine, studio, pages=pages).test_client()
    for region in ("a1", "b1", "a1"):
        answer = client.get(f"/review/crop?project=1&task=1&page=0&region={region}")
        assert (answer.status_code, answer.mimetype) == (200, "image/jpeg")
    assert pages.decoded == ["/data/upload/1/t1p0"]
    image = cv2.imdecode(np.frombuffer(answer.data, np.uint8), cv2.IMREAD_COLOR_RGB)
    assert image is not None
    assert image[image.shape[0] // 2, image.shape[1] // 2] == pytest.approx((200, 0, 0), abs=6)
    assert client.get("/review/crop?project=1&task=1&page=0&region=zz").status_code == 404


def test_what_is_around_a_crop_shows_its_neighbour_too(engine: Engine, studio: ReviewedStudio) -> None:
    client = app(engine, studio, pages=ColouredPages("/data/upload/1/t3p0")).test_client()
    answer = client.get("/review/crop?project=1&task=1&page=0&region=a1&around=1")
    assert (answer.status_code, answer.mimetype) == (200, "image/jpeg")
    image = cv2.imdecode(np.frombuffer(answer.data, np.uint8), cv2.IMREAD_COLOR_RGB)
    assert image is not None
    red, green = ((image[..., one].astype(int) - image[..., other] > 100).sum() for one, other in ((0, 1), (1, 0)))
    assert red > 1000
    assert green > 500, "the green mark to the right"
    assert client.get("/review/crop?project=1&task=3&page=0&region=a3&around=1").status_code != 200


def test_what_looks_alike_hangs_together_and_what_cannot_be_seen_last(engine: Engine, studio: ReviewedStudio) -> None:
    seen = looks(engine, studio, ColouredPages("/data/upload/1/t3p0"))
    items = queue(engine, project=1, label="stamp")
    assert [one.task for one in items] == [1, 2, 3, 4, 5, 6]
    order = [one.task for one in in_likeness(items, seen)]
    assert order[-1] == 3
    assert sorted([sorted(order[:2]), sorted(order[2:5])]) == [[1, 5], [2, 4, 6]] or sorted(
        [sorted(order[:3]), sorted(order[3:5])]
    ) == [[1, 5], [2, 4, 6]]
    assert [one.task for one in alike_first(items, seen, to=items[4])] == [1, 5, 2, 4, 6, 3]


def test_crops_come_as_json_a_hundred_at_a_time(engine: Engine, studio: ReviewedStudio) -> None:
    client = app(engine, studio).test_client()
    answer = client.get("/review/crops?project=1&class=stamp&most=2").json
    assert (answer["total"], len(answer["crops"])) == (6, 2)
    assert answer["crops"][0] == {
        "annotation": None,
        "doubt": 0.45,
        "key": "1.0.a1",
        "label": "stamp",
        "page": 0,
        "percent": [5.0, 3.33, 30.0, 13.33],
        "project": 1,
        "region": "a1",
        "task": 1,
        "updated": None,
    }
    alike = client.get("/review/crops?project=1&class=stamp&like=2.0.a2").json
    assert [one["task"] for one in alike["crops"]][:3] == [2, 4, 6]


@pytest.mark.parametrize(
    "query",
    ["", "project=1", "project=x&class=stamp", "project=1&class=seal", "project=1&class=stamp&like=9.9.z", "project=²"],
)
def test_what_the_wall_is_not_asked_rightly(engine: Engine, studio: ReviewedStudio, query: str) -> None:
    from backend.errors import RequestError

    made = app(engine, studio)
    made.register_error_handler(RequestError, lambda error: (str(error), 400))
    assert made.test_client().get(f"/review/crops?{query}").status_code == 400


def test_the_page_names_projects_and_people_as_text(engine: Engine, studio: ReviewedStudio) -> None:
    answer = app(engine, studio).test_client().get("/review?project=1&class=stamp")
    assert answer.status_code == 200
    for words in ("Leases &lt;b&gt;", "Ada L", "bob@example.org", "stamp (6)", 'value="1" selected'):
        assert words in answer.text
    assert "script-src 'self'" in answer.headers["Content-Security-Policy"]
    assert "unsafe" not in answer.headers["Content-Security-Policy"]
    assert " style=" not in answer.text
    assert " onclick" not in answer.text


def test_who_names_no_class_sees_the_one_that_has_the_most_to_decide(engine: Engine, studio: ReviewedStudio) -> None:
    remember(engine, 9, proposed("a9", "stamp", LEFT, 0.9))
    client = app(engine, studio).test_client()
    assert '<option value="stamp" selected>' in client.get("/review?project=1").text
    assert '<option value="thumb" selected>' in client.get("/review?project=1&class=thumb").text


def test_the_wall_opens_where_something_waits_and_says_which_projects_are_gone(
    engine: Engine, studio: ReviewedStudio
) -> None:
    """Project 1 is the one that Label Studio has; of the others one never had boxes, and one was deleted."""
    gone = proposed("z", "stamp", LEFT, 0.5)
    Proposals(engine).remember(ShownPrediction(task=70, project=7, version="v1", proposals=(gone,)))
    page = app(engine, studio, projects=(7, 3, 1)).test_client().get("/review").text
    options = re.findall(r'<option value="(\d)"( selected)?>((?:Leases|Project)[^<]*)', page)
    assert options == [
        ("1", " selected", "Leases &lt;b&gt;"),
        ("3", "", "Project 3 (not in Label Studio)"),
        ("7", "", "Project 7 (not in Label Studio)"),
    ]


def test_where_label_studio_is_away_the_wall_opens_where_something_waits(
    engine: Engine, studio: ReviewedStudio
) -> None:
    studio.troubles[("GET", "/api/current-user/whoami")] = 503
    page = app(engine, studio, projects=(3, 1)).test_client().get("/review").text
    assert '<option value="1" selected>Project 1</option>' in page
    assert "not in Label Studio" not in page


def test_a_ledger_without_boxes_names_the_first_step(engine: Engine) -> None:
    page = app(engine, ReviewedStudio(), projects=()).test_client().get("/review").text
    assert "No project has boxes yet" in page
    assert "backend connect --project" in page


def test_without_label_studio_the_page_says_so(engine: Engine, studio: ReviewedStudio) -> None:
    studio.troubles[("GET", "/api/current-user/whoami")] = 401
    answer = app(engine, studio).test_client().get("/review")
    assert "Label Studio cannot be asked" in answer.text
    assert "LABEL_STUDIO_API_KEY" in answer.text


@pytest.mark.parametrize(
    ("headers", "content", "status"),
    [
        (OURS, "application/json", 200),
        (OURS | {"Origin": "http://localhost"}, "application/json", 200),
        ({"X-Review": "1"}, "application/json", 200),  # an old browser, or a script with the credentials
        ({}, "application/json", 403),
        (OURS, "text/plain", 403),  # what a form of another site can send
        (OURS | {"Origin": "http://evil.test"}, "application/json", 403),
        (OURS | {"Origin": "null"}, "application/json", 403),
        (OURS | {"Sec-Fetch-Site": "cross-site"}, "application/json", 403),
        (OURS | {"Sec-Fetch-Site": "same-site"}, "application/json", 403),
    ],
)
def test_only_the_walls_own_page_can_send_decisions(
    engine: Engine, studio: ReviewedStudio, headers: dict[str, str], content: str, status: int
) -> None:
    client = app(engine, studio).test_client()
    body = '{"project": 1, "reviewer": null, "decisions": []}'
    for path in ("/review/decisions", "/review/undo"):
        sent = body if path.endswith("decisions") else '{"ids": []}'
        assert client.post(path, data=sent, headers=headers, content_type=content).status_code == status


@pytest.mark.parametrize("header", ["Forwarded", "X-Forwarded-For", "X-Real-IP", "Via"])
def test_who_comes_through_a_proxy_on_this_machine_is_not_on_it(
    engine: Engine, studio: ReviewedStudio, header: str
) -> None:
    client: FlaskClient = app(engine, studio).test_client()
    answer = client.get("/review", environ_base={"REMOTE_ADDR": "127.0.0.1"}, headers={header: "203.0.113.9"})
    assert answer.status_code == 403


@pytest.mark.parametrize(
    ("guarded", "address", "status"),
    [(False, "127.0.0.1", 200), (False, "::1", 200), (False, "10.0.0.9", 403), (True, "10.0.0.9", 200)],
)
def test_strangers_are_let_near_only_where_everybody_brings_credentials(
    engine: Engine, studio: ReviewedStudio, guarded: bool, address: str, status: int
) -> None:
    client: FlaskClient = app(engine, studio, guarded=guarded).test_client()
    for path in ("/review", "/review/crops?project=1&class=stamp", "/review/crop?project=1&task=1&page=0&region=a1"):
        answer = client.get(path, environ_base={"REMOTE_ADDR": address})
        assert answer.status_code == status
        assert status == 200 or "BASIC_AUTH_USER" in answer.json["message"]
