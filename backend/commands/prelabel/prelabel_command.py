"""The command `prelabel`: predictions for every task of a project, portion by portion, or for a folder of pages."""

from __future__ import annotations

import argparse
import os
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from backend.commands.prelabel.crew import Crew, Failure, Failures, Lost
from backend.commands.prelabel.prelabel_files import FileCounts, FileJob, prelabel_files
from backend.commands.prelabel.settling import ProjectJob, Settled, Wanted, make_settler, patiently
from backend.corrections.belonging import claim
from backend.corrections.database import writing
from backend.corrections.service import Store
from backend.errors import SettingsError, SetupError
from backend.escaping import printable
from backend.files import alone
from backend.labelstudio.client import LabelStudio
from backend.labelstudio.connections import ask_for_token
from backend.labelstudio.projects import named_project, read_label_config
from backend.labelstudio.protocol import creation_of
from backend.labelstudio.stored_predictions import list_current_tasks, list_tasks
from backend.labelstudio.tabs import TABS
from backend.settings import Settings
from backend.terminal import advise

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

__all__ = ["add_arguments", "run"]

# Tasks of one request for a list; what is known of the tasks ahead is never more than this.
_LISTED = 200
_LOCK_SECONDS = 60.0


@dataclass(kw_only=True)
class ProjectCounts:
    """How far a run is.

    Attributes:
        version: Of the predictions; empty until a worker has loaded its model.
        total: Tasks to see to, as far as they are known.
        tasks: Tasks that were seen to.
        pages: Pages that were looked at.
        predicted: Tasks that got a prediction.
        duplicates: Second predictions of this version that were deleted.
        replaced: Predictions of other versions that were rewritten or deleted for the sake of newer ones.
        workers: Process ids of the workers.
    """

    version: str = ""
    total: int = 0
    tasks: int = 0
    pages: int = 0
    predicted: int = 0
    duplicates: int = 0
    replaced: int = 0
    workers: tuple[int, ...] = field(default=())

    def add(self, settled: Settled, tasks: int) -> None:
        self.tasks += tasks
        self.pages += settled.pages
        self.predicted += settled.predicted
        self.duplicates += settled.duplicates
        self.replaced += settled.replaced


def prelabel_project(
    settings: Settings,
    studio: LabelStudio,
    job: ProjectJob,
    failures: Failures,
    *,
    tasks: Callable[[], Iterable[int]] | None,
    unannotated: bool,
    processes: int,
    batch: int,
    progress: Callable[[ProjectCounts], object] = lambda _: None,
) -> ProjectCounts:
    """Gives each task of a project exactly one prediction of the version that serves.

    Label Studio itself knows what a killed run left undone. It lists the ids of tasks without a prediction, and the run
    takes them in portions. Then it looks at tasks with more than one prediction: a run was killed before it got the
    answer, or somebody opened the task meanwhile.

    A refresh takes, once, each open task that has a prediction of this version.

    Args:
        settings: The settings of the workers.
        studio: To list with.
        job: Project and label config.
        failures: Takes what failed.
        tasks: Called twice, gives the ids of the tasks; None for all tasks of the project.
        unannotated: Only tasks that nobody annotated and that have predictions, all of other versions.
        processes: Workers.
        batch: Tasks of a portion, sent together.
        progress: Called after each portion.

    Raises:
        SetupError: Another run on this data folder is at this project.
        BackendError: What failed in a worker would fail in every worker, such as a token that is refused.
    """
    make = partial(make_settler, settings, job, processes)
    with _alone(settings.data_dir, job.project) as lock, Crew(make, processes=processes, lock=lock) as crew:
        counts = ProjectCounts(version=crew.version)
        for first in (True,) if job.refresh else (True, False):
            if tasks is None and job.refresh:
                listed = _shown(studio, job, counts)
            elif tasks is None:
                listed = _listed(studio, job, counts, lacking=first, unannotated=unannotated)
            else:
                listed = _named(tasks(), counts, first=first)
            for answer in crew.run(_portions(listed, batch)):
                if isinstance(answer, Lost):
                    failures.add(Failure(what=answer.part.task, kind="WorkerDied", reason=answer.reason))
                    counts.tasks += 1
                else:
                    counts.add(answer.answer, len(answer.portion))
                    for failure in answer.answer.failures:
                        failures.add(failure)
                counts.workers = crew.pids
                progress(counts)
    return counts


def _listed(
    studio: LabelStudio, job: ProjectJob, counts: ProjectCounts, *, lacking: bool, unannotated: bool
) -> Iterator[Wanted]:
    """Tasks by Label Studio's lists, which are asked for as they are used."""
    after, known = 0, False
    while True:
        ask = partial(
            list_tasks,
            studio,
            job.project,
            counts.version,
            lacking=lacking,
            alone=job.replace,
            unannotated=unannotated,
            after=after,
            most=_LISTED,
        )
        listing = patiently(ask)
        if listing.last is None:
            return
        if lacking and not known:
            counts.total += listing.total
        elif not lacking:
            counts.total += len(listing.ids)
        after, known = listing.last, True
        yield from (Wanted(task=task) for task in listing.ids)


def _shown(studio: LabelStudio, job: ProjectJob, counts: ProjectCounts) -> Iterator[Wanted]:
    """Open tasks that have a prediction of this version."""
    after: int | None = 0
    while after is not None:
        listing = patiently(partial(list_current_tasks, studio, job.project, counts.version, after=after, most=_LISTED))
        counts.total = max(counts.total, listing.total)
        after = listing.last
        yield from (Wanted(task=task) for task in listing.ids)


def _named(tasks: Iterable[int], counts: ProjectCounts, *, first: bool) -> Iterator[Wanted]:
    """The tasks that were named; the second time, only their surplus predictions are deleted."""
    for task in tasks:
        counts.total += 1
        yield Wanted(task=task, predict=first)


def _portions(wanted: Iterator[Wanted], size: int) -> Iterator[list[Wanted]]:
    while portion := list(islice(wanted, size)):
        yield portion


@contextmanager
def _alone(data_dir: Path, project: int) -> Iterator[int]:
    """One run at a time for each project; it first waits until the workers of a killed run have ended."""
    file = data_dir / "prelabel" / f"project-{project}.lock"
    file.parent.mkdir(parents=True, exist_ok=True)
    busy = SetupError(f"another `prelabel` is at project {project}: wait for it, or end it")
    with alone(file, seconds=_LOCK_SECONDS, refusal=busy) as lock:
        yield lock


_MOST_TOGETHER = 100


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `prelabel`."""
    parser.add_argument(
        "inputs", nargs="*", metavar="FOLDER|FILE|URL|TASKS.json", help="instead of a project: pages or lists of tasks"
    )
    parser.add_argument(
        "--processes",
        type=int,
        default=1,
        metavar="N",
        help="how many predict, with a model each (default: %(default)s)",
    )
    parser.add_argument(
        "--batch", type=int, default=20, metavar="N", help="how many tasks are sent together (default: %(default)s)"
    )
    parser.add_argument(
        "--report", type=Path, metavar="FILE", help="write here what failed and why, one JSON document a line"
    )
    project = parser.add_argument_group("a project of Label Studio")
    project.add_argument("--project", metavar="ID|TITLE", help="the project, by number or title")
    project.add_argument("--tasks", metavar="FILE|IDS", help="only these: numbers with commas, or a file of numbers")
    project.add_argument(
        "--only-outdated",
        action="store_true",
        help="only tasks without annotations whose predictions are all of other versions, such as after a promotion",
    )
    project.add_argument(
        "--refresh",
        action="store_true",
        help="predict open tasks again that have a prediction of this version; replace those that corrections change",
    )
    project.add_argument("--replace", action="store_true", help="replace a task's predictions of other versions")
    project.add_argument(
        "--columns",
        action="store_true",
        help="also write into each task how many marks were found, and which page of a document to look at first",
    )
    folder = parser.add_argument_group("pages without Label Studio")
    folder.add_argument(
        "--out", metavar="FILE.json", help="write tasks with predictions here, for Label Studio's import"
    )
    folder.add_argument("--parquet", metavar="FILE.parquet", help="write the same as a table here")
    folder.add_argument("--label-config", type=Path, metavar="XML", help="label config whose names the regions get")
    folder.add_argument(
        "--prefix",
        default="/data/local-files/?d=",
        help="what Label Studio puts before the path of a local file (default: %(default)s)",
    )
    folder.add_argument(
        "--engine", choices=("local", "ray"), default="local", help="run here, or on Ray (default: %(default)s)"
    )
    folder.add_argument(
        "--ray-address", metavar="ADDRESS", help="a Ray cluster's address (default: Ray on this machine)"
    )


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
        try:
            if args.project:
                _project(args, settings, failures)
            else:
                _files(args, settings, failures)
        except KeyboardInterrupt:
            if not args.refresh:  # which begins anew
                print("contract-marks: not all is done; the same command goes on from here", file=sys.stderr)
            raise
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
        described = studio.project(project)
        config = str(described.get("label_config") or "")
        _claim(settings, project, described)
        with tqdm(unit="task", disable=None, file=sys.stderr, smoothing=0.05) as bar:
            counts = prelabel_project(
                settings,
                studio,
                ProjectJob(
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
        f"{seconds:.0f} s ({counts.pages / seconds:.1f} a second), {counts.duplicates} duplicates deleted, "
        f"{counts.replaced} predictions of other versions replaced, {len(failures)} tasks failed"
    )
    if counts.predicted:
        advise(f'annotate from the tab "{TABS[0].title}" of {studio.base_url}/projects/{project}')


def _claim(settings: Settings, project: int, described: Mapping[str, Any]) -> None:
    """Makes sure that the ledger is of this Label Studio, before what another one is shown is noted in it."""
    store = Store.open(settings)
    with writing(store.engine) as connection:
        claim(connection, address=store.studio, project=project, made=creation_of(described))
    store.engine.dispose()


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
        label_config="" if args.label_config is None else read_label_config(args.label_config),
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


def _show(bar: tqdm[object], counts: ProjectCounts, started: float) -> None:
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
