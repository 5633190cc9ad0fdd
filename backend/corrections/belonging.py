"""Which Label Studio a ledger is of: another one gives the same numbers to other projects, tasks and annotations.

A Label Studio has no name that lasts, and may be reached under several addresses. Its projects tell it from others: two
of one number that were made at different moments are of two Label Studios. So the ledger keeps when each project was
made, and the addresses at which such a project was found.

Label Studio numbers its projects in the order in which they are made. So a project may also be of another one when its
number and its moment do not fit in among those that are known. Then Label Studio is asked whether it has the project.
"""

from __future__ import annotations

import itertools
import logging
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

from sqlalchemy import Connection, Engine, select
from sqlalchemy.exc import SQLAlchemyError

from backend.corrections.database import insert_into, writing
from backend.corrections.tables import annotation, prediction, project_made, studio_address
from backend.errors import LabelStudioError, LedgerError, OtherLabelStudio, RequestError
from backend.labelstudio.connections import plain_address, same_origin
from backend.labelstudio.protocol import creation_of

__all__ = ["NO_SUCH_PROJECT", "Belonging", "claim", "require_one_project", "when_made"]

_LOG = logging.getLogger(__name__)
_LOOK_SECONDS = 5.0
_MOST_ASKED = 3
# Bounds on what strangers can make this process remember.
_MOST_NEW = 100
_MOST_VARIABLES = 500
NO_SUCH_PROJECT = 0
"""Stands for when a project was made that Label Studio does not have."""
_NOT_FOUND = 404
_CLOCK_SET_BACK = 3600
"""Seconds by which Label Studio's clock may have been put back between two of its projects."""
_WAY_OUT = "give each Label Studio a backend with a DATA_DIR (and a DATABASE_URL) of its own"


def claim(connection: Connection, *, address: str, project: int, made: int | None) -> None:
    """Takes note of a project, of the ledger's Label Studio; its first project says which one that is.

    Args:
        connection: A transaction.
        address: Where Label Studio is; empty where nobody says.
        project: The project's id.
        made: When it was made, in whole seconds since the epoch; None where that is not known.

    Raises:
        OtherLabelStudio: It is a project of another one, or nothing shows that it is not.
    """
    if made is None:
        return
    here = plain_address(address) if address else ""
    known = _projects(connection)
    addresses = _addresses(connection)
    if known.get(project, made) != made:
        raise OtherLabelStudio(_two(project, made, known[project]))
    if here and known and here not in addresses and project not in known:
        raise OtherLabelStudio(_moved(here, addresses, known))
    if project not in known:
        connection.execute(insert_into(project_made, connection).values(id=project, made=made).on_conflict_do_nothing())
    if here:
        _note_address(connection, here)


def require_one_project(
    connection: Connection,
    projects: Collection[int | None],
    *,
    tasks: Collection[int] = (),
    annotations: Collection[int] = (),
) -> None:
    """Takes no event at its word that names a task or an annotation which is known to be of another project.

    Label Studio numbers them over all projects, and leaves each where it is. So does another Label Studio, whose
    numbers are the same.

    Args:
        connection: A transaction, or a connection.
        projects: Ids of the projects that the event names.
        tasks: Ids of the tasks that it is about.
        annotations: Ids of the annotations.

    Raises:
        RequestError: One is of another project, or the event names no project, as Label Studio always does.
    """
    named = {project for project in projects if project is not None}
    if not named and (tasks or annotations):
        raise RequestError("the event names no project, so nobody can tell whether it is of this Label Studio")
    for what, column, owner, ids in (
        ("task", prediction.c.task, prediction.c.project, sorted(tasks)),
        ("task", annotation.c.task, annotation.c.project, sorted(tasks)),
        ("annotation", annotation.c.id, annotation.c.project, sorted(annotations)),
    ):
        for start, project in itertools.product(range(0, len(ids), _MOST_VARIABLES), sorted(named)):
            some = column.in_(ids[start : start + _MOST_VARIABLES])
            found = connection.execute(select(column, owner).where(some, owner != project).limit(1)).first()
            if found is not None:
                raise RequestError(
                    f"{what} {found[0]} is of project {found[1]}, and the event says that it is of project {project}: "
                    "it is another Label Studio's, or forged; set LABEL_STUDIO_API_KEY, so that this one can be asked"
                )


class Projects(Protocol):
    """What is asked of Label Studio; `backend.labelstudio.client.LabelStudio` answers."""

    @property
    def has_token(self) -> bool: ...

    def project(self, project: int) -> Mapping[str, Any]: ...


def when_made(studio_of: Callable[[str], Projects]) -> Callable[[int], int | None]:
    """A function that asks Label Studio when a project was made, as `Belonging` wants it.

    Args:
        studio_of: Gives the API, with the token of a project.
    """

    def made(project: int) -> int | None:
        studio = studio_of(str(project))
        if not studio.has_token:
            return None
        try:
            return creation_of(studio.project(project))
        except LabelStudioError as error:
            return NO_SUCH_PROJECT if error.answered == _NOT_FOUND else None

    return made


class Belonging:
    """What one process knows of whether its Label Studio is the ledger's; shared by threads.

    `admit` answers from memory, because the ledger may be away. `look` brings what it admitted into the ledger, and
    learns what other processes did.

    Args:
        engine: The ledger's database.
        address: Where Label Studio is; empty where nobody says, and then everything is admitted.
        made: Asks it when a project was made, in whole seconds since the epoch. `NO_SUCH_PROJECT` where it has none of
            that number, and None where it does not tell.
        ticks: Seconds that never go back.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        address: str,
        made: Callable[[int], int | None],
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._address = address
        self._made = made
        self._ticks = ticks
        self._next = -math.inf
        self._lock = threading.Lock()
        self._known: Mapping[int, int] = {}
        self._addresses: frozenset[str] = frozenset()
        self._proven = False
        self._new: dict[int, tuple[int, str]] = {}
        self._doubted: dict[int, int] = {}
        self._strange: OrderedDict[tuple[int, int], str] = OrderedDict()

    @property
    def is_ours(self) -> bool:
        """Whether its Label Studio is the ledger's, as far as anybody knows."""
        return not self._address or not self._known or self._proven or self._is_named()

    def admit(self, project: int | None, made: int | None, *, hostname: str = "") -> None:
        """Lets a request about a project pass, or refuses it; never waits.

        Args:
            project: The project's id.
            made: When it was made, in whole seconds since the epoch, where the request says so.
            hostname: What its sender calls itself, where the request says so.

        Raises:
            OtherLabelStudio: It is of another Label Studio than what the ledger has, or nothing shows that it is not.
        """
        if not self._address or project is None:
            return
        with self._lock:
            before = self._new.get(project, (None, ""))[0]
            known = self._known.get(project, before)
            if made is not None and known is not None and known != made:
                raise OtherLabelStudio(_two(project, made, known))
            if made is not None and (project, made) in self._strange:
                raise OtherLabelStudio(self._strange[project, made])
            if made is not None and made == self._known.get(project):
                self._proven = True
            elif not self.is_ours:
                raise OtherLabelStudio(_moved(plain_address(self._address), self._addresses, self._known))
            elif made is not None and (why := self._out_of_order(project, made)):
                if len(self._doubted) < _MOST_NEW:
                    self._doubted[project] = made
                raise OtherLabelStudio(why)
            if made is not None and project not in self._known and (project in self._new or len(self._new) < _MOST_NEW):
                self._new[project] = made, hostname or self._new.get(project, (0, ""))[1]

    def require(self) -> None:
        """Makes sure that this Label Studio is the ledger's, and asks it where only that can tell.

        Raises:
            OtherLabelStudio: It is not, or nothing shows that it is.
        """
        self.look()
        if not self.is_ours:
            raise OtherLabelStudio(_moved(plain_address(self._address), self._addresses, self._known))

    def read(self) -> None:
        """Learns what the ledger knows, where it answers."""
        if not self._address:
            return
        try:
            with self._engine.connect() as connection:
                known, addresses = _projects(connection), _addresses(connection)
        except SQLAlchemyError:
            return  # others tell that it is away
        with self._lock:
            self._known, self._addresses = known, addresses

    def look(self) -> int:
        """Asks Label Studio what it must be asked, and writes down what was admitted; gives 0, for nobody waits."""
        if not self._address or self._ticks() < self._next:
            return 0
        self._next = self._ticks() + _LOOK_SECONDS
        self.read()
        if not self.is_ours:
            asked = list(self._known.items())[-_MOST_ASKED:]
            self._proven = any(self._made(project) == made for project, made in asked)
        if not self.is_ours:
            return 0
        for project, (made, hostname) in list(self._new.items()):
            self._settle(project, made, hostname)
        while self._doubted:
            project, made = self._doubted.popitem()
            if self._made(project) == made:
                self._write(project, made)
        if self._known and not self._is_named():
            self._write(None, 0)
        return 0

    def _out_of_order(self, project: int, made: int) -> str:
        """Why a new project cannot be of a Label Studio that has the known ones; empty where it can."""
        others = {**{one: when for one, (when, _) in self._new.items()}, **self._known}
        for other, when in others.items():
            if project not in others and (project - other) * (made - when) < 0 and abs(made - when) > _CLOCK_SET_BACK:
                return _not_in_order(project, made, other, when)
        return ""

    def _settle(self, project: int, made: int, hostname: str) -> None:
        """Writes down a project that was admitted, or finds that it should not have been."""
        told = self._made(project)
        stranger = told == NO_SUCH_PROJECT and bool(hostname) and not same_origin(hostname, self._address)
        if stranger or told not in (None, NO_SUCH_PROJECT, made):
            self._refuse(project, made, _not_there(project, made, plain_address(self._address)))
        elif self._write(project, made):
            with self._lock:
                self._new.pop(project, None)

    def _write(self, project: int | None, made: int) -> bool:
        try:
            with writing(self._engine) as connection:
                _note_address(connection, plain_address(self._address))
                if project is not None:
                    claim(connection, address=self._address, project=project, made=made)
        except OtherLabelStudio as error:
            assert project is not None  # noqa: S101  an address alone contradicts nothing
            self._refuse(project, made, str(error))
            return False
        except (SQLAlchemyError, LedgerError):
            return False  # others tell that it is away
        self.read()
        return True

    def _refuse(self, project: int, made: int, why: str) -> None:
        _LOG.error("%s", why)
        with self._lock:
            self._new.pop(project, None)
            self._strange[project, made] = why
            if len(self._strange) > _MOST_NEW:
                self._strange.popitem(last=False)

    def _is_named(self) -> bool:
        return plain_address(self._address) in self._addresses


def _projects(connection: Connection) -> dict[int, int]:
    return {row.id: row.made for row in connection.execute(select(project_made).order_by(project_made.c.id))}


def _addresses(connection: Connection) -> frozenset[str]:
    return frozenset(connection.execute(select(studio_address.c.address)).scalars())


def _note_address(connection: Connection, address: str) -> None:
    connection.execute(
        insert_into(studio_address, connection).values(address=address, since=time.time()).on_conflict_do_nothing()
    )


def _two(project: int, made: int, known: int) -> str:
    return (
        f"project {project} was made on {_day(made)}, but the ledger knows a project {project} that was made on "
        f"{_day(known)}: it is another Label Studio's, or that of one that was set up anew; {_WAY_OUT}"
    )


def _not_in_order(project: int, made: int, other: int, when: int) -> str:
    order = ("after", "less") if project < other else ("before", "more")
    return (
        f"project {project} was made on {_day(made)}, {order[0]} project {other} of the ledger's Label Studio "
        f"({_day(when)}) though its number is {order[1]}, so it is another Label Studio's: {_WAY_OUT}; if it is not, "
        "set LABEL_STUDIO_API_KEY, so that Label Studio can be asked"
    )


def _not_there(project: int, made: int, address: str) -> str:
    return (
        f"project {project}, made on {_day(made)}, is none of {address} (LABEL_STUDIO_URL), so it is another Label "
        f"Studio's; {_WAY_OUT}"
    )


def _moved(address: str, addresses: frozenset[str], known: Mapping[int, int]) -> str:
    before, numbers = ", ".join(sorted(addresses)), ", ".join(map(str, sorted(known)[-_MOST_ASKED:]))
    return (
        f"LABEL_STUDIO_URL is {address}, but the ledger is of {before}, and nothing shows that both are one Label "
        f"Studio: {_WAY_OUT}; if it has only moved, open the settings of one of its projects (such as {numbers}), or "
        "run `sync --project` with it"
    )


def _day(moment: int) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
