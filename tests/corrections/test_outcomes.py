"""The table of corrections: each outcome by its rule, whatever the order."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from types import FrameType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.corrections.crop_store import CropStore
from backend.corrections.outcomes import Outcome, match
from backend.corrections.samples import make_samples
from backend.corrections.shown import Prediction
from backend.geometry import coverage, iou
from backend.labelstudio.annotations import Region
from backend.labelstudio.protocol import read_event
from tests.corrections.annotating import CONFIG, drawn, page_of, saved, shown

A = (100.0, 100.0, 200.0, 200.0)
NEAR_A = (110.0, 100.0, 210.0, 200.0)  # IoU with A: 9/11
APART_A = (150.0, 100.0, 250.0, 200.0)  # IoU with A: 1/3
TOUCH_A = (190.0, 100.0, 290.0, 200.0)  # IoU with A: 1/19
PIECE_OF_A = (110.0, 110.0, 130.0, 130.0)  # IoU with A: 1/25
AROUND_A = (0.0, 0.0, 400.0, 400.0)  # IoU with A: 1/16
FAR = (900.0, 900.0, 950.0, 950.0)


def region(identity: str, label: str, box: tuple[float, float, float, float], page: int = 0) -> Region:
    return Region(id=identity, page=page, label=label, box=box)


@pytest.mark.parametrize(
    ("shown", "drawn", "outcomes"),
    [
        ([("a", "stamp", A)], [("a", "stamp", A)], ["accepted"]),  # left as it was
        ([("a", "stamp", A)], [("z", "stamp", NEAR_A)], ["accepted"]),  # drawn anew on the same place
        ([("a", "stamp", A)], [("a", "stamp", APART_A)], ["moved"]),  # dragged
        ([("a", "stamp", A)], [("a", "stamp", FAR)], ["moved"]),  # dragged far: the id says it is the same region
        ([("a", "stamp", A)], [("z", "stamp", APART_A)], ["moved"]),  # deleted and drawn beside
        ([("a", "stamp", A)], [("a", "thumb", A)], ["relabelled"]),  # label changed in place
        ([("a", "stamp", A)], [("z", "thumb", NEAR_A)], ["relabelled"]),  # deleted, drawn anew with another label
        ([("a", "stamp", A)], [], ["rejected"]),  # deleted
        ([("a", "stamp", A)], [("z", "stamp", TOUCH_A)], ["rejected", "missed"]),  # IoU below .1 is another mark
        ([("a", "stamp", A), ("b", "stamp", NEAR_A)], [("a", "stamp", A)], ["accepted", "duplicate"]),  # second box
        # A piece of a mark, and one box around several: neither is empty, however small the IoU is
        ([("a", "stamp", PIECE_OF_A)], [("z", "stamp", A)], ["moved"]),
        ([("a", "stamp", PIECE_OF_A), ("b", "stamp", A)], [("b", "stamp", A)], ["accepted", "duplicate"]),
        ([("a", "stamp", AROUND_A)], [("y", "stamp", A), ("z", "stamp", TOUCH_A)], ["moved", "missed"]),
        ([("a", "stamp", PIECE_OF_A)], [("z", "signature", A)], ["rejected", "missed"]),
        # Dragged to another mark and renamed for it: nobody called that one by the wrong name
        ([("a", "stamp", A)], [("a", "thumb", FAR)], ["unknown", "missed"]),
        ([("a", "stamp", A)], [("a", "thumb", APART_A)], ["relabelled"]),
        # A false box under a mark of another class is a mistake of its own, whatever lies beneath.
        ([("a", "stamp", A), ("b", "thumb", A)], [("a", "stamp", A)], ["accepted", "rejected"]),
        ([("b", "stamp", APART_A)], [("z", "signature", A)], ["rejected", "missed"]),  # not the same place
        ([("b", "stamp", A), ("c", "stamp", NEAR_A)], [("b", "signature", A)], ["relabelled", "rejected"]),
        # What nobody knows the name of is neither right nor wrong.
        ([("a", "stamp", A)], [("a", "unknown", A)], ["unknown"]),
        ([("a", "stamp", A)], [("z", "unknown", APART_A)], ["unknown"]),
        ([("a", "stamp", A), ("b", "stamp", FAR)], [("z", "unknown", A)], ["unknown", "rejected"]),
        ([("a", "unknown", A)], [("a", "stamp", A)], ["accepted"]),  # shown under a name that is not known any more
        ([("a", "unknown", A)], [], ["unknown"]),
        ([], [("z", "stamp", A)], ["missed"]),  # nothing was shown there
        ([], [], []),  # an empty page, rightly empty
    ],
)
def test_outcome(
    shown: list[tuple[str, str, object]], drawn: list[tuple[str, str, object]], outcomes: list[str]
) -> None:
    rows = match([region(*row) for row in shown], [region(*row) for row in drawn])  # type: ignore[arg-type]
    assert [row.outcome.value for row in rows] == outcomes


def test_equal_places_on_other_pages_are_other_marks() -> None:
    rows = match([region("a", "stamp", A, page=0)], [region("z", "stamp", A, page=1)])
    assert {row.outcome for row in rows} == {Outcome.REJECTED, Outcome.MISSED}


def test_the_same_label_is_preferred_to_a_closer_box_of_another() -> None:
    rows = match(
        [region("a", "stamp", A)],
        [region("y", "signature", A), region("z", "stamp", NEAR_A)],
    )
    paired = next(row for row in rows if row.shown)
    assert paired.drawn is not None
    assert (paired.outcome, paired.drawn.id) == (Outcome.ACCEPTED, "z")


boxes = st.tuples(st.integers(0, 60), st.integers(0, 60), st.integers(5, 60), st.integers(5, 60)).map(
    lambda v: (float(v[0]), float(v[1]), float(v[0] + v[2]), float(v[1] + v[3]))
)
regions = st.lists(
    st.builds(
        region,
        st.sampled_from("abcdefgh"),
        st.sampled_from(["signature", "stamp", "thumb"]),
        boxes,
        st.integers(0, 1),
    ),
    max_size=6,
    unique_by=lambda one: one.id,
)


@given(shown=regions, drawn=regions, data=st.data())
def test_every_region_is_accounted_for_once_in_any_order(
    shown: list[Region], drawn: list[Region], data: st.DataObject
) -> None:
    rows = match(shown, drawn)
    assert sorted(row.shown.id for row in rows if row.shown) == sorted(one.id for one in shown)
    answered = [row.drawn.id for row in rows if row.drawn and row.outcome is not Outcome.DUPLICATE]
    assert sorted(answered) == sorted(one.id for one in drawn)
    shuffled = match(data.draw(st.permutations(shown)), data.draw(st.permutations(drawn)))
    assert set(shuffled) == set(rows)


def test_each_region_is_compared_with_all_others_at_once(tmp_path: Path) -> None:
    """Pair by pair, a thousand regions of two controls took half a minute; so did a thousand answers to drawings."""
    ellipses = (
        '<EllipseLabels name="round" toName="page"><Label value="stamp" predicted_values="stamp"/></EllipseLabels>'
    )
    place = {"x": 50.0, "y": 50.0, "radiusX": 0.8, "radiusY": 0.8, "rotation": 0, "ellipselabels": ["stamp"]}
    kind = {"type": "ellipselabels", "from_name": "round", "to_name": "page", "item_index": 0}
    result = [drawn(f"r{n}", "stamp", (6.0 * n, 10.0, 6.0 * n + 5, 20.0)) for n in range(40)]
    result += [{"id": f"e{n}", **kind, "value": {**place, "x": 2.0 * n + 4}} for n in range(40)]
    payload = saved(1, task=7, at=950, result=result, config=CONFIG.replace("</View>", f"{ellipses}</View>"))
    [annotation] = read_event(payload).saved
    answers = [
        Prediction(version="v", shown=900.0, proposals=(shown(f"a{n}", "thumb", A),), blind=False) for n in range(40)
    ]
    calls: Counter[str] = Counter()

    def count(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code in (iou.__code__, coverage.__code__):
            calls[frame.f_code.co_name] += 1

    sys.setprofile(count)
    try:
        made = make_samples(annotation, None, {0: page_of(annotation, 0)}, CropStore(str(tmp_path)), answers=answers)
    finally:
        sys.setprofile(None)
    assert len(made) == 80
    assert calls.total() < 4 * len(made)
