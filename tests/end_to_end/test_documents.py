"""A contract's whole way, on the command line: imported, connected, pre-labelled, corrected, frozen, handed out."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import supervision as sv
from faster_coco_eval import COCO
from PIL import Image

from backend.cli import main
from backend.labelstudio.client import LabelStudio
from backend.synthetic.marks import Language
from backend.vision.network_config import MARKS
from tests.commands.import_documents.papers import packed
from tests.end_to_end.conftest import DrawnFile, Server, drawn_file, submit

pytestmark = pytest.mark.label_studio

TITLE = "the whole way"
TURNED_RIGHT = 6
LANGUAGES: tuple[Language, ...] = ("en", "ar")

Box = tuple[float, float, float, float]


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A page as it came out: its size and its marks."""

    size: tuple[int, int]
    marks: tuple[tuple[str, Box], ...]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("documents")


@pytest.fixture(autouse=True)
def environment(server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an operator sets."""
    for name, value in {
        "LABEL_STUDIO_URL": server.url,
        "LABEL_STUDIO_API_KEY": server.login.token,
        "DATA_DIR": str(folder / "data"),
        "MODEL": "bundled",
    }.items():
        monkeypatch.setenv(name, value)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """A command's output; it succeeds."""
    code = main(list(arguments))
    out, err = capsys.readouterr()
    assert code == 0, err
    return out


@pytest.fixture(scope="module")
def signed(drawn: list[DrawnFile]) -> list[DrawnFile]:
    """The contract's last two pages, one in English and one in Arabic, with marks that are plain to see."""
    files = [drawn[0], drawn_file(4, language="ar")]
    assert all(len(file.clear) >= 3 for file in files), "drawing has changed: choose other seeds"
    return files


@pytest.fixture(scope="module")
def papers(drawn: list[DrawnFile], signed: list[DrawnFile], folder: Path) -> list[Path]:
    """Twelve pages, English and Arabic in turn, of which the last two bear marks, and a scan that lies on its side."""
    bare = [drawn_file(seed, language=LANGUAGES[seed % 2], marks=0) for seed in range(20, 30)]
    pages = [Image.open(io.BytesIO(file.data)) for file in (*bare, *signed)]
    contract = folder / "عقد contract.pdf"
    contract.write_bytes(packed(pages[0], "PDF", save_all=True, append_images=pages[1:], resolution=150))
    return [contract, lying(drawn[2], folder / "scan.jpg")]


def lying(file: DrawnFile, path: Path) -> Path:
    """The page as a scanner stores it that turns the picture by a note alone."""
    exif = Image.Exif()
    exif[0x0112] = TURNED_RIGHT
    upright = Image.open(io.BytesIO(file.data))
    path.write_bytes(packed(upright.transpose(Image.Transpose.ROTATE_90), "JPEG", quality=95, exif=exif))
    return path


@pytest.fixture(scope="module")
def expected(drawn: list[DrawnFile], signed: list[DrawnFile]) -> list[Kept]:
    """What people drew: the marks that are plain to see; the lying scan is there twice, once as it was uploaded raw."""
    return [
        Kept(size=(file.width, file.height), marks=tuple((mark.label, mark.box) for mark in file.clear))
        for file in (*signed, drawn[2], drawn[2])
    ]


def test_a_contract_goes_from_a_pdf_to_a_data_set_that_others_read(
    *,
    studio: LabelStudio,
    backend_url: str,
    version: str,
    drawn: list[DrawnFile],
    signed: list[DrawnFile],
    papers: list[Path],
    expected: list[Kept],
    folder: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run(capsys, "connect", "--project", TITLE, "--pages", "--url", backend_url)
    run(capsys, "import", *map(str, papers), "--project", TITLE, "--last", "2", "--dpi", "150")
    project = studio.find_project(TITLE)
    assert project is not None
    # One that nobody imported, but somebody dropped into the project as it was.
    raw = lying(drawn[2], folder / "raw.jpg").read_bytes()
    studio.import_tasks(project, [{"pages": [studio.upload(project, "raw.jpg", raw)]}])

    run(capsys, "prelabel", "--project", TITLE)
    tasks = {tuple(task["data"].get("page_numbers", ())): task["id"] for task in studio.tasks(project)}
    corrected = {(11, 12): signed, (1,): drawn[2:], (): drawn[2:]}
    assert set(tasks) == set(corrected)
    for pages, files in corrected.items():
        [prediction] = studio.predictions(tasks[pages])
        assert prediction["model_version"] == version
        shown = {region["item_index"] for region in prediction["result"]}
        assert shown == set(range(len(files))), "every page has marks that are plain to see"
        submit(studio, tasks[pages], list(regions(files)), parent_prediction=prediction["id"])

    run(capsys, "dataset", "freeze", "first", "--project", TITLE)
    assert "4 of 4 pages are as they were frozen" in run(capsys, "dataset", "verify", "first")
    for kind, read in (("coco", from_coco), ("yolo", from_yolo)):
        out = folder / kind
        run(capsys, "dataset", "export", "first", "--format", kind, "--out", str(out))
        same(read(out), expected)


def regions(files: Sequence[DrawnFile]) -> Iterator[dict[str, Any]]:
    """What the editor submits for the clear marks of a document's pages."""
    for item, file in enumerate(files):
        for number, mark in enumerate(file.clear):
            left, top, right, bottom = mark.box
            place = {
                "x": left / file.width * 100,
                "y": top / file.height * 100,
                "width": (right - left) / file.width * 100,
                "height": (bottom - top) / file.height * 100,
            }
            yield {
                "id": f"page{item}mark{number}",
                "from_name": "mark",
                "to_name": "page",
                "type": "rectanglelabels",
                "item_index": item,
                "original_width": file.width,
                "original_height": file.height,
                "image_rotation": 0,
                "value": {**place, "rotation": 0, "rectanglelabels": [mark.label]},
            }


def from_coco(out: Path) -> list[Kept]:
    found = []
    for file in sorted((out / "annotations").glob("*.json")):
        read = COCO(str(file))
        names = {one["id"]: one["name"] for one in read.loadCats(read.getCatIds())}
        for image in read.loadImgs(read.getImgIds()):
            rows = read.loadAnns(read.getAnnIds(imgIds=[image["id"]]))
            boxes = [(x, y, x + width, y + height) for x, y, width, height in (row["bbox"] for row in rows)]
            labels = [names[row["category_id"]] for row in rows]
            with Image.open(next(out.glob(f"images/**/{Path(image['file_name']).name}"))) as picture:
                assert picture.size == (image["width"], image["height"])
            found.append(Kept(size=(image["width"], image["height"]), marks=tuple(zip(labels, boxes, strict=True))))
    return found


def from_yolo(out: Path) -> list[Kept]:
    found = []
    for images in sorted((out / "images").iterdir()):
        read = sv.DetectionDataset.from_yolo(str(images), str(out / "labels" / images.name), str(out / "data.yaml"))
        for _, pixels, marks in read:
            labels = [] if marks.class_id is None else [MARKS[index] for index in marks.class_id]
            boxes = [tuple(map(float, box)) for box in marks.xyxy]
            found.append(Kept(size=(pixels.shape[1], pixels.shape[0]), marks=tuple(zip(labels, boxes, strict=True))))
    return found


def same(found: list[Kept], expected: list[Kept]) -> None:
    """Each expected page is there once, upright, with the same marks at the same places."""
    left = list(found)
    for page in expected:
        left.remove(next(one for one in left if matches(one, page)))
    assert not left


def matches(found: Kept, expected: Kept) -> bool:
    """Whether two pages agree, but for the pixel that a PDF's page size is rounded to."""
    if sorted(label for label, _ in found.marks) != sorted(label for label, _ in expected.marks):
        return False
    if np.abs(np.subtract(found.size, expected.size)).max() > 1:
        return False
    return all(
        any(label == other and np.abs(np.subtract(box, place)).max() < 2 for other, place in found.marks)
        for label, box in expected.marks
    )
