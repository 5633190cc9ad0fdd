"""The write side of the registry: models published, judged, promoted and rolled back, by one process at a time."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from backend.errors import PointerMoved, RegistryError
from backend.files import alone, refusal_of, replace_whole, sync_folder
from backend.models.published import (
    FOUND,
    JUDGED,
    PROMOTED,
    PUBLISHED,
    RECORD_FILE,
    RESERVED,
    ROLLED_BACK,
    Beside,
    Facts,
    History,
    ModelEvent,
    Record,
    RecordedVerdict,
    Registry,
    moves,
    served,
)
from backend.models.publishing import check_loads, clean, publish
from backend.vision.weights import BUNDLED

__all__ = ["Model", "Models"]

_HISTORY = "history.jsonl"
_LOCK = ".lock"
_WAIT_SECONDS = 60.0
_OF = {
    "auto": "the promoted model, else the best weights that are here; `models list` marks it with a star",
    "hub": "the original checkpoint of the Hub (docs/models.md), with nothing promoted",
    "bundled": f"this program's own weights, which {BUNDLED / 'MODEL_CARD.md'} describes",
}
"""What each word of `RESERVED` stands for."""


@dataclass(frozen=True, kw_only=True)
class Model:
    """A published model as it stands now.

    Attributes:
        name: Its name.
        record: What was written when it was published; None where somebody put the folder there by hand.
        verdict: What the gate said last.
        promoted: When it was promoted last; None if never.
        active: Whether it is the one that serves.
    """

    name: str
    record: Record | None
    verdict: RecordedVerdict | None
    promoted: str | None
    active: bool

    @property
    def status(self) -> str:
        """`promoted` (now or earlier), `refused` by the gate, or `candidate`."""
        if self.promoted is not None:
            return "promoted"
        return "refused" if self.verdict is not None and not self.verdict.passed else "candidate"

    @property
    def proven(self) -> bool:
        """Whether it needs no force: the gate let it pass when it was asked last."""
        return self.verdict is not None and self.verdict.passed


class Models:
    """The models below one folder.

    The pointer `active` is the truth about which model serves. The line in the history is written first, so no move is
    ever without its reason. If a move was cut off, the next mover corrects its line.

    Args:
        folder: Holds them: `<DATA_DIR>/models`.

    Example:
        >>> models = Models(data_dir / "models")  # doctest: +SKIP
        >>> record = models.publish(run / "candidate", Facts(source="training"))  # doctest: +SKIP
        >>> models.promote(record.name, why="the gate let it pass", by="retraining")  # doctest: +SKIP
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._registry = Registry(folder)
        self._history = History(folder / _HISTORY)

    def all(self) -> list[Model]:
        """Every published model, the newest first.

        Raises:
            RegistryError: A record or the history cannot be read.
        """
        found = [self.get(name) for name in self._registry.names()]
        return sorted(found, key=lambda model: (model.record.published if model.record else "", model.name))[::-1]

    def get(self, name: str) -> Model:
        """One model.

        Raises:
            RegistryError: There is none, or its record or the history cannot be read.
        """
        if name in RESERVED:
            raise RegistryError(f"{name!r} is no published model, but a word of MODEL: MODEL={name} serves {_OF[name]}")
        if name not in self._registry.names():
            raise RegistryError(f"there is no model {name[:64]!r} in {self.folder}: `models list` names them")
        folder = self.folder / name
        record = Record.read(folder) if (folder / RECORD_FILE).exists() else None
        events, pointed = self._history.events(), self._registry.pointed()
        verdicts = [record.verdict if record else None]
        verdicts += [event.verdict for event in events if event.model == name and event.verdict is not None]
        promotions = [move.when for move in moves(events, pointed=pointed) if move.model == name]
        return Model(
            name=name,
            record=record,
            verdict=verdicts[-1],
            promoted=promotions[-1] if promotions else None,
            active=pointed == name,
        )

    def events(self) -> list[ModelEvent]:
        """The history, oldest first.

        Raises:
            RegistryError: It cannot be read.
        """
        return self._history.events()

    def publish(
        self, candidate: Path, facts: Facts, *, files: Collection[str] | None = None, by: str = "training"
    ) -> Record:
        """Makes an immutable model of a candidate's folder; it is not promoted.

        Args:
            candidate: Folder with the weights and what stands beside them.
            facts: What is known of it.
            files: Names of what is to be published; every plain file of the folder when None.
            by: Which command or program does it.

        Raises:
            BadWeights: The weights cannot serve.
            RegistryError: It cannot be written; nothing is left of it then.
        """
        with self._alone():
            named = {event.model for event in self._history.events() if event.what == PUBLISHED and event.model}
            taken = named | set(self._registry.names())
            record = publish(candidate, self.folder, facts, files=files, taken=taken, now=_now())
            self._note(PUBLISHED, record.name, why=facts.source, by=by, verdict=facts.verdict)
        return record

    def judge(self, name: str, verdict: RecordedVerdict, *, by: str, why: str = "") -> None:
        """Notes what the gate said of a model that is published already.

        Args:
            name: Which.
            verdict: What it said.
            by: Which command or program asked.
            why: Goes into the history.

        Raises:
            RegistryError: There is no such model, or the history cannot be written.
        """
        with self._alone():
            self.get(name)
            self._note(JUDGED, name, why=why, by=by, verdict=verdict)

    def promote(self, name: str, *, why: str, by: str, force: bool = False, beside: Beside | None = None) -> ModelEvent:
        """Lets a model serve; serving processes with MODEL=auto pick it up by themselves.

        Args:
            name: Which.
            why: Goes into the history.
            by: Which command or program does it.
            force: Whether to do so against the gate's verdict, without one, or with one beside another model; needs a
                reason.
            beside: What it was judged beside. Left out, its verdict tells; what served before may come back whatever
                serves now.

        Raises:
            BadWeights: It is damaged, or cannot serve.
            PointerMoved: Another model serves than the one that it was judged beside.
            RegistryError: There is no such model, or the gate refused it or was never asked, or the move cannot be
                written.
        """
        with self._alone():
            model = self.get(name)
            if not model.proven and not (force and why):
                raise RegistryError(
                    f"{_unproven(model)}: to promote it all the same, force it and say why (--force, --why)"
                )
            now = self._registry.pointed()
            if beside is None and model.promoted is None and model.verdict is not None:
                beside = model.verdict.beside
            another = beside is not None and now != beside.model
            if beside is not None and another and not (force and why):
                was, serves = (one or "the unpublished weights" for one in (beside.model, now))
                raise PointerMoved(
                    f"{name} was judged beside {was}, but by now {serves} serves where MODEL is `auto`: there "
                    f"`models judge {name}` asks the gate again"
                )
            check_loads(self._registry.folder_of(name))
            return self._move(PROMOTED, name, why=why, by=by, forced=another or not model.proven)

    def rollback(self, *, why: str, by: str) -> ModelEvent:
        """Lets the model serve that served before the last promotion, or none where that was the first.

        Raises:
            BadWeights: The model to go back to is damaged.
            RegistryError: No model was promoted yet, the one before is gone, or the move cannot be written.
        """
        with self._alone():
            way = served(self._history.events())
            if len(way) < 2:
                raise RegistryError("no model was promoted yet: there is nothing to roll back to")
            if way[-2] is not None:
                self.get(way[-2])
                check_loads(self._registry.folder_of(way[-2]))
            return self._move(ROLLED_BACK, way[-2], why=why, by=by)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Holds the lock, with the remains of those who died holding it cleared away."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            text = f"another process is still changing {self.folder} after {_WAIT_SECONDS:g} s: try again"
            with alone(self.folder / _LOCK, seconds=_WAIT_SECONDS, refusal=RegistryError(text)):
                clean(self.folder)
                self._set_right()
                yield
        except OSError as error:
            raise RegistryError(f"{self.folder} cannot be written: {refusal_of(error)}") from error

    def _set_right(self) -> None:
        """Notes where the pointer is, if that is not where the history says."""
        pointed, said = self._registry.pointed(), served(self._history.events())[-1]
        if pointed != said:
            self._note(FOUND, pointed, before=said, why="the last move was cut off, or the pointer was edited")

    def _move(self, what: str, name: str | None, *, why: str, by: str, forced: bool = False) -> ModelEvent:
        event = self._note(what, name, before=self._registry.pointed(), why=why, by=by, forced=forced)
        if name is None:
            os.unlink(self._registry.pointer)
            sync_folder(self.folder)
        else:
            replace_whole(self._registry.pointer, f"{name}\n")
        return event

    def _note(
        self,
        what: str,
        model: str | None,
        *,
        before: str | None = None,
        why: str = "",
        by: str = "",
        forced: bool = False,
        verdict: RecordedVerdict | None = None,
    ) -> ModelEvent:
        when = _now().isoformat(timespec="seconds")
        event = ModelEvent(
            when=when, what=what, model=model, before=before, why=why, by=by, forced=forced, verdict=verdict
        )
        self._history.append(event)
        return event


def _unproven(model: Model) -> str:
    """Why a model may not be promoted as it stands."""
    if model.verdict is None:
        return f"the gate was never asked about {model.name} (`models judge {model.name}` asks it)"
    return f"the gate refused {model.name} ({'; '.join(model.verdict.reasons)})"


def _now() -> datetime:
    return datetime.now(UTC)
