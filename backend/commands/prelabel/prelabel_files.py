"""Pre-labels an archive without Label Studio: looks at each item, journals it, and writes all of them at the end.

The items go to a crew of processes on this machine, or to the actors of a Ray cluster.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import socket
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import cv2

from backend.commands.prelabel.archive import Item, LookedItem, Looker, items, make_looker
from backend.commands.prelabel.crew import Crew, Failure, Lost
from backend.commands.prelabel.writing import RowJournal, make_sure, write_json, write_parquet
from backend.errors import BackendError, ModelError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from backend.commands.prelabel.crew import Failures
    from backend.settings import Settings

__all__ = ["Engine", "FileCounts", "FileJob", "LocalEngine", "RayEngine", "checked", "prelabel_files"]

T = TypeVar("T")
# Items that a cluster is given at once; never more than these are read ahead.
_WINDOW = 20_000
_OBJECT_STORE = 100 * 1024 * 1024
_CONNECT_SECONDS = 10.0


class Engine(Protocol):
    """Looks at items."""

    @property
    def version(self) -> str:
        """Of the model."""
        ...

    def run(self, items: Iterator[Item]) -> Iterator[LookedItem]:
        """Looks at each, in any order."""
        ...


class LocalEngine:
    """A crew of processes on this machine.

    Args:
        crew: Of lookers.
        batch: Items of a portion.
    """

    def __init__(self, crew: Crew[Item], *, batch: int) -> None:
        self._crew = crew
        self._batch = batch

    @classmethod
    def crew(cls, settings: Settings, label_config: str, *, processes: int) -> Crew[Item]:
        """The processes; a context manager."""
        return Crew(partial(make_looker, settings, label_config, processes), processes=processes)

    @property
    def version(self) -> str:
        return self._crew.version

    def run(self, items: Iterator[Item]) -> Iterator[LookedItem]:
        return _done(self._crew, iter(lambda: list(islice(items, self._batch)), []))


class RayEngine:
    """Actors of Ray Data that hold the model; another one does again what a dead one had in hand.

    Args:
        settings: Of the actors; the folder of a promoted model has to be there where they run.
        label_config: Whose names the regions bear.
        actors: How many.
        batch: Items that an actor gets together.
        address: Of a cluster; empty for a Ray of its own on this machine, with a processor for each actor.

    Raises:
        SettingsError: Ray is not installed, or there is no cluster at the address.
    """

    def __init__(self, settings: Settings, label_config: str, *, actors: int, batch: int, address: str = "") -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            import ray  # noqa: PLC0415  an extra, and seconds to import
            import ray.data  # noqa: PLC0415
        except ModuleNotFoundError as error:
            raise SettingsError("--engine ray needs Ray: install the extra `ray` (contract-marks[ray])") from error
        self._ray: Any = ray
        self._actors, self._batch = actors, batch
        # An actor has one processor, of which its cluster knows.
        settings = replace(settings, model_threads=settings.model_threads or 1)
        self._made_of = {"settings": settings, "label_config": label_config}
        self._begin(address)
        # Its reports on each window do not help a person who waits for a whole archive; its errors do.
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        ray.data.DataContext.get_current().enable_progress_bars = False

    def _begin(self, address: str) -> None:
        quiet = {"log_to_driver": False, "logging_level": logging.WARNING}
        if not address:
            self._ray.init(
                num_cpus=self._actors,
                include_dashboard=False,
                object_store_memory=_OBJECT_STORE,
                _node_ip_address="127.0.0.1",
                **quiet,
            )
            return
        try:
            _knock(address)
            self._ray.init(address=address, **quiet)
        except (OSError, ValueError) as error:
            raise SettingsError(f"there is no Ray cluster at {address} ({error})") from error

    def __enter__(self) -> RayEngine:
        return self

    def __exit__(self, *_: object) -> None:
        self._ray.shutdown()

    @property
    def version(self) -> str:
        """Of the model that one of the actors' machines has.

        Raises:
            ModelError: There is none.
        """
        return self._heard(lambda: str(self._ray.get(self._ray.remote(_version).remote(**self._made_of))))

    def run(self, items: Iterator[Item]) -> Iterator[LookedItem]:
        """Looks at each, in any order.

        Raises:
            BackendError: What failed in an actor would fail in every actor.
        """
        while window := list(islice(items, _WINDOW)):
            yield from self._window(window)

    def _window(self, window: Sequence[Item]) -> Iterator[LookedItem]:
        data = self._ray.data
        portions = max(1, min(len(window), max(self._actors * 4, len(window) // self._batch)))
        rows = [{"item": item.to_json()} for item in window]
        looked = data.from_items(rows, override_num_blocks=portions).map_batches(
            RayLooker,
            fn_constructor_kwargs=self._made_of,
            batch_size=self._batch,
            compute=data.ActorPoolStrategy(size=self._actors),
            num_cpus=1,
        )
        found = iter(looked.iter_rows())
        while (row := self._heard(lambda: next(found, None))) is not None:
            yield _looked(json.loads(row["looked"]))

    def _heard(self, ask: Callable[[], T]) -> T:
        """What Ray answers; an error of ours comes out of its own, any other is wrapped in one of ours."""
        try:
            return ask()
        except self._ray.exceptions.RayError as error:
            cause = getattr(error, "cause", None)
            if isinstance(cause, BackendError):
                raise cause from None
            raise ModelError(f"Ray gave up ({type(error).__name__}): {str(error).strip().splitlines()[-1]}") from error


def _knock(address: str) -> None:
    """Makes sure that somebody listens at `host:port`: Ray would wait for minutes, and then end this process."""
    host, colon, port = address.rpartition("://")[2].rpartition(":")
    if colon:
        socket.create_connection((host, int(port)), timeout=_CONNECT_SECONDS).close()


class RayLooker:
    """A looker as Ray Data calls it: batches of columns, here of JSON.

    Ray would try a page that kills an actor without end. So the model is in a process beside the actor, and a page that
    kills this process is given up, as everywhere else.
    """

    def __init__(self, settings: Settings, label_config: str) -> None:
        self._crew: Crew[Item] = Crew(partial(_lone_looker, settings, label_config), processes=1)

    def __call__(self, batch: dict[str, NDArray[np.object_]]) -> dict[str, list[str]]:
        items = [Item.from_json(str(one)) for one in batch["item"]]
        return {"looked": [json.dumps(asdict(one)) for one in _done(self._crew, iter([items]))]}


def _lone_looker(settings: Settings, label_config: str) -> Looker:
    cv2.setNumThreads(settings.model_threads)
    return make_looker(settings, label_config, 1)


def _done(crew: Crew[Item], portions: Iterator[list[Item]]) -> Iterator[LookedItem]:
    for answer in crew.run(portions):
        if isinstance(answer, Lost):
            yield LookedItem(name=answer.part.name, pages=0, failure=("WorkerDied", answer.reason))
        else:
            yield from answer.answer


def _version(settings: Settings, label_config: str) -> str:
    return _lone_looker(settings, label_config).version


def _looked(facts: dict[str, Any]) -> LookedItem:
    failure = facts["failure"]
    return LookedItem(
        name=facts["name"],
        pages=facts["pages"],
        rows=tuple(facts["rows"]),
        failure=None if failure is None else (failure[0], failure[1]),
    )


def checked(version: str, looked: LookedItem) -> LookedItem:
    """The same, if it is of a version.

    Raises:
        ModelError: It is of another.
    """
    for row in looked.rows:
        if row["prediction"]["model_version"] != version:
            raise ModelError(
                f"one worker has {row['prediction']['model_version']}, another {version}: give all the same model"
            )
    return looked


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
        journal = opened.enter_context(RowJournal(_journal_file(settings.data_dir, job), facts))
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
