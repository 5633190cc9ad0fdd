"""Worker processes: every part is done whatever becomes of a worker, and what kills them all is given up."""

from __future__ import annotations

import fcntl
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from backend.commands.prelabel.crew import Crew, Done, Lost
from backend.errors import LabelStudioError, ModelError


@dataclass
class Doubling:
    """Doubles numbers; some of them it does not survive."""

    version: str = "v1"
    deadly: tuple[int, ...] = ()
    once: str = ""
    refused: int | None = None

    def __call__(self, portion: list[int]) -> list[int]:
        if self.refused in portion:
            raise LabelStudioError("the token is refused", answered=401)
        if self.once and not Path(self.once).exists():
            Path(self.once).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if set(self.deadly) & set(portion):
            os.kill(os.getpid(), signal.SIGKILL)
        return [2 * one for one in portion]


def stillborn() -> Doubling:
    os._exit(3)


def portions(count: int, size: int = 3) -> Iterator[list[int]]:
    return (list(range(start, min(start + size, count))) for start in range(0, count, size))


def doubled(answers: list[Done[int] | Lost[int]]) -> list[int]:
    return sorted(two for answer in answers if isinstance(answer, Done) for two in answer.answer)


def test_every_portion_is_done_once_by_several_processes() -> None:
    with Crew(Doubling, processes=2) as crew:
        assert crew.version == "v1"
        answers = list(crew.run(portions(20)))
        assert doubled(answers) == [2 * one for one in range(20)]
        assert len(set(crew.pids)) == 2
        # A crew takes more work, and none.
        assert doubled(list(crew.run(portions(4)))) == [0, 2, 4, 6]
        assert list(crew.run([])) == []


def test_what_a_dead_worker_had_is_done_again(tmp_path: Path) -> None:
    with Crew(partial(Doubling, once=str(tmp_path / "died")), processes=2) as crew:
        assert doubled(list(crew.run(portions(10)))) == [2 * one for one in range(10)]
    assert (tmp_path / "died").exists()


def test_a_part_that_no_worker_survives_is_given_up_and_the_rest_of_its_portion_done() -> None:
    with Crew(partial(Doubling, deadly=(4,)), processes=1) as crew:
        answers = list(crew.run(portions(9)))
    [lost] = [answer for answer in answers if isinstance(answer, Lost)]
    assert (lost.part, "SIGKILL" in lost.reason) == (4, True)
    assert doubled(answers) == [2 * one for one in range(9) if one != 4]


def test_what_would_befall_every_worker_ends_the_run() -> None:
    with Crew(partial(Doubling, refused=3), processes=1) as crew, pytest.raises(LabelStudioError) as caught:
        list(crew.run(portions(9)))
    assert caught.value.answered == 401


def test_workers_that_die_while_loading_end_the_run() -> None:
    with Crew(stillborn, processes=1) as crew, pytest.raises(ModelError, match="exit status 3"):
        crew.version  # noqa: B018


def test_a_worker_holds_the_lock_until_it_ends(tmp_path: Path) -> None:
    with (tmp_path / "lock").open("a") as ours:
        fcntl.flock(ours, fcntl.LOCK_EX)
        crew = Crew(Doubling, processes=1, lock=ours.fileno())
        assert crew.version
    with (tmp_path / "lock").open("a") as another:
        with pytest.raises(BlockingIOError):
            fcntl.flock(another, fcntl.LOCK_EX | fcntl.LOCK_NB)
        crew.__exit__()
        fcntl.flock(another, fcntl.LOCK_EX | fcntl.LOCK_NB)
