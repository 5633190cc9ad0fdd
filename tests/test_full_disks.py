"""What finds no room is said by its name, with the reason and what helps; nothing half is left, and again works.

The disk is one that takes files up to a size (`RLIMIT_FSIZE`), of this process alone. The journal's way is tested on
full disks in `tests/corrections/test_full_disk.py`.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from backend.cli import main
from backend.commands.prelabel.writing import RowJournal, write_json, write_parquet
from backend.dataset.store import Datasets
from backend.errors import OutputError, RegistryError, WeightsUnavailable
from backend.files import write_private
from backend.models.original_model import Hub
from backend.models.promotion import Models
from backend.models.published import Facts
from backend.training.crops import CropFolder, LabelledBox
from backend.training.pagestore import LabelledPage, PageStore
from backend.training.training_loop import save
from backend.vision.network_config import ClassifierConfig
from tests.models.hub_server import LoopbackHub, serve
from tests.models.tiny import says

ROOT = Path(__file__).parents[1]
ROOM = 64
NOISE = np.random.default_rng(7).integers(0, 256, (60, 80, 3), dtype=np.uint8)
PAGE = LabelledPage(name="b", document="b", split="train", domain="drawn", source="drawn", licence="MIT", dpi=None)
BOX = LabelledBox(box=(5.0, 5.0, 40.0, 40.0), label="stamp", origin="drawn")
ROW: dict[str, Any] = {
    "document": "a.pdf",
    "page": 1,
    "data": {"image": "a"},
    "prediction": {"result": [], "score": 0.5, "model_version": "v1"},
}


@contextmanager
def no_room() -> Iterator[None]:
    unlimited, keeps = resource.getrlimit(resource.RLIMIT_FSIZE), sys.dont_write_bytecode
    # Python would keep the beginning of a compiled module, and fail over it for ever after.
    sys.dont_write_bytecode, os.environ["PYTHONDONTWRITEBYTECODE"] = True, "1"
    resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM, unlimited[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
        sys.dont_write_bytecode = keeps


def add_crop(folder: Path) -> None:
    facts = {"document": "a", "split": "train", "domain": "drawn", "source": "drawn", "licence": "MIT"}
    CropFolder(folder).add("a", NOISE, [BOX], facts)


def add_row(folder: Path) -> None:
    with RowJournal(folder / "journal.jsonl", {"version": "v" * 100}) as journal:
        journal.add("a.pdf", (ROW,))


def freeze(folder: Path) -> None:
    with Datasets(folder).drafting() as draft:
        draft.add(NOISE)


def weights(folder: Path) -> None:
    save({"w": torch.zeros(1000)}, folder / "weights.safetensors", {})


WRITES: dict[str, Callable[[Path], object]] = {
    "a report": lambda folder: write_private(folder / "report.html", "x" * 1000),
    "a network's config": lambda folder: ClassifierConfig(sha256="a" * 64, thresholds=(0.5,) * 3).write(folder / "c"),
    "a checkpoint": weights,
    "a page to learn from": lambda folder: PageStore(folder).add(PAGE, NOISE),
    "a crop to learn from": add_crop,
    "predictions for Label Studio": lambda folder: write_json(iter([ROW]), str(folder / "out.json")),
    "predictions as a table": lambda folder: write_parquet(iter([ROW]), str(folder / "out.parquet")),
    "predictions on their way": add_row,
}


@pytest.mark.parametrize("what", WRITES)
def test_a_file_that_finds_no_room_is_named_with_the_way_out_and_nothing_of_it_is_left(
    what: str, tmp_path: Path
) -> None:
    with no_room(), pytest.raises(OutputError) as caught:
        WRITES[what](tmp_path)
    said = str(caught.value)
    assert said.startswith(str(tmp_path))
    assert "ulimit -f" in said or "is there room on its disk?" in said
    assert [path for path in tmp_path.rglob("*") if path.is_file() and path.stat().st_size > ROOM] == []
    assert [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".jsonl"] == []
    WRITES[what](tmp_path)


def test_a_data_set_that_finds_no_room_leaves_nothing_and_says_which_file(tmp_path: Path) -> None:
    with no_room(), pytest.raises(OSError, match=r"File too large: '.*\.png'"):
        freeze(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]
    freeze(tmp_path)


def test_a_model_that_finds_no_room_is_not_there(tmp_path: Path) -> None:
    candidate, models = says("stamp", tmp_path / "candidate"), Models(tmp_path / "models")
    with no_room(), pytest.raises(RegistryError, match=r"could not be published to .*File too large: .*ulimit -f"):
        models.publish(candidate, Facts(source="training"))
    assert models.all() == []
    assert models.publish(candidate, Facts(source="training")).name


def test_a_file_of_the_hub_that_finds_no_room_is_not_there(tmp_path: Path) -> None:
    with serve(LoopbackHub(b"weights" * 100)) as server:
        hub = Hub(folder=tmp_path, endpoint=server.address)
        with no_room(), pytest.raises(WeightsUnavailable, match=r"not fetched: .* cannot be written \(File too"):
            hub.download()
        assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
        assert hub.download()[0].is_file()


def test_drawn_pages_that_find_no_room_end_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    drawing = ["draw", "--out", str(tmp_path / "pages"), "--pages", "1", "--dpi", "60", "--marks", "0"]
    with no_room():
        assert main(drawing) == 2
    assert "cannot be written (File too large: files may not become so large here" in capsys.readouterr().err
    assert list((tmp_path / "pages").iterdir()) == []
    assert main(drawing) == 0


@pytest.mark.parametrize("command", [["models", "list"], ["--help"], ["completion", "bash"]])
def test_a_terminal_that_takes_nothing_more_is_no_success(command: list[str], tmp_path: Path) -> None:
    """What a command prints goes to a file as often as to a terminal; /dev/full is a disk without room."""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "backend", *command],
            cwd=ROOT,
            env={"DATA_DIR": str(tmp_path), "PATH": ""},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode != 0
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
