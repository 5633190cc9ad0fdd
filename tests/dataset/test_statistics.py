"""What a version is made of, and what the plain rule says is thin."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from backend.dataset.dataset_report import html_report
from backend.dataset.manifest import SPLITS, FrozenMark
from backend.dataset.statistics import LEAST, MarkFacts, Statistics, statistics, wants
from backend.vision.network_config import MARKS
from tests.dataset.conftest import Make

A4 = (827, 1169)
"""At 100 dpi."""
COLOURS = {
    "blue": (45, 72, 168),
    "violet": (84, 49, 147),
    "red": (203, 45, 61),
    "green": (40, 122, 72),
    "black": (30, 30, 32),
}


def paper(*inked: tuple[tuple[int, int, int, int], tuple[int, int, int]]) -> np.ndarray:
    """A white page with rings of ink in these boxes."""
    pixels = np.full((A4[1], A4[0], 3), 250, np.uint8)
    for (x1, y1, x2, y2), colour in inked:
        pixels[y1:y2, x1:x2] = colour
        pixels[y1 + 8 : y2 - 8, x1 + 8 : x2 - 8] = 250
    return pixels


def mark(identity: str, label: str, box: tuple[float, float, float, float], **facts: object) -> FrozenMark:
    return FrozenMark(id=identity, label=label, box=box, **facts)


@pytest.mark.parametrize("name", COLOURS)
def test_ink_is_named_by_its_colour(name: str, make: Make) -> None:
    box = (200, 300, 330, 400)
    pages = [({"name": "p", "dpi": 100.0, "marks": (mark("a", "stamp", box),)}, paper((box, COLOURS[name])))]
    [one] = statistics(make("first", pages)).marks
    assert one.ink == name


def test_a_mark_too_weak_to_tell_is_pale(make: Make) -> None:
    pages = [({"name": "p", "marks": (mark("a", "stamp", (200, 300, 330, 400)),)}, paper())]
    [one] = statistics(make("first", pages)).marks
    assert one.ink == "pale"


@pytest.mark.parametrize(
    ("side", "dpi", "size", "group"),
    [
        (70, 100.0, 17.8, "small"),
        (100, 100.0, 25.4, "medium"),
        (200, 100.0, 50.8, "large"),
        (100, None, 25.4, "medium"),  # taken for A4, which it is
        (100, 200.0, 12.7, "small"),  # half as wide, since the file says so
    ],
)
def test_size_is_the_longer_side_in_mm(side: int, dpi: float | None, size: float, group: str, make: Make) -> None:
    box = (100, 100, 100 + side, 150)
    pages = [({"name": "p", "dpi": dpi, "marks": (mark("a", "stamp", box),)}, paper((box, COLOURS["red"])))]
    found = statistics(make("first", pages))
    assert found.marks[0].size_mm == pytest.approx(size, abs=0.3)
    assert (found.marks[0].size, found.without_dpi) == (group, int(dpi is None))


def test_overlap_language_turns_copies_and_samples_are_counted(make: Make) -> None:
    marks = (
        mark("a", "stamp", (100, 100, 200, 200)),
        mark("b", "signature", (150, 150, 300, 220), rotation=10.0),
        mark("c", "thumb", (500, 500, 560, 580)),
    )
    one = {"name": "one", "language": "ar", "marks": marks}
    found = statistics(make("first", [(one, paper()), ({"name": "copy", "split": "gold"}, paper())]))
    assert found.slices("overlap") == {
        "signature": Counter(overlaps=1), "stamp": Counter(overlaps=1), "thumb": Counter(alone=1)
    }  # fmt: skip
    assert found.slices("language")["stamp"] == Counter(ar=1)
    assert found.slices("overlap", "gold")["stamp"] == Counter()
    assert (found.turned, found.copies, found.total("pages_without_marks"), found.total("stamp")) == (1, 1, 1, 1)


def test_a_language_that_nobody_told_is_unknown(make: Make) -> None:
    found = statistics(make("first", [({"name": "p", "marks": (mark("a", "stamp", (10, 10, 90, 90)),)}, paper())]))
    assert found.slices("language")["stamp"] == Counter(unknown=1)


def counted(*, each: dict[str, int], without: int = 100, documents: int = 20) -> Statistics:
    """Statistics without a page: as many marks of each class as the dictionary has for a side."""
    counts = {
        split: {
            "documents": documents, "pages": 100, "pages_without_marks": without, "samples": 0,
            **dict.fromkeys(MARKS, each[split]),
        }
        for split in SPLITS
    }  # fmt: skip
    return Statistics(counts=counts, marks=(), without_dpi=0, turned=0, copies=0, outcomes={})


def test_nothing_is_thin_where_there_is_enough() -> None:
    assert wants(counted(each=LEAST)) == []


def test_the_scarcest_comes_first() -> None:
    found = counted(each={"train": 90, "validation": 20, "gold": 5}, without=9, documents=10)
    rows = [str(one) for one in wants(found)]
    assert rows[:4] == [
        "signature marks for gold: 5, should be 20",
        "stamp marks for gold: 5, should be 20",
        "thumb marks for gold: 5, should be 20",
        "gold documents: 10, should be 20",
    ]
    assert "pages without marks for train: 9, should be 10" in rows
    assert "thumb marks for train: 90, should be 100" in rows


def test_a_rare_group_of_a_class_that_is_not_thin_is_named(make: Make) -> None:
    version = make("first", [({"name": "p", "marks": (mark("a", "stamp", (10, 10, 90, 90)),)}, paper())])
    [one] = statistics(version).marks
    facts = {
        "page": one.page,
        "mark": one.mark,
        "size_mm": 30.0,
        "size": "medium",
        "overlap": "alone",
        "language": "ar",
    }
    marks = [MarkFacts(**facts, ink="blue")] * 98 + [MarkFacts(**facts, ink="red")] * 2
    found = replace(counted(each=LEAST), marks=tuple(marks))
    stamps = [str(row) for row in wants(found) if row.what.startswith("stamp")]
    assert stamps == ["stamp marks for train, ink: red: 2, should be 5"]


def test_the_report_loads_nothing_and_shows_what_is_there(make: Make) -> None:
    boxes = [(100 + 100 * n, 100, 180 + 100 * n, 160 + 10 * n) for n in range(4)]
    marks = tuple(mark(f"{n}", MARKS[n % 3], box) for n, box in enumerate(boxes))
    pixels = paper(*((box, COLOURS["blue"]) for box in boxes))
    version = make("<first>"[1:-1], [({"name": "p", "language": "<ar>", "marks": marks}, pixels)])
    page = html_report(version, statistics(version))
    assert page.count("<figure>") == page.count("data:image/jpeg;base64,") == 4
    assert not re.search(r"<script|https?://|<link rel=\"stylesheet", page)
    assert "&lt;ar&gt;" in page
    assert "<ar>" not in page
    assert "signature marks for train</td><td>2</td><td>100</td>" in page
    assert version.id in page


def test_nothing_of_this_folder_is_left_in_the_report(make: Make, tmp_path: Path) -> None:
    version = make("first", [({"name": "p"}, paper())])
    assert str(tmp_path) not in html_report(version, statistics(version))
