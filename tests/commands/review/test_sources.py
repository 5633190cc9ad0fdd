"""Annotated pages as they stand in a project: upright, of the annotation that rules; what cannot be had is named."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from backend.commands.review.annotated_pages import AnnotatedPage, FrozenSource, Missing, ProjectSource
from backend.labelstudio.client import LabelStudio
from backend.pages.source import PageSource
from backend.settings import Settings
from tests.dataset.conftest import Make, make
from tests.dataset.studio import PROJECT, TOKEN, Studio, annotation, file_of, page, region, serving

__all__ = ["make"]

SIZE = (240, 320)
A, B = (40, 60, 120, 100), (100, 200, 220, 260)


@pytest.fixture
def studio(monkeypatch: pytest.MonkeyPatch) -> Iterator[Studio]:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    with serving(Studio()) as one:
        yield one


@pytest.fixture
def source(studio: Studio, tmp_path: Path) -> Iterator[ProjectSource]:
    settings = Settings(label_studio_url=studio.url, label_studio_api_key=TOKEN, data_dir=tmp_path)
    with LabelStudio(studio.url, TOKEN) as client:
        yield ProjectSource(client, PageSource(settings, client), PROJECT)


def silent() -> None:
    """Tells nobody."""


def test_each_page_of_a_task_has_its_own_marks(studio: Studio, source: ProjectSource) -> None:
    marks = region("a", "stamp", A, SIZE), region("b", "thumb", B, SIZE, item=1)
    files = [file_of(page(1, A)), file_of(page(2, B)), file_of(page(3))]
    studio.task(3, files, annotation(9, *marks), document="lease.pdf")
    studio.task(4, [file_of(page(4))])
    found = list(source.pages(silent))
    assert [one.place.name for one in found if isinstance(one, AnnotatedPage)] == [
        "task 3, lease.pdf, page 1",
        "task 3, lease.pdf, page 2",
        "task 3, lease.pdf, page 3",
    ]
    first, second, third = found
    assert isinstance(first, AnnotatedPage)
    assert isinstance(second, AnnotatedPage)
    assert isinstance(third, AnnotatedPage)
    np.testing.assert_allclose(first.boxes, [A])
    np.testing.assert_allclose(second.boxes, [B])
    assert (first.labels.tolist(), second.labels.tolist(), third.labels.tolist()) == ([1], [2], [])
    assert {first.document, second.document, third.document} == {"lease.pdf"}
    place = second.place
    assert (place.project, place.task, place.annotation, place.page) == (PROJECT, 3, 9, 1)
    np.testing.assert_array_equal(source.page(place).pixels, second.page.pixels)


def test_a_scan_that_exif_turns_is_upright(studio: Studio, source: ProjectSource) -> None:
    studio.task(
        3, [file_of(page(1, A), "JPEG", orientation=6)], annotation(9, region("a", "stamp", A, SIZE)), document="x"
    )
    [one] = source.pages(silent)
    assert isinstance(one, AnnotatedPage)
    assert (one.page.width, one.page.height) == SIZE
    np.testing.assert_allclose(one.boxes, [A], atol=0.01)
    assert one.place.name == "task 3, x"


def test_a_page_that_was_imported_alone_has_its_number_in_the_document(studio: Studio, source: ProjectSource) -> None:
    marks = annotation(9, region("a", "stamp", A, SIZE))
    studio.task(3, [file_of(page(1, A))], marks, document="عقد\n.pdf", page_numbers=[12])
    [one] = source.pages(silent)
    assert isinstance(one, AnnotatedPage)
    assert one.place.name == "task 3, عقد\\u000a.pdf, page 12"


def test_what_cannot_be_looked_at_is_named_and_the_rest_is(studio: Studio, source: ProjectSource) -> None:
    studio.task(3, [b"no image", file_of(page(2))], annotation(9))
    lying = region("a", "stamp", A, SIZE, original=(320, 240))
    studio.task(4, [file_of(page(3))], annotation(10, lying))
    studio.task(5, [file_of(page(4))], annotation(11, region("a", "stamp", A, SIZE)))
    found = list(source.pages(silent))
    assert [one.name for one in found if isinstance(one, Missing)] == ["task 3, page 1", "task 4"]
    assert "neither JPEG, PNG" in str(found[0])
    assert "annotated at 320 x 240 pixels" in str(found[2])
    assert [one.place.name for one in found if isinstance(one, AnnotatedPage)] == ["task 3, page 2", "task 5"]


def test_classes_are_those_that_there_is_a_label_for(studio: Studio, source: ProjectSource) -> None:
    studio.label_config = (
        '<View><Image name="page" valueList="$pages"/><RectangleLabels name="mark" toName="page">'
        '<Label value="Seal" predicted_values="stamp"/></RectangleLabels></View>'
    )
    studio.task(3, [file_of(page(1))], annotation(9, region("a", "stamp", A, SIZE)))
    [one] = source.pages(silent)
    assert isinstance(one, AnnotatedPage)
    assert one.classes == (1,)


def test_progress_is_told_for_each_annotated_task(studio: Studio, source: ProjectSource) -> None:
    for task in range(1, 5):
        files = [file_of(page(task)), file_of(page(task + 50))]
        studio.task(task, files, *([annotation(task)] if task != 2 else []))
    told: list[int] = []
    assert len(list(source.pages(lambda: told.append(1)))) == 6
    assert len(told) == 3


def test_a_frozen_page_that_is_damaged_is_named(make: Make) -> None:
    version = make("leases", [({"name": "a"}, page(1)), ({"name": "b"}, page(2))])
    file = version.file(version.manifest.pages[0])
    file.chmod(0o600)
    file.write_bytes(b"")
    damaged, well = FrozenSource(version).pages(silent)
    assert isinstance(damaged, Missing)
    assert isinstance(well, AnnotatedPage)
    assert (damaged.name, well.place.name, well.place.task) == ("a", "b", None)
