"""What the benchmark of a project counts is what an annotator met."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from backend.labelstudio.annotations import Region
from backend.settings import Settings
from backend.vision.pipeline import Pipeline
from benchmarks.annotator import Work
from benchmarks.companies import CompanyPage
from benchmarks.felt import project, repeatable, right_marks, run, table
from tests.server.test_renewing import LOGO, SEAL, BothPlaces, page

PAGE = CompanyPage(pixels=np.zeros((600, 420, 3), np.uint8), dpi=50, logo=LOGO, stamp=SEAL, marks=(("stamp", SEAL),))


def shown(label: str, box: tuple[float, float, float, float]) -> Region:
    return Region(id=f"{label}-{box[0]}", page=0, label=label, box=box)


def test_a_mark_is_right_in_its_place_and_under_its_name() -> None:
    assert right_marks(PAGE, [shown("stamp", SEAL)]) == {0}
    assert right_marks(PAGE, [shown("signature", SEAL), shown("stamp", LOGO)]) == set()
    assert right_marks(PAGE, []) == set()


def test_mistakes_that_can_come_again_are_those_with_the_logo_and_the_stamp() -> None:
    assert repeatable(PAGE, [shown("stamp", LOGO), shown("stamp", SEAL)]) == {"logo"}
    assert repeatable(PAGE, [shown("thumb", SEAL)]) == {"stamp as thumb"}
    assert repeatable(PAGE, [shown("stamp", (0, 500, 50, 550))]) == set()
    assert repeatable(PAGE, []) == set()


def test_a_company_that_comes_again_is_met_without_its_mistake(tmp_path: Path) -> None:
    """Two companies, two rounds: what is taken for a stamp is the logo; the pages of one company show the same."""
    pages = {
        task: CompanyPage(
            pixels=page(logo=company, seal=10 + task), dpi=50, logo=LOGO, stamp=SEAL, marks=(("stamp", SEAL),)
        )
        for task, company in ((1, 1), (2, 9), (3, 1), (4, 5))
    }
    both = BothPlaces()
    settings = Settings(data_dir=tmp_path)
    with project(pages, settings, build=lambda around: Pipeline(both, around(both))) as found:
        for task in pages:
            found.fill(task)
        figures = run(found, companies=2, rounds=2, slips=0, seed=1)
    assert figures.rounds[0].met == Work(deleted=2) == figures.rounds[0].filled
    # The second company came back with another logo, which nobody has deleted before.
    assert figures.rounds[1].filled == Work(deleted=2)
    assert figures.rounds[1].met == Work(deleted=1)
    assert (figures.repeated["logo"], figures.avoided["logo"], figures.deleted_twice) == (2, 1, 1)
    assert (figures.right["stamp"], figures.lost.total(), figures.gained.total()) == (4, 0, 0)
    said = table(figures, "told-1")
    assert "repeated mistakes: 2, avoided: 1 (50%)" in said
    assert "deleted twice on one logo: 1" in said
