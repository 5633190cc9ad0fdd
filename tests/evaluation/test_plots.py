"""Plots are well-formed whatever there is to plot, and nothing that a file says becomes markup."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

from backend.errors import EvaluationError
from backend.evaluation.bootstrap import Estimate
from backend.evaluation.evaluation_report import (
    PlottedEpoch,
    learning_curves,
    precision_recall,
    read_history,
    reliability_diagram,
    slice_plot,
)
from backend.evaluation.figures import EndToEnd, Rates, Slice
from backend.evaluation.ranking import Curve
from backend.evaluation.rates import reliability
from backend.files import write_private

SVG = ET.fromstring  # the input is our own


def shapes(svg: str, name: str, kind: str = "") -> list[ET.Element]:
    return [one for one in SVG(svg).iter(name) if kind in one.get("class", "").split() or not kind]


def epoch(stage: int, loss: float, score: float, **by_domain: float) -> PlottedEpoch:
    return PlottedEpoch(stage=stage, loss=loss, score=score, by_domain=by_domain)


def test_learning_curves_part_the_stages_and_pass_over_epochs_without_a_loss() -> None:
    loss, score = learning_curves(
        [epoch(0, math.nan, 0.2), epoch(0, 0.9, 0.5, drawn=0.4), epoch(1, 0.5, 0.7, drawn=0.6)]
    )
    assert len(shapes(loss, "circle", "loss")) == 2
    assert len(shapes(score, "circle", "score")) == 3
    assert len(shapes(score, "circle", "domain")) == 2
    assert len(shapes(score, "line", "stage")) == 1


@pytest.mark.parametrize("history", [[epoch(0, 0.7, 0.5)], [epoch(0, math.nan, 0.5)], [epoch(0, 40_000.0, 0.5)]])
def test_a_short_or_odd_history_is_drawn(history: list[PlottedEpoch]) -> None:
    for svg in learning_curves(history):
        assert "nan" not in svg
        assert SVG(svg).get("viewBox") == "0 0 420 330"


def test_slices_without_an_interval_and_with_hostile_names() -> None:
    rows = [
        Slice(name="all marks", marks=3, recall={"0.5": Estimate(0.5), "0.3": Estimate(None)}),
        Slice(name="language <script>", marks=1, recall={"0.5": Estimate(0.2, 0.1, 0.4), "0.3": Estimate(1.0)}),
    ]
    svg = slice_plot(rows)
    assert len(shapes(svg, "line", "interval")) == 1
    assert len(shapes(svg, "circle", "point")) == 2
    assert "<script>" not in svg
    assert "&lt;script&gt;" in svg


def test_a_reliability_diagram_has_a_dot_for_each_bin() -> None:
    bins = reliability(np.array([0.2, 0.2, 0.9]), np.array([True, False, True]))
    assert len(shapes(reliability_diagram(bins, "shown"), "circle", "bin")) == 2
    assert shapes(reliability_diagram([], "shown"), "circle") == []


def test_curves_of_thousands_of_boxes_stay_small() -> None:
    count = 50_000
    curve = Curve(
        label="stamp",
        recall=np.linspace(0, 1, count),
        precision=np.linspace(1, 0.5, count),
        scores=np.linspace(1, 0, count),
        average_precision=0.75,
    )
    rates = Rates(precision=Estimate(0.9), recall=Estimate(0.6), f1=Estimate(0.7), marks=9)
    shown = EndToEnd(
        iou=0.5,
        classes={"stamp": rates},
        macro=rates,
        confusion=[],
        false_boxes=Estimate(0.0),
        false_boxes_without_marks=Estimate(None),
    )
    svg = precision_recall([curve], shown)
    assert len(svg) < 20_000
    assert len(shapes(svg, "circle", "dot")) == 1
    SVG(precision_recall([], shown))


@pytest.mark.parametrize("text", ["", "[]", '{"history": [{"stage": 0}]}', '{"history": 3}', "{}"])
def test_a_history_that_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "training.json").write_text(text)
    with pytest.raises(EvaluationError, match="holds no training history"):
        read_history(tmp_path / "training.json")


def test_a_private_file_takes_the_place_of_an_open_one(tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_text("old")
    file.chmod(0o644)
    write_private(file, "new")
    assert (file.read_text(), file.stat().st_mode & 0o777) == ("new", 0o600)
    assert list(tmp_path.iterdir()) == [file]
