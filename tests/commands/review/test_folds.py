"""What belongs together is never on both sides."""

from __future__ import annotations

from collections import Counter

from backend.commands.review.reviewing import folds, together


def test_documents_that_share_a_page_are_one() -> None:
    copies = [("a", "p1"), ("b", "p2"), ("c", "p3"), ("d", "p3"), ("c", "p1")]
    groups = together(["a", "b", "c", "d", "e"], copies)
    assert groups["a"] == groups["c"] == groups["d"]
    assert len({groups["a"], groups["b"], groups["e"]}) == 3


def test_folds_are_of_nearly_one_size_and_do_not_depend_on_the_order() -> None:
    names = [f"lease {number}" for number in range(23)]
    dealt = folds(names, most=5)
    assert sorted(Counter(dealt.values()).values()) == [4, 4, 5, 5, 5]
    assert folds(reversed(names), most=5) == dealt
    assert folds([*names, *names], most=5) == dealt


def test_fewer_documents_than_folds() -> None:
    assert sorted(folds(["a", "b"], most=5).values()) == [0, 1]
    assert folds([], most=5) == {}
