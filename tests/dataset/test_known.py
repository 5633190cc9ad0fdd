"""Pages whose marks are known, frozen without any Label Studio."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from backend.dataset.freezing import Frozen, file_stem, freeze_known
from backend.errors import DatasetError
from backend.evaluation.truth import read_coco
from backend.settings import Settings
from tests.dataset.studio import file_of, page

BOX = [40, 60, 80, 40]


def coco(folder: Path, names: Sequence[str], *, size: tuple[int, int] = (240, 320), **facts: object) -> Path:
    """Pages of one stamp each, and one that does not count; gives the COCO file."""
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(file_of(page(hash_of(name), (40, 60, 120, 100))))
    images: list[dict[str, Any]] = [
        {"id": number, "file_name": name, "width": size[0], "height": size[1], **facts}
        for number, name in enumerate(names)
    ]
    annotations = [
        {"id": 1000 * crowd + image["id"], "image_id": image["id"], "category_id": 1, "bbox": BOX, "iscrowd": crowd,
         "attributes": {"faded": True, "ink": "blue"}}
        for image in images
        for crowd in (0, 1)
    ]  # fmt: skip
    facts = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "Stamp"}]}
    (folder / "annotations.json").write_text(json.dumps(facts))
    return folder / "annotations.json"


def hash_of(name: str) -> int:
    return zlib.crc32(name.encode())


def frozen(file: Path, data: Path, name: str = "first") -> Frozen:
    return freeze_known(name, read_coco(file, file.parent), settings=Settings(data_dir=data))


def test_boxes_traits_and_places_that_do_not_count_are_kept(tmp_path: Path) -> None:
    file = coco(tmp_path / "pages", ["a.png"], language="ar", document="lease")
    [one] = frozen(file, tmp_path / "data").version.manifest.pages
    [mark] = one.marks
    assert (mark.label, mark.box) == ("stamp", (40, 60, 120, 100))
    assert mark.traits == ("coloured ink", "faded")
    assert one.ignored == ((40, 60, 120, 100),)
    assert (one.name, one.language, one.origin) == ("a", "ar", None)


def test_order_of_the_file_changes_nothing(tmp_path: Path) -> None:
    names = [f"p{number}.png" for number in range(8)]
    one = frozen(coco(tmp_path / "pages", names), tmp_path / "data")
    other = frozen(coco(tmp_path / "pages", names[::-1]), tmp_path / "data", "second")
    assert (other.version.id, other.new) == (one.version.id, True)
    assert len({page.split for page in one.version.manifest.pages}) > 1


def test_pages_of_one_document_are_on_one_side(tmp_path: Path) -> None:
    names = [f"lease{number}_p{leaf}.png" for number in range(8) for leaf in (1, 2)]
    pages = frozen(coco(tmp_path / "pages", names), tmp_path / "data").version.manifest.pages
    sides = {(page.document, page.split) for page in pages}
    assert len(sides) == 8
    assert len({split for _, split in sides}) > 1


def test_copies_of_a_page_are_on_one_side_whatever_their_documents_are_called(tmp_path: Path) -> None:
    file = coco(tmp_path / "pages", [f"p{number}.png" for number in range(12)])
    for number in range(12):
        (tmp_path / "pages" / f"p{number}.png").write_bytes(file_of(page(5)))
    pages = frozen(file, tmp_path / "data").version.manifest.pages
    assert len({page.document for page in pages}) == 12
    assert len({page.split for page in pages}) == 1


def test_files_of_one_stem_keep_names_of_their_own(tmp_path: Path) -> None:
    file = coco(tmp_path / "pages", ["a/x.png", "a-x.png", "سند.png"])
    names = [one.name for one in frozen(file, tmp_path / "data").version.manifest.pages]
    assert len(set(names)) == 3
    assert all(name.isascii() and "/" not in name for name in names)


def test_boxes_drawn_on_another_size_are_refused(tmp_path: Path) -> None:
    file = coco(tmp_path / "pages", ["a.png"], size=(320, 240))
    with pytest.raises(DatasetError, match="240 x 320 pixels when upright, but its boxes were drawn on"):
        frozen(file, tmp_path / "data")


@pytest.mark.parametrize(
    "name",
    [
        *("con.pdf", "NUL.png", "aux", "COM1.tif", "lpt9.x"),  # no files on Windows, whatever their ending
        *("../../etc/passwd.png", "..", ".", "/", "\\\\host\\share.png", "C:evil.png", "a\0b.png", "-rf.png", "a.png."),
        *("=cmd().png", "عقد.pdf", "契約書.png", "x" * 300 + ".png", "a\nb.png", "~root.png", "$(id).png"),
    ],
    ids=ascii,
)
def test_a_page_bears_a_name_that_every_system_takes_for_a_file(name: str, tmp_path: Path) -> None:
    stem = file_stem(name)
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]*", stem)
    assert not re.fullmatch(r"con|prn|aux|nul|(com|lpt)\d", stem, re.IGNORECASE)
    (tmp_path / f"{stem}-12345678-000.png").touch()
    assert len(list(tmp_path.iterdir())) == 1


def test_names_that_differ_in_capitals_alone_are_told_apart(tmp_path: Path) -> None:
    """Exported to a disk that knows no capitals, one page would take the other one's place."""
    file = coco(tmp_path / "images", ["Lease.png", "lease.png", "other.png"])
    names = [one.name for one in frozen(file, tmp_path / "data").version.manifest.pages]
    assert len({name.casefold() for name in names}) == 3
    assert "other" in names
