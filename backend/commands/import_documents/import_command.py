"""The command `import`: PDF, TIFF and image files into a Label Studio project, as tasks."""

from __future__ import annotations

import argparse
import itertools
import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from backend.commands.amounts import one_or_more
from backend.commands.import_documents.document_files import named_documents
from backend.commands.import_documents.importing import FileOutcome, FileState, Importer, ImportJournal, Tasks, tasks_of
from backend.errors import LabelConfigError, LabelStudioError
from backend.escaping import LONGEST_LINE, printable
from backend.labelstudio.client import LabelStudio
from backend.labelstudio.connections import ask_for_token
from backend.labelstudio.labelling import bind
from backend.labelstudio.projects import named_project
from backend.pages.page import Limits
from backend.settings import Settings
from backend.terminal import advise

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from backend.labelstudio.labelling import Binding

__all__ = ["add_arguments", "run"]

# A page of a few megabytes over a slow line.
_UPLOAD_SECONDS = 120.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `import`."""
    parser.add_argument("paths", nargs="+", type=Path, metavar="FILE|FOLDER", help="PDF, TIFF or image, or a folder")
    parser.add_argument("--project", required=True, metavar="ID|TITLE", help="the project to fill, by number or title")
    parser.add_argument(
        "--last",
        "--last-pages",
        type=one_or_more,
        metavar="N",
        help="take only the last N pages of each document (default: all)",
    )
    parser.add_argument("--dpi", type=one_or_more, help="resolution at which PDF pages are rendered (RENDER_DPI)")
    parser.add_argument(
        "--tasks",
        choices=[one.value for one in Tasks],
        help="make one task of each document, or of each page (default: as the project's label config shows)",
    )
    parser.add_argument("--recursive", action="store_true", help="look into folders inside folders, too")


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Imports all that is new; gives 1 where some of it could not be imported.

    Raises:
        SettingsError: There is no token.
        DocumentError: There is nothing to import, or it does not fit the project.
        LabelStudioError: There is no such project, or Label Studio refused or did not answer before anything was done.
        LabelConfigError: The project's label config offers nothing to put marks on.
    """
    settings = settings.with_arguments(render_dpi=args.dpi)
    ask_for_token(settings, "import")
    files = named_documents(args.paths, recursive=args.recursive)
    with LabelStudio(settings.label_studio_url, settings.label_studio_api_key, timeout=_UPLOAD_SECONDS) as studio:
        project = named_project(studio, args.project)
        binding = _binding(studio, project)
        tasks_of(binding, Tasks(args.tasks) if args.tasks else None)
        make = partial(
            Importer,
            studio,
            project,
            binding=binding,
            journal=ImportJournal.of(settings.data_dir, base_url=studio.base_url, project=project),
            limits=Limits.of(settings),
            dpi=settings.render_dpi,
            last=args.last,
        )
        return _import(make, files, where=f"{studio.base_url}/projects/{project}")


def _binding(studio: LabelStudio, project: int) -> Binding:
    """The place for marks in the project's label config: it names the field of a task's data."""
    try:
        return bind(str(studio.project(project).get("label_config") or ""))[0]
    except LabelConfigError as error:
        raise LabelConfigError(f"project {project} cannot take documents yet: {error} (see `connect`)") from error


def _import(make: Callable[..., Importer], files: Sequence[Path], *, where: str) -> int:
    """Imports with a bar over the documents and a count of pages, tells of those that failed, and counts."""
    outcomes: list[FileOutcome] = []
    stopped = False
    with tqdm(total=len(files), unit="document", disable=None, file=sys.stderr) as bar:
        pages = itertools.count(1)
        importer = make(page_done=lambda: bar.set_postfix_str(f"{next(pages)} pages"))
        try:
            for outcome in importer.run(files):
                outcomes.append(outcome)
                bar.update()
                if outcome.state is FileState.FAILED:
                    _say(f"{outcome.path}: {outcome.reason}")
        except LabelStudioError as error:
            if not outcomes:
                raise
            _say(str(error))
            stopped = True
        except KeyboardInterrupt:
            bar.close()
            _tell(outcomes, left=len(files) - len(outcomes), where=where, stopped=True)
            raise
    _tell(outcomes, left=len(files) - len(outcomes), where=where, stopped=stopped)
    return 1 if stopped or any(outcome.state is FileState.FAILED for outcome in outcomes) else os.EX_OK


def _tell(outcomes: Sequence[FileOutcome], *, left: int, where: str, stopped: bool) -> None:
    print(_table(outcomes, left=left))
    print(where)
    if stopped:
        _say("not all is done; the same command goes on from here")
    elif any(outcome.tasks for outcome in outcomes):
        project = where.rpartition("/")[2]
        advise(f"a task gets its boxes when it is opened; `prelabel --project {project}` gives them to all tasks now")


def _say(text: str) -> None:
    tqdm.write(f"contract-marks: {printable(text, most=LONGEST_LINE)}", file=sys.stderr)


def _table(outcomes: Sequence[FileOutcome], *, left: int) -> str:
    lines = [f"{'':<30}{'documents':>10}{'pages':>8}{'tasks':>8}"]
    for state in FileState:
        these = [outcome for outcome in outcomes if outcome.state is state]
        if these or state is FileState.IMPORTED:
            pages, tasks = sum(one.pages for one in these), sum(one.tasks for one in these)
            counts = f"{pages:>8}{tasks:>8}" if state is FileState.IMPORTED else ""
            lines.append(f"{state.value:<30}{len(these):>10}{counts}")
    if left:
        lines.append(f"{'not reached':<30}{left:>10}")
    return "\n".join(lines)
