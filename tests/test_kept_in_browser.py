"""Pages that are kept as files, in a real browser: on a desk and on a telephone, light and dark."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from backend.commands.review.doubts import DoubtKind
from backend.dataset.dataset_report import html_report
from backend.dataset.statistics import statistics
from backend.vision.network_config import MARKS
from tests.browsing import SIZES, browser, chromium, opened
from tests.commands.review.test_report import doubted, rendered
from tests.dataset.conftest import Make, make
from tests.dataset.test_statistics import COLOURS, mark, paper
from tests.server.test_in_browser import CONTRAST, EVIL

__all__ = ["browser", "chromium", "make"]

ARABIC = "عقد إيجار 114.pdf"
CUT = "(tables) => tables.filter((one) => one.offsetWidth > one.parentElement.clientWidth).length"


def review(_: Make) -> str:
    """Doubts of each kind, one page that is gone, one that could not be looked at, and names of all sorts."""
    return rendered(
        *(doubted(kind, name=name) for kind in DoubtKind for name in (ARABIC, "a" * 200, EVIL)),
        doubted(DoubtKind.SWAPPED, source="gone"),
        missing=("task 9: " + "b" * 200,),
    )


def data_set(make: Make) -> str:
    """Statistics of a data set in which everything is scarce."""
    boxes = [(100 + 100 * n, 100, 180 + 100 * n, 160 + 10 * n) for n in range(4)]
    marks = tuple(mark(f"{n}", MARKS[n % 3], box) for n, box in enumerate(boxes))
    pixels = paper(*((box, COLOURS["blue"]) for box in boxes))
    facts = {"name": ARABIC, "language": "ar", "marks": marks}
    version = make("leases-of-all-years-and-of-all-offices", [(facts, pixels)])
    return html_report(version, statistics(version))


@pytest.mark.parametrize("kept", [review, data_set])
def test_a_kept_page_fits_a_telephone_and_can_be_read(
    browser: Browser, make: Make, tmp_path: Path, kept: Callable[[Make], str]
) -> None:
    file = tmp_path / "kept.html"
    file.write_text(kept(make), encoding="utf-8")
    for size, scheme in ((SIZES[0], "light"), (SIZES[1], "dark"), (SIZES[1], "light")):
        with opened(browser, size=size, scheme=scheme) as (page, complaints):
            page.goto(file.as_uri())
            assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
            assert page.locator("table").evaluate_all(CUT) == 0, "every column is in sight"
            assert page.evaluate(CONTRAST) == []
            assert page.locator("img:not([alt])").count() == 0
            assert page.locator("h1").count() == 1
            assert page.title() != "evil"
            assert complaints == []
