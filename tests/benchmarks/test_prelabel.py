"""The benchmark of `prelabel`: what it says of its figures, and one small run of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.loopback_studio import LoopbackStudio
from benchmarks.prelabel import CONFIG, SLIP_DPI, jpeg, listed, memory_table, signed, speed_table
from benchmarks.prelabel_run import Memory, Run, timed_run


def ran(*, pages: int = 100, seconds: float = 20.0, spans: dict[int, float] | None = None) -> Run:
    held = {end: Memory(usual=usual, most=usual + 50) for end, usual in (spans or {pages: 300.0}).items()}
    return Run(pages=pages, start=2.0, seconds=seconds, spans=held)


def slip() -> bytes:
    return jpeg(signed(np.full((354, 236, 3), 250, np.uint8)), dpi=SLIP_DPI)


@pytest.mark.parametrize(
    ("seconds", "said"), [(16.0, "1.25 times one (aim: more than one): reached"), (25.0, ": missed")]
)
def test_two_processes_are_compared_with_one(seconds: float, said: str) -> None:
    lines = speed_table({"one process": ran(), "two processes": ran(seconds=seconds)})
    assert lines[2].split() == ["one", "process", "5.00", "2.0", "350"]
    assert "not measured" in lines[-2]
    assert lines[-1].endswith(said)


@pytest.mark.parametrize(
    ("first", "most", "said"),
    [
        (1000, 312.0, "+4.0% (aim: flat, at most +5%): reached"),
        (1000, 330.0, "+10.0% (aim: flat, at most +5%): missed"),
        (1000, 290.0, "reached"),
        (100, 330.0, "not judged below 10,000 tasks"),
    ],
)
def test_memory_is_flat_or_not(first: int, most: float, said: str) -> None:
    run = ran(pages=10 * first, spans={first: 300.0, 5 * first: 305.0, 10 * first: most})
    lines = memory_table(run)
    assert lines[2].split() == ["memory,", "MB", "300", "305", f"{most:.0f}"]
    assert lines[3].split() == ["at", "most,", "MB", "350", "355", f"{most + 50:.0f}"]
    assert lines[-1].endswith(said)


@pytest.mark.parametrize("archive", [False, True])
def test_a_run_is_timed_and_its_memory_seen(archive: bool, tmp_path: Path) -> None:
    studio = LoopbackStudio(CONFIG, tasks=4, pages=(slip(),))
    arguments = listed(studio, tmp_path) if archive else ("--project", "1")
    run = timed_run(studio, arguments, tmp_path, name="test", detector="colour")
    assert (run.pages, len(studio.predictions)) == (4, 0 if archive else 4)
    assert run.start > 0
    assert run.rate > 0
    # The command and its worker, which holds a model.
    assert run.most > 100


def test_a_run_that_fails_says_what_the_command_said(tmp_path: Path) -> None:
    studio = LoopbackStudio(CONFIG, tasks=4, pages=(slip(),))
    studio.troubles = {"GET /api/projects/1/": [401]}
    with pytest.raises(SystemExit, match="LABEL_STUDIO_API_KEY"):
        timed_run(studio, ("--project", "1"), tmp_path, name="test", detector="colour")
