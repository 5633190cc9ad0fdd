"""Documents become tasks, each exactly once, in order, with what they are of; what fails is named, the rest goes on."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from backend.commands.import_documents.importing import FileOutcome, FileState, Tasks, tasks_of
from backend.errors import DocumentError, LabelStudioError
from backend.labelstudio.labelling import bind
from backend.labelstudio.projects import label_config
from tests.commands.import_documents.conftest import MakeImporter
from tests.commands.import_documents.loopback import Loopback
from tests.commands.import_documents.papers import bars, image, marked, pdf, tiff, turned
from tests.pages.files import packed


@pytest.fixture
def put(tmp_path: Path) -> Any:
    """Writes a file to import."""

    def write(name: str, data: bytes) -> Path:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
        return path

    return write


def states(outcomes: list[FileOutcome]) -> list[tuple[str, FileState]]:
    return [(outcome.path.name, outcome.state) for outcome in outcomes]


def pages_of(studio: Loopback, task: dict[str, Any]) -> list[Image.Image]:
    """The uploaded pages that a task shows."""
    references = task["data"].get("pages") or [task["data"]["image"]]
    numbers = [int(reference.rpartition("/")[2].split("-")[0], 16) for reference in references]
    return [Image.open(io.BytesIO(studio.uploads[number][1])) for number in numbers]


def test_the_last_two_of_twelve_pages_become_one_task(studio: Loopback, importer: MakeImporter, put: Any) -> None:
    path = put("contract.pdf", pdf(*range(1, 13)))
    [outcome] = importer(last=2).run([path])
    assert (outcome.state, outcome.pages, outcome.tasks) == (FileState.IMPORTED, 2, 1)
    [task] = studio.tasks
    assert {key: value for key, value in task["data"].items() if key != "pages"} == {
        "document": "contract.pdf",
        "document_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "page_numbers": [11, 12],
        "page_range": "11–12",
        "preview": studio.tasks[0]["data"]["pages"][0],
    }
    assert [bars(page) for page in pages_of(studio, task)] == [11, 12]


def test_a_page_a_task(studio: Loopback, importer: MakeImporter, put: Any) -> None:
    [outcome] = importer(paged=False).run([put("fax.tif", tiff(3, 1, 2))])
    assert (outcome.pages, outcome.tasks) == (3, 3)
    assert [task["data"]["page_numbers"] for task in studio.tasks] == [[1], [2], [3]]
    assert [bars(page) for task in studio.tasks for page in pages_of(studio, task)] == [3, 1, 2]
    assert all(
        set(task["data"]) == {"image", "document", "document_sha256", "page_numbers", "page_range"}
        for task in studio.tasks
    )


@pytest.mark.parametrize(
    ("last", "numbers"),
    [
        # all
        (None, [1, 2, 3]),
        # the last one
        (1, [3]),
        # more than there are
        (9, [1, 2, 3]),
    ],
)
def test_so_many_of_the_last_pages(
    studio: Loopback, importer: MakeImporter, put: Any, last: int | None, numbers: list[int]
) -> None:
    list(importer(last=last).run([put("contract.pdf", pdf(1, 2, 3))]))
    assert studio.tasks[0]["data"]["page_numbers"] == numbers


def test_pdf_pages_are_rendered_at_the_wanted_resolution(studio: Loopback, importer: MakeImporter, put: Any) -> None:
    list(importer(dpi=144).run([put("contract.pdf", pdf(1))]))
    [page] = pages_of(studio, studio.tasks[0])
    assert page.size == (240, 340)


def test_a_photograph_lies_upright(studio: Loopback, importer: MakeImporter, put: Any) -> None:
    list(importer().run([put("phone.jpg", turned(4))]))
    [page] = pages_of(studio, studio.tasks[0])
    assert page.size == (120, 170)
    assert bars(page) == 4
    assert not page.getexif(), "or it would be turned once more"


@pytest.mark.parametrize(
    ("name", "kind"), [("scan.tif", "TIFF"), ("phone.heic", "HEIF"), ("scan.jp2", "JPEG2000"), ("web.avif", "AVIF")]
)
def test_a_file_that_browsers_may_not_show_becomes_one_that_they_do(
    studio: Loopback, importer: MakeImporter, put: Any, name: str, kind: str
) -> None:
    [outcome] = importer().run([put(name, packed(marked(4), kind))])
    assert outcome.state is FileState.IMPORTED
    [page] = pages_of(studio, studio.tasks[0])
    assert page.format in {"JPEG", "PNG"}
    assert bars(page) == 4


def test_damaged_files_are_named_and_the_rest_goes_on(studio: Loopback, importer: MakeImporter, put: Any) -> None:
    files = [
        put("cut.pdf", pdf(1)[:200]),
        put("letter.docx", b"PK\x03\x04"),
        put("empty.png", b""),
        put("good.pdf", pdf(2)),
        Path("missing.pdf"),
        put("cut.tif", tiff(1, 2)[:-3000]),
    ]
    outcomes = list(importer().run(files))
    failed = [FileState.FAILED] * 3
    assert states(outcomes) == list(
        zip(
            [path.name for path in files],
            [*failed, FileState.IMPORTED, FileState.FAILED, FileState.FAILED],
            strict=True,
        )
    )
    assert all(outcome.reason for outcome in outcomes if outcome.state is FileState.FAILED)
    assert studio.documents() == ["good.pdf"]


def test_a_document_of_too_many_pages_fails_before_its_first(
    studio: Loopback, importer: MakeImporter, put: Any
) -> None:
    path = put("long.pdf", pdf(*[1] * 21))
    [outcome] = importer().run([path])
    assert "MAX_PAGES" in outcome.reason
    assert not studio.uploads
    [outcome] = importer(last=2).run([path])
    assert outcome.state is FileState.IMPORTED, "two of its pages are not too many"


def test_what_is_in_the_project_stays_out(studio: Loopback, importer: MakeImporter, put: Any) -> None:
    files = [put("a.pdf", pdf(1)), put("b.png", image(2))]
    list(importer().run(files))
    uploaded = len(studio.uploads)
    renamed = put("renamed.pdf", files[0].read_bytes())
    outcomes = list(importer(last=1).run([renamed, files[1]]))
    assert [outcome.state for outcome in outcomes] == [FileState.KNOWN, FileState.KNOWN]
    assert len(studio.tasks) == 2
    assert len(studio.uploads) == uploaded, "nothing is uploaded for nothing"


def test_another_project_has_documents_of_its_own(studio: Loopback, importer: MakeImporter, put: Any) -> None:
    path = put("a.pdf", pdf(1))
    for paged in (True, False):
        assert [outcome.state for outcome in importer(paged=paged).run([path])] == [FileState.IMPORTED]


def test_the_same_content_twice_is_one_document(studio: Loopback, importer: MakeImporter, put: Any) -> None:
    first = put("a.pdf", pdf(1))
    second = put("copy/of-a.pdf", first.read_bytes())
    outcomes = list(importer().run([first, second]))
    assert [outcome.state for outcome in outcomes] == [FileState.IMPORTED, FileState.TWICE]
    assert outcomes[1].reason == str(first)
    assert studio.documents() == ["a.pdf"]


def test_more_documents_than_are_asked_for_at_once(studio: Loopback, importer: MakeImporter, put: Any) -> None:
    files = [put(f"{number:03}.png", image(1) + bytes([number])) for number in range(110)]
    make = importer()
    for path in files[::2] + files[:1] * 150:  # one of them in pages, more than Label Studio lists at once
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        studio.tasks.append({"id": 0, "project": 2, "data": {"document": path.name, "document_sha256": digest}})
    new = [0, 53, 109]
    outcomes = list(make.run([path for number, path in enumerate(files) if number % 2 == 0 or number in new]))
    assert [outcome.path for outcome in outcomes if outcome.state is FileState.IMPORTED] == [files[53], files[109]]
    assert {outcome.state for outcome in outcomes} == {FileState.KNOWN, FileState.IMPORTED}


def test_a_file_that_changes_on_the_way_is_not_imported_under_another_ones_hash(
    studio: Loopback, importer: MakeImporter, put: Any
) -> None:
    first, second = put("a.pdf", pdf(1)), put("b.pdf", pdf(2))
    run = importer().run([first, second])
    next(run)
    second.write_bytes(pdf(3))
    [outcome] = run
    assert (outcome.state, studio.documents()) == (FileState.FAILED, ["a.pdf"])
    assert "changed" in outcome.reason


def test_a_refused_document_does_not_stop_the_others(studio: Loopback, importer: MakeImporter, put: Any) -> None:
    run = importer().run([put("a.pdf", pdf(1)), put("b.pdf", pdf(2))])
    studio.refuse[("POST", "/api/projects/2/import")] = 413
    refused = next(run)
    studio.refuse.clear()
    assert (refused.state, "413" in refused.reason) == (FileState.FAILED, True)
    assert [outcome.state for outcome in run] == [FileState.IMPORTED]


@pytest.mark.parametrize("status", [401, 403, 500, 502])
def test_what_concerns_all_documents_stops_the_run(
    studio: Loopback, importer: MakeImporter, put: Any, status: int
) -> None:
    make = importer()
    studio.refuse[("POST", "/api/projects/2/import")] = status
    with pytest.raises(LabelStudioError):
        list(make.run([put("a.pdf", pdf(1)), put("b.pdf", pdf(2))]))
    studio.refuse.clear()
    assert not studio.tasks


def test_an_answer_that_is_lost_does_not_make_a_document_twice(
    studio: Loopback, importer: MakeImporter, put: Any
) -> None:
    """A proxy gives up while Label Studio goes on: the document is in, and is counted as imported."""

    def fail_after_commit(_: list[Any]) -> None:
        raise ConnectionError("the proxy gave up")

    studio.after_commit = fail_after_commit
    [outcome] = importer(settle=5.0).run([put("a.pdf", pdf(1))])
    assert outcome.state is FileState.IMPORTED
    assert studio.documents() == ["a.pdf"]


def test_two_imports_into_one_project_do_not_run_at_once(importer: MakeImporter, put: Any) -> None:
    path = put("a.pdf", pdf(1))
    one, other = importer(), importer()
    first = one.run([path, put("b.pdf", pdf(2))])
    next(first)
    with pytest.raises(DocumentError, match="another import"):
        next(other.run([path]))
    first.close()  # type: ignore[attr-defined]  # it is a generator
    assert [outcome.state for outcome in other.run([path])] == [FileState.KNOWN]


@pytest.mark.parametrize(
    ("paged", "wanted", "shown"),
    [
        # what the label config shows
        (True, None, Tasks.DOCUMENT),
        (False, None, Tasks.PAGE),
        # the same, said
        (True, Tasks.DOCUMENT, Tasks.DOCUMENT),
        (False, Tasks.PAGE, Tasks.PAGE),
    ],
)
def test_what_becomes_a_task(paged: bool, wanted: Tasks | None, shown: Tasks) -> None:
    assert tasks_of(bind(label_config(paged=paged))[0], wanted) is shown


@pytest.mark.parametrize(("paged", "wanted"), [(True, Tasks.PAGE), (False, Tasks.DOCUMENT)])
def test_a_label_config_that_shows_the_other_is_refused_with_the_way_out(paged: bool, wanted: Tasks) -> None:
    with pytest.raises(DocumentError, match=r"import with --tasks \w+, or .*`connect"):
        tasks_of(bind(label_config(paged=paged))[0], wanted)
