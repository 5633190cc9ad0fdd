"""What /predict answers: one result for each task, with its regions, or with the reason why there are none."""

import logging
import threading

import pytest

from backend.errors import LimitExceeded, PageUnavailable, ReferenceRefused, UndecodablePage
from backend.vision.pipeline import Rejected
from tests.patience import SECONDS
from tests.server.conftest import NAMED, found, payload

IMAGE = "/data/upload/2/062571dc-page.jpg"
STAMP = ("stamp", (20.0, 10.0, 60.0, 50.0), 0.9)


def test_a_stamp_comes_back_as_a_region_of_the_projects_own_control(client, pipeline):
    pipeline.on_page[IMAGE] = found(STAMP)
    [prediction] = client.post("/predict", json=payload("predict")).json["results"]
    [region] = prediction["result"]
    identity = region.pop("id")
    assert (prediction["model_version"], prediction["score"]) == (NAMED, 0.9)
    assert region == {
        "from_name": "label",
        "to_name": "image",
        "type": "rectanglelabels",
        "score": 0.9,
        "original_width": 200,
        "original_height": 100,
        "image_rotation": 0,
        "value": {"x": 10.0, "y": 10.0, "width": 20.0, "height": 40.0, "rotation": 0, "rectanglelabels": ["stamp"]},
    }
    assert len(identity) == 10


def test_a_multi_page_task_gets_the_regions_of_every_page_with_its_index(client, pipeline):
    pipeline.on_page = {
        "/data/upload/4/4d035ba8-pg0.jpg": found(STAMP),
        "/data/upload/4/b6b38f13-pg1.jpg": found(("thumb", (0, 0, 20, 10), 0.7)),
    }
    [prediction] = client.post("/predict", json=payload("predict_multipage")).json["results"]
    assert [(region["item_index"], region["value"]["rectanglelabels"]) for region in prediction["result"]] == [
        (0, ["stamp"]),
        (1, ["thumb"]),
    ]
    assert prediction["score"] == 0.7
    assert len({region["id"] for region in prediction["result"]}) == 2


def batch(*references, **changes) -> dict:
    tasks = [{"id": 10 + place, "data": {"image": reference}} for place, reference in enumerate(references)]
    return payload("predict") | {"tasks": tasks} | changes


def test_no_tasks_give_no_results(client):
    assert client.post("/predict", json=batch()).json == {"results": []}


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        # a file that is still being copied, or a download cut short, is whole a minute later
        (UndecodablePage("bad", "not an image"), []),
        # Label Studio or the storage may be back later
        (PageUnavailable("bad", "503"), []),
        # an operator can allow the host, and the task shall then be done
        (ReferenceRefused("bad", "host not allowed"), []),
        # an operator can raise the limit
        (LimitExceeded("bad", "too large"), []),
        # a bug in a decoder
        (ZeroDivisionError("surprise"), []),
    ],
)
def test_one_bad_page_never_fails_its_batch(client, pipeline, pages, error, answer):
    pages.kept["bad"] = error
    pipeline.on_page["good"] = found(STAMP)
    results = client.post("/predict", json=batch("good", "bad", "good")).json["results"]
    assert [len(results[place]["result"]) for place in (0, 2)] == [1, 1]
    assert results[1] == answer


def test_a_page_that_breaks_the_model_leaves_the_others_done(client, pipeline, caplog):
    pipeline.on_page = {"bad": RuntimeError("inference"), "good": found(STAMP)}
    results = client.post("/predict", json=batch("bad", "good")).json["results"]
    assert results[0] == []
    assert len(results[1]["result"]) == 1
    assert "task 10: not done" in caplog.text


@pytest.mark.parametrize("identity", [2**63, 10**400, -1, True, "7", None, {}])
def test_an_id_that_no_label_studio_gives_costs_its_task_the_memory_and_the_others_nothing(
    client, pipeline, ledger, identity
):
    pipeline.on_page["page"] = found(STAMP)
    tasks = [{"id": one, "data": {"image": "page"}} for one in (identity, 7)]
    response = client.post("/predict", json=payload("predict") | {"tasks": tasks})
    assert [len(one["result"]) for one in response.json["results"]] == [1, 1]
    assert [shown["task"] for shown in ledger.shown] == [7]


@pytest.mark.parametrize(("project", "known"), [("2.1700000000", 2), (2**63, None), ("9" * 5000, None), ("x", None)])
def test_a_project_is_remembered_where_a_database_can_hold_its_id(client, ledger, project, known):
    assert client.post("/predict", json=payload("predict") | {"project": project}).status_code == 200
    assert [shown["project"] for shown in ledger.shown] == [known]


@pytest.mark.parametrize(
    ("task", "reason"),
    [
        # an import that named its column otherwise
        ({"id": 7, "data": {"picture": "x"}}, "no field 'image'"),
        ({"id": 7, "data": {"image": None}}, "no field 'image'"),
        ({"id": 7, "data": {"image": 5}}, "holds no reference"),
        ({"id": 7, "data": {"image": ["a", 5]}}, "holds no reference"),
        ({"id": 7, "data": "x"}, "no data"),
        ({"id": 7}, "no data"),
    ],
)
def test_a_task_that_names_no_page_stays_open_and_it_is_said_why(client, ledger, caplog, task, reason):
    """Its label config may be mended: then it is asked for again."""
    assert client.post("/predict", json=payload("predict") | {"tasks": [task]}).json == {"results": [[]]}
    assert "task 7: not done: " in caplog.text
    assert reason in caplog.text
    [noted] = ledger.unread
    assert (noted["task"], noted["project"]) == (7, 2)
    assert reason in noted["reason"]
    assert not ledger.shown


def test_an_empty_prediction_says_why_and_so_does_the_log(client, pipeline, caplog):
    caplog.set_level(logging.INFO)
    near = Rejected(name="stamp", score=0.41237, bar=0.5, none=0.2)
    pipeline.on_page = {"good": found(STAMP), "near": found(candidates=13, nearest=near), "blank": found()}
    good, near, blank = client.post("/predict", json=batch(*pipeline.on_page)).json["results"]
    assert "reason" not in good
    assert near["reason"] == "13 candidates, the best of them a stamp at 0.4124, under 0.5"
    assert blank["reason"].startswith("no candidate")
    assert [line for line in caplog.messages if "no marks" in line] == [
        f"task 11: no marks: {near['reason']}",
        f"task 12: no marks: {blank['reason']}",
    ]


def test_an_empty_document_says_why_for_each_page(client, pipeline):
    near = Rejected(name="stamp", score=0.41237, bar=0.5, none=0.2)
    pipeline.on_page = {"/data/upload/4/4d035ba8-pg0.jpg": found(candidates=13, nearest=near)}
    [prediction] = client.post("/predict", json=payload("predict_multipage")).json["results"]
    assert prediction["reason"].startswith("page 1: 13 candidates, the best of them a stamp at 0.4124, under 0.5; page")
    assert "page 2: no candidate" in prediction["reason"]


def test_a_document_of_no_pages_stays_open_and_it_is_said_so(client, ledger):
    body = payload("predict_multipage")
    body["tasks"][0]["data"]["pages"] = []
    assert client.post("/predict", json=body).json == {"results": [[]]}
    assert [noted["reason"] for noted in ledger.unread] == ["the task's list of pages is empty"]


def test_a_file_uploaded_before_the_project_had_a_label_config_is_found(client, pipeline):
    pipeline.on_page["early"] = found(STAMP)
    body = payload("predict") | {"tasks": [{"id": 1, "data": {"$undefined$": "early"}}]}
    assert len(client.post("/predict", json=body).json["results"][0]["result"]) == 1


def test_a_missing_page_of_several_leaves_the_whole_task_for_later(client, pages):
    pages.kept["/data/upload/4/b6b38f13-pg1.jpg"] = PageUnavailable("pg1", "no answer")
    assert client.post("/predict", json=payload("predict_multipage")).json == {"results": [[]]}


def test_an_unreadable_page_of_several_leaves_the_whole_task_for_later(client, pages, pipeline, ledger):
    """What is stored for a task says of each of its pages that it was looked at."""
    pages.kept["/data/upload/4/4d035ba8-pg0.jpg"] = UndecodablePage("pg0", "truncated")
    pipeline.on_page["/data/upload/4/b6b38f13-pg1.jpg"] = found(STAMP)
    assert client.post("/predict", json=payload("predict_multipage")).json == {"results": [[]]}
    assert [noted["reason"] for noted in ledger.unread] == ["page 1: pg0: truncated"]
    assert not ledger.shown


def test_doubtful_pages_come_before_sure_ones_and_empty_pages_last(client, pipeline):
    pipeline.on_page = {
        "sure": found(STAMP),
        "doubtful": found(("stamp", (0, 0, 9, 9), 0.55)),
        "empty": found(),
        "empty, but something was near": found(certainty=0.6),
    }
    results = client.post("/predict", json=batch(*pipeline.on_page)).json["results"]
    scores = dict(zip(pipeline.on_page, [prediction["score"] for prediction in results], strict=True))
    assert sorted(scores, key=scores.get) == ["doubtful", "empty, but something was near", "sure", "empty"]


def test_64_clients_at_once_each_get_one_version(app, pipeline):
    pipeline.on_page[IMAGE] = found(STAMP)
    ready, answers = threading.Barrier(64), []

    def ask() -> None:
        ready.wait(SECONDS)
        answers.append(app.test_client().post("/predict", json=batch(IMAGE, IMAGE, IMAGE)).json["results"])

    clients = [threading.Thread(target=ask) for _ in range(64)]
    for one in clients:
        one.start()
    for one in clients:
        one.join(SECONDS)
    assert len(answers) == 64
    assert {prediction["model_version"] for results in answers for prediction in results} == {NAMED}


def test_what_the_pages_are_known_again_by_is_remembered_with_what_was_shown_on_them(client, ledger):
    client.post("/predict", json=payload("predict_multipage"))
    [shown] = ledger.shown
    assert sorted(shown["pages"]) == [0, 1]
