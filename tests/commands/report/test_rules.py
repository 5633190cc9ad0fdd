"""The language of rules: what each means on contracts of known pages, and what is said of what is no rule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.commands.report.rules import Met, parse_rule
from backend.errors import ReportError


@dataclass(frozen=True)
class Page:
    counts: Mapping[str, int] | None


def contract(*pages: str) -> list[Page]:
    """Pages by their marks: s, t (stamp), h (thumb); ? was not looked at."""
    names = {"s": "signature", "t": "stamp", "h": "thumb"}
    return [
        Page(None if marks == "?" else {name: marks.count(letter) for letter, name in names.items()}) for marks in pages
    ]


YES, NO, NOT_KNOWN = Met.YES, Met.NO, Met.NOT_KNOWN


@pytest.mark.parametrize(
    ("rule", "pages", "met"),
    [
        ("signature", ["", "s"], YES),  # at least one, anywhere
        ("signature", ["t"], NO),
        ("SIGNATURES >= 2", ["s", "s"], YES),  # counted over all pages
        ("signature>=2 on last page", ["ss", "s"], NO),
        ("signature>=2 on the last page", ["", "ss"], YES),
        ("stamp=1", ["t", "t"], NO),
        ("stamp==1", ["t", ""], YES),
        ("stamp≤1", ["t", "t"], NO),
        ("stamp<2", ["t"], YES),
        ("stamp>1", ["t"], NO),
        ("stamp=0", [""], YES),  # an original must not be stamped yet
        ("thumbprint≥1 on first page", ["h", ""], YES),
        ("mark>=3 on page 2", ["", "sth"], YES),
        ("mark on page 3", ["s", "s"], NO),  # there is none
        ("mark=0 on page 3", ["s", "s"], YES),  # and so no mark on it
        ("stamp on each page", ["t", "t", "t"], YES),
        ("stamp on every page", ["t", "", "tt"], NO),
        ("stamp>=2 on pages 2-3", ["tt", "t", "t"], YES),
        ("stamp>=2 on pages 2 to 3", ["tt", "t", ""], NO),
        ("stamp>=2 on last 2 pages", ["tt", "t", ""], NO),
        ("stamp>=2 on last 2 pages", ["tt"], YES),  # one page is all there is
        ("stamp>=1 on first 2 pages", ["", "", "t"], NO),
        ("at least two signatures on the last two pages", ["ss", "s", ""], NO),  # numbers as words
        ("exactly one stamp", ["t", "t"], NO),
        ("a stamp and one signature", ["t", "s"], YES),
        ("without stamp", ["s"], YES),
        ("not a stamp on first page", ["t"], NO),
        ("signature+thumb>=2", ["s", "h"], YES),  # counted together
        ("signature+thumb>=2", ["s", "t"], NO),
        ("stamp or thumb>=1", ["h"], YES),
        ("stamp or thumb", ["s"], NO),
        ("signature and stamp", ["s", "t"], YES),
        ("signature and stamp or thumb", ["h"], YES),  # `and` binds closer
        ("thumb or signature and stamp", ["s"], NO),
        ("signature in the contract", ["s"], YES),
        # as people say it
        ("2 signatures", ["s", "s"], YES),
        ("2 signatures on the last page", ["ss", "s"], NO),
        ("at least 2 signatures and at most 1 stamp", ["ss", "t"], YES),
        ("at least 2 signatures and at most 1 stamp", ["ss", "tt"], NO),
        ("exactly 1 stamp on first page", ["tt", ""], NO),
        ("no stamp", [""], YES),  # a draft
        ("No Stamp on page 2", ["", "t"], NO),
        ("1 signature + thumb", ["h"], YES),
        # in the words that label configs have
        ("seal>=1", ["t"], YES),
        ("Fingerprints", ["h"], YES),
        ("توقيع>=٢ and ختم", ["s", "st"], YES),
        ("التوقيعات >= 2", ["s"], NO),
        # What nobody looked at may bear what is missing, and can take nothing away.
        ("signature>=1", ["?", "s"], YES),
        ("signature>=2", ["?", "s"], NOT_KNOWN),
        ("signature>=1 on page 2", ["?", ""], NO),
        ("signature=0", ["?", "s"], NO),
        ("signature=0", ["?", ""], NOT_KNOWN),
        ("signature=1", ["?", "s"], NOT_KNOWN),
        ("signature<2", ["?", "ss"], NO),
        ("signature<2", ["?", "s"], NOT_KNOWN),
        ("signature<=1", ["?", "s"], NOT_KNOWN),
        ("stamp on each page", ["t", "?"], NOT_KNOWN),
        ("stamp on each page", ["", "?"], NO),
        ("signature or stamp", ["?"], NOT_KNOWN),
        ("signature or stamp", ["?", "t"], YES),
        ("signature and stamp", ["?", "t"], NOT_KNOWN),
        ("signature", [], NOT_KNOWN),  # a file that could not be opened
    ],
)
def test_what_a_rule_says(rule: str, pages: list[str], met: Met) -> None:
    assert parse_rule(rule).ask(contract(*pages)).met is met


@pytest.mark.parametrize(
    ("rule", "place", "expected"),
    [
        ("", 0, "signature, stamp, thumb or mark"),
        ("logo>=1", 0, "signature, stamp, thumb or mark"),
        ("(signature or thumb) and stamp", 0, "signature, stamp, thumb or mark"),
        ("2 signatures>=3", 12, "`on` with a place"),
        ("at 2 signatures", 3, "`least` or `most`"),
        ("at least signatures", 9, "a whole number"),
        ("no", 2, "signature, stamp, thumb or mark"),
        ("signature=2+1", 11, "`on` with a place"),
        ("signature>=", 11, "a whole number"),
        ("signature>=twenty", 11, "a whole number"),
        ("signature>=1.5", 12, "`on` with a place"),
        ("signature>=1001", 11, "from 0 to 1000"),
        ("signature=>2", 10, "a whole number"),
        ("signature<0", 10, "never fewer than 0"),
        ("signature>=2 on", 15, "any page, each page"),
        ("signature>=2 on last", 20, "`page`"),
        ("signature>=2 on lst page", 16, "any page, each page"),
        ("signature>=2 on page", 20, "a whole number from 1"),
        ("signature>=2 on page 0", 21, "a whole number from 1"),
        ("signature>=2 on pages 3-2", 24, "a whole number from 3"),
        ("signature>=2 on last 0 pages", 21, "a whole number from 1"),
        ("signature>=2 last page", 13, "`on` with a place"),
        ("signature and", 13, "signature, stamp, thumb or mark"),
        ("signature; drop", 9, "`on` with a place"),
    ],
)
def test_what_is_no_rule_is_shown_with_the_place(rule: str, place: int, expected: str) -> None:
    with pytest.raises(ReportError) as told:
        parse_rule(rule)
    sentence, shown, arrow = str(told.value).split("\n")
    assert expected in sentence
    assert shown == rule
    assert arrow.index("^") == place


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ("signature>=2 on last page", "signature>=2 on last page: 1 found"),
        ("mark on page 4", "mark>=1 on page 4: there is no such page"),
        ("stamp>=1 on each page", "stamp>=1 on each page: 0 found"),
        ("stamp>=5 or thumb", "stamp>=5: 2 found; thumb>=1: 0 found"),
        ("signature and thumb", "thumb>=1: 0 found"),  # what is there need not be told
    ],
)
def test_why_it_is_not_met(rule: str, why: str) -> None:
    assert parse_rule(rule).ask(contract("tt", "s")).why == why


@given(st.text(max_size=40))
def test_any_text_is_a_rule_or_an_error_of_ours(text: str) -> None:
    try:
        rule = parse_rule(text)
    except ReportError:
        return
    assert str(parse_rule(str(rule))) == str(rule)


KINDS = st.sampled_from(["signature", "stamp", "thumb", "mark", "signature+stamp"])
SIGNS = st.sampled_from([">=", "<=", "=", ">", "<"])
PLACES = st.sampled_from(["", " on last page", " on first 2 pages", " on page 2", " on pages 1-2", " on each page"])


@given(
    kinds=KINDS,
    sign=SIGNS,
    number=st.integers(1, 4),
    place=PLACES,
    pages=st.lists(st.text("sth", max_size=3), min_size=1, max_size=4),
    hidden=st.integers(0, 3),
)
def test_looking_at_a_page_never_turns_yes_into_no(
    *, kinds: str, sign: str, number: int, place: str, pages: list[str], hidden: int
) -> None:
    """What is said of a contract with a page that nobody looked at holds whatever is on that page."""
    rule = parse_rule(f"{kinds}{sign}{number}{place}")
    before = rule.ask(contract(*("?" if place == hidden else marks for place, marks in enumerate(pages)))).met
    after = rule.ask(contract(*pages)).met
    assert before is after or before is NOT_KNOWN
    assert after is not NOT_KNOWN
