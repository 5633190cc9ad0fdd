"""Pre-labels a project: lists its tasks page by page, has portions settled by a crew, and counts."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

from backend.commands.prelabel.crew import Crew, Lost
from backend.commands.prelabel.failures import Failure
from backend.commands.prelabel.settling import Wanted, make_settler, patiently
from backend.errors import SetupError
from backend.files import alone
from backend.labelstudio.stored_predictions import list_current_tasks, list_tasks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from backend.commands.prelabel.failures import Failures
    from backend.commands.prelabel.settling import Job, Settled
    from backend.labelstudio.client import LabelStudio
    from backend.settings import Settings

__all__ = ["Counts", "prelabel_project"]

# Tasks of one request for a list; what is known of the tasks ahead is never more than this.
_LISTED = 200
_LOCK_SECONDS = 60.0


@dataclass(kw_only=True)
class Counts:
    """How far a run is.

    Attributes:
        version: Of the predictions; empty until a worker has loaded its model.
        total: Tasks to see to, as far as they are known.
        tasks: Tasks that were seen to.
        pages: Pages that were looked at.
        predicted: Tasks that got a prediction.
        duplicates: Second predictions of this version that were deleted.
        replaced: Predictions that were deleted for the sake of newer ones.
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
    job: Job,
    failures: Failures,
    *,
    tasks: Callable[[], Iterable[int]] | None,
    unannotated: bool,
    processes: int,
    batch: int,
    progress: Callable[[Counts], object] = lambda _: None,
) -> Counts:
    """Gives each task of a project exactly one prediction of the version that serves.

    Label Studio itself knows what a killed run left undone. It lists the ids of tasks without a prediction, and the run
    takes them in portions. Then those are looked at that have more than one: where a run was killed between sending and
    hearing, or somebody opened the task meanwhile.

    A refresh takes the open tasks once that have a prediction of this version.

    Args:
        settings: The settings of the workers.
        studio: To list with.
        job: Project and label config.
        failures: Takes what failed.
        tasks: Ids to see to, asked for twice; all of the project's when None.
        unannotated: Only tasks that nobody annotated and that have predictions, all of other versions.
        processes: Workers.
        batch: Tasks of a portion, sent together.
        progress: Called after each portion.

    Raises:
        SetupError: Another run on this data folder is at this project.
        BackendError: What befell a worker and would befall them all, such as a token that is refused.
    """
    make = partial(make_settler, settings, job, processes)
    with _alone(settings.data_dir, job.project) as lock, Crew(make, processes=processes, lock=lock) as crew:
        counts = Counts(version=crew.version)
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


def _listed(studio: LabelStudio, job: Job, counts: Counts, *, lacking: bool, unannotated: bool) -> Iterator[Wanted]:
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


def _shown(studio: LabelStudio, job: Job, counts: Counts) -> Iterator[Wanted]:
    """Open tasks that have a prediction of this version."""
    after: int | None = 0
    while after is not None:
        listing = patiently(partial(list_current_tasks, studio, job.project, counts.version, after=after, most=_LISTED))
        counts.total = max(counts.total, listing.total)
        after = listing.last
        yield from (Wanted(task=task) for task in listing.ids)


def _named(tasks: Iterable[int], counts: Counts, *, first: bool) -> Iterator[Wanted]:
    """Tasks that were named; the second time, only what is too much there is deleted."""
    for task in tasks:
        counts.total += 1
        yield Wanted(task=task, predict=first)


def _portions(wanted: Iterator[Wanted], size: int) -> Iterator[list[Wanted]]:
    while portion := list(islice(wanted, size)):
        yield portion


@contextmanager
def _alone(data_dir: Path, project: int) -> Iterator[int]:
    """One run at a time for each project; the workers of one that was killed are waited for: they end at once."""
    file = data_dir / "prelabel" / f"project-{project}.lock"
    file.parent.mkdir(parents=True, exist_ok=True)
    busy = SetupError(f"another `prelabel` is at project {project}: wait for it, or end it")
    with alone(file, seconds=_LOCK_SECONDS, refusal=busy) as lock:
        yield lock
