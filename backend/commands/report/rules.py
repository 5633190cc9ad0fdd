"""What a contract must bear, as a person writes it: `signature>=2 on last page`, `stamp or thumb>=1`.

    rule    = all { "or" all }
    all     = clause { "and" clause }
    clause  = kinds [ comparison number ] [ "on" place ]      without a comparison: at least one
            | amount kinds [ "on" place ]
    amount  = number | at least N | at most N | exactly N         a number alone: at least so many
            | no | not | without
    kinds   = kind { "+" kind }                               counted together
    kind    = signature | stamp | thumb | mark                or another word for it, as in label configs; mark is any
    place   = any page | each page | first page | last page | page N | pages N-M | first N pages | last N pages

Letter case and "the" do not count. Numbers to ten may be words. Without a place the whole contract is meant.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from backend.errors import RuleError
from backend.labelstudio.mark_words import mark_named
from backend.vision.network_config import MARKS

__all__ = ["Clause", "Counted", "Met", "PageChoice", "Rule", "RuleAnswer", "parse_rule"]

_TOKEN = re.compile(r"\s*(?:(?P<word>[^\W\d_]+)|(?P<number>\d+)|(?P<sign>>=|<=|==|=|>|<|≥|≤|\+|-|–))")
_KINDS: Mapping[str, tuple[str, ...]] = {
    "mark": MARKS,
    "marks": MARKS,
}
"""Words for more than one mark; those for one are the words that label configs may have."""
_LARGEST = 1000
_WHITE = re.compile(r"\s")
_SIGNS = {"≥": ">=", "≤": "<=", "==": "="}
_SPELT = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_NUMBERS = {"a": "1", "an": "1"} | {word: str(number) for number, word in enumerate(_SPELT, 1)}


class Met(Enum):
    """What can be said of a rule; NOT_KNOWN where a page that counts was not looked at."""

    YES = "met"
    NO = "missing"
    NOT_KNOWN = "not known"


class Counted(Protocol):
    """What rules ask of a page."""

    @property
    def counts(self) -> Mapping[str, int] | None:
        """Marks by class; None where neither a person nor the model looked at the page."""
        ...


@dataclass(frozen=True)
class RuleAnswer:
    """Whether a rule is met, and why, in a few words."""

    met: Met
    why: str


@dataclass(frozen=True)
class PageChoice:
    """Pages of a contract, counted from 1 or, below 0, from the end; `each` asks every one of them by itself."""

    words: str
    first: int = 1
    last: int = -1
    each: bool = False

    def of(self, total: int) -> range:
        """Indices of the pages that are meant; empty where the contract has none of them."""
        first = self.first - 1 if self.first > 0 else max(total + self.first, 0)
        last = self.last if self.last > 0 else total + self.last + 1
        return range(min(first, total), min(last, total))


_ANYWHERE = PageChoice("")


@dataclass(frozen=True)
class Clause:
    """So many marks of some kinds in a place."""

    kinds: tuple[str, ...]
    sign: str
    number: int
    place: PageChoice = _ANYWHERE

    def __str__(self) -> str:
        named = "mark" if self.kinds == MARKS else "+".join(self.kinds)
        where = f" on {self.place.words}" if self.place.words else ""
        return f"{named}{self.sign}{self.number}{where}"

    def ask(self, pages: Sequence[Counted]) -> RuleAnswer:
        """Whether the pages of a contract meet it."""
        meant = [pages[index] for index in self.place.of(len(pages))]
        if not meant and pages:
            return RuleAnswer(Met.YES if self._holds(0) else Met.NO, f"{self}: there is no such page")
        groups = [[page] for page in meant] if self.place.each else [meant]
        asked = [self._group(group) for group in groups]
        met = _all([met for met, _ in asked]) if pages else Met.NOT_KNOWN
        counts = [count for found, count in asked if found is not Met.YES] or [count for _, count in asked]
        return RuleAnswer(met, f"{self}: {min(counts, default=0)} found{'' if met is not Met.NOT_KNOWN else ' so far'}")

    def _group(self, pages: Sequence[Counted]) -> tuple[Met, int]:
        known = [page.counts for page in pages if page.counts is not None]
        found = sum(counts.get(kind, 0) for counts in known for kind in self.kinds)
        if len(known) == len(pages):
            return (Met.YES if self._holds(found) else Met.NO), found
        # What was not looked at can only add marks.
        if self.sign in {">=", ">"}:
            return (Met.YES if self._holds(found) else Met.NOT_KNOWN), found
        still = found <= self.number if self.sign != "<" else found < self.number
        return (Met.NOT_KNOWN if still else Met.NO), found

    def _holds(self, found: int) -> bool:
        match self.sign:
            case ">=":
                return found >= self.number
            case "<=":
                return found <= self.number
            case ">":
                return found > self.number
            case "<":
                return found < self.number
            case _:
                return found == self.number


@dataclass(frozen=True)
class Rule:
    """Alternatives, each a row of clauses: the rule is met where all clauses of one of them are."""

    text: str
    alternatives: tuple[tuple[Clause, ...], ...]

    def __str__(self) -> str:
        return " or ".join(" and ".join(map(str, clauses)) for clauses in self.alternatives)

    def ask(self, pages: Sequence[Counted]) -> RuleAnswer:
        """Whether the pages of a contract, in their order, meet it."""
        answers = [[clause.ask(pages) for clause in clauses] for clauses in self.alternatives]
        met = _any([_all([one.met for one in group]) for group in answers])
        told = [one for group in answers for one in group if met is Met.YES or one.met is not Met.YES]
        return RuleAnswer(met, "; ".join(one.why for one in told))


def _all(met: Sequence[Met]) -> Met:
    return Met.NO if Met.NO in met else Met.NOT_KNOWN if Met.NOT_KNOWN in met else Met.YES


def _any(met: Sequence[Met]) -> Met:
    return Met.YES if Met.YES in met else Met.NOT_KNOWN if Met.NOT_KNOWN in met else Met.NO


def parse_rule(text: str) -> Rule:
    """Reads a rule.

    Raises:
        RuleError: It is none; the message shows the place and what is expected there.
    """
    reader = _Reader(text)
    alternatives = [_clauses(reader)]
    while reader.take("or"):
        alternatives.append(_clauses(reader))
    if not reader.done:
        raise reader.error("`on` with a place, `and`, `or`, or nothing")
    return Rule(text=text.strip(), alternatives=tuple(alternatives))


def _clauses(reader: _Reader) -> tuple[Clause, ...]:
    found = [_clause(reader)]
    while reader.take("and"):
        found.append(_clause(reader))
    return tuple(found)


def _clause(reader: _Reader) -> Clause:
    amount = _amount(reader)
    kinds = dict.fromkeys(_kind(reader))
    while reader.take("+"):
        kinds |= dict.fromkeys(_kind(reader))
    sign, number = amount or _comparison(reader) or (">=", 1)
    place = _place(reader) if reader.take("on", "in") else _ANYWHERE
    return Clause(tuple(name for name in MARKS if name in kinds), sign, number, place)


def _amount(reader: _Reader) -> tuple[str, int] | None:
    """What stands before the kinds, as a sign and a number."""
    if reader.take("no", "not", "without"):
        reader.take("1")  # not a stamp
        return "=", 0
    if reader.take("at"):
        sign = "<=" if reader.need("least", "most") == "most" else ">="
        return sign, reader.number()
    if reader.take("exactly"):
        return "=", reader.number()
    return (">=", reader.number()) if reader.is_number else None


def _comparison(reader: _Reader) -> tuple[str, int] | None:
    """What stands behind the kinds."""
    found = reader.take(">=", "<=", "==", "=", ">", "<", "≥", "≤")
    if not found:
        return None
    sign, number = _SIGNS.get(found, found), reader.number()
    if sign == "<" and not number:
        raise reader.error("a number above 0: there are never fewer than 0 marks", back=1)
    return sign, number


def _kind(reader: _Reader) -> tuple[str, ...]:
    word = reader.next
    named = mark_named(word)
    if word not in _KINDS and named is None:
        raise reader.error("signature, stamp, thumb or mark")
    reader.take(word)
    return (named,) if named else _KINDS[word]


def _place(reader: _Reader) -> PageChoice:
    reader.take("the")
    word = reader.take("any", "each", "every", "first", "last", "page", "pages", "document", "contract")
    match word:
        case "any" | "each" | "every":
            reader.need("page")
            return _ANYWHERE if word == "any" else PageChoice("each page", each=True)
        case "document" | "contract":
            return _ANYWHERE
        case "first" | "last":
            several = reader.is_number
            number = reader.number(least=1) if several else 1
            reader.need("pages" if number > 1 else "page", *(("page", "pages") if several else ()))
            words = f"{word} {number} pages" if number > 1 else f"{word} page"
            return PageChoice(words, 1, number) if word == "first" else PageChoice(words, -number, -1)
        case "page" | "pages":
            first = reader.number(least=1)
            last = reader.number(least=first) if reader.take("-", "–", "to") else first
            return PageChoice(f"page {first}" if first == last else f"pages {first}-{last}", first, last)
    raise reader.error("any page, each page, first page, last page, page N, pages N-M, first N pages or last N pages")


class _Reader:
    """Words, numbers and signs of a rule, one after the other."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens: list[tuple[int, str]] = []
        self._at = 0
        place = 0
        while text[place:].strip():
            found = _TOKEN.match(text, place)
            if found is None:
                blank = len(text[place:]) - len(text[place:].lstrip())
                self._tokens.append((place + blank, ""))
                break
            token = found.group(found.lastgroup or 0).casefold()
            self._tokens.append((found.start(found.lastgroup or 0), _NUMBERS.get(token, token)))
            place = found.end()

    @property
    def done(self) -> bool:
        return self._at == len(self._tokens)

    @property
    def is_number(self) -> bool:
        return self.next.isdecimal()

    @property
    def next(self) -> str:
        """The next token, which stays; "" at the end, and where no token can be read."""
        return "" if self.done else self._tokens[self._at][1]

    def take(self, *wanted: str) -> str:
        """The next token, if it is a wanted one; else "" and it stays."""
        found = self.next
        if not found or found not in wanted:
            return ""
        self._at += 1
        return found

    def need(self, *wanted: str) -> str:
        found = self.take(*wanted)
        if not found:
            raise self.error(" or ".join(f"`{word}`" for word in dict.fromkeys(wanted)))
        return found

    def number(self, *, least: int = 0) -> int:
        found = int(self.next) if self.is_number else -1
        if not least <= found <= _LARGEST:
            raise self.error(f"a whole number from {least} to {_LARGEST}")
        self._at += 1
        return found

    def error(self, expected: str, *, back: int = 0) -> RuleError:
        at = self._at - back
        place = self._tokens[at][0] if at < len(self._tokens) else len(self._text.rstrip())
        # On one line, whatever white space was typed: the arrow is to stand under the place.
        shown = f"{_WHITE.sub(' ', self._text.rstrip())}\n{' ' * place}^"
        return RuleError(f"the rule cannot be read; here {expected} is expected:\n{shown}")
