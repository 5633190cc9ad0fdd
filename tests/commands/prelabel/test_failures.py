"""The report of what failed: counted by kind, some named, all in a file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from backend.commands.prelabel.crew import Failure, Failures
from backend.errors import SettingsError


def test_they_are_counted_by_kind_and_the_first_are_named(tmp_path: Path) -> None:
    file = tmp_path / "report.jsonl"
    with Failures(file) as failures:
        failures.add(Failure(what="a.pdf", kind="UndecodablePage", reason="a.pdf: not a PDF"))
        for task in range(1, 13):
            failures.add(Failure(what=task, kind="PageUnavailable", reason=f"{task}: gone"))
        # Each line is there at once: a run that is killed has told what failed until then.
        assert len(file.read_text().splitlines()) == 13
        assert len(failures) == 13
        assert failures.lines() == [
            "12 PageUnavailable, such as: 1: gone\n    1, 2, 3, 4, 5, 6, 7, 8, 9, 10, …",
            "1 UndecodablePage, such as: a.pdf: not a PDF\n    a.pdf",
        ]
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert rows[0] == {"failed": "a.pdf", "kind": "UndecodablePage", "reason": "a.pdf: not a PDF"}
    assert [row["failed"] for row in rows[1:]] == list(range(1, 13))


def test_without_a_file_they_are_counted_alone() -> None:
    with Failures() as failures:
        assert (len(failures), failures.lines()) == (0, [])


def test_a_report_that_cannot_be_written_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="name another --report"):
        Failures(tmp_path / "none" / "report.jsonl")
