"""The deadline, thresholds, and the order of fetching."""

import threading
import time

import pytest

from backend.errors import PageUnavailable
from backend.labelstudio.connections import Connections
from backend.labelstudio.labelling import bind
from backend.server.predictor import Predictor
from backend.server.prefetch import Prefetcher
from backend.settings import Settings
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
    table, ledger = Settings(**settings), ledger or MemoryLedger()
    connections = Connections(table, source=pages)
    return Predictor(table, ToldServing(pipeline), connections, ledger=ledger, clock=clock or Clock())


def bindings(attributes: str = "", more: str = ""):
    return bind(CONFIG.format(attributes, more), confidence=0.5)


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
        request.join(timeout=60)
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
    pipeline.on_page["page 0"] = found(("stamp", (0, 0, 9, 9), 0.4), ("stamp", (50, 0, 90, 9), 0.8))
    second = (
        '<RectangleLabels name="second" toName="page" model_score_threshold="0.3">'
        '<Label value="stamp"/></RectangleLabels>'
    )
    _, [prediction] = predictor(pipeline, pages).predict(tasks(1), bindings(more=second), project="1")
    assert pipeline.asked_confidence == [0.3]
    assert [region["from_name"] for region in prediction["result"]] == ["mark", "second", "second"]


class TestPrefetching:
    def test_results_come_in_order_with_a_bound_on_what_waits(self):
        prefetcher = Prefetcher(room=3, ahead=1, threads=3)
        begun, most = [], 0
        jobs = [lambda place=place: begun.append(place) or place for place in range(20)]
        results = []
        for future in prefetcher.run(jobs, remaining=lambda: 60):
            results.append(future.result())
            most = max(most, len(begun) - len(results))
        assert results == list(range(20))
        assert most <= 1

    def test_a_loop_that_is_left_gives_its_room_back(self):
        prefetcher = Prefetcher(room=2, ahead=1, threads=2)
        for _ in range(5):
            loop = prefetcher.run([int] * 4, remaining=lambda: 60)
            next(loop)
            loop.close()
        assert [future.result() for future in prefetcher.run([int] * 3, remaining=lambda: 60)] == [0, 0, 0]

    def test_a_job_under_way_keeps_its_room_until_it_is_over(self):
        prefetcher = Prefetcher(room=1, ahead=0, threads=1)
        finish = threading.Event()
        assert list(prefetcher.run([finish.wait], remaining=iter([60, 0, 0]).__next__)) == []
        assert list(prefetcher.run([int], remaining=lambda: 0)) == []
        finish.set()
        assert [future.result() for future in prefetcher.run([int], remaining=lambda: 60)] == [0]

    def test_many_loops_over_little_room_all_end(self):
        prefetcher = Prefetcher(room=3, ahead=2, threads=2)
        ended = []

        def loop() -> None:
            ended.append(sum(future.result() for future in prefetcher.run([lambda: 1] * 30, remaining=lambda: 60)))

        loops = [threading.Thread(target=loop) for _ in range(20)]
        for one in loops:
            one.start()
        for one in loops:
            one.join(timeout=60)
        assert ended == [30] * 20
