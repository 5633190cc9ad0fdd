"""The command `review`: annotations that the current model doubts, as a list, a Data Manager tab and an HTML page.

The page shows each doubt as a picture: the place with some context, the annotator's boxes and the model's over it. It
needs no other file and no network, and is for its owner's eyes.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from backend.commands.review.annotated_pages import FrozenSource, ProjectSource, Source
from backend.commands.review.doubts import Doubt, DoubtKind, PagePlace, Review, ReviewedPage, tasks_of
from backend.commands.review.reviewing import review
from backend.corrections.label_history import LabelHistory
from backend.corrections.service import Store
from backend.dataset.freezing import datasets
from backend.errors import BackendError, SettingsError
from backend.escaping import printable
from backend.evaluation.mistakes import Box, CutOut, cut_out
from backend.files import ask_for_place, write_private
from backend.labelstudio.client import LabelStudio
from backend.labelstudio.connections import ask_for_token
from backend.labelstudio.projects import named_project, tasks_with, write_columns
from backend.markup import moment, render
from backend.models.serving import Sources, build_pipeline
from backend.pages.source import PageSource
from backend.settings import Settings
from backend.terminal import advise

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["KIND", "SCORE", "add_arguments", "html_report", "make_tab", "run"]

_MEANINGS = {
    DoubtKind.OVERLOOKED: "the model is sure of a mark, and no box is there",
    DoubtKind.SWAPPED: "the model has another name for what is in the box",
    DoubtKind.BADLY_PLACED: "the model's box of that name lies elsewhere",
}


@dataclass(frozen=True, kw_only=True)
class DoubtPicture:
    """One doubt to look at.

    Attributes:
        page: Its page.
        doubt: What it is.
        cut: The place; None where the page could not be read again.
        given: x, y, width, height on the image of the annotator's box; None where there is none.
        seen: The same of the model's box; None where it is the annotator's.
        others: The same of the annotator's other boxes that reach into the image.
        reason: Why there is no place, in words.
    """

    page: ReviewedPage
    doubt: Doubt
    cut: CutOut | None = None
    given: Box | None = None
    seen: Box | None = None
    others: tuple[Box, ...] = ()
    reason: str = ""


def pictures(pages: Sequence[ReviewedPage], source: Source) -> Iterator[DoubtPicture]:
    """A picture of each doubt, page by page; each page is read once."""
    for page in pages:
        try:
            pixels = source.page(page.place).pixels
        except BackendError as error:
            yield from (DoubtPicture(page=page, doubt=one, reason=str(error)) for one in page.doubts)
        else:
            yield from (_picture(page, one, pixels) for one in page.doubts)


def _picture(page: ReviewedPage, doubt: Doubt, pixels: NDArray[np.uint8]) -> DoubtPicture:
    cut = cut_out(pixels, [one.box for one in (doubt.given, doubt.seen) if one is not None])
    others = (cut.placed(one.box) for one in page.given if one != doubt.given)
    return DoubtPicture(
        page=page,
        doubt=doubt,
        cut=cut,
        given=cut.placed(doubt.given.box) if doubt.given else None,
        seen=None if doubt.kind is DoubtKind.SWAPPED else cut.placed(doubt.seen.box),
        others=tuple(one for one in others if _reaches(one, cut)),
    )


def _reaches(box: Box, cut: CutOut) -> bool:
    x, y, across, down = box
    return x < cut.width and y < cut.height and x + across > 0 and y + down > 0


def html_report(review: Review, source: Source, *, what: str, label_studio: str, most: int) -> str:
    """The report. It holds pictures of the pages: write it with `private.write_private`.

    Args:
        review: What was found.
        source: Where the pages are, which are read again for the pictures.
        what: What was reviewed, in words.
        label_studio: Its address, to which tasks are linked.
        most: Pages that are shown at most, the least believed.
    """
    shown = review.doubted[:most]
    return render(
        "review.html",
        "backend.commands.review",
        review=review,
        what=what,
        shown=shown,
        pictures=pictures(shown, source),
        meanings=_MEANINGS,
        link=lambda place: _link(label_studio, place),
        moment=moment(time.time()),
    )


def _link(label_studio: str, place: PagePlace) -> str | None:
    """Where the task is opened in Label Studio; None for a page that is not of one."""
    if place.task is None:
        return None
    return f"{label_studio.rstrip('/')}/projects/{place.project}/data?task={place.task}"


SCORE, KIND = "review_score", "review_kind"
"""Fields of a task's data. A task without a doubt has the first alone: then the tab's filter need not compare texts."""
_TAB = "Review"
_PLACES = 3
"""Of a score: fewer than make a number with an exponent, so that it sorts alike as a number and as a text."""


_NOTHING: Mapping[str, Any] = {SCORE: None, KIND: None}
_LISTED, _PICTURED = 20, 50


def _write_scores(
    studio: LabelStudio, project: int, review: Review, *, progress: Callable[[int], object] = lambda _: None
) -> int:
    """Writes the score and the kinds of doubt of each task that was looked at; gives how many tasks changed by it.

    What an earlier review wrote into other tasks, whose annotations are gone since, is taken away.

    Raises:
        LabelStudioError: Label Studio refused or did not answer.
    """
    values: dict[int, Mapping[str, Any]] = dict.fromkeys(tasks_with(studio, project, SCORE), _NOTHING)
    values |= {task: _columns(*found) for task, found in tasks_of(review.pages).items()}
    return write_columns(studio, project, values, progress=progress)


def make_tab(studio: LabelStudio, project: int) -> bool:
    """Makes the tab, where there is none of its title; gives whether it was made.

    Raises:
        LabelStudioError: Label Studio refused or did not answer.
    """
    there = studio.tabs(project)
    if _TAB in there:
        return False
    if not there:
        # The browser makes one where there is none; with this one there it would not, and most tasks would be hidden.
        studio.create_tab(project, "Default")
    doubted = {"filter": f"filter:tasks:data.{KIND}", "operator": "empty", "type": "Unknown", "value": False}
    studio.create_tab(
        project,
        _TAB,
        filters={"conjunction": "and", "items": [doubted]},
        ordering=[f"tasks:data.{SCORE}"],
        columnsDisplayType={f"tasks:data.{SCORE}": "Number"},
    )
    return True


def _columns(score: float, kinds: tuple[DoubtKind, ...]) -> Mapping[str, Any]:
    return {SCORE: round(score, _PLACES), KIND: ", ".join(kinds) or None}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `review`."""
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--project", metavar="ID|TITLE", help="look at a project's annotations; its number or title")
    what.add_argument("--dataset", metavar="NAME", help="look at a frozen data set")
    parser.add_argument(
        "--top",
        type=int,
        metavar="N",
        help=f"how many pages, the most doubtful first (default: {_LISTED} in the list, {_PICTURED} in the report, all "
        "as JSON)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of the list")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page with pictures here")
    parser.add_argument(
        "--write", action="store_true", help=f"write the scores into the project's tasks, and make the tab {_TAB!r}"
    )
    parser.add_argument("--model", help="auto, hub, bundled or the name of a published model (MODEL)")


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Reviews; gives 1 where a page could not be looked at.

    Raises:
        SettingsError: The arguments do not go together, or there is no token.
        OutputError: The report cannot be written.
        BackendError: There is no model, project or version, or Label Studio refused or did not answer.
    """
    settings = settings.with_arguments(model=args.model)
    _refuse_early(args, settings)
    with ExitStack() as stack:
        source, studio, project = _source(args, settings, stack)
        pipeline = build_pipeline(Sources.of(settings).at_once(), settings)
        with tqdm(total=source.total, unit="task" if studio else "page", disable=None, file=sys.stderr) as bar:
            found = review(source, pipeline, progress=bar.update)
        for line in found.missing:
            print(f"not looked at: {printable(line)}", file=sys.stderr)
        _print(found, args)
        if args.html:
            what = f"data set {args.dataset}" if args.dataset else f"project {args.project}"
            write_private(args.html, _report(found, source, what, args, settings))
            print(f"{args.html}: confidential, it shows parts of the pages; only you can read it", file=sys.stderr)
        if args.write and studio is not None and project is not None:
            _write(found, studio, project)
    return 1 if found.missing else os.EX_OK


def _refuse_early(args: argparse.Namespace, settings: Settings) -> None:
    """Says before the work, and not after it, what cannot be done."""
    if args.top is not None and args.top < 1:
        raise SettingsError("--top is at least 1")
    if args.write and not args.project:
        raise SettingsError("--write is for a --project: a frozen version never changes")
    if args.project:
        ask_for_token(settings, "review --project")
    ask_for_place(args.html)


def _source(
    args: argparse.Namespace, settings: Settings, stack: ExitStack
) -> tuple[Source, LabelStudio | None, int | None]:
    """The pages; for a project, with Label Studio and the project's id."""
    if args.dataset:
        return FrozenSource(datasets(settings).open(args.dataset)), None, None
    studio = stack.enter_context(LabelStudio(settings.label_studio_url, settings.label_studio_api_key))
    project = named_project(studio, args.project)
    store = Store.open(settings)
    stack.callback(store.engine.dispose)
    past = LabelHistory(engine=store.engine)
    return ProjectSource(studio, PageSource(settings, studio), project, past=past), studio, project


def _print(found: Review, args: argparse.Namespace) -> None:
    shown = found.doubted[: args.top]
    if args.json:
        facts = {"version": found.version, "told": found.told, "looked_at": len(found.pages), "missing": found.missing}
        print(json.dumps({**facts, "pages": [page.as_json() for page in shown]}))
        return
    for sentence in found.told:
        print(printable(sentence), file=sys.stderr)
    for page in shown[: args.top or _LISTED]:
        print(f"{page.score:.2f}  {printable(page.place.name)}")
        for one in page.doubts:
            print(f"      {one.score:.2f}  {one.kind:<{max(map(len, DoubtKind))}}  {printable(one)}")
    counted = ", ".join(f"{found.count(kind)} {kind}" for kind in DoubtKind)
    print(f"{len(found.doubted)} of {len(found.pages)} pages are doubted by {found.version}: {counted}")
    if not found.pages and not found.missing:
        print("nobody annotated a page there yet: there is nothing to review", file=sys.stderr)
    elif found.doubted and not args.html:
        write = "" if args.write or args.dataset else f"; --write makes the tab {_TAB!r} of the tasks"
        advise(f"--html review.html shows each place as a picture{write}")


def _report(found: Review, source: Source, what: str, args: argparse.Namespace, settings: Settings) -> str:
    most = args.top or _PICTURED
    return html_report(found, source, what=what, label_studio=settings.label_studio_url, most=most)


def _write(found: Review, studio: LabelStudio, project: int) -> None:
    with tqdm(unit="task", desc="write", disable=None, file=sys.stderr) as bar:
        changed = _write_scores(studio, project, found, progress=bar.update)
    made = make_tab(studio, project)
    print(
        f"{changed} tasks have a new {SCORE} or {KIND}; the tab {_TAB!r} {'was made' if made else 'is there already'}",
        file=sys.stderr,
    )
