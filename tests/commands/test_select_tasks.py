"""Which tasks are selected: doubtful ones before sure ones, and never the same doubt twice while there are others."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from backend.cli import main
from backend.commands.select_tasks import spread
from backend.labelstudio.projects import label_config
from tests.commands.import_documents.loopback import TOKEN, Loopback, loopback
from tests.models.tiny import says

A, B, NOTHING = (1.0, 0.0), (0.0, 1.0), (0.0, 0.0)


def order(
    *tasks: tuple[float, tuple[float, float]], count: int = 99, known: tuple[tuple[float, float], ...] = ()
) -> list[int]:
    certainties, vectors = zip(*tasks, strict=True)
    return spread(np.array(certainties), np.array(vectors), count, known=np.array(known).reshape(len(known), 2))


@pytest.mark.parametrize(
    ("tasks", "chosen"),
    [
        # the most doubtful first
        ([(0.9, A), (0.5, B)], [1, 0]),
        # then not its like, though that is more doubtful than the other
        ([(0.5, A), (0.51, A), (0.8, B)], [0, 2, 1]),
        # of unlike ones the more doubtful
        ([(0.5, A), (0.9, B), (0.8, B)], [0, 2, 1]),
        # tasks without marks are like each other
        ([(0.5, NOTHING), (0.51, NOTHING), (0.9, A)], [0, 2, 1]),
        # where nothing is in doubt, unlike ones come first
        ([(1.0, A), (1.0, A), (1.0, B)], [0, 2, 1]),
    ],
)
def test_doubt_times_distance(tasks: list[tuple[float, tuple[float, float]]], chosen: list[int]) -> None:
    assert order(*tasks) == chosen
    assert order(*tasks, count=2) == chosen[:2]


@pytest.mark.parametrize(
    ("known", "chosen"),
    [
        ((), [0, 2, 3, 1]),
        # what looks like an annotated task comes after the rest, the more doubtful first
        ((A,), [2, 3, 0, 1]),
        # a task without marks that somebody annotated says nothing about others that have none
        ((NOTHING,), [0, 2, 3, 1]),
        ((A, B), [3, 0, 1, 2]),
    ],
)
def test_what_is_annotated_is_known(known: tuple[tuple[float, float], ...], chosen: list[int]) -> None:
    # Of two stamps that look alike, the second is a little surer.
    tasks = [(0.5, A), (0.51, A), (0.6, B), (0.9, NOTHING)]
    assert order(*tasks, known=known) == chosen


def test_each_is_chosen_once_and_of_clusters_one_each() -> None:
    random = np.random.default_rng(0)
    centres = np.eye(16)[:8]
    vectors = np.repeat(centres, 20, axis=0) + random.normal(0, 0.02, (160, 16))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    chosen = spread(random.uniform(0.4, 0.6, 160), vectors, 160, known=np.zeros((0, 16)))
    assert sorted(chosen) == list(range(160))
    assert {place // 20 for place in chosen[:8]} == set(range(8))


@pytest.fixture
def studio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    says("stamp", tmp_path / "data" / "models" / "hasty")
    with loopback() as server:
        for name, value in {
            "DATA_DIR": str(tmp_path / "data"),
            "MODEL": "hasty",
            "DETECTOR": "colour",
            "CONFIDENCE": "0.01",
            "LABEL_STUDIO_URL": server.url,
            "LABEL_STUDIO_API_KEY": TOKEN,
        }.items():
            monkeypatch.setenv(name, value)
        yield server


def filled(studio: Loopback, *, marked: int) -> list[dict[str, Any]]:
    """A project with some pages that bear a ring, one that bears nothing, one that is annotated, one that is gone."""
    project = studio.add_project(label_config(paged=False))
    with studio.client() as client:
        for number in range(marked + 2):
            pixels = np.full((585, 414, 3), 250, np.uint8)
            y, x = np.mgrid[0:585, 0:414]
            distance = np.hypot(x - 120 - 20 * number, y - 300)
            if number < marked:
                pixels[(distance < 40) & (distance > 28)] = (40, 60 + 60 * number, 190)
            file = io.BytesIO()
            Image.fromarray(pixels).save(file, format="PNG", dpi=(50, 50))
            client.import_tasks(project, [{"image": client.upload(project, f"{number}.png", file.getvalue())}])
    studio.tasks[-1]["annotations"] = [{"id": 1, "was_cancelled": False, "result": []}]
    studio.tasks.append({"id": 900, "project": project, "data": {"image": "/data/upload/1/ffffffff-gone.png"}})
    return studio.tasks


def test_places_and_marks_are_written_and_a_tab_is_made_once(
    studio: Loopback, capsys: pytest.CaptureFixture[str]
) -> None:
    tasks = filled(studio, marked=2)
    assert main(["select", "--project", "contracts", "--n", "2"]) == 1
    said = capsys.readouterr()
    assert "2 of 3 tasks that nobody annotated are selected" in said.out
    assert "task 900: " in said.err
    assert not any("selected" in task["data"] for task in tasks)
    tasks.pop()
    assert main(["select", "--project", "contracts", "--n", "2", "--write"]) == 0
    places = [task["data"].get("selected") for task in tasks]
    assert sorted(place for place in places if place) == [1, 2]
    assert [task["data"].get("marks_found") for task in tasks][2:] == [0, None]
    assert main(["select", "--project", "contracts", "--n", "1", "--write"]) == 0
    assert [task["data"]["selected"] for task in tasks if "selected" in task["data"]] == [1]
    titles = [tab["data"]["title"] for tab in studio.views]
    assert titles == ["Default", "Selected"]


def test_a_page_that_looks_like_an_annotated_one_comes_after_others_with_marks(
    studio: Loopback, capsys: pytest.CaptureFixture[str]
) -> None:
    tasks = filled(studio, marked=3)
    tasks.pop()
    first = [{"id": 1, "was_cancelled": False, "result": []}]
    tasks[-1]["annotations"] = []
    for task in tasks:
        task["data"] |= {"document": f"lease {task['id']}.pdf", "page_range": "3"}
    assert main(["select", "--project", "contracts", "--n", "1"]) == 0
    listed = capsys.readouterr().out
    [chosen] = _listed(listed)
    assert f"lease {chosen}.pdf, page 3\n" in listed, "people know documents, not numbers of tasks"
    # Somebody annotates just that one, and a copy of it comes in.
    copied = next(task for task in tasks if task["id"] == chosen)
    copied["annotations"] = first
    with studio.client() as client:
        client.import_tasks(int(copied["project"]), [{"image": copied["data"]["image"]}])
    assert main(["select", "--project", "contracts"]) == 0
    said = capsys.readouterr().out
    assert "are selected, compared with 1 that somebody annotated" in said
    marked = {task["id"] for task in tasks[:3]} - {chosen}
    *before, copy = [one for one in _listed(said) if one in marked | {tasks[-1]["id"]}]
    assert (set(before), copy) == (marked, tasks[-1]["id"])


def _listed(said: str) -> list[int]:
    return [int(line.split()[2]) for line in said.splitlines() if " score " in line]


def test_a_project_without_open_tasks_is_told_what_to_do(studio: Loopback, capsys: pytest.CaptureFixture[str]) -> None:
    studio.add_project(label_config(paged=False))
    assert main(["select", "--project", "contracts"]) == 0
    said = capsys.readouterr()
    assert "0 of 0 tasks" in said.out
    assert "`import` brings documents in" in said.err


@pytest.mark.parametrize("number", ["0", "-1", "many"])
def test_how_many_is_a_whole_number(number: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["select", "--project", "contracts", "--n", number])
    assert "is no whole number above 0" in capsys.readouterr().err


def test_a_document_shows_the_page_that_the_model_is_least_sure_of(studio: Loopback) -> None:
    project = studio.add_project(label_config(paged=True))
    y, x = np.mgrid[0:585, 0:414]
    ring = np.full((585, 414, 3), 250, np.uint8)
    ring[(np.hypot(x - 120, y - 300) < 40) & (np.hypot(x - 120, y - 300) > 28)] = (40, 60, 190)
    with studio.client() as client:
        pages = []
        for name, pixels in (("empty", np.full_like(ring, 250)), ("ring", ring)):
            file = io.BytesIO()
            Image.fromarray(pixels).save(file, format="PNG", dpi=(50, 50))
            pages.append(client.upload(project, f"{name}.png", file.getvalue()))
        client.import_tasks(project, [{"pages": pages, "preview": pages[0]}])
    assert main(["select", "--project", "contracts", "--write"]) == 0
    [task] = studio.tasks
    # Nothing on the empty page is in doubt.
    assert (task["data"]["preview"], task["data"]["pages"]) == (pages[1], pages)
