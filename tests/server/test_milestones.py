"""What the registry tells becomes milestones: moves with what the gate had measured, refusals with their reasons."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from backend.corrections.chronicle import Registered, milestones
from backend.models.promotion import Models
from backend.models.published import JUDGED, PROMOTED, PUBLISHED, ROLLED_BACK

WHEN = "2026-10-01T00:00:00+00:00"
F1 = {"end_to_end": {"0.5": {"macro": {"f1": {"value": 0.9, "low": 0.85, "high": 0.95}}}}, "documents": 40}
PASSED = {"passed": True, "reasons": ["better"], "figures": F1}
REFUSED = {"passed": False, "reasons": ["worse", "slower"], "figures": F1}


def registry(folder: Path, *events: dict) -> Models:
    folder.mkdir(exist_ok=True)
    lines = [json.dumps({"when": WHEN, "model": "m", **event}) for event in events]
    (folder / "history.jsonl").write_text("".join(f"{line}\n" for line in lines))
    return Models(folder)


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([], []),
        ([{"what": PUBLISHED}], []),
        ([{"what": PUBLISHED, "verdict": PASSED}], []),  # it may be promoted, and is not yet
        ([{"what": PUBLISHED, "verdict": REFUSED}], [("refused", "m", 0.9, "worse; slower")]),
        ([{"what": JUDGED, "verdict": REFUSED}], [("refused", "m", 0.9, "worse; slower")]),
        (
            [{"what": PUBLISHED, "verdict": PASSED}, {"what": PROMOTED, "why": "it passed"}],
            [("promoted", "m", 0.9, "it passed")],
        ),
        ([{"what": PROMOTED, "why": "I say so", "forced": True}], [("promoted", "m", None, "I say so (forced)")]),
        (
            [{"what": ROLLED_BACK, "model": None, "why": "worse in use"}],
            [("rolled back", "(none: unpublished weights)", None, "worse in use")],
        ),
    ],
)
def test_events_become_milestones(tmp_path: Path, events: list[dict], expected: list[tuple]) -> None:
    found = milestones(registry(tmp_path, *events))
    assert [(one.what, one.model, one.f1, one.reason) for one in found] == expected
    assert all(one.at == 1_790_812_800 for one in found)


def test_a_history_that_cannot_be_read_is_told_of_and_read_again_when_it_is_mended(tmp_path: Path) -> None:
    told = Registered(registry(tmp_path, {"what": PROMOTED}))
    assert len(told()) == 1
    (tmp_path / "history.jsonl").write_text("torn\n")
    assert told() == []
    assert "take it out" in told.failure
    registry(tmp_path, {"what": PROMOTED})
    assert (len(told()), told.failure) == (1, "")
