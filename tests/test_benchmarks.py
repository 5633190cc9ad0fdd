"""The figures that benchmarks print are those that a person would count."""

from __future__ import annotations

import numpy as np
import pytest

from backend.geometry import as_boxes
from benchmarks.accuracy import table
from benchmarks.inks import is_coloured
from benchmarks.scoring import Score
from benchmarks.truth import Mark, TruePage
from benchmarks.ways import IOUS, Tally

WHITE, BLUE, BLACK = (250, 248, 244), (40, 60, 190), (25, 25, 28)
PLACES = {"signature": (10.0, 10.0, 60.0, 40.0), "stamp": (100.0, 10.0, 160.0, 70.0)}
AWAY = (10.0, 120.0, 60.0, 150.0)


def page(*marks: Mark, inks: dict[tuple[float, ...], tuple[int, int, int]], **facts: object) -> TruePage:
    """A page with a cross in each of some boxes."""
    pixels = np.full((200, 200, 3), WHITE, np.uint8)
    for (left, top, right, bottom), ink in inks.items():
        pixels[int(top) : int(bottom), int(left + right) // 2 - 2 : int(left + right) // 2 + 2] = ink
        pixels[int(top + bottom) // 2 - 2 : int(top + bottom) // 2 + 2, int(left) : int(right)] = ink
    return TruePage(name="a page", pixels=pixels, dpi=None, marks=marks, **facts)  # type: ignore[arg-type]


BOTH = page(
    Mark(label="signature", box=PLACES["signature"], coloured=False, traits=("faded",)),
    Mark(label="stamp", box=PLACES["stamp"], coloured=True),
    inks={PLACES["signature"]: BLACK, PLACES["stamp"]: BLUE, AWAY: BLUE},
)


def test_ink_has_a_colour_where_its_channels_differ() -> None:
    boxes = as_boxes([PLACES["signature"], PLACES["stamp"], AWAY, (10.0, 80.0, 60.0, 110.0)])
    assert is_coloured(BOTH.pixels, boxes).tolist() == [False, True, True, False]
    assert is_coloured(BOTH.pixels, as_boxes([])).tolist() == []


def test_precision_recall_and_f1_by_class_and_by_ink() -> None:
    score = Score(0.5)
    boxes = as_boxes([PLACES["signature"], AWAY, PLACES["stamp"]])
    # The signature is found, a second one is seen in blue where there is none, the stamp is taken for a signature.
    score.add(BOTH, boxes, ["signature", "signature", "signature"], np.array([0.9, 0.8, 0.7]))
    assert score.row("signature") == (pytest.approx(1 / 3), 1.0, 0.5)
    assert score.row("signature", "black ink") == (1.0, 1.0, 1.0)
    assert score.row("signature", "coloured ink") == (None, None, None)
    assert score.false["signature", "coloured ink"] == 2
    assert score.row("stamp") == (0.0, 0.0, 0.0)
    assert score.found["signature", "faded"] == [True]
    assert score.mean_f1(("signature", "stamp", "thumb")) == 0.25
    assert (score.false_a_page, score.false_on_empty) == ([2], [])


def test_where_not_every_mark_is_boxed_there_is_recall_alone() -> None:
    score = Score(0.5)
    partly = page(Mark(label="stamp", box=PLACES["stamp"]), inks={PLACES["stamp"]: BLUE}, complete=("signature",))
    score.add(partly, as_boxes([PLACES["stamp"], AWAY]), ["stamp", "stamp"], np.array([0.9, 0.8]))
    assert score.row("stamp") == (None, 1.0, None)
    assert score.mean_f1(("stamp",)) is None
    assert score.false_a_page == []


def test_false_boxes_on_a_page_without_marks_are_counted_apart() -> None:
    score = Score(0.5)
    ignored = as_boxes([PLACES["stamp"]])
    empty = page(inks={AWAY: BLUE}, ignored=ignored)
    score.add(empty, as_boxes([AWAY, PLACES["stamp"]]), ["stamp", "stamp"], np.array([0.9, 0.8]))
    assert (score.false_a_page, score.false_on_empty) == ([1], [1])


def test_the_interval_is_over_documents_and_the_fit_is_of_right_boxes_alone() -> None:
    score = Score(0.5)
    for name, box in (("first", PLACES["stamp"]), ("second", (100.0, 10.0, 160.0, 50.0)), ("third", AWAY)):
        seen = page(Mark(label="stamp", box=PLACES["stamp"]), inks={PLACES["stamp"]: BLUE}, document=name)
        score.add(seen, as_boxes([box]), ["stamp"], np.array([0.9]))
    assert score.row("stamp")[2] == pytest.approx(2 / 3)
    assert score.fits["stamp"] == pytest.approx([1.0, 2 / 3])
    # Of three documents, two right: a resample may be all right or all wrong.
    assert score.f1_interval(("stamp",)) == (0.0, 1.0)
    assert score.f1_interval(("stamp", "thumb")) == (None, None)


def test_the_table_is_aligned_and_has_a_column_for_each_way_and_iou() -> None:
    tallies = {way: Tally() for way in ("model", "colour")}
    boxes = as_boxes([PLACES["signature"]])
    for tally in tallies.values():
        tally.candidates, tally.milliseconds = [1], [12.0]
        for threshold in IOUS:
            tally.scores[threshold].add(BOTH, boxes, ["signature"], np.array([0.9]))
            for mark in BOTH.marks:
                for group in mark.groups:
                    tally.proposed[threshold][mark.label, group].append(mark.label == "signature")
    lines = table("drawn", {way: tally.figures() for way, tally in tallies.items()}).splitlines()
    assert lines[0] == "drawn: 1 pages, 2 marks"
    assert lines[1].split() == ["model", "colour"]
    assert lines[2].split() == ["marks", *["IoU", "0.5", "IoU", "0.3", "IoU", "0.75"] * 2]
    assert {len(line) for line in lines[1:] if "." in line} == {len(lines[1])}
    rows = {line.strip().partition("  ")[0]: line.split()[-6:] for line in lines[3:]}
    assert rows["F1"] == ["0.000"] * 6  # of the last group, coloured stamps
    assert rows["macro F1"] == ["0.500"] * 6
    assert rows["false boxes a page"] == ["0.00"] * 6


@pytest.mark.parametrize(
    ("complete", "mean"),
    [
        # Both classes can be judged: the signature is found, the stamp is not.
        (("signature", "stamp", "thumb"), 0.5),
        # As on some pages: of the signature alone every mark is boxed, and its figure is not that of both.
        (("signature",), None),
    ],
)
def test_the_mean_of_signature_and_stamp_is_of_both_or_neither(complete: tuple[str, ...], mean: float | None) -> None:
    tally = Tally(candidates=[1], milliseconds=[12.0])
    known = page(*BOTH.marks, inks={PLACES["signature"]: BLACK}, complete=complete)
    for threshold in IOUS:
        tally.scores[threshold].add(known, as_boxes([PLACES["signature"]]), ["signature"], np.array([0.9]))
    assert tally.figures()["iou0.5"]["f1_of_signature_and_stamp"] == mean
