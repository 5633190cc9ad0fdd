"""The benchmark of single pictures: a mark is where it lies in the file, however small the file is read."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import pytest

from backend.synthetic.drawn_page import draw_page
from benchmarks.cases import main


@pytest.mark.parametrize("dpi", [150, 400])
def test_the_marks_of_a_picture_are_found_in_it_at_any_resolution(
    dpi: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = draw_page(11, dpi=dpi)
    cv2.imwrite(str(tmp_path / "page.jpg"), page.pixels[..., ::-1])
    truth = [[mark.label, list(mark.box)] for mark in page.marks]
    (tmp_path / "truth.json").write_text(json.dumps({"page.jpg": truth, "unknown.jpg": None}))
    main(["--folder", str(tmp_path)])
    _, _, row, total = capsys.readouterr().out.splitlines()
    name, right, missed, *_ = row.split()
    assert name == "page.jpg"
    assert total.split()[:3] == ["all", right, missed]
    assert int(right) + int(missed) == len(truth)
    assert int(right) > len(truth) / 2, "most of a drawn page's marks, and none where a box has another scale"
