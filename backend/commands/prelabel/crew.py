"""Worker processes that each hold a model: portions go out by pipe, those of a dead one again; failures are counted."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import signal
import threading
from collections import deque
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import DupFd
from typing import IO, TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import cv2

from backend.errors import BackendError, ModelError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator
    from multiprocessing.context import SpawnProcess
    from pathlib import Path

__all__ = ["Crew", "CrewWorker", "Done", "Failure", "Failures", "Lost"]

_NAMED = 10


@dataclass(frozen=True, kw_only=True)
class Failure:
    """One task, or one file, that has no prediction.

    Attributes:
        what: The task's id, or the file's name.
        kind: Name of the error, such as `PageUnavailable`.
        reason: In words.
    """

    what: int | str
    kind: str
    reason: str


@dataclass
class _Kind:
    count: int = 0
    example: str = ""
    named: list[str] = field(default_factory=list)


class Failures:
    """Takes failures; what it holds does not grow with their number.

    Args:
        file: Where each goes as a line of JSON; None for nowhere.

    Raises:
        SettingsError: The file cannot be written.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._kinds: dict[str, _Kind] = {}
        self._file: IO[str] | None = None
        if file is not None:
            try:
                self._file = file.open("w", encoding="utf-8")
            except OSError as error:
                raise SettingsError(f"{file} cannot be written ({error.strerror}): name another --report") from error

    def __enter__(self) -> Failures:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def __len__(self) -> int:
        return sum(kind.count for kind in self._kinds.values())

    def add(self, failure: Failure) -> None:
        """Counts one, and writes its line at once."""
        kind = self._kinds.setdefault(failure.kind, _Kind(example=failure.reason))
        kind.count += 1
        if len(kind.named) < _NAMED:
            kind.named.append(str(failure.what))
        if self._file is not None:
            line = {"failed": failure.what, "kind": failure.kind, "reason": failure.reason}
            self._file.write(json.dumps(line, ensure_ascii=False) + "\n")
            self._file.flush()

    def lines(self) -> list[str]:
        """For people: each kind with its number, an example of its reason and some of those that it befell."""
        ordered = sorted(self._kinds.items(), key=lambda item: -item[1].count)
        return [
            f"{kind.count} {name}, such as: {kind.example}\n"
            f"    {', '.join(kind.named)}{', …' if kind.count > len(kind.named) else ''}"
            for name, kind in ordered
        ]


_LOG = logging.getLogger(__name__)
T = TypeVar("T")
# A portion that two workers did not survive is cut into its parts, and a part is given up by the same rule.
_DEATHS = 2
# Workers that may die in a row, before one of them has done anything, until something is wrong with all of them.
_STILLBORN = 3
_STOP_SECONDS = 10.0


class CrewWorker(Protocol[T]):
    """What a process holds; made there, once."""

    @property
    def version(self) -> str:
        """Of its model: all workers of a run have the same."""
        ...

    def __call__(self, portion: list[T]) -> Any:
        """Does a portion; what it gives travels back."""
        ...


@dataclass(frozen=True)
class Done(Generic[T]):
    """A portion that was done, and what the worker said."""

    portion: list[T]
    answer: Any


@dataclass(frozen=True)
class Lost(Generic[T]):
    """A part that no worker survived, and how the last one ended."""

    part: T
    reason: str


@dataclass
class _Portion(Generic[T]):
    parts: list[T]
    deaths: int = 0


@dataclass
class _Member(Generic[T]):
    process: SpawnProcess
    link: Connection
    ready: bool = False
    portion: _Portion[T] | None = field(default=None)


class Crew(Generic[T]):
    """Does portions in several processes; use it as a context manager.

    A process that dies, such as for want of memory, is replaced, and its portion is done again. Workers are told apart
    from this process by pipes of their own: nothing that one of them holds when it dies is missed by the others.

    Args:
        make: Makes a worker in its process; it travels there, so it is a function of a module with what it needs.
        processes: How many.
        lock: A file descriptor that each worker holds open as long as it lives.

    Example:
        >>> with Crew(partial(make_worker, settings), processes=2) as crew:  # doctest: +SKIP
        ...     print(crew.version)
        ...     for answer in crew.run(portions):
        ...         ...
    """

    def __init__(self, make: Callable[[], CrewWorker[T]], *, processes: int, lock: int | None = None) -> None:
        self._make = make
        self._wanted = processes
        self._lock = lock
        self._members: list[_Member[T]] = []
        self._stillborn = 0
        self._version: str | None = None

    def __enter__(self) -> Crew[T]:
        return self

    def __exit__(self, *_: object) -> None:
        for member in self._members:
            member.link.close()
            member.process.terminate()
        for member in self._members:
            member.process.join(_STOP_SECONDS)

    @property
    def version(self) -> str:
        """The version of the model that the workers hold; waited for.

        Raises:
            BackendError: A worker could not be made.
        """
        while self._version is None:
            self._fill()
            for _ in self._hear():  # nobody has a portion yet
                pass
        return self._version

    @property
    def pids(self) -> tuple[int, ...]:
        """Process ids of the workers that live."""
        return tuple(int(member.process.pid or 0) for member in self._members)

    def run(self, portions: Iterable[list[T]]) -> Iterator[Done[T] | Lost[T]]:
        """Does each portion, in any order; portions are taken as workers come free.

        Raises:
            BackendError: What a worker raised: it would befall them all.
        """
        source, again = iter(portions), deque[_Portion[T]]()
        dry = False
        while True:
            self._fill()
            for member in self._members:
                if member.ready and member.portion is None:
                    portion = again.popleft() if again else None
                    if portion is None and not dry:
                        parts = next(source, None)
                        dry = parts is None
                        portion = None if parts is None else _Portion(parts)
                    if portion is not None:
                        self._hand(member, portion)
            if dry and not again and not any(member.portion for member in self._members):
                return
            yield from self._hear(again)

    def _fill(self) -> None:
        while len(self._members) < self._wanted:
            self._members.append(self._start())

    def _start(self) -> _Member[T]:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        threads = max(1, (os.cpu_count() or 1) // self._wanted)
        # A duplicate that is made while the process starts: the lock outlives this process where a worker does.
        process = _with_lock(context, self._lock, args=(self._make, theirs, threads))
        theirs.close()
        return _Member(process=process, link=ours)

    def _hand(self, member: _Member[T], portion: _Portion[T]) -> None:
        member.portion = portion
        try:
            member.link.send(portion.parts)
        except OSError:
            # Dead by now: that is heard of next.
            _LOG.debug("worker %s was gone before its portion", member.process.pid)

    def _hear(self, again: deque[_Portion[T]] | None = None) -> Generator[Done[T] | Lost[T]]:
        """Waits for the next message or death."""
        by_link = {member.link: member for member in self._members}
        for link in wait(list(by_link)):
            member = by_link[link]  # type: ignore[index]
            try:
                kind, said = member.link.recv()
            except (EOFError, OSError):
                yield from self._bury(member, again if again is not None else deque())
                continue
            if kind == "error":
                raise said
            self._stillborn = 0
            if kind == "ready":
                self._welcome(member, said)
                continue
            portion, member.portion = member.portion, None
            if portion is not None:
                yield Done(portion.parts, said)

    def _welcome(self, member: _Member[T], version: str) -> None:
        if self._version not in (None, version):
            raise ModelError(f"the model changed from {self._version} to {version} on the way: start again")
        self._version, member.ready = version, True

    def _bury(self, member: _Member[T], again: deque[_Portion[T]]) -> Generator[Lost[T]]:
        """Takes a dead worker off the list, and puts its portion back."""
        self._members.remove(member)
        member.link.close()
        member.process.join()
        ended = _ending(member.process.exitcode)
        if not member.ready:
            self._stillborn += 1
            if self._stillborn >= _STILLBORN:
                raise ModelError(f"workers end before they have loaded the model ({ended}): is there memory for it?")
        portion = member.portion
        if portion is None:
            return
        _LOG.warning("a worker ended (%s): its portion is done again", ended)
        portion.deaths += 1
        if portion.deaths < _DEATHS:
            again.append(portion)
        elif len(portion.parts) > 1:
            again.extend(_Portion([part]) for part in portion.parts)
        else:
            yield Lost(portion.parts[0], f"no worker survived it, the last one {ended}")


def _with_lock(context: Any, lock: int | None, *, args: tuple[Any, ...]) -> SpawnProcess:
    process: SpawnProcess = context.Process(target=_work, args=(*args, _Kept(lock)), daemon=True)
    process.start()
    return process


@dataclass(frozen=True)
class _Kept:
    """A file descriptor that goes along to a process that is being started."""

    number: int | None

    def __reduce__(self) -> tuple[Any, ...]:
        return _detached, (None if self.number is None else DupFd(self.number),)


def _detached(duplicate: Any) -> _Kept:
    return _Kept(None if duplicate is None else duplicate.detach())


def _ending(code: int | None) -> str:
    if code is not None and code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return f"exit status {code}"


def _work(make: Callable[[], CrewWorker[Any]], link: Connection, threads: int, _lock: _Kept) -> None:
    """The life of a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    cv2.setNumThreads(threads)
    try:
        worker = make()
        link.send(("ready", worker.version))
        while True:
            link.send(("done", worker(link.recv())))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return
    except BackendError as error:
        link.send(("error", error))


def _end_with_parent() -> None:
    """Ends this process when the one that started it is gone, whatever it is at: all that it does can be done again."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
