"""A contract with its marks, page by page, and what a rule says of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from backend.commands.report.rules import Met, Rule, RuleAnswer
from backend.vision.network_config import MARKS

__all__ = ["Contract", "ContractPage", "ContractState", "Found", "Judged", "Told", "judged"]


class ContractState(StrEnum):
    """What a contract bears, in one word; a thumbprint is no signature, and has its own count."""

    BOTH = "both"
    SIGNED = "signed"
    STAMPED = "stamped"
    NONE = "none"
    NOT_KNOWN = "not known"


class Told(StrEnum):
    """By whom a contract's marks are told."""

    ANNOTATED = "annotated"
    PREDICTED = "predicted"
    PARTLY = "partly annotated"
    NOBODY = "not looked at"


@dataclass(frozen=True, kw_only=True)
class Found:
    """One mark.

    Attributes:
        label: signature, stamp or thumb.
        box: x1, y1, x2, y2 as shares of the upright page.
        score: Probability that the model gives to it; None where a person drew it.
    """

    label: str
    box: tuple[float, float, float, float]
    score: float | None


@dataclass(frozen=True, kw_only=True)
class ContractPage:
    """One page.

    Attributes:
        number: Within the contract, from 1.
        source: Where its pixels are: a task's reference, or a file's path.
        index: Of the page within that source.
        task: Label Studio's task; None for files.
        marks: In reading order; None where neither a person nor the model looked.
        annotated: Whether a person said so.
        certainty: The least that the model is sure of anything on it; 1 where a person said so.
        reason: Why nobody looked, with the way out; empty where somebody did.
        said: What a person chose in the Choices beside the boxes, such as `signed`; that of a whole task is with its
            first page.
        contradictions: Where that contradicts the boxes.
    """

    number: int
    source: str
    index: int = 0
    task: int | None = None
    marks: tuple[Found, ...] | None = None
    annotated: bool = False
    certainty: float = 1.0
    reason: str = ""
    said: tuple[str, ...] = ()
    contradictions: tuple[str, ...] = ()

    @cached_property
    def counts(self) -> Mapping[str, int] | None:
        return None if self.marks is None else Counter(mark.label for mark in self.marks)


@dataclass(frozen=True, kw_only=True)
class Contract:
    """One contract; its pages are in order.

    Attributes:
        name: Its file's name, or the task's reference.
        link: Where a person opens it; empty for files.
    """

    name: str
    pages: tuple[ContractPage, ...]
    link: str = ""

    def count(self, label: str) -> int:
        """Marks of a class on all pages."""
        return sum((page.counts or {}).get(label, 0) for page in self.pages)

    @property
    def state(self) -> ContractState:
        signed, stamped = bool(self.count("signature")), bool(self.count("stamp"))
        if signed and stamped:
            return ContractState.BOTH
        if any(page.marks is None for page in self.pages) or not self.pages:
            return ContractState.NOT_KNOWN  # what was found so far is not all that there may be
        return ContractState.SIGNED if signed else ContractState.STAMPED if stamped else ContractState.NONE

    @property
    def told(self) -> Told:
        looked = [page.annotated for page in self.pages if page.marks is not None]
        if not looked:
            return Told.NOBODY
        return Told.ANNOTATED if all(looked) else Told.PARTLY if any(looked) else Told.PREDICTED

    @property
    def doubt(self) -> float:
        """From 0 (people said so) to 1: how far from certain the least certain page is.

        It is 1 where nobody looked, and where people chose something else than they boxed.
        """
        return max(
            (1.0 if page.marks is None or page.contradictions else 1.0 - page.certainty for page in self.pages),
            default=1.0,
        )

    @property
    def said(self) -> tuple[str, ...]:
        """What people chose in the Choices beside the boxes, each once."""
        return tuple(dict.fromkeys(one for page in self.pages for one in page.said))

    @property
    def contradictions(self) -> tuple[str, ...]:
        """Where what people chose is not what they boxed, each once."""
        return tuple(dict.fromkeys(one for page in self.pages for one in page.contradictions))

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why pages were not looked at, each reason once."""
        return tuple(dict.fromkeys(page.reason for page in self.pages if page.reason))


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A contract and what each rule says of it, in the order of the rules."""

    contract: Contract
    answers: tuple[RuleAnswer, ...]

    @property
    def met(self) -> Met:
        """All rules together."""
        found = {answer.met for answer in self.answers}
        return Met.NO if Met.NO in found else Met.NOT_KNOWN if Met.NOT_KNOWN in found else Met.YES

    @property
    def missing(self) -> tuple[str, ...]:
        return tuple(answer.why for answer in self.answers if answer.met is Met.NO)

    @property
    def not_known(self) -> tuple[str, ...]:
        return tuple(answer.why for answer in self.answers if answer.met is Met.NOT_KNOWN)

    def marks(self) -> str:
        """Marks by page and class, such as `1: 2 signature, 1 stamp; 3: 1 stamp`."""
        told = []
        for page in self.contract.pages:
            if page.counts:
                named = (f"{page.counts[label]} {label}" for label in MARKS if page.counts.get(label))
                told.append(f"{page.number}: {', '.join(named)}")
        return "; ".join(told)


_ORDER = (Met.NO, Met.NOT_KNOWN, Met.YES)


def judged(contracts: Iterable[Contract], rules: Sequence[Rule]) -> list[Judged]:
    """What the rules say of each contract. Those that lack something come first, and among equals the doubtful ones."""
    found = [Judged(contract=one, answers=tuple(rule.ask(one.pages) for rule in rules)) for one in contracts]
    return sorted(found, key=lambda one: (_ORDER.index(one.met), -one.contract.doubt, one.contract.name))
