"""The command `prelabel`: predictions for all that is there, in a project of Label Studio or in a folder of pages."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from backend.commands.prelabel.archive import read_label_config
from backend.commands.prelabel.failures import Failures
from backend.commands.prelabel.prelabel_files import FileCounts, FileJob, prelabel_files
from backend.commands.prelabel.prelabel_project import Counts, prelabel_project
from backend.commands.prelabel.settling import Job
from backend.errors import SettingsError
from backend.escaping import printable
from backend.labelstudio.client import LabelStudio
from backend.labelstudio.connections import ask_for_token
from backend.labelstudio.projects import named_project
from backend.settings import Settings

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["add_arguments", "run"]

_MOST_TOGETHER = 100


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `prelabel`."""
    parser.add_argument(
        "inputs",
        nargs="*",
        metavar="FOLDER|FILE|URL|TASKS.json",
        help="pages, or a list of tasks, instead of a project",
    )
    parser.add_argument("--processes", type=int, default=1, metavar="N", help="each holds one model (%(default)s)")
    parser.add_argument("--batch", type=int, default=20, metavar="N", help="tasks sent together (%(default)s)")
    parser.add_argument("--report", type=Path, metavar="FILE", help="what failed and why, one JSON document a line")
    project = parser.add_argument_group("a project of Label Studio")
    project.add_argument("--project", metavar="ID|TITLE", help="which; digits alone are an id")
    project.add_argument("--tasks", metavar="FILE|IDS", help="only these: ids with commas, or a file of ids")
    project.add_argument(
        "--only-outdated",
        action="store_true",
        help="only tasks that nobody annotated and that have predictions of other versions alone, as after a promotion",
    )
    project.add_argument(
        "--refresh",
        action="store_true",
        help="predict open tasks anew that have a prediction of this version, and replace what corrections change",
    )
    project.add_argument("--replace", action="store_true", help="delete the predictions of other versions")
    project.add_argument(
        "--columns",
        action="store_true",
        help="also write into the tasks how many marks were found, and of a document the page to look at first",
    )
    folder = parser.add_argument_group("pages without Label Studio")
    folder.add_argument("--out", metavar="FILE.json", help="tasks with predictions, to be imported by Label Studio")
    folder.add_argument("--parquet", metavar="FILE.parquet", help="the same as a table")
    folder.add_argument("--label-config", type=Path, metavar="XML", help="whose names the regions shall bear")
    folder.add_argument(
        "--prefix",
        default="/data/local-files/?d=",
        help="what Label Studio puts before a local file's path within its folder (%(default)s)",
    )
    folder.add_argument("--engine", choices=("local", "ray"), default="local", help="where it runs (%(default)s)")
    folder.add_argument("--ray-address", metavar="ADDRESS", help="of a Ray cluster; without it, Ray on this machine")


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Pre-labels; gives 1 where something failed.

    Raises:
        SettingsError: The arguments do not go together, or there is no token.
        BackendError: There is no model, or Label Studio refused or did not answer.
    """
    if bool(args.project) == bool(args.inputs):
        raise SettingsError("name either a --project, or folders, files or lists of tasks")
    if args.processes < 1 or not 1 <= args.batch <= _MOST_TOGETHER:
        raise SettingsError(f"--processes is at least 1, and --batch from 1 to {_MOST_TOGETHER}")
    with Failures(args.report) as failures:
        if args.project:
            _project(args, settings, failures)
        else:
            _files(args, settings, failures)
        for line in failures.lines():
            print(f"failed: {printable(line)}", file=sys.stderr)
        return 1 if len(failures) else os.EX_OK


def _project(args: argparse.Namespace, settings: Settings, failures: Failures) -> None:
    ask_for_token(settings, "prelabel --project")
    if args.engine != "local":
        raise SettingsError("--engine ray is for folders, object stores and lists of tasks; projects use --processes")
    if args.refresh and (args.only_outdated or args.replace):
        raise SettingsError("--refresh is for predictions of this version, --only-outdated and --replace for others")
    started = time.monotonic()
    with LabelStudio(settings.label_studio_url, settings.label_studio_api_key) as studio:
        project = named_project(studio, args.project)
        config = str(studio.project(project).get("label_config") or "")
        with tqdm(unit="task", disable=None, file=sys.stderr, smoothing=0.05) as bar:
            counts = prelabel_project(
                settings,
                studio,
                Job(
                    project=project,
                    label_config=config,
                    replace=args.replace,
                    refresh=args.refresh,
                    columns=args.columns,
                ),
                failures,
                tasks=_ids(args.tasks) if args.tasks else None,
                unannotated=args.only_outdated,
                processes=args.processes,
                batch=args.batch,
                progress=lambda counts: _show(bar, counts, started),
            )
    seconds = time.monotonic() - started
    if args.refresh:
        print(
            f"project {project}: of {counts.tasks} tasks, {counts.predicted} are shown something else now by "
            f"{counts.version}, {counts.pages} pages in {seconds:.0f} s, {len(failures)} tasks failed"
        )
        return
    print(
        f"project {project}: {counts.predicted} tasks predicted by {counts.version}, {counts.pages} pages in "
        f"{seconds:.0f} s ({counts.pages / seconds:.1f} a second), {counts.duplicates} duplicates and "
        f"{counts.replaced} predictions of other versions deleted, {len(failures)} tasks failed"
    )


def _files(args: argparse.Namespace, settings: Settings, failures: Failures) -> None:
    if not (args.out or args.parquet):
        raise SettingsError("name where the predictions go: --out predictions.json, --parquet predictions.parquet")
    if args.tasks or args.only_outdated or args.refresh or args.replace or args.columns:
        raise SettingsError("--tasks, --only-outdated, --refresh, --replace and --columns are for a --project")
    job = FileJob(
        inputs=args.inputs,
        prefix=args.prefix,
        out=args.out or "",
        parquet=args.parquet or "",
        label_config=read_label_config(args.label_config),
        processes=args.processes,
        batch=args.batch,
        ray=args.engine == "ray",
        ray_address=args.ray_address or "",
    )
    started = time.monotonic()
    with tqdm(unit="file", disable=None, file=sys.stderr, smoothing=0.05) as bar:

        def show(counts: FileCounts) -> None:
            rate = counts.pages / max(time.monotonic() - started, 1e-9)
            bar.total = counts.total - counts.resumed
            bar.set_postfix_str(f"{counts.pages} pages, {rate:.1f} pages/s", refresh=False)
            bar.update(counts.items - bar.n)

        counts = prelabel_files(settings, job, failures, progress=show)
    seconds = time.monotonic() - started
    print(
        f"{counts.rows} predictions by {counts.version}: {counts.pages} pages of {counts.items} items in "
        f"{seconds:.0f} s ({counts.pages / seconds:.1f} a second), {counts.resumed} items of an earlier run, "
        f"{len(failures)} failed"
    )


def _show(bar: tqdm[object], counts: Counts, started: float) -> None:
    rate = counts.pages / max(time.monotonic() - started, 1e-9)
    bar.total = max(counts.total, counts.tasks)
    bar.set_postfix_str(f"{counts.pages} pages, {rate:.1f} pages/s", refresh=False)
    bar.update(counts.tasks - bar.n)


def _ids(text: str) -> Callable[[], Iterable[int]]:
    """Task ids, from the argument or from a file that is read as they are used.

    Raises:
        SettingsError: It is neither.
    """
    file = Path(text)
    if file.is_file():
        return lambda: _ids_in(file)
    try:
        ids = [int(one) for one in text.split(",") if one.strip()]
    except ValueError as error:
        raise SettingsError(f"--tasks {text} is neither a file nor task ids with commas, such as 4,8,15") from error
    return lambda: ids


def _ids_in(file: Path) -> Iterator[int]:
    try:
        with file.open(encoding="utf-8") as lines:
            for line in lines:
                yield from (int(one) for one in line.replace(",", " ").split())
    except (OSError, ValueError) as error:
        raise SettingsError(f"{file} is no list of task ids ({error}): write one a line") from error
