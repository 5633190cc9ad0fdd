"""Contract sentences, names, dates and amounts from a small grammar, in Arabic and in English."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

__all__ = ["Lexicon", "Writer", "pick"]

_ARABIC_DIGITS = str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩")
_HOSTS = ("gulf-horizon.example", "cedar-law.example", "atlas.example", "pearl-coast.example")
_Choice = TypeVar("_Choice")


def pick(rng: np.random.Generator, choices: Sequence[_Choice]) -> _Choice:
    """One of `choices`, each as likely."""
    return choices[int(rng.integers(len(choices)))]


@dataclass(frozen=True, kw_only=True)
class Lexicon:
    """Words and sentence patterns of one language; a pattern names slots in braces."""

    language: str
    sentences: tuple[str, ...]
    slots: Mapping[str, tuple[str, ...]]
    titles: tuple[str, ...]
    headings: tuple[str, ...]
    fields: tuple[str, ...]
    opening: tuple[str, ...]
    closing: tuple[str, ...]
    signing: tuple[str, ...]
    clause: str
    page: str


class _Slots(dict[str, str]):
    """Fills a pattern's slots as `str.format_map` asks for them, each time afresh."""

    def __init__(self, writer: Writer, given: Mapping[str, str]) -> None:
        super().__init__(given)
        self._writer = writer

    def __missing__(self, slot: str) -> str:
        return self._writer.slot(slot)


class Writer:
    """Writes text of one language out of `rng`; the same generator state gives the same words."""

    def __init__(self, lexicon: Lexicon, rng: np.random.Generator) -> None:
        self.lexicon = lexicon
        self.language = lexicon.language
        self._rng = rng
        self._eastern = lexicon.language == "ar" and rng.random() < 0.5

    def slot(self, name: str) -> str:
        """A filling for the slot `name`.

        Raises:
            KeyError: Neither the grammar nor the lexicon knows the slot.
        """
        made = getattr(self, f"_{name}", None)
        return str(made()) if made else pick(self._rng, self.lexicon.slots[name])

    def fill(self, pattern: str, **given: str) -> str:
        """`pattern` with its slots filled; values in `given` come first."""
        return string.Formatter().vformat(pattern, (), _Slots(self, given))

    def sentence(self) -> str:
        return self.fill(pick(self._rng, self.lexicon.sentences))

    def paragraph(self, sentences: int) -> str:
        """That many sentences in a row."""
        return " ".join(self.sentence() for _ in range(sentences))

    def opening(self) -> str:
        return self.fill(pick(self._rng, self.lexicon.opening))

    def closing(self) -> str:
        return self.fill(pick(self._rng, self.lexicon.closing))

    def signing(self) -> str:
        return self.fill(pick(self._rng, self.lexicon.signing))

    def title(self) -> str:
        return pick(self._rng, self.lexicon.titles)

    def field(self) -> str:
        return pick(self._rng, self.lexicon.fields)

    def clause(self, number: int) -> str:
        """A numbered clause heading."""
        return self.fill(
            self.lexicon.clause, number=self.digits(str(number)), heading=pick(self._rng, self.lexicon.headings)
        )

    def page_number(self, number: int, total: int) -> str:
        return self.fill(self.lexicon.page, number=self.digits(str(number)), total=self.digits(str(total)))

    def digits(self, text: str) -> str:
        """`text` with the digits that this document uses."""
        return text.translate(_ARABIC_DIGITS) if self._eastern else text

    def serial(self, length: int) -> str:
        """A number of that many digits, such as a registration number."""
        return self.digits("".join(str(digit) for digit in self._rng.integers(0, 10, length)))

    def _n(self) -> str:
        return self.digits(str(self._rng.integers(2, 25)))

    def _days(self) -> str:
        return self.digits(str(pick(self._rng, (7, 10, 14, 15, 21, 30, 45, 60, 90))))

    def _date(self) -> str:
        day, month, year = self._rng.integers((1, 1, 1998), (29, 13, 2026))
        if self._rng.random() < 0.5:
            return self.digits(f"{day:02d}/{month:02d}/{year}")
        return self.digits(f"{day} {self.lexicon.slots['month'][month - 1]} {year}")

    def _amount(self) -> str:
        figure = int(self._rng.integers(1, 999)) * 10 ** int(self._rng.integers(1, 5))
        money = f"{figure:,}.{'000' if self._rng.random() < 0.5 else '00'}"
        currency = pick(self._rng, self.lexicon.slots["currency"])
        return self.digits(f"{money} {currency}" if self.language == "ar" else f"{currency} {money}")

    def _name(self) -> str:
        first, middle, last = self.slot("given"), self.slot("given"), self.slot("family")
        return f"{first} بن {middle} {last}" if self.language == "ar" else f"{first} {middle[0]}. {last}"

    def _company(self) -> str:
        firm, trade, legal = (self.slot(slot) for slot in ("firm", "trade", "legal"))
        return f"شركة {firm} {trade} {legal}" if self.language == "ar" else f"{firm} {trade} {legal}"

    def _address(self) -> str:
        number, box = self._rng.integers((1, 100), (400, 9000))
        if self.language == "ar":
            return self.digits(f"{self.slot('street')} رقم {number}، ص.ب {box}، {self.slot('city')}")
        return f"{number} {self.slot('street')}, P.O. Box {box}, {self.slot('city')}"

    def _phone(self) -> str:
        return self.digits(
            f"+{self._rng.integers(961, 975)} {self._rng.integers(2000, 9999)} {self._rng.integers(1000, 9999)}"
        )

    def _link(self) -> str:
        host = pick(self._rng, _HOSTS)
        return f"www.{host}" if self._rng.random() < 0.5 else f"info@{host}"
