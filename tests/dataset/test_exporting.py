"""Each format, read back by a library that its users use: the same pages, classes and boxes on the same sides."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import supervision as sv
import yaml
from faster_coco_eval import COCO, COCOeval_faster
from torchvision.datasets import ImageFolder

from backend.dataset.exporting import FORMATS, export
from backend.dataset.freezing import Frozen
from backend.dataset.manifest import FrozenMark, FrozenPage, FrozenSample
from backend.dataset.store import Version
from backend.errors import DatasetError
from backend.evaluation.truth import read_coco
from backend.vision.network_config import MARKS
from tests.dataset.conftest import Make
from tests.dataset.studio import Studio, annotation, file_of, page, region

SIZE = (240, 320)
A, B, EDGE = (40.0, 60.0, 120.0, 100.0), (100.25, 200.5, 220.75, 260.0), (0.0, 0.0, 240.0, 20.0)
BOXES = {
    "one": [("stamp", A), ("signature", B)],
    "blank": [],
    "two": [("thumb", EDGE)],
    "three": [("stamp", B)],
}
SIDES = {"one": "train", "blank": "train", "two": "validation", "three": "gold"}


@pytest.fixture
def version(make: Make) -> Version:
    """Four pages on three sides, one of them without marks; a removed box, and a place that does not count."""
    pages = [
        (
            {
                "name": name,
                "split": side,
                "marks": tuple(
                    FrozenMark(id=f"{name}-{n}", label=label, box=box) for n, (label, box) in enumerate(BOXES[name])
                ),
                "ignored": (A,) if name == "three" else (),
                "document": name[0] * 64,
            },
            page(number),
        )
        for number, (name, side) in enumerate(SIDES.items())
    ]
    removed = FrozenSample(
        id="9-x", page="blank", outcome="rejected", label="none", wrong="stamp", weak=False, version="m", box=A
    )
    return make("first", pages, samples=[removed])


def pages_of(version: Version, side: str) -> list[FrozenPage]:
    return [one for one in version.manifest.pages if one.split == side]


def xyxy(box: list[float]) -> np.ndarray:
    """Of x, y, width, height."""
    left, top, across, down = box
    return np.array([left, top, left + across, top + down])


def same(found: dict[str, list[tuple[str, np.ndarray]]], pages: list[FrozenPage], *, within: float) -> None:
    """The boxes by page name, as xyxy, are those of the pages, wherever a reader puts them."""
    assert set(found) == {one.name for one in pages}
    for one in pages:
        rows = sorted((label, *box) for label, box in found[one.name])
        wanted = sorted((mark.label, *mark.box) for mark in one.marks)
        assert [row[0] for row in rows] == [row[0] for row in wanted]
        np.testing.assert_allclose([row[1:] for row in rows], [row[1:] for row in wanted], atol=within)


@pytest.mark.parametrize("side", SIDES.values())
def test_coco_as_faster_coco_eval_reads_it(side: str, version: Version, tmp_path: Path) -> None:
    export(version, "coco", tmp_path / "out")
    read = COCO(str(tmp_path / "out" / "annotations" / f"{side}.json"))
    names = {one["id"]: one["name"] for one in read.loadCats(read.getCatIds())}
    found = {}
    for image in read.loadImgs(read.getImgIds()):
        rows = read.loadAnns(read.getAnnIds(imgIds=[image["id"]], iscrowd=False))
        boxes = [xyxy(row["bbox"]) for row in rows]
        found[Path(image["file_name"]).stem] = [
            (names[row["category_id"]], box) for row, box in zip(rows, boxes, strict=True)
        ]
    same(found, pages_of(version, side), within=0.011)


def test_coco_as_this_program_evaluates_on_it(version: Version, tmp_path: Path) -> None:
    export(version, "coco", tmp_path / "out")
    truth = read_coco(tmp_path / "out" / "annotations" / "gold.json", tmp_path / "out" / "images" / "gold")
    [one] = truth.pages
    assert (one.size, one.document, [MARKS[index] for index in one.labels]) == (SIZE, "t" * 64, ["stamp"])
    assert one.ignored.tolist() == [list(A)]


def test_in_coco_a_disputed_place_is_no_mistake_for_a_box_of_any_class(version: Version, tmp_path: Path) -> None:
    export(version, "coco", tmp_path / "out")
    truth = COCO(str(tmp_path / "out" / "annotations" / "gold.json"))
    [image] = truth.getImgIds()
    left, top, right, bottom = A
    wrong = {"image_id": image, "bbox": [left, top, right - left, bottom - top], "score": 0.99}
    mark = truth.loadAnns(truth.getAnnIds(iscrowd=False))[0]
    right_one = {"image_id": image, "bbox": mark["bbox"], "category_id": mark["category_id"], "score": 0.5}
    found = truth.loadRes([right_one, *({**wrong, "category_id": category} for category in truth.getCatIds())])
    evaluation = COCOeval_faster(truth, found, iouType="bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    precision = evaluation.eval["precision"][0, :, truth.getCatIds().index(mark["category_id"]), 0, -1]
    np.testing.assert_allclose(precision, 1)


@pytest.mark.parametrize(("side", "folder"), [("train", "train"), ("validation", "val"), ("gold", "test")])
def test_yolo_as_supervision_reads_it(side: str, folder: str, version: Version, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export(version, "yolo", out)
    read = sv.DetectionDataset.from_yolo(
        str(out / "images" / folder), str(out / "labels" / folder), str(out / "data.yaml")
    )
    assert read.classes == list(MARKS)
    found = {}
    for path, pixels, marks in read:
        one = next(one for one in pages_of(version, side) if one.name == Path(path).stem)
        np.testing.assert_array_equal(pixels[..., ::-1], version.pixels(one))
        found[one.name] = [(MARKS[index], box) for index, box in zip(marks.class_id, marks.xyxy, strict=True)]
    same(found, pages_of(version, side), within=0.01)
    assert f"{folder}: images/{folder}\n" in (out / "data.yaml").read_text()


@pytest.mark.parametrize("only", ["gold", "validation"])
def test_yolo_names_the_sides_that_its_readers_need_whatever_the_version_has(
    only: str, make: Make, tmp_path: Path
) -> None:
    facts = {"name": "one", "split": only, "marks": (FrozenMark(id="1", label="stamp", box=A),), "document": "a" * 64}
    out = tmp_path / "out"
    export(make("first", [(facts, page(0))]), "yolo", out)
    data = yaml.safe_load((out / "data.yaml").read_text())
    assert {"train", "val"} <= set(data)
    for name in {"train", "val", "test"} & set(data):
        assert (out / data[name]).is_dir()
        assert (out / "labels" / name).is_dir()
    assert list((out / data["train"]).iterdir()) == []
    assert data["names"] == dict(enumerate(MARKS))


def test_voc_as_supervision_reads_it(version: Version, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export(version, "voc", out)
    read = sv.DetectionDataset.from_pascal_voc(str(out / "JPEGImages"), str(out / "Annotations"))
    found = {
        Path(path).stem: [(read.classes[index], box) for index, box in zip(marks.class_id, marks.xyxy, strict=True)]
        for path, _, marks in read
    }
    same(found, list(version.manifest.pages), within=0.51)
    sets = {file.stem: set(file.read_text().split()) for file in (out / "ImageSets" / "Main").iterdir()}
    assert sets == {"train": {"one", "blank"}, "val": {"two"}, "test": {"three"}}


def test_crops_as_torchvision_reads_them(version: Version, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export(version, "crops", out)
    read = ImageFolder(str(out / "train"))
    assert read.classes == ["none", "signature", "stamp"]
    sizes = {read.classes[index]: picture.size for picture, index in read}
    assert sizes == {"none": (80, 40), "stamp": (80, 40), "signature": (121, 60)}
    [stamp] = (np.asarray(picture) for picture, index in read if read.classes[index] == "stamp")
    np.testing.assert_array_equal(stamp, version.pixels(named(version, "one"))[60:100, 40:120])
    assert sorted(path.name for path in (out / "gold").iterdir()) == ["stamp"]


def named(version: Version, name: str) -> FrozenPage:
    return next(one for one in version.manifest.pages if one.name == name)


_ROWS = """
import json, sys
import datasets, numpy as np

datasets.disable_progress_bars()
read = datasets.load_dataset(sys.argv[1], cache_dir=sys.argv[2])
rows = {side: [row | {"image": np.asarray(row["image"]).tolist()} for row in found] for side, found in read.items()}
json.dump(rows, sys.stdout)
"""


def rows_of(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """What `datasets` reads there, by side. It has a process of its own: it reads the environment when it is loaded."""
    home = folder.parent / "hf"
    offline = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(home)}
    command = [sys.executable, "-c", _ROWS, str(folder), str(home / "cache")]
    rows: dict[str, list[dict[str, Any]]] = json.loads(subprocess.check_output(command, env=offline))
    return rows


def test_huggingface_as_datasets_reads_it(version: Version, tmp_path: Path) -> None:
    export(version, "huggingface", tmp_path / "out")
    read = rows_of(tmp_path / "out")
    assert set(read) == {"train", "validation", "test"}
    for split, side in (("train", "train"), ("validation", "validation"), ("test", "gold")):
        shas = {one.sha256: one for one in pages_of(version, side)}
        found = {}
        for row in read[split]:
            one = next(one for one in shas.values() if np.array_equal(version.pixels(one), row["image"]))
            boxes = [xyxy(box) for box in row["objects"]["bbox"]]
            found[one.name] = list(zip(row["objects"]["category"], boxes, strict=True))
            assert row["document"] == one.document[:16]
        same(found, pages_of(version, side), within=0.011)


def test_huggingface_reads_a_side_without_a_single_mark(make: Make, tmp_path: Path) -> None:
    marked = {"name": "one", "marks": (FrozenMark(id="a", label="stamp", box=A),)}
    made = make("first", [(marked, page(1)), ({"name": "two", "split": "gold"}, page(2))])
    export(made, "huggingface", tmp_path / "out")
    read = rows_of(tmp_path / "out")
    assert read["test"][0]["objects"] == {"bbox": [], "category": []}
    assert read["train"][0]["objects"] == {"bbox": [[40, 60, 80, 40]], "category": ["stamp"]}


@pytest.mark.parametrize("kind", FORMATS)
class TestEachFormat:
    def test_only_its_owner_can_read(self, kind: str, version: Version, tmp_path: Path) -> None:
        export(version, kind, tmp_path / "out")
        assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o700

    def test_is_there_whole_or_not_at_all(self, kind: str, version: Version, tmp_path: Path) -> None:
        damaged = version.file(named(version, "two"))
        damaged.chmod(0o600)
        damaged.write_bytes(b"")
        with pytest.raises(DatasetError, match="page two is missing or no image"):
            export(version, kind, tmp_path / "exports" / "out")
        assert not list((tmp_path / "exports").iterdir())

    def test_is_never_mixed_with_what_was_there(self, kind: str, version: Version, tmp_path: Path) -> None:
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "kept.txt").write_text("mine")
        with pytest.raises(DatasetError, match="is there already: name a new folder"):
            export(version, kind, tmp_path / "out")
        assert [file.name for file in (tmp_path / "out").iterdir()] == ["kept.txt"]


def test_an_exif_turned_page_of_a_multi_page_task_comes_out_upright(
    studio: Studio, frozen: object, tmp_path: Path
) -> None:
    files = [file_of(page(1)), file_of(page(2, (40, 60, 120, 100)), "JPEG", orientation=6)]
    studio.task(3, files, annotation(9, region("a", "stamp", A, SIZE, item=1)))
    done: Frozen = frozen()  # type: ignore[operator]
    [side] = {one.split for one in done.version.manifest.pages}
    export(done.version, "coco", tmp_path / "out")
    coco = json.loads((tmp_path / "out" / "annotations" / f"{side}.json").read_text())
    [row] = coco["annotations"]
    image = next(one for one in coco["images"] if one["id"] == row["image_id"])
    assert (image["file_name"], image["width"], image["height"]) == ("task-3-1.png", *SIZE)
    left, top, across, down = row["bbox"]
    pixels = done.version.pixels(named(done.version, "task-3-1"))
    assert (pixels[round(top) : round(top + down), round(left) : round(left + across)].max(axis=2) < 110).mean() > 0.95
