"""Intervals: documents are drawn whole, the fast way gives what a plain loop gives, and they mean what they say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.evaluation.bootstrap import Estimate, by_document, estimate, estimates, interval, weights
from backend.evaluation.rates import macro, macro_f1, rates


def test_a_resample_draws_as_many_documents_as_there_are() -> None:
    drawn = weights(7, resamples=50, seed=3)
    assert drawn.shape == (50, 7)
    assert (drawn.sum(axis=1) == 7).all()
    assert len({tuple(row) for row in drawn.tolist()}) > 40


def test_the_same_seed_draws_the_same_and_another_does_not() -> None:
    assert (weights(9, seed=1) == weights(9, seed=1)).all()
    assert (weights(9, seed=1) != weights(9, seed=2)).any()


def test_pages_are_summed_by_document_in_order_of_appearance() -> None:
    assert by_document([[1, 0], [2, 0], [4, 1]], ["b", "a", "b"]).tolist() == [[5, 1], [2, 0]]


def plain_macro_f1(confusion: list[list[float]]) -> float:
    """Macro F1 by the definition, one class after the other."""
    scores = []
    for place in range(3):
        hits = confusion[place][place]
        actual = sum(confusion[place])
        answered = sum(row[place] for row in confusion)
        if actual:
            scores.append(2 * hits / (actual + answered))
    return sum(scores) / len(scores) if scores else float("nan")


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), documents=st.integers(2, 8))
def test_intervals_are_those_of_a_plain_loop_over_drawn_pages(seed: int, documents: int) -> None:
    rng = np.random.default_rng(seed)
    names = [f"d{number}" for number in rng.integers(documents, size=3 * documents)]
    pages = rng.integers(0, 4, (len(names), 4, 4))
    pages[:, 3, 3] = 0
    known = list(dict.fromkeys(names))
    if len(known) < 2:
        return
    drawn = weights(len(known), resamples=60, seed=seed % 1000)
    fast = estimate(lambda summed: macro_f1(summed, 3), by_document(pages, names), drawn)
    slow = []
    for row in drawn:
        total = np.zeros((4, 4))
        for times, name in zip(row, known, strict=True):
            for page, owner in zip(pages, names, strict=True):
                if owner == name:
                    total += times * page
        slow.append(plain_macro_f1(total.tolist()))
    assert fast.value == pytest.approx(plain_macro_f1(pages.sum(axis=0).tolist()))
    assert fast.low == pytest.approx(np.nanpercentile(slow, 2.5))
    assert fast.high == pytest.approx(np.nanpercentile(slow, 97.5))


def test_marks_of_one_document_widen_the_interval() -> None:
    """Forty marks in four documents tell less than forty documents of one mark each."""
    hits = np.array([1, 0] * 20, float)
    rows = np.column_stack([hits, np.ones(40)])

    def width(documents: list[str], order: np.ndarray) -> float:
        counts = by_document(rows[order], documents)
        found = estimate(lambda summed: summed[:, 0] / summed[:, 1], counts, weights(len(counts)))
        assert found.low is not None
        assert found.high is not None
        return found.high - found.low

    alike = np.argsort(hits, kind="stable")
    alone = width([str(number) for number in range(40)], alike)
    together = width([str(number // 10) for number in range(40)], alike)
    assert together > 1.5 * alone


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(5)
    covered = 0
    for _ in range(100):
        counts = np.column_stack([rng.binomial(5, 0.7, 60), np.full(60, 5)]).astype(float)
        found = estimate(lambda summed: summed[:, 0] / summed[:, 1], counts, weights(60, resamples=300))
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= 0.7 <= found.high
    assert 0.88 <= covered / 100 <= 1


def test_one_document_has_figures_but_no_interval() -> None:
    (found,) = estimates(lambda summed: summed[:, :1], np.array([[3.0]]), weights(1))
    assert found == Estimate(3.0)
    assert str(found) == "3.000"


def test_a_figure_without_a_case_is_none() -> None:
    found = estimate(lambda summed: np.full(len(summed), np.nan), np.ones((3, 1)), weights(3))
    assert found == Estimate(None)
    assert str(found) == "–"
    assert interval(np.array([np.nan, np.nan])) == (None, None)


CONFUSION = np.array([[6, 1, 0, 3], [0, 4, 0, 4], [0, 0, 0, 0], [2, 3, 1, 0]])


def test_rates_are_those_worked_out_by_hand() -> None:
    table = rates(CONFUSION, 3)
    assert table[0] == pytest.approx([6 / 8, 6 / 10, 12 / 18])
    assert table[1] == pytest.approx([4 / 8, 4 / 8, 8 / 16])
    # No thumb is in the truth: there is nothing to be right about.
    assert np.isnan(table[2]).all()
    assert macro(CONFUSION, 3) == pytest.approx([(6 / 8 + 4 / 8) / 2, (6 / 10 + 4 / 8) / 2, (12 / 18 + 8 / 16) / 2])


def test_rates_of_many_matrices_are_those_of_each() -> None:
    many = np.stack([CONFUSION, 3 * CONFUSION, np.zeros_like(CONFUSION)])
    assert rates(many, 3)[0] == pytest.approx(rates(CONFUSION, 3), nan_ok=True)
    assert rates(many, 3)[1] == pytest.approx(rates(CONFUSION, 3), nan_ok=True)
    assert np.isnan(macro_f1(many, 3)[2])
