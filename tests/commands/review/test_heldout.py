"""Whose word counts: the other documents', or the network's where they are too few."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from backend.commands.review.held_out import FOLDS, Examples, HeldOut, hold_out
from backend.vision.engine import EMBEDDING
from backend.vision.network_config import CLASSES, MARKS, NONE

RNG = np.random.default_rng(3)
CENTRES = RNG.normal(size=(len(CLASSES), EMBEDDING))
DOCUMENTS = 15
FOLD_OF = [number % FOLDS for number in range(DOCUMENTS)]


def embedding(label: str) -> np.ndarray:
    """A crop that looks like a class."""
    return (CENTRES[CLASSES.index(label)] + RNG.normal(size=EMBEDDING)).astype(np.float32)[None]


def taught(looks: Sequence[tuple[int, str, str]]) -> Examples:
    """Examples by document, what the crop looks like, and what it is called."""
    held = Examples()
    for document, look, label in looks:
        held.add(embedding(look), np.array([CLASSES.index(label)]), document=document)
    return held


def right(*labels: str, documents: int = DOCUMENTS) -> list[tuple[int, str, str]]:
    return [(document, label, label) for document in range(documents) for label in labels]


def own(label: str, sure: float = 0.97) -> np.ndarray:
    """The network's word."""
    row = np.full(len(CLASSES), (1 - sure) / 3)
    row[CLASSES.index(label)] = sure
    return row[None]


def test_what_the_network_learnt_by_heart_is_not_repeated() -> None:
    # In document 7 a stamp was called thumb, and the network repeats it.
    looks = [*right("signature", "stamp", "thumb", "none"), (7, "stamp", "thumb")]
    held = hold_out(taught(looks), FOLD_OF)
    assert held.classes == (0, 1, 2, 3)
    said = held.words(embedding("stamp"), own("thumb"), fold=FOLD_OF[7])[0]
    assert MARKS[said[:NONE].argmax()] == "stamp"
    assert said[MARKS.index("thumb")] < 0.3
    repeated = HeldOut().words(embedding("stamp"), own("thumb"), fold=FOLD_OF[7])[0]
    assert repeated[MARKS.index("thumb")] > 0.95


def test_a_fold_learns_nothing_from_itself() -> None:
    # Only the documents of one fold call what looks like a stamp a thumb.
    looks = [
        (document, "stamp", "thumb" if FOLD_OF[document] == 2 else "stamp")
        for document in range(DOCUMENTS)
        for _ in range(4)
    ]
    held = hold_out(taught([*looks, *right("signature", "thumb")]), FOLD_OF)
    said = held.words(embedding("stamp"), own("thumb"), fold=2)[0]
    elsewhere = held.words(embedding("stamp"), own("thumb"), fold=1)[0]
    assert said[MARKS.index("thumb")] < elsewhere[MARKS.index("thumb")]


def test_a_box_is_a_mark_because_an_annotator_says_so() -> None:
    held = hold_out(taught(right("signature", "stamp", "none")), FOLD_OF)
    said = held.words(embedding("none"), own("none"), fold=0)[0]
    assert said[NONE] == 0
    assert said.sum() == pytest.approx(1)
    alone = HeldOut().words(embedding("none"), own("none", 1.0), fold=0)[0]
    np.testing.assert_allclose(alone, [1 / 3, 1 / 3, 1 / 3, 0])


def test_of_a_thin_class_the_network_s_own_word_counts() -> None:
    held = hold_out(taught([*right("signature", "stamp"), *right("thumb", documents=3)]), FOLD_OF)
    assert held.classes == (0, 1)
    assert "Of thumb there are too few documents" in held.told[1]
    # What looks like a stamp and is a thumb to the network stays one; what it shares among the others is theirs.
    said = held.words(embedding("stamp"), own("thumb", 0.7), fold=0)[0]
    assert said[MARKS.index("thumb")] == pytest.approx(0.7 / 0.9)
    assert said[MARKS.index("stamp")] > 10 * said[MARKS.index("signature")]


@pytest.mark.parametrize(
    "looks",
    [
        # Nothing at all.
        [],
        # Too few documents.
        right("signature", "stamp", "thumb", "none", documents=4),
        # One name only, and what is none.
        right("stamp", "none"),
    ],
)
def test_too_few_documents_are_said(looks: list[tuple[int, str, str]]) -> None:
    held = hold_out(taught(looks), FOLD_OF)
    assert held.classes == ()
    assert "on the network's own word, not out of fold" in held.told[0]


def test_documents_that_all_fall_into_one_fold_teach_the_others_only() -> None:
    # Ten documents have thumbs, all of them in fold 0: that fold could learn thumbs from nobody.
    fold_of = [0] * 10 + [number % FOLDS for number in range(15)]
    looks = [(number, "thumb", "thumb") for number in range(10)]
    looks += [(number, label, label) for number in range(10, 25) for label in ("signature", "stamp")]
    assert hold_out(taught(looks), fold_of).classes == (0, 1)
