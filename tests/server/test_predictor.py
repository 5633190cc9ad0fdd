"""The deadline, thresholds, and the order of fetching."""

import threading
import time

import pytest

from backend.errors import PageUnavailable
from backend.labelstudio.connections import Connections
from backend.labelstudio.labelling import bind
from backend.server.predictor import Predictor
from backend.settings import Settings
from tests.patience import SECONDS
from tests.server.conftest import VERSION, MemoryLedger, MemoryPages, ToldPipeline, ToldServing, found

CONFIG = (
    '<View><Image name="page" value="$image"/><RectangleLabels name="mark" toName="page" {}>'
    '<Label value="signature"/><Label value="stamp"/><Label value="thumb"/></RectangleLabels>{}</View>'
)


class Clock:
    """Seconds that pass only when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def tasks(count: int) -> list[dict]:
    return [{"id": place, "data": {"image": f"page {place}"}} for place in range(count)]


def predictor(
    pipeline: ToldPipeline,
    pages: MemoryPages,
    clock: Clock | None = None,
    ledger: MemoryLedger | None = None,
    **settings,
) -> Predictor:
    table, ledger = Settings(**({"confidence": 0.5} | settings)), ledger or MemoryLedger()
    connections = Connections(table, source=pages)
    return Predictor(table, ToldServing(pipeline), connections, ledger=ledger, clock=clock or Clock())


def bindings(attributes: str = "", more: str = ""):
    return bind(CONFIG.format(attributes, more), confidence=0.5)


CHOICES = (
    '<Choices name="state" toName="page" choice="single"><Choice value="Signed"/><Choice value="Stamped"/>'
    '<Choice value="Both"/><Choice value="None"/></Choices>'
)


def test_choices_beside_the_boxes_say_what_is_boxed(pages):
    marks = found(("signature", (10, 10, 60, 40), 0.9), ("stamp", (100, 10, 160, 70), 0.4))
    _, [shown] = predictor(ToldPipeline({"page 0": marks}), pages).predict(
        tasks(1), bindings(more=CHOICES), project="1"
    )
    box, answer = shown["result"]
    # The stamp is under the threshold: what is not shown is not told of.
    assert (box["type"], answer["type"], answer["value"]) == ("rectanglelabels", "choices", {"choices": ["Signed"]})
    assert (answer["from_name"], answer["to_name"]) == ("state", "page")


def test_a_page_without_boxes_says_why_and_its_choices_say_none(pages):
    _, [shown] = predictor(ToldPipeline(), pages).predict(tasks(1), bindings(more=CHOICES), project="1")
    assert [one["value"] for one in shown["result"]] == [{"choices": ["None"]}]
    assert shown["reason"]


def test_blind_tasks_have_no_choices_either(pages):
    marks = found(("signature", (10, 10, 60, 40), 0.9))
    blind = predictor(ToldPipeline({"page 0": marks}), pages, blind_share=1.0)
    _, [shown] = blind.predict(tasks(1), bindings(more=CHOICES), project="1")
    assert shown["result"] == []


def test_shown_boxes_that_come_along_with_a_drawn_one_are_left_as_they_are(pages):
    # Label Studio 1.23 sends every box of the label that is drawn with.
    def sent(identity: str, origin: str) -> dict:
        value = {"x": 10, "y": 10, "width": 30, "height": 20, "rotation": 0, "rectanglelabels": ["stamp"]}
        region = {"id": identity, "type": "rectanglelabels", "from_name": "mark", "to_name": "page", "value": value}
        return region | {"origin": origin}

    one = predictor(ToldPipeline(), pages)
    both = [sent("shown", "prediction"), sent("drawn", "manual")]
    _, answer = one.refine(tasks(1)[0], both, bindings(), project="1")
    assert [region["id"] for region in answer["result"]] == ["drawn"]
    # One that is asked about alone, or was moved, is.
    _, answer = one.refine(tasks(1)[0], both[:1], bindings(), project="1")
    assert [region["id"] for region in answer["result"]] == ["shown"]
    moved = [sent("moved", "prediction-changed"), *both]
    _, answer = one.refine(tasks(1)[0], moved, bindings(), project="1")
    assert [region["id"] for region in answer["result"]] == ["moved", "drawn"]


def test_tasks_that_the_deadline_overtakes_come_back_as_not_done(pages):
    clock, turn = Clock(), threading.Lock()
    begun = []

    class Slow(ToldPipeline):
        def marks(self, page, *, confidence=None):
            begun.append(page.reference)
            with turn:
                clock.now += 30
            return found()

    ledger = MemoryLedger()
    slow = predictor(Slow(), pages, clock, ledger, predict_deadline=80)
    _, predictions = slow.predict(tasks(200), bindings(), project="1")
    # Three begin before the deadline, a fourth where two are looked at at once, and none after it. Which of those that
    # wait comes next, and how many of them are over when the deadline is seen to have passed, is the threads' affair.
    assert len(begun) in {3, 4}
    done = {f"page {place}" for place, prediction in enumerate(predictions) if prediction}
    assert done <= set(begun)
    assert predictions.count([]) == 200 - len(done)
    assert predictions[5:] == [[]] * 195
    assert not ledger.unread  # want of time says nothing about a page


def test_a_want_of_memory_leaves_its_task_for_later(pipeline):
    class Short(MemoryPages):
        def pages(self, reference, *, task_id, pages, enough=None):
            if reference == "page 1":
                raise PageUnavailable(reference, "there is no memory to decode it at the moment: ask again")
            yield from super().pages(reference, task_id=task_id, pages=pages)

    _, predictions = predictor(pipeline, Short()).predict(tasks(3), bindings(), project="1")
    assert [bool(prediction) for prediction in predictions] == [True, False, True]
    assert predictions[1] == []


def test_no_more_pages_are_decoded_at_once_than_are_looked_at():
    """Waiting requests hold files, which are small, and not pages."""
    now, most, turn = 0, 0, threading.Lock()

    class Counted(MemoryPages):
        def pages(self, reference, *, task_id, pages, enough=None):
            self.asked.append((reference, task_id))
            return self.decode(reference)

        def decode(self, reference):
            nonlocal now, most
            with turn:
                now += 1
                most = max(most, now)
            yield from super().pages(reference, task_id=None, pages=None)

    class Counting(ToldPipeline):
        def marks(self, page, *, confidence=None):
            nonlocal now
            time.sleep(0.002)  # others would decode meanwhile
            with turn:
                now -= 1
            return found()

    one = predictor(Counting(), Counted())
    requests = [
        threading.Thread(target=one.predict, args=(tasks(6), bindings()), kwargs={"project": "1"}) for _ in range(12)
    ]
    for request in requests:
        request.start()
    for request in requests:
        request.join(SECONDS)
    assert (now, most <= 2) == (0, True)


def test_a_batch_within_the_deadline_is_answered_whole_and_in_order(pipeline, pages):
    pipeline.on_page = {f"page {place}": found(("stamp", (0, 0, 1 + place, 9), 0.9)) for place in range(100)}
    version, predictions = predictor(pipeline, pages).predict(tasks(100), bindings(), project="1")
    widths = [prediction["result"][0]["value"]["width"] for prediction in predictions]
    assert version == VERSION
    assert widths == [(1 + place) / 2 for place in range(100)]


def test_pages_are_asked_for_with_their_task_so_that_cloud_references_resolve(pipeline, pages):
    predictor(pipeline, pages).predict(tasks(3), bindings(), project="1")
    assert sorted(pages.asked) == [("page 0", 0), ("page 1", 1), ("page 2", 2)]


@pytest.mark.parametrize(
    ("attributes", "version"),
    [
        ("", VERSION),
        # the operator's own threshold, said again
        ('model_score_threshold="0.5"', VERSION),
        # another threshold gives other predictions, so Label Studio must not take them for done
        ('model_score_threshold="0.25"', f"{VERSION}-t0.25"),
    ],
)
def test_the_version_names_thresholds_that_differ_from_the_operators(pipeline, pages, attributes, version):
    one = predictor(pipeline, pages)
    used, [prediction] = one.predict(tasks(1), bindings(attributes), project="1")
    assert version == used == prediction["model_version"] == one.version(bindings(attributes))


def test_the_pipeline_is_asked_for_the_lowest_threshold_and_each_control_keeps_its_own(pipeline, pages):
    dim, sure = (0, 0, 9, 9), (50, 0, 90, 9)
    pipeline.on_page["page 0"] = found(
        ("stamp", dim, 0.4), ("stamp", sure, 0.8), ("thumb", dim, 0.4), ("thumb", sure, 0.8)
    )
    config = CONFIG.replace('<Label value="thumb"/>', "").format(
        "",
        '<RectangleLabels name="second" toName="page" model_score_threshold="0.3">'
        '<Label value="thumb"/><Label value="stamp"/></RectangleLabels>',
    )
    _, [prediction] = predictor(pipeline, pages).predict(tasks(1), bind(config, confidence=0.5), project="1")
    assert pipeline.asked_confidence == [0.3]
    shown = [(one["from_name"], one["value"]["rectanglelabels"]) for one in prediction["result"]]
    # A mark that both controls have a label for is the first one's.
    assert shown == [("mark", ["stamp"]), ("second", ["thumb"]), ("second", ["thumb"])]


def test_what_drips_in_does_not_hold_up_what_is_there():
    """A batch of slow pages and a good one, from one host: the good one is done though the slow ones never come."""
    never = threading.Event()

    class Dripping(MemoryPages):
        def pages(self, reference, **how):
            if reference != "page 20":
                never.wait(SECONDS)
            return super().pages(reference, **how)

    clock, pages = Clock(), Dripping()

    class Last(ToldPipeline):
        def marks(self, page, *, confidence=None):
            clock.now += 100  # the good page is there: the rest need not be waited for
            return found(("stamp", (0, 0, 9, 9), 0.9))

    _, predictions = predictor(Last(), pages, clock, predict_deadline=80).predict(tasks(21), bindings(), project="1")
    never.set()
    assert predictions[:20] == [[]] * 20
    assert len(predictions[20]["result"]) == 1


def test_more_tasks_than_are_looked_at_come_back_as_not_done(pipeline, pages, caplog):
    _, predictions = predictor(pipeline, pages, max_tasks=3).predict(tasks(1000), bindings(), project="1")
    assert [bool(one) for one in predictions] == [True] * 3 + [False] * 997
    assert len(pages.asked) == 3
    assert "3 of 1000 tasks are looked at (MAX_TASKS)" in caplog.text


def test_a_task_of_more_pages_than_are_looked_at_is_not_done_and_no_page_is_fetched(pipeline, pages):
    paged = bind(
        '<View><Image name="image" valueList="$pages"/><RectangleLabels name="label" toName="image">'
        '<Label value="stamp"/></RectangleLabels></View>'
    )
    many = [{"id": 1, "data": {"pages": ["x"] * 30_000}}, {"id": 2, "data": {"pages": ["x"] * 3}}]
    _, predictions = predictor(pipeline, pages, max_task_pages=3).predict(many, paged, project="1")
    assert predictions[0] == []
    assert predictions[1]["result"] == []
    assert len(pages.asked) == 3


def test_a_thousand_bad_pages_are_a_few_lines_of_the_log(pipeline, pages, caplog):
    bad = [{"id": place, "data": {}} for place in range(1000)]
    predictor(pipeline, pages).predict(bad, bindings(), project="1")
    assert len(caplog.records) < 30
    assert "980 more pages or tasks" in caplog.text
