"""An annotator opens a task in the browser and sees the boxes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageColor
from playwright.sync_api import Page, expect

from tests.end_to_end.conftest import ROOT, DrawnFile, Project, Server
from tests.end_to_end.editor import Editor

pytestmark = [pytest.mark.label_studio, pytest.mark.browser]

COLOURS = {"signature": "#0f766e", "stamp": "#c2410c", "thumb": "#7e22ce"}


def test_the_editor_lists_and_draws_every_box(
    annotator: Page, server: Server, project: Project, drawn: list[DrawnFile]
) -> None:
    task = project.import_page(drawn[0].name, drawn[0].data)
    (prediction,) = project.retrieved(task)
    labels = [region["value"]["rectanglelabels"][0] for region in prediction["result"]]
    assert labels

    editor = Editor(annotator, server.url)
    editor.open(project.id, task, regions=len(labels))
    assert sorted(editor.regions.all_inner_texts()) == sorted(labels)

    canvas = annotator.locator("canvas").first
    expect(canvas).to_be_visible()
    picture = ROOT / "out" / "end_to_end"
    annotator.screenshot(path=picture / "editor.png")
    seen = screenshot(canvas.screenshot(path=picture / "canvas.png"), picture / "canvas.png")
    for label in set(labels):
        near = np.abs(seen - ImageColor.getrgb(COLOURS[label])).max(axis=2) < 40
        assert near.sum() > 100, f"no line in the colour of {label} on the page"


def screenshot(_: bytes, path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"), dtype=np.int16)
