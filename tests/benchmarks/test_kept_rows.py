"""Benchmarks that can be made in several calls go on with what the calls before have seen."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import pytest

from benchmarks import faults, soak
from benchmarks.server_speed import Latency

if TYPE_CHECKING:
    from pathlib import Path

ROW = faults.Result(
    sent=200,
    refused=1,
    lost=0,
    doubled=0,
    mixed=0,
    predicted=7,
    unanswered=0,
    slowest=1.5,
    health=Latency(p50=2.0, p99=9.0, longest=12.0, answers=300),
    bare=Latency(p50=1.0, p99=3.0, longest=4.0, answers=300),
    peak=500_000_000,
)


def test_rows_of_faults_come_back_as_they_were(tmp_path: Path) -> None:
    file = tmp_path / "rows.json"
    assert faults._kept(file) == {}
    file.write_text(faults._as_json({"kills": ROW}))
    assert faults._kept(file) == {"kills": ROW}


def look(resident: int, *, call: int) -> soak.Look:
    return soak.Look(resident=resident, descriptors=60, files=("a",), ledger=10, crops=4, call=call)


@pytest.mark.parametrize(
    ("looks", "growth"),
    [
        # one call: from its second part to its last
        ([look(90, call=0), look(100, call=0), look(101, call=0), look(110, call=0)], 0.1),
        # the server of another call says nothing of this one's
        ([look(500, call=0), look(90, call=1), look(100, call=1), look(95, call=1)], -0.05),
        # two parts are no course
        ([look(90, call=0), look(100, call=0)], None),
    ],
)
def test_a_soak_goes_on_where_it_ended(tmp_path: Path, looks: list[soak.Look], growth: float | None) -> None:
    seen = soak.Soaked(looks=looks, acknowledged=[1, 2], refused={"503 busy": 3}, left=("spool/x",))
    (tmp_path / soak.KEPT).write_text(json.dumps(asdict(seen)))
    again = soak.Soaked.kept(tmp_path)
    assert again == seen
    assert again.growth == (None if growth is None else pytest.approx(growth))


def test_a_first_soak_has_seen_nothing(tmp_path: Path) -> None:
    assert soak.Soaked.kept(tmp_path) == soak.Soaked.kept(None) == soak.Soaked()
