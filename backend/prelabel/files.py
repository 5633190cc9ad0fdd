"""Pre-labels an archive without Label Studio: items are looked at, journalled, and written out when all are done."""

from __future__ import annotations

import hashlib
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from backend.prelabel.archive import items
from backend.prelabel.engines import LocalEngine, RayEngine, checked
from backend.prelabel.failures import Failure
from backend.prelabel.writing import Journal, make_sure, write_json, write_parquet

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from backend.prelabel.engines import Engine
    from backend.prelabel.failures import Failures
    from backend.settings import Settings

__all__ = ["FileCounts", "FileJob", "prelabel_files"]


@dataclass(frozen=True, kw_only=True)
class FileJob:
    """What is to be looked at, and where it goes.

    Attributes:
        inputs: Folders, files, URLs and lists of tasks.
        prefix: Before the paths of local files in tasks' data.
        out: Label Studio's import file; empty for none.
        parquet: The table; empty for none.
        label_config: Whose names the regions bear; empty for the project's own.
        processes: Workers or actors.
        batch: Items that one gets together.
        ray: Whether Ray does it.
        ray_address: Of a cluster; empty for a Ray on this machine.
    """

    inputs: Sequence[str]
    prefix: str
    out: str = ""
    parquet: str = ""
    label_config: str = ""
    processes: int = 1
    batch: int = 20
    ray: bool = False
    ray_address: str = ""


@dataclass(kw_only=True)
class FileCounts:
    """How far a run is.

    Attributes:
        version: Of the predictions.
        total: Items that there are.
        items: Items that were seen to in this run.
        resumed: Items that an earlier run had done.
        pages: Pages that were looked at in this run.
        rows: Predictions written.
    """

    version: str = ""
    total: int = 0
    items: int = 0
    resumed: int = 0
    pages: int = 0
    rows: int = 0


def prelabel_files(
    settings: Settings,
    job: FileJob,
    failures: Failures,
    *,
    progress: Callable[[FileCounts], object] = lambda _: None,
) -> FileCounts:
    """Looks at every page of an archive once, and writes the predictions.

    Raises:
        SettingsError: An input or an output cannot be used, or Ray is wanted and not installed.
        SetupError: Another run writes the same output, or an unfinished one was begun otherwise.
        ModelError: There is no model.
    """
    make_sure(out=job.out, parquet=job.parquet)
    total = sum(1 for _ in items(job.inputs, prefix=job.prefix))
    with ExitStack() as opened:
        engine = _engine(settings, job, opened)
        counts = FileCounts(version=engine.version, total=total)
        config = hashlib.sha256(job.label_config.encode()).hexdigest()
        facts = {"version": counts.version, "prefix": job.prefix, "label config": config}
        journal = opened.enter_context(Journal(_journal_file(settings.data_dir, job), facts))
        counts.resumed = len(journal)
        progress(counts)
        left = (item for item in items(job.inputs, prefix=job.prefix) if item.name not in journal)
        for looked in engine.run(left):
            checked(counts.version, looked)
            counts.items += 1
            counts.pages += looked.pages
            if looked.failure is None:
                journal.add(looked.name, looked.rows)
            else:
                kind, reason = looked.failure
                failures.add(Failure(what=looked.name, kind=kind, reason=reason))
            progress(counts)
        counts.rows = journal.rows
        if job.out:
            write_json(journal.read(), job.out)
        if job.parquet:
            write_parquet(journal.read(), job.parquet)
        journal.discard()
    return counts


def _engine(settings: Settings, job: FileJob, opened: ExitStack) -> Engine:
    if job.ray:
        ray = RayEngine(settings, job.label_config, actors=job.processes, batch=job.batch, address=job.ray_address)
        return opened.enter_context(ray)
    crew = LocalEngine.crew(settings, job.label_config, processes=job.processes)
    return LocalEngine(opened.enter_context(crew), batch=job.batch)


def _journal_file(data_dir: Path, job: FileJob) -> Path:
    """One for each pair of outputs."""
    places = [place if "://" in place else str(Path(place).absolute()) for place in (job.out, job.parquet) if place]
    return data_dir / "prelabel" / f"{hashlib.sha256(repr(places).encode()).hexdigest()[:16]}.jsonl"
