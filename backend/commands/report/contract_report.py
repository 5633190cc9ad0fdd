"""The report as an HTML page with pictures of the marks, as CSV and as JSON."""

from __future__ import annotations

import base64
import csv
import io
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from backend.commands.report.contracts import ContractPage, Found, Judged, State
from backend.commands.report.rules import Met, Rule
from backend.errors import PageError
from backend.markup import moment, render
from backend.pages.thumbnail import thumbnail
from backend.vision.network_config import MARKS

if TYPE_CHECKING:
    from backend.commands.report.contract_sources import Contracts

__all__ = ["as_csv", "as_html", "as_json", "cell"]

_WIDTH, _HEIGHT = 168, 96
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "|", "%")
"""What a spreadsheet takes for the beginning of a formula, or of something that leads to one."""
_PLACES = 4


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A mark as it looks; `image` is empty where its page could not be read again."""

    mark: Found
    page: int
    image: str


def as_html(
    found: Sequence[Judged],
    rules: Sequence[Rule],
    source: Contracts,
    *,
    what: str,
    version: str,
    now: float,
    pictured: int,
    progress: Callable[[], object] = lambda: None,
) -> str:
    """One page that needs no other file and loads nothing. It shows contracts: write it with `write_private`.

    Args:
        found: The contracts, in their order.
        rules: What they were held against.
        source: Where their pages are, which are read again for the pictures.
        what: What was reported on, in words.
        version: Of the model that looked; empty where Label Studio told.
        now: Seconds since the epoch.
        pictured: Contracts that get pictures at most, the first ones.
        progress: Called for each of those.
    """
    pictures = {}
    for place, one in enumerate(found[:pictured]):
        pictures[place] = list(_pictures(one, source))
        progress()
    return render(
        "contracts.html",
        "backend.commands.report",
        found=found,
        rules=rules,
        what=what,
        version=version,
        now=moment(now),
        pictures=pictures,
        pictured=min(pictured, len(found)),
        states=Counter(one.contract.state for one in found),
        state=State,
        groups=[
            (met, [pair for pair in enumerate(found) if pair[1].met is met]) for met in (Met.NO, Met.NOT_KNOWN, Met.YES)
        ],
        met=Met,
        marks=MARKS,
    )


def as_csv(found: Sequence[Judged]) -> str:
    """A table with a row for each contract, for spreadsheets: no cell of it is taken for a formula."""
    out = io.StringIO()
    # A spreadsheet reads Arabic names as UTF-8 only behind this mark.
    out.write("\ufeff")
    table = csv.writer(out)
    head = ["contract", "state", *MARKS, "missing", "not known", "told by", "doubt", "pages", "marks by page", "link"]
    table.writerow([*head, "problem", "chosen", "contradiction"])
    for one in found:
        contract = one.contract
        row: list[str | int | float] = [contract.name, contract.state, *map(contract.count, MARKS)]
        row += ["; ".join(one.missing), "; ".join(one.not_known), contract.told, round(contract.doubt, 3)]
        row += [len(contract.pages), one.marks(), contract.link, "; ".join(contract.reasons)]
        row += ["; ".join(contract.said), "; ".join(contract.contradictions)]
        table.writerow([cell(value) for value in row])
    return out.getvalue()


def cell(value: str | float) -> str | float:
    """A value that a spreadsheet shows as it is: text that it would run as a formula gets an apostrophe before it."""
    if not isinstance(value, str):
        return value
    text = str(value)
    return f"'{text}" if text.lstrip().startswith(_FORMULA) or text.startswith(_FORMULA) else text


def as_json(found: Sequence[Judged], rules: Sequence[Rule]) -> dict[str, Any]:
    """The report as plain JSON; boxes are x1, y1, x2, y2 as shares of the page."""
    states = Counter(one.contract.state for one in found)
    return {
        "rules": [str(rule) for rule in rules],
        "contracts": [_contract(one) for one in found],
        "states": {state.value: states[state] for state in State},
        "missing": sum(one.met is Met.NO for one in found),
        "not_known": sum(one.met is Met.NOT_KNOWN for one in found),
    }


def _contract(one: Judged) -> Mapping[str, Any]:
    contract = one.contract
    return {
        "contract": contract.name,
        "link": contract.link or None,
        "state": contract.state,
        "marks": {label: contract.count(label) for label in MARKS},
        "rules": [{"met": answer.met.value, "why": answer.why} for answer in one.answers],
        "told_by": contract.told,
        "doubt": round(contract.doubt, _PLACES),
        "chosen": list(contract.said),
        "contradictions": list(contract.contradictions),
        "pages": [_page(page) for page in contract.pages],
    }


def _page(page: ContractPage) -> Mapping[str, Any]:
    marks = (
        None
        if page.marks is None
        else [
            {
                "class": mark.label,
                "box": [round(side, _PLACES) for side in mark.box],
                "score": None if mark.score is None else round(mark.score, _PLACES),
            }
            for mark in page.marks
        ]
    )
    told = {"page": page.number, "task": page.task, "annotated": page.annotated, "marks": marks}
    return told | ({"problem": page.reason} if page.reason else {})


def _pictures(one: Judged, source: Contracts) -> Iterator[Picture]:
    """Each mark of a contract; each page is read once."""
    for page in one.contract.pages:
        if not page.marks:
            continue
        try:
            pixels = source.page(page).pixels
        except PageError:
            # The mark is told of all the same, and the page says that there is no picture of it.
            yield from (Picture(mark=mark, page=page.number, image="") for mark in page.marks)
            continue
        height, width = pixels.shape[:2]
        for mark in page.marks:
            x1, y1, x2, y2 = (side * scale for side, scale in zip(mark.box, (width, height) * 2, strict=True))
            jpeg = thumbnail(pixels, (x1, y1, x2, y2), width=_WIDTH, height=_HEIGHT)
            image = f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"
            yield Picture(mark=mark, page=page.number, image=image)
