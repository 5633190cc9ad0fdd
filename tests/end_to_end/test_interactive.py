"""An annotator draws a rough box with Auto-Annotation, and accepts what comes back: tight, under their own label."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from backend.geometry import as_boxes, iou
from backend.labelstudio.client import LabelStudio
from backend.labelstudio.results import drawn_box
from tests.end_to_end.conftest import CONFIG, DrawnFile, Project, Server
from tests.end_to_end.editor import Editor

pytestmark = [pytest.mark.label_studio, pytest.mark.browser]

ROOM = 0.35
"""Of a mark's side: how far the rough box goes beyond it."""


@pytest.fixture
def interactive(studio: LabelStudio, backend_url: str, version: str) -> Project:
    """A project whose tasks open without boxes, and whose smart tool asks the backend."""
    made = studio.create_project("interactive", CONFIG, show_collab_predictions=False)
    studio.create_tab(made, "Default")
    studio.connect_backend(made, backend_url, title=version, interactive=True)
    return Project(id=made, field="image", studio=studio)


def test_a_rough_box_comes_back_tight_and_under_the_label_it_was_drawn_with(
    annotator: Page, server: Server, interactive: Project, drawn: list[DrawnFile]
) -> None:
    file = drawn[0]
    mark = max(file.clear, key=lambda one: float(np.prod(np.subtract(one.box[2:], one.box[:2]))))
    task = interactive.import_page(file.name, file.data)
    rough = _rough(mark.box, file)
    editor = Editor(annotator, server.url)
    editor.open_empty(interactive.id, task)

    annotator.get_by_test_id("bottombar-auto-annotation-toggle").locator("..").click()
    annotator.locator(".lsf-tool_smart").first.click()
    with annotator.expect_response(lambda one: "interactive-annotating" in one.url) as answer:
        editor.draw_smart(_percent(rough, file), mark.label)
    assert answer.value.ok, answer.value.text()
    accept = annotator.get_by_test_id("bottombar-accept-suggestions-button")
    expect(accept).to_be_visible()
    accept.click()
    expect(editor.regions).to_have_count(1)
    stored = editor.submit()

    [region] = stored["result"]
    assert region["value"]["rectanglelabels"] == [mark.label]
    found = drawn_box(region, width=file.width, height=file.height)
    pen = 0.006 * file.height
    assert (found[0, :2] >= rough[:2] - pen).all()
    assert (found[0, 2:] <= rough[2:] + pen).all()
    truth = as_boxes([mark.box])
    assert iou(found, truth)[0, 0] > iou(as_boxes([rough]), truth)[0, 0] + 0.1


def _rough(box: tuple[float, float, float, float], file: DrawnFile) -> Any:
    sides = np.tile(np.subtract(box[2:], box[:2]), 2)
    grown = np.array(box) + ROOM * sides * [-1, -1, 1, 1]
    return np.clip(grown, 0, [file.width, file.height, file.width, file.height])


def _percent(box: Any, file: DrawnFile) -> dict[str, float]:
    x1, y1, x2, y2 = (box / [file.width, file.height, file.width, file.height] * 100).tolist()
    return {"x": x1, "y": y1, "width": x2 - x1, "height": y2 - y1}
