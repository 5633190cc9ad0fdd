"""A review as a page: what it shows, what it links to, and that it asks nobody for anything."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from backend.commands.review.annotated_pages import AnnotatedPage, Missing
from backend.commands.review.doubts import Doubt, DoubtKind, Named, PagePlace, Review, ReviewedPage
from backend.commands.review.review_command import html_report
from backend.errors import PageUnavailable
from backend.pages.page import Page
from tests.dataset.studio import page

A, B, FAR = (40.0, 60.0, 120.0, 100.0), (50.0, 70.0, 130.0, 110.0), (10.0, 280.0, 30.0, 300.0)


class Drawn:
    """Pages that are drawn as they are asked for; one of them is gone."""

    total = None

    def pages(self, progress: Callable[[], object]) -> Iterator[AnnotatedPage | Missing]:
        yield from ()

    def page(self, place: PagePlace) -> Page:
        if place.source == "gone":
            raise PageUnavailable("gone", "nothing is there any more")
        return Page(pixels=page(place.page), reference=place.source)


def doubted(kind: DoubtKind, *, task: int | None = 3, source: str = "there", name: str = "task 3") -> ReviewedPage:
    given = Named(box=A, label="thumb")
    other = Named(box=FAR, label="stamp")
    seen = Named(box=A if kind is DoubtKind.SWAPPED else B, label="stamp")
    one = Doubt(kind=kind, score=0.1, given=None if kind is DoubtKind.OVERLOOKED else given, seen=seen, probability=0.9)
    project = None if task is None else 7
    place = PagePlace(name=name, source=source, project=project, task=task, page=1)
    return ReviewedPage(place=place, score=0.2, doubts=(one,), given=(given, other))


def rendered(*pages: ReviewedPage, missing: tuple[str, ...] = (), most: int = 50) -> str:
    found = Review(version="model-1", pages=pages, missing=missing, told=("Names are doubted so.",))
    return html_report(found, Drawn(), what="project leases", label_studio="http://studio:8080/", most=most)


def rectangles(text: str) -> list[str]:
    return re.findall(r'<rect class="(\w+)"', text)


def test_the_annotator_s_box_and_the_model_s_are_drawn_over_the_place() -> None:
    assert rectangles(rendered(doubted(DoubtKind.BADLY_PLACED))) == ["given", "seen"]
    # The model speaks about the annotator's own box.
    assert rectangles(rendered(doubted(DoubtKind.SWAPPED))) == ["given"]
    # There is no box but another one, which reaches into the picture.
    assert rectangles(rendered(doubted(DoubtKind.OVERLOOKED))) == ["other", "seen"]


def test_it_loads_nothing_and_links_to_the_task_alone() -> None:
    text = rendered(doubted(DoubtKind.SWAPPED), doubted(DoubtKind.OVERLOOKED, task=None, name="lease-3"))
    links = {url for url in re.findall(r'(?:href|src)="([^"]*)"', text) if not url.startswith("data:")}
    assert links == {"http://studio:8080/projects/7/data?task=3"}
    assert "default-src 'none'" in text
    assert "<script" not in text
    assert not re.search(r"@import|url\(", text)


def test_words_from_elsewhere_are_only_words() -> None:
    text = rendered(doubted(DoubtKind.SWAPPED, name='<b onload="x">'), missing=("<i>task 9</i>: gone",))
    assert '<b onload="x">' not in text
    assert "&lt;i&gt;task 9&lt;/i&gt;: gone" in text


def test_an_arabic_name_turns_nothing_around_it() -> None:
    text = rendered(doubted(DoubtKind.SWAPPED, name="عقد إيجار 114.pdf"))
    assert "<span><bdi>عقد إيجار 114</bdi>.pdf, page score 0.20</span>" in text


def test_a_page_that_is_gone_since_says_so_in_its_place() -> None:
    text = rendered(doubted(DoubtKind.SWAPPED, source="gone"), doubted(DoubtKind.SWAPPED))
    assert "gone: nothing is there any more" in text
    assert text.count("<image ") == 1
    assert text.count("<figure ") == 2


def test_no_more_pages_than_wanted_and_none_without_a_doubt() -> None:
    well = ReviewedPage(place=PagePlace(name="task 8", source="there"), score=0.99, doubts=(), given=())
    text = rendered(*(doubted(DoubtKind.SWAPPED) for _ in range(5)), well, most=3)
    assert text.count("<figure ") == 3
    assert "3 of 5 pages with a doubt are shown" in text
    assert "task 8" not in text


def test_nothing_doubted() -> None:
    text = rendered()
    assert "Nothing: the model doubts no annotation." in text
    assert "<figure " not in text
