"""Frozen pages in the store that detectors learn from: on their side, complete in what they are labelled for."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from backend.dataset.manifest import FrozenMark
from backend.settings import Settings
from backend.training.batches import epoch_order
from backend.training.detector.detector_recipe import BUNDLED_DETECTOR
from backend.training.detector.scenes import load_stock
from backend.training.pagestore import PageStore
from backend.training.training_pages import add_frozen, collect_frozen, draw_into, is_frozen, run_name, shared
from tests.dataset.conftest import Make
from tests.dataset.studio import page
from tests.dataset.test_known import coco
from tests.dataset.test_known import frozen as known

A, B = (40.0, 60.0, 120.0, 100.0), (100.0, 200.0, 220.0, 260.0)
PAGES: list[tuple[dict[str, Any], NDArray[np.uint8]]] = [
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


@pytest.mark.parametrize(
    ("source", "domain"),
    [
        # Boxed by annotators.
        ("label-studio", "real"),
        # From elsewhere, boxed by whoever it was.
        ("coco", "real"),
        # Written by `draw`.
        ("drawn", "drawn"),
    ],
)
def test_the_option_of_train_names_them(source: str, domain: str, make: Make, tmp_path: Path) -> None:
    make("first", PAGES, source=source)
    collect_frozen(tmp_path / "work", ["first"], Settings(data_dir=tmp_path / "data"))
    assert {one.domain for one in PageStore(tmp_path / "work" / "pages").read()} == {domain}


@pytest.mark.parametrize(("facts", "source"), [({}, "coco"), ({"seed": 7}, "drawn")])
def test_a_coco_set_is_drawn_where_its_file_says_from_which_seeds(
    facts: dict[str, int], source: str, tmp_path: Path
) -> None:
    frozen = known(coco(tmp_path / "pages", ["a.png"], **facts), tmp_path / "data")
    assert frozen.version.manifest.source == source


def test_an_epoch_of_the_detector_shows_them(make: Make, tmp_path: Path) -> None:
    store = PageStore(tmp_path / "pages")
    draw_into(store, pages=2)
    add_frozen(store, make("first", PAGES))
    train = [one for one in store.read() if one.split == "train"]
    stock = load_stock(store, train)
    recipe = BUNDLED_DETECTOR
    new = {f"real/{one.source}" for one in train if is_frozen(one)}
    assert set(stock.groups) - set(recipe.shares) == new == {"real/dataset-first"}
    shares = shared(recipe.shares, stock.groups, new, samples=recipe.samples)
    order = epoch_order(stock.groups, shares, samples=recipe.samples, seed=(1, 0))
    assert Counter(stock.groups[place] for place in order)["real/dataset-first"] == 3, "one page trains, three times"


def test_many_of_them_leave_most_of_an_epoch_to_the_others_which_keep_their_parts(tmp_path: Path) -> None:
    groups = ["drawn/stamp"] * 40 + ["real/stamp"] * 20 + ["real/thumb"] * 300
    shares = shared({"drawn/stamp": 0.2, "real/stamp": 0.1, "real/none": 0.7}, groups, {"real/thumb"}, samples=1000)
    shown = Counter(groups[place] for place in epoch_order(groups, shares, samples=1000, seed=(1, 0)))
    assert shown["real/thumb"] == 300
    assert shown["drawn/stamp"] == pytest.approx(2 * shown["real/stamp"], abs=2)


def test_some_groups_are_shown_more_often_and_all_of_them_within_their_part() -> None:
    groups = ["drawn"] * 40 + ["real/accepted"] * 10 + ["real/corrected"] * 4
    new, times = {"real/accepted", "real/corrected"}, {"real/corrected": 2.5}
    for samples, part in ((1000, 0.08), (100, 0.5)):
        shares = shared({"drawn": 1.0}, groups, new, samples=samples, showings=4.0, most=0.5, times=times)
        total = sum(shares.values())
        assert shares["drawn"] / total == pytest.approx(1 - part)
        assert shares["real/corrected"] / 4 == pytest.approx(2.5 * shares["real/accepted"] / 10)


def test_without_a_data_set_a_recipe_and_its_folder_are_what_they_were(tmp_path: Path) -> None:
    store = PageStore(tmp_path / "pages")
    draw_into(store, pages=1)
    assert shared(BUNDLED_DETECTOR.shares, ["drawn", "real/other"], set(), samples=10) is BUNDLED_DETECTOR.shares
    assert run_name("detector", "cafe", store.read(), store) == "detector-cafe"


def test_another_data_set_makes_another_training(make: Make, tmp_path: Path) -> None:
    store = PageStore(tmp_path / "pages")
    names = []
    for name, pages in (("first", PAGES), ("first", PAGES), ("second", PAGES[:1])):
        add_frozen(store, make(name, pages))
        names.append(run_name("detector", "cafe", store.read(), store))
    assert names[0] == names[1] != names[2]
    assert names[0].startswith("detector-cafe-")


def test_documents_and_pages_that_train_are_named_and_gold_ones_are_not(make: Make, tmp_path: Path) -> None:
    store = PageStore(tmp_path / "pages")
    (facts, pixels), other = PAGES
    version = make("first", [({**facts, "document": "e" * 64}, pixels), other])
    add_frozen(store, version)
    [train] = [page for page in version.manifest.pages if page.split == "train"]
    assert store.seen() == {"d" * 64, train.sha256}
