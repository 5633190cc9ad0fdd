"""Pages that are looked at at once: how many, in which order, and which project comes next."""

import threading
import time

from backend.server.turns import FairPlaces, PageJob, Turns
from tests.patience import SECONDS


class TestTurns:
    def run(self, turns, jobs, *, project="1", seconds=float(SECONDS)):
        return turns.run([PageJob(host="", call=job) for job in jobs], project=project, remaining=lambda: seconds)

    def test_every_job_ends_once_with_its_result_or_its_error(self):
        def bad(_):
            raise ZeroDivisionError

        jobs = [bad if place % 7 == 3 else (lambda _, place=place: place) for place in range(50)]
        futures = dict(self.run(Turns(), jobs))
        assert sorted(futures) == list(range(50))
        assert all(bool(future.exception()) == (index % 7 == 3) for index, future in futures.items())

    def test_no_more_are_at_work_at_once_than_may_be(self):
        now, most, lock = 0, 0, threading.Lock()

        def job(arrived):
            nonlocal now, most
            arrived()
            with lock:
                now += 1
                most = max(most, now)
            time.sleep(0.002)
            with lock:
                now -= 1

        turns = Turns(quick=3, each=2)
        batches = [threading.Thread(target=lambda: list(self.run(turns, [job] * 10))) for _ in range(6)]
        for one in batches:
            one.start()
        for one in batches:
            one.join(SECONDS)
        assert (now, most <= 3) == (0, True)

    def test_a_request_that_is_left_gives_its_places_back(self):
        turns = Turns(quick=2, each=2)
        for _ in range(5):
            loop = self.run(turns, [lambda _: 1] * 4)
            next(loop)
            loop.close()
        assert [future.result() for _, future in self.run(turns, [lambda _: 1] * 3)] == [1, 1, 1]

    def test_pages_wait_while_the_system_has_no_thread_and_lose_no_place_to_it(self):
        turns = Turns(quick=2, each=2)
        left = iter([1.0] * 40)
        jobs = [PageJob(host="", call=lambda _: 1)] * 3
        threading.stack_size(1 << 47)  # more than there is, so that no thread can be made
        try:
            assert list(turns.run(jobs, project="1", remaining=lambda: next(left, 0.0) / 100)) == []
        finally:
            threading.stack_size(0)
        assert [future.result() for _, future in self.run(turns, [lambda _: 1] * 3)] == [1, 1, 1]

    def test_one_without_time_left_begins_nothing(self):
        assert list(self.run(Turns(), [lambda _: 1], seconds=0)) == []

    def test_slow_pages_of_one_project_leave_places_for_another(self):
        never, turns = threading.Event(), Turns()

        def slow(_):
            never.wait(SECONDS)

        left = [float(SECONDS)]
        held = threading.Thread(
            target=lambda: list(
                turns.run([PageJob(host="slow", call=slow)] * 200, project="slow", remaining=lambda: left[0])
            )
        )
        held.start()
        good = turns.run([PageJob(host="good", call=lambda _: 1)] * 50, project="good", remaining=lambda: SECONDS)
        assert len(list(good)) == 50
        left[0] = 0
        never.set()
        held.join(SECONDS)

    def test_slow_pages_of_one_host_end_when_they_come(self):
        come, turns = threading.Event(), Turns(quick=2, each=2, slow=3, slow_each=3)
        done = []

        def slow(arrived):
            come.wait(SECONDS)
            arrived()
            done.append(1)

        def fetch():
            list(turns.run([PageJob(host="h", call=slow)] * 9, project="1", remaining=lambda: SECONDS))

        batch = threading.Thread(target=fetch)
        batch.start()
        time.sleep(2.5)  # long enough to be slow: three of them wait, two are tried
        come.set()
        batch.join(SECONDS)
        assert len(done) == 9

    def test_one_project_cannot_take_every_place_of_another(self):
        """Four requests of one project, each page of which takes for ever, and then one page of another project."""
        never, turns, threads = threading.Event(), Turns(), []

        def lasts(arrived):
            arrived()
            never.wait(SECONDS)

        for _ in range(4):
            threads.append(threading.Thread(target=lambda: list(self.run(turns, [lasts] * 5, project="hostile"))))
            threads[-1].start()
        while len(turns._running) < 6:
            time.sleep(0.005)
        assert len(list(self.run(turns, [lambda _: 1], project="good"))) == 1
        assert not never.is_set()
        never.set()
        for one in threads:
            one.join(SECONDS)


class TestFairPlaces:
    def test_a_free_place_goes_to_the_project_that_has_the_fewest(self):
        places, began, order = FairPlaces(2), threading.Semaphore(0), []
        ends = {name: threading.Event() for name in ("a1", "a2", "a3", "a4", "b1")}

        def work(name):
            with places.place(name[0], timeout=SECONDS) as found:
                assert found
                order.append(name)
                began.release()
                assert ends[name].wait(SECONDS)

        threads = []
        for waiting, name in enumerate(ends):
            threads.append(threading.Thread(target=work, args=(name,)))
            threads[-1].start()
            while len(places._waiting) + len(order) <= waiting:
                time.sleep(0.005)
        for _ in range(2):
            assert began.acquire(timeout=SECONDS)
        assert order == ["a1", "a2"]
        ends["a1"].set()
        assert began.acquire(timeout=SECONDS)
        assert order[2] == "b1", "it came last, and has nothing under way"
        for end in ends.values():
            end.set()
        for one in threads:
            one.join(SECONDS)
        assert sorted(order) == sorted(ends)
        assert places._waiting == {} == places._at_work

    def test_who_gives_up_stands_in_nobodys_way(self):
        places = FairPlaces(1)
        with places.place("a", timeout=0) as found:
            assert found
            with places.place("b", timeout=0.01) as other:
                assert not other
        with places.place("c", timeout=0) as found:
            assert found
