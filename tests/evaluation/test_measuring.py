"""All figures of a small study, against values worked out by hand."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence

import numpy as np
import pytest

from backend.corrections.outcomes import Outcome
from backend.evaluation.figures import Figures, table
from backend.evaluation.measuring import measure
from backend.evaluation.mistakes import Mistake, corrections, worst
from backend.evaluation.study import FoundMarks, Study
from backend.evaluation.truth import TruePage
from tests.evaluation.pages import found, known, run, truth

A = (100.0, 100.0, 200.0, 200.0)
A_HALF = (100.0, 100.0, 200.0, 140.0)  # IoU .4 with A
B = (500.0, 500.0, 600.0, 600.0)
C = (700.0, 100.0, 800.0, 200.0)


def study(pages: Sequence[TruePage], shown: Sequence[FoundMarks], named: Sequence[Sequence[Sequence[float]]]) -> Study:
    return Study(
        run=run("model-1", truth(*pages), shown, 250.0),
        ranked=tuple(shown),
        named=tuple(np.array(rows, np.float64).reshape(-1, 4) for rows in named),
    )


@pytest.fixture(scope="module")
def figures() -> Figures:
    """Three documents: one all right, one with a loose, a misnamed and a missing box, and an empty page with a box."""
    pages = [
        known(("stamp", A), ("signature", B), document="one", traits=[["faded"], []]),
        known(("stamp", A), ("thumb", B), ("signature", C), document="two", traits=[["faded"], ["small"], ["small"]]),
        known(document="three"),
    ]
    pages = [dataclasses.replace(page, language="en" if page.document == "one" else "ar") for page in pages]
    shown = [
        found(("stamp", A, 0.9), ("signature", B, 0.9)),
        found(("stamp", A_HALF, 0.8), ("stamp", B, 0.7)),
        found(("thumb", C, 0.6)),
    ]
    named = [
        [[0.1, 0.9, 0.0, 0.0], [0.8, 0.1, 0.1, 0.0]],
        [[0.0, 0.6, 0.0, 0.4], [0.0, 0.0, 0.3, 0.7], [0.5, 0.3, 0.2, 0.0]],
        [],
    ]
    return measure(study(pages, shown, named))


def test_what_was_looked_at(figures: Figures) -> None:
    assert (figures.version, figures.documents, figures.pages, figures.pages_without_marks) == ("model-1", 3, 3, 1)
    assert figures.marks == {"signature": 2, "stamp": 2, "thumb": 1}
    assert figures.milliseconds == {"median": 250.0, "p95": 250.0}


def test_end_to_end(figures: Figures) -> None:
    strict, loose = figures.end_to_end["0.5"], figures.end_to_end["0.3"]
    assert strict.confusion == [[1, 0, 0, 1], [0, 1, 0, 1], [0, 1, 0, 0], [0, 1, 1, 0]]
    stamp = strict.classes["stamp"]
    assert (stamp.precision.value, stamp.recall.value, stamp.f1.value) == pytest.approx((1 / 3, 1 / 2, 2 / 5))
    assert strict.macro.f1.value == pytest.approx((2 / 3 + 2 / 5 + 0) / 3)
    # At IoU .3 the loose stamp is right as well.
    assert loose.confusion == [[1, 0, 0, 1], [0, 2, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]]
    # The loose box, the misnamed one and the one on the empty page, over three pages; one on the only empty page.
    assert strict.false_boxes.value == pytest.approx(3 / 3)
    assert loose.false_boxes.value == pytest.approx(2 / 3)
    assert strict.false_boxes_without_marks.value == 1


def test_slices(figures: Figures) -> None:
    recalls = {one.name: (one.marks, one.recall["0.5"].value, one.recall["0.3"].value) for one in figures.slices}
    assert recalls == {
        "all marks": (5, pytest.approx(2 / 5), pytest.approx(3 / 5)),
        "faded": (2, 0.5, 1.0),
        "small": (2, 0.0, 0.0),
        "language ar": (3, 0.0, pytest.approx(1 / 3)),
        "language en": (2, 1.0, 1.0),
    }
    assert figures.slices[-1].macro_f1 is not None
    assert figures.slices[-1].macro_f1.value == 1


def test_closed_set(figures: Figures) -> None:
    closed = figures.closed_set
    assert closed.confusion == [[2, 0, 0, 0], [0, 2, 0, 0], [0, 0, 0, 1]]
    assert closed.accuracy.value == pytest.approx(4 / 5)
    # Without `none` the thumb is a thumb.
    assert closed.forced_accuracy.value == 1
    assert closed.forced_macro_f1.value == 1


def test_calibration(figures: Figures) -> None:
    # Scores .9, .9 right; .8, .7, .6 wrong: gaps .1, .1, .8, .7, .6.
    assert figures.shown.cases == 5
    assert figures.shown.error.value == pytest.approx((0.1 + 0.1 + 0.8 + 0.7 + 0.6) / 5)
    assert figures.shown.brier.value == pytest.approx((0.01 + 0.01 + 0.64 + 0.49 + 0.36) / 5)
    squares = [0.01 + 0.01, 0.04 + 0.01 + 0.01, 0.16 + 0.16, 0.49 + 0.49, 0.25 + 0.09 + 0.04]
    assert figures.crops.brier.value == pytest.approx(sum(squares) / 5)


def test_corrections(figures: Figures) -> None:
    """Move the loose stamp, rename the thumb, add the signature, delete the box on the empty page."""
    assert {name: one.value for name, one in figures.corrections.items()} == {
        "relabelled": pytest.approx(1 / 3),
        "rejected": pytest.approx(1 / 3),
        "moved": pytest.approx(1 / 3),
        "duplicate": 0,
        "missed": pytest.approx(1 / 3),
        "all": pytest.approx(4 / 3),
    }


def test_the_json_is_plain_and_the_table_has_the_figures(figures: Figures) -> None:
    stored = json.loads(json.dumps(figures.as_json(), allow_nan=False))
    assert stored["end_to_end"]["0.5"]["macro"]["f1"]["value"] == figures.end_to_end["0.5"].macro.f1.value
    text = table(figures)
    assert str(figures.map50_95) in text
    assert str(figures.end_to_end["0.3"].classes["stamp"].f1) in text


def test_pages_without_any_mark_have_false_boxes_and_no_rates() -> None:
    figures = measure(study([known(document="a"), known(document="b")], [found(), found(("thumb", A, 0.8))], [[], []]))
    assert figures.end_to_end["0.5"].macro.f1.value is None
    assert figures.end_to_end["0.5"].false_boxes_without_marks.value == 0.5
    assert (figures.map50.value, figures.closed_set.accuracy.value, figures.crops.error.value) == (None, None, None)
    assert figures.slices == []
    json.dumps(figures.as_json(), allow_nan=False)
    assert "–" in table(figures)


def test_nothing_shown_at_all() -> None:
    figures = measure(study([known(("stamp", A))], [found()], [[[0.1, 0.9, 0, 0]]]))
    assert figures.end_to_end["0.5"].macro.f1.value == 0
    assert figures.shown.error.value is None
    json.dumps(figures.as_json(), allow_nan=False)


def mistakes() -> list[Mistake]:
    page = known(
        ("stamp", A), ("thumb", B), ("signature", C), document="two", traits=[["faded"], ["black ink", "small"], []]
    )
    return corrections(4, page, found(("signature", A, 0.7), ("signature", (0.0, 0.0, 50.0, 50.0), 0.95)))


def test_the_surest_boxes_and_the_least_excusable_misses_come_first() -> None:
    assert [(one.kind, one.score) for one in worst(mistakes(), Outcome.REJECTED, 5)] == [(Outcome.REJECTED, 0.95)]
    missed = worst(mistakes(), Outcome.MISSED, 5)
    assert [one.true and one.true[1] for one in missed] == ["signature", "thumb"]
    assert worst(mistakes(), Outcome.MISSED, 1) == missed[:1]
    (renamed,) = worst(mistakes(), Outcome.RELABELLED, 5)
    assert (renamed.page, renamed.true, renamed.shown) == (4, (A, "stamp"), (A, "signature"))
