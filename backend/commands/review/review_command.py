"""The command `review`: annotations that the current model doubts, as a list, a Data Manager tab and a page.

The review queue in Label Studio: two columns of the Data Manager, and a tab that shows what is doubted.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from backend.commands.review.annotated_pages import FrozenSource, ProjectSource, Source
from backend.commands.review.doubts import Kind, Review, tasks_of
from backend.commands.review.review_report import html_report
from backend.commands.review.reviewing import review
from backend.corrections.label_history import LabelHistory
from backend.corrections.service import Store
from backend.dataset.freezing import datasets
from backend.errors import SettingsError
from backend.escaping import printable
from backend.files import write_private
from backend.labelstudio.client import LabelStudio
from backend.labelstudio.connections import ask_for_token
from backend.labelstudio.projects import named_project, tasks_with, write_columns
from backend.models.serving import Sources, build_pipeline
from backend.pages.source import PageSource
from backend.settings import Settings

if TYPE_CHECKING:
    import argparse

__all__ = ["KIND", "SCORE", "TAB", "add_arguments", "make_tab", "run", "write_scores"]

SCORE, KIND = "review_score", "review_kind"
"""Fields of a task's data. A task without a doubt has the first alone: then the tab's filter need not compare texts."""
TAB = "Review"
_PLACES = 3
"""Of a score: fewer than make a number with an exponent, so that it sorts alike as a number and as a text."""


_NOTHING: Mapping[str, Any] = {SCORE: None, KIND: None}
_LISTED, _PICTURED = 20, 50


def write_scores(
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
    if TAB in there:
        return False
    if not there:
        # The browser makes one where there is none; with this one there it would not, and most tasks would be hidden.
        studio.create_tab(project, "Default")
    doubted = {"filter": f"filter:tasks:data.{KIND}", "operator": "empty", "type": "Unknown", "value": False}
    studio.create_tab(
        project,
        TAB,
        filters={"conjunction": "and", "items": [doubted]},
        ordering=[f"tasks:data.{SCORE}"],
        columnsDisplayType={f"tasks:data.{SCORE}": "Number"},
    )
    return True


def _columns(score: float, kinds: tuple[Kind, ...]) -> Mapping[str, Any]:
    return {SCORE: round(score, _PLACES), KIND: ", ".join(kinds) or None}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `review`."""
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--project", metavar="ID|TITLE", help="what annotators left there by now; digits alone are an id")
    what.add_argument("--dataset", metavar="NAME", help="a frozen version")
    parser.add_argument(
        "--top",
        type=int,
        metavar="N",
        help=f"pages, the least believed first ({_LISTED} in the list, {_PICTURED} in the report, all as JSON)",
    )
    parser.add_argument("--json", action="store_true", help="one JSON document")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page with pictures here")
    parser.add_argument(
        "--write", action="store_true", help=f"write the scores into the project's tasks, and make the tab {TAB!r}"
    )
    parser.add_argument("--model", help="auto, hub, bundled or the name of a trained model (MODEL)")


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Reviews; gives 1 where a page could not be looked at.

    Raises:
        SettingsError: The arguments do not go together, or there is no token.
        EvaluationError: The report cannot be written.
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
    if args.html and not (args.html.parent.is_dir() and os.access(args.html.parent, os.W_OK)):
        raise SettingsError(f"{args.html} cannot be written: {args.html.parent} is no folder that you may write to")


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
            print(f"      {one.score:.2f}  {one.kind:<{max(map(len, Kind))}}  {printable(one)}")
    counted = ", ".join(f"{found.count(kind)} {kind}" for kind in Kind)
    print(f"{len(found.doubted)} of {len(found.pages)} pages are doubted by {found.version}: {counted}")


def _report(found: Review, source: Source, what: str, args: argparse.Namespace, settings: Settings) -> str:
    most = args.top or _PICTURED
    return html_report(found, source, what=what, label_studio=settings.label_studio_url, most=most)


def _write(found: Review, studio: LabelStudio, project: int) -> None:
    with tqdm(unit="task", desc="write", disable=None, file=sys.stderr) as bar:
        changed = write_scores(studio, project, found, progress=bar.update)
    made = make_tab(studio, project)
    print(
        f"{changed} tasks have a new {SCORE} or {KIND}; the tab {TAB!r} {'was made' if made else 'is there already'}",
        file=sys.stderr,
    )
