"""Versions on disk: never changed, checked when they are read, made by one process at a time."""

from __future__ import annotations

import hashlib
import json
import stat
from pathlib import Path

import numpy as np
import pytest

from backend.dataset.manifest import FrozenMark, FrozenPage, FrozenSample, Manifest, Origin
from backend.dataset.store import Datasets
from backend.errors import DatasetError
from tests.dataset.conftest import Make
from tests.dataset.studio import page

PAGES = [({"name": "one"}, page(1)), ({"name": "two", "split": "gold"}, page(2))]


def test_a_version_is_read_as_it_was_frozen(make: Make, tmp_path: Path) -> None:
    made = make("first", PAGES)
    read = Datasets(tmp_path / "data" / "datasets").open("first")
    assert read.manifest == made.manifest
    assert [reason for _, reason in read.damage()] == [None, None]
    np.testing.assert_array_equal(read.pixels(read.manifest.pages[1]), PAGES[1][1])


def test_its_id_is_what_sha256sum_prints_of_its_manifest(make: Make) -> None:
    made = make("first", PAGES)
    assert hashlib.sha256((made.folder / "manifest.json").read_bytes()).hexdigest() == made.id


def test_only_its_owner_can_read_it(make: Make) -> None:
    made = make("first", PAGES)
    assert stat.S_IMODE(made.folder.stat().st_mode) == 0o700


def test_pages_that_are_the_same_are_stored_once(make: Make) -> None:
    made = make("first", [*PAGES, ({"name": "copy"}, PAGES[0][1])])
    assert len(list(made.folder.glob("pages/*/*.png"))) == 2


def test_versions_share_the_files_of_their_common_pages_but_none_that_is_damaged(make: Make) -> None:
    first = make("first", PAGES)
    one, two = first.manifest.pages
    first.file(two).chmod(0o600)
    first.file(two).write_bytes(b"")
    second = make("second", PAGES)
    assert second.file(one).samefile(first.file(one))
    assert not second.file(two).samefile(first.file(two))
    assert [reason for _, reason in second.damage()] == [None, None]


@pytest.mark.parametrize("harm", ["other pixels", "cut short", "gone"])
def test_a_damaged_page_is_found_and_named(harm: str, make: Make) -> None:
    made = make("first", PAGES)
    one, two = made.manifest.pages
    file = made.file(one)
    file.chmod(0o600)
    match harm:
        case "other pixels":
            file.write_bytes(made.file(two).read_bytes())
        case "cut short":
            file.write_bytes(file.read_bytes()[:40])
        case _:
            file.unlink()
    with pytest.raises(DatasetError, match="data set first: page one is"):
        made.pixels(one)
    assert [page.name for page, reason in made.damage() if reason] == ["one"]


def test_a_changed_manifest_is_refused(make: Make, tmp_path: Path) -> None:
    made = make("first", PAGES)
    file = made.folder / "manifest.json"
    file.chmod(0o600)
    file.write_bytes(file.read_bytes().replace(b'"gold"', b'"rest"', 1))
    with pytest.raises(DatasetError, match="data set first is damaged"):
        Datasets(tmp_path / "data" / "datasets").open("first")


def test_a_manifest_of_another_format_is_refused() -> None:
    facts = json.loads(Manifest.of("coco", [FrozenPage(**_facts())]).text)
    with pytest.raises(DatasetError, match="of format 2, this program reads 1"):
        Manifest.read(json.dumps(facts | {"format": 2}).encode())
    with pytest.raises(DatasetError, match="cannot be read"):
        Manifest.read(b"{}")


def test_a_manifest_says_all_of_itself_in_json() -> None:
    mark = FrozenMark(id="a", label="stamp", box=(1.0, 2.0, 3.5, 4.25), rotation=90.0, traits=("faded",))
    origin = Origin(project=1, task=2, item=0, annotation=3, updated="then", shown=None, number=4)
    whole = FrozenPage(**_facts(), marks=(mark,), ignored=((1.0, 1.0, 2.0, 2.0),), origin=origin, dpi=200.0)
    sample = FrozenSample(
        id="3-a", page="one", outcome="rejected", label="none", wrong="stamp", weak=False, version="m", box=(1, 2, 3, 4)
    )
    manifest = Manifest.of("label-studio", [whole], [sample])
    assert Manifest.read(manifest.text) == manifest


@pytest.mark.parametrize("pages", [["one", "two"], ["two", "one"]])
def test_the_order_of_pages_and_marks_changes_no_id(pages: list[str]) -> None:
    marks = [FrozenMark(id=name, label="stamp", box=(1.0, 2.0, 3.0, 4.0)) for name in pages]
    made = Manifest.of("coco", [FrozenPage(**_facts() | {"name": name}, marks=tuple(marks)) for name in pages])
    assert made.id == "1049c640ec901f1c2c41eaecec1b889091b0f034c62daec1e26c1c2c508be53b"


def test_two_pages_of_one_name_are_refused() -> None:
    with pytest.raises(DatasetError, match="two pages bear the name 'one'"):
        Manifest.of("coco", [FrozenPage(**_facts()), FrozenPage(**_facts())])


@pytest.mark.parametrize("name", ["", ".hidden", "a/b", "../up", "a" * 65, "a\n"])
def test_a_name_that_is_no_name_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="is no name for a data set"):
        Datasets(tmp_path).open(name)


def test_a_version_that_there_is_not_is_named_beside_those_that_there_are(make: Make, tmp_path: Path) -> None:
    make("first", PAGES)
    held = Datasets(tmp_path / "data" / "datasets")
    assert held.names() == ["first"]
    with pytest.raises(DatasetError, match=r"no data set 'second' \(known: first\)"):
        held.open("second")
    assert Datasets(tmp_path / "nowhere").names() == []


def test_one_process_freezes_at_a_time(tmp_path: Path) -> None:
    held = Datasets(tmp_path)
    with held.drafting(), pytest.raises(DatasetError, match="another process is freezing"), held.drafting():
        pass
    with held.drafting() as draft:
        assert draft.folder.is_dir()
    assert not draft.folder.exists()


def _facts() -> dict:
    return {"name": "one", "document": "d", "split": "train", "sha256": "0" * 64, "width": 30, "height": 20}
