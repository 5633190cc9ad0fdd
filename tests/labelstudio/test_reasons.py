"""Why a page has no region, in words."""

import pytest

from backend.labelstudio.labelling import Binding
from backend.labelstudio.results import of_pages, why_empty
from backend.vision.pipeline import Rejected
from tests.server.conftest import found

BOX = (0.0, 0.0, 9.0, 9.0)


def binding(threshold: float, *labels: str) -> Binding:
    named = {mark: mark for mark in labels}
    return Binding(control="c", image="i", field="f", paged=False, labels=named, threshold=threshold)


def rejected(*, score: float, none: float, bar: float = 0.5) -> Rejected:
    return Rejected(name="stamp", score=score, bar=bar, none=none)


@pytest.mark.parametrize(
    ("marks", "reason"),
    [
        (found(), "no candidate: nothing on the page looks like a mark"),
        (
            found(candidates=1, nearest=rejected(score=0.3, none=0.1)),
            "1 candidate, the best of them a stamp at 0.3, under 0.5",
        ),
        # a score that rounding would bring up to the bar
        (
            found(candidates=9, nearest=rejected(score=0.4996, none=0.1)),
            "9 candidates, the best of them a stamp at 0.4996, under 0.5",
        ),
        # a bar of its own
        (
            found(candidates=2, nearest=rejected(score=0.4, none=0.55, bar=0.45)),
            "2 candidates, the best of them a stamp at 0.4, under 0.45",
        ),
        # marks that the label config does not show
        (
            found(("thumb", BOX, 0.9), ("signature", BOX, 0.8)),
            "2 marks found, and no label for signature, thumb in the label config",
        ),
        (
            found(("thumb", BOX, 0.9), ("stamp", BOX, 0.6), ("stamp", BOX, 0.65)),
            "3 marks found, the best with a label a stamp at 0.65, under the label config's 0.7",
        ),
    ],
)
def test_a_page_says_what_came_nearest_and_what_it_lacked(marks, reason):
    assert why_empty(marks, [binding(0.8, "stamp"), binding(0.7, "stamp")]) == reason


@pytest.mark.parametrize(
    ("reasons", "pages", "together"),
    [
        ({0: "none"}, 1, "none"),
        ({0: "dark", 1: "none"}, 2, "page 1: dark; page 2: none"),
        (
            dict.fromkeys(range(7), "none"),
            7,
            "page 1: none; page 2: none; page 3: none; page 4: none; page 5: none; and 2 more pages",
        ),
    ],
)
def test_a_document_says_so_for_its_first_pages(reasons, pages, together):
    assert of_pages(reasons, pages=pages) == together
