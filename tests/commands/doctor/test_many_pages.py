"""One page that cannot be read among many that can: `doctor` finds it wherever it stands, and names its task."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.commands.doctor.conftest import Setup
from tests.commands.import_documents.papers import image


def local_files(setup: Setup, *names: str) -> list[str]:
    """Files below the local files root, and the references that name them as they are."""
    setup.environment["LOCAL_FILES_ROOT"] = str(setup.folder)
    for name in names:
        path = setup.folder / "docs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image(3))
    return [f"/data/local-files/?d=docs/{name}" for name in names]


def cut_short(setup: Setup) -> str:
    [reference] = local_files(setup, "half.png")
    path = setup.folder / "docs" / "half.png"
    path.write_bytes(path.read_bytes()[:200])
    return reference


def no_page(setup: Setup) -> str:
    [reference] = local_files(setup, "letter.docx")
    (setup.folder / "docs" / "letter.docx").write_bytes(b"PK\x03\x04 no page of anybody's")
    return reference


BAD: dict[str, tuple[Callable[[Setup], str], str, str]] = {
    "a plus, which stands for a space there": (
        lambda setup: local_files(setup, "a+b.png")[0],
        "No such file",
        "under that very name",
    ),
    "a name that nobody has": (
        lambda _: "/data/local-files/?d=docs/un fichier.png",
        "No such file",
        "under that very name",
    ),
    "a file that was copied half": (cut_short, "cut short", "wait until its upload or copy is whole"),
    "a file that is no page": (no_page, "letter.docx", "import the task anew, as JPEG"),
    "a way out of the folder": (lambda _: "/data/local-files/?d=../secret.png", "..", ""),
}


@pytest.mark.parametrize("place", [0, 14])
@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_one_bad_page_among_good_ones_is_named(
    healthy: Setup, bad: tuple[Callable[[Setup], str], str, str], place: int
) -> None:
    good = local_files(healthy, "my contract.png", "عقد إيجار.png", "Übergabe é.png", "it's (1).png")
    good += local_files(healthy, *(f"scan{number}.png" for number in range(10)))
    make, found, remedy = bad
    good.insert(place, make(healthy))
    tasks = [healthy.add_task(reference) for reference in good]
    report = healthy.doctor()
    assert report.not_well() == {"pages: local file": "failure"}
    said = report.findings["pages: local file"]
    assert f"task {tasks[place]}: " in said["found"]
    assert found in said["found"]
    assert remedy in said["remedy"]
    assert "1 of 15 of 15 pages looked at" in said["found"]
    assert not any(f"task {other}:" in said["found"] for other in tasks if other != tasks[place])


def test_each_of_several_is_named_with_each_way_out(healthy: Setup) -> None:
    good = local_files(healthy, *(f"scan{number}.png" for number in range(5)))
    wrong = [make(healthy) for make, _, _ in list(BAD.values())[1:4]]
    tasks = {reference: healthy.add_task(reference) for reference in [*good, *wrong]}
    said = healthy.doctor().findings["pages: local file"]
    assert all(f"task {tasks[reference]}: " in said["found"] for reference in wrong)
    assert all(remedy in said["remedy"] for _, _, remedy in list(BAD.values())[1:4])


def test_the_later_pages_of_a_task_are_looked_at_too(healthy: Setup) -> None:
    good = local_files(healthy, "p0.png", "p1.png")
    task = healthy.add_task([*good, "/data/local-files/?d=docs/p2.png"])
    said = healthy.doctor().findings["pages: local file"]
    assert said["state"] == "failure"
    assert f"task {task}: /data/local-files/?d=docs/p2.png" in said["found"]


@pytest.mark.parametrize("bad", [0, 350, 698])
def test_all_over_a_large_project(healthy: Setup, bad: int) -> None:
    """The newest, the oldest and some between of 700 tasks; one is of a manner of its own."""
    [good] = local_files(healthy, "scan.png")
    one = next(iter(healthy.studio.tasks))
    for number in range(699):
        reference = "/data/local-files/?d=docs/no such.png" if number == bad else good
        healthy.studio.tasks.append({**one, "id": 1000 + number, "data": {"image": reference}, "annotations": []})
    report = healthy.doctor()
    assert "500 tasks looked at, of 700, name pages" in report.findings["pages"]["found"]
    assert f"task {1000 + bad}: " in report.findings["pages: local file"]["found"]


def test_tasks_that_name_no_page_are_numbered(healthy: Setup) -> None:
    tasks = [healthy.add_task("x", field="picture"), healthy.add_task(["/data/upload/1/a.png"] * 1001)]
    said = healthy.doctor().findings["pages"]
    assert said["state"] == "failure"
    assert said["found"].startswith("2 of 3 tasks name no page")
    assert all(f"task {task}: " in said["found"] for task in tasks)


def test_a_browser_finding_counts_them_all_over_the_project(healthy: Setup) -> None:
    healthy.add_task("/data/upload/1/old.heic")
    healthy.studio.tasks[-1]["id"] = 0
    said = healthy.doctor().findings["browser"]
    assert "1 of 2 tasks have pages that browsers do not show, such as task 0 (HEIC)" in said["found"]
