"""The command `draw` leaves pages and their COCO file in a folder, and an overview where it is asked for."""

from __future__ import annotations

import argparse
import threading
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from backend.commands import draw as draw_command
from backend.commands.draw import add_arguments, overview, run
from backend.settings import Settings
from backend.synthetic import coco
from backend.synthetic.drawn_page import draw_page


def draw(folder: Path, *options: str) -> int:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return run(parser.parse_args(["--out", str(folder), "--dpi", "72", *options]), Settings())


def test_pages_are_written_with_their_boxes(tmp_path: Path) -> None:
    assert draw(tmp_path / "new", "--pages", "2", "--seed", "5", "--format", "png") == 0
    truths = coco.read(tmp_path / "new" / "annotations.json")
    assert [truth.seed for truth in truths] == [5, 6]
    for truth in truths:
        page = draw_page(truth.seed, dpi=72)
        stored = cv2.imread(str(tmp_path / "new" / truth.file_name))
        assert stored is not None
        np.testing.assert_array_equal(stored[..., ::-1], page.pixels)
        assert truth.marks == page.marks
    names = {truth.file_name for truth in truths} | {"annotations.json"}
    assert {file.name for file in (tmp_path / "new").iterdir()} == names, "`import` makes a task of each picture there"


def test_several_processes_draw_the_same_pages(tmp_path: Path) -> None:
    for folder, jobs in (("one", "1"), ("two", "2")):
        picture = str(tmp_path / folder / "overview.jpg")
        draw(tmp_path / folder, "--pages", "3", "--seed", "5", "--jobs", jobs, "--overview", picture)
    for name in ("annotations.json", "page-00005.jpg", "page-00007.jpg", "overview.jpg"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_no_page_at_all_is_an_empty_data_set(tmp_path: Path) -> None:
    assert draw(tmp_path, "--pages", "0") == 0
    assert coco.read(tmp_path / "annotations.json") == []


@pytest.mark.parametrize(
    ("tiles", "shape"),
    [
        # fewer tiles than columns
        (2, (10, 12, 3)),
        # one full row
        (6, (10, 36, 3)),
        # a second row that is not full
        (7, (20, 36, 3)),
    ],
)
def test_an_overview_sets_tiles_in_rows_of_six(tiles: int, shape: tuple[int, ...]) -> None:
    assert overview([np.zeros((10, 6, 3), np.uint8)] * tiles).shape == shape


def test_an_overview_does_not_grow_with_the_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draw_command, "_MOST_TILES", 1)
    assert draw(tmp_path, "--pages", "2", "--marks", "0", "--overview", str(tmp_path / "overview.jpg")) == 0
    assert len(coco.read(tmp_path / "annotations.json")) == 2
    shown = cv2.imread(str(tmp_path / "overview.jpg"))
    assert shown is not None
    assert shown.shape[:2] == (594, 420)


def test_pages_that_were_drawn_before_ctrl_c_have_their_boxes(tmp_path: Path, ctrl_c: Callable[[], None]) -> None:
    def interrupt() -> None:
        while not (tmp_path / "page-00002.jpg").exists():
            time.sleep(0.01)
        ctrl_c()

    watcher = threading.Thread(target=interrupt, daemon=True)
    watcher.start()
    with pytest.raises(KeyboardInterrupt):
        draw(tmp_path, "--pages", "50", "--marks", "0")
    watcher.join()
    known = {truth.file_name for truth in coco.read(tmp_path / "annotations.json")}
    drawn = {file.name for file in tmp_path.glob("page-*")}
    assert "page-00001.jpg" in known
    assert known <= drawn
    assert len(drawn - known) <= 1, "but for the page at which it was stopped"
