"""Frozen pages in the store that detectors learn from: on their side, complete in what they are labelled for."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from backend.dataset.manifest import FrozenMark
from backend.settings import Settings
from backend.training.frozen import add_frozen, collect_frozen
from backend.training.pagestore import PageStore

from .conftest import Make
from .studio import page

A, B = (40.0, 60.0, 120.0, 100.0), (100.0, 200.0, 220.0, 260.0)
PAGES = [
    (
        {
            "name": "one",
            "split": "gold",
            "dpi": 200.0,
            "marks": (FrozenMark(id="a", label="stamp", box=A),),
            "ignored": (B,),
            "classes": ("stamp",),
        },
        page(1, (40, 60, 120, 100)),
    ),
    ({"name": "two"}, page(2)),
]


def test_pages_keep_their_side_marks_and_what_they_are_complete_in(make: Make, tmp_path: Path) -> None:
    version = make("first", PAGES)
    store = PageStore(tmp_path / "pages")
    assert add_frozen(store, version) == 2
    found = {one.split: one for one in store.read()}
    one = found["gold"]
    assert (one.boxes, one.labels, one.ignored, one.complete) == ((A,), ("stamp",), (B,), ("stamp",))
    assert (one.domain, one.source, one.dpi, one.document) == ("real", "dataset-first", 200.0, "d" * 64)
    assert found["train"].complete == ("signature", "stamp", "thumb")
    difference = np.abs(store.pixels(one).astype(int) - version.pixels(version.manifest.pages[0]))
    assert difference.mean() < 3


def test_pages_that_are_there_are_passed_over(make: Make, tmp_path: Path) -> None:
    store = PageStore(tmp_path / "pages")
    add_frozen(store, make("first", PAGES))
    assert add_frozen(store, make("again", PAGES)) == 0
    assert add_frozen(store, make("other", PAGES[:1])) == 1


def test_the_option_of_train_names_them(make: Make, tmp_path: Path) -> None:
    make("first", PAGES, source="coco")
    collect_frozen(tmp_path / "work", ["first"], Settings(data_dir=tmp_path / "data"))
    assert {one.domain for one in PageStore(tmp_path / "work" / "pages").read()} == {"drawn"}
