"""The command `report`: which contracts lack a signature or a stamp, as lines, an HTML page, CSV or JSON."""

from __future__ import annotations

import argparse
import base64
import csv
import io
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from backend.commands.amounts import between_zero_and_one
from backend.commands.import_documents.document_files import named_documents
from backend.commands.report.contract_sources import Contracts, FileContracts, ProjectContracts
from backend.commands.report.contracts import Contract, ContractPage, ContractState, Found, Judged, judged
from backend.commands.report.rules import Met, Rule, parse_rule
from backend.errors import PageError, ReportError
from backend.escaping import printable
from backend.files import ask_for_place, write_private
from backend.labelstudio.client import LabelStudio
from backend.labelstudio.connections import ask_for_token
from backend.labelstudio.projects import named_project
from backend.markup import moment, render
from backend.models.serving import Sources, build_pipeline
from backend.pages.encoding import thumbnail
from backend.pages.source import PageSource
from backend.settings import Settings
from backend.terminal import advise
from backend.vision.network_config import MARKS

__all__ = ["add_arguments", "as_csv", "as_html", "as_json", "cell", "run"]

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
        state=ContractState,
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
        "states": {state.value: states[state] for state in ContractState},
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


_RULES = ("signature>=1", "stamp>=1")
_LISTED, _PICTURED = 20, 300


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `report`."""
    parser.add_argument(
        "paths", nargs="*", type=Path, metavar="FILE|FOLDER", help="contracts on disk; the model looks at them now"
    )
    parser.add_argument(
        "--project", metavar="ID|TITLE", help="instead of files: a project as it stands, by number or title"
    )
    parser.add_argument("--recursive", action="store_true", help="look into folders inside folders, too")
    parser.add_argument(
        "--rule",
        action="append",
        metavar="RULE",
        help="what each contract must bear, such as 'signature>=2 on last page' or 'stamp or thumb>=1'; repeat it "
        f"for several rules (default: {' and '.join(_RULES)})",
    )
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page with pictures of the marks here")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write a table for spreadsheets here")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of the list")
    parser.add_argument(
        "--pictures",
        type=int,
        default=_PICTURED,
        metavar="N",
        help="how many contracts get pictures on the page, lacking and doubtful ones first (default: %(default)s)",
    )
    parser.add_argument("--model", help="auto, hub, bundled or the name of a published model (MODEL)")
    parser.add_argument(
        "--confidence", type=between_zero_and_one, help="lowest probability at which a mark counts (CONFIDENCE)"
    )


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Reports; gives 1 where a contract could not be looked at, or Ctrl-C ended the looking: the rest is reported.

    Raises:
        ReportError: A rule or an argument cannot be used, or there is nothing to report on.
        OutputError: A file cannot be written.
        BackendError: There is no model or project, or Label Studio refused or did not answer.
    """
    settings = settings.with_arguments(model=args.model, confidence=args.confidence)
    rules = [parse_rule(text) for text in args.rule or _RULES]
    _refuse_early(args, settings)
    with ExitStack() as stack:
        source, what, version = _source(args, settings, stack)
        with tqdm(total=source.total, unit="task" if args.project else "file", disable=None, file=sys.stderr) as bar:
            contracts, stopped = _until_stopped(source.contracts(bar.update))
        if stopped:
            print(f"contract-marks: stopped; the report is of {len(contracts)} of {source.total}", file=sys.stderr)
        found = judged(contracts, rules)
        if not found:
            raise ReportError(f"there is no contract in {what}")
        if args.html:
            _write_page(args, found, rules, source, what=what, version=version)
        if args.csv:
            write_private(args.csv, as_csv(found))
    if args.json:
        print(json.dumps(as_json(found, rules), ensure_ascii=False))
    else:
        _print(found, rules)
        if not args.html:
            advise("--html report.html shows each contract with its marks; --rule asks for something else")
    return 1 if stopped or any(page.marks is None for one in found for page in one.contract.pages) else os.EX_OK


def _until_stopped(contracts: Iterator[Contract]) -> tuple[list[Contract], bool]:
    """The contracts, and whether Ctrl-C ended that: what was looked at so far, perhaps for hours, is not lost.

    Raises:
        KeyboardInterrupt: Nothing was looked at so far.
    """
    found: list[Contract] = []
    try:
        for contract in contracts:
            found.append(contract)
    except KeyboardInterrupt:
        if not found:
            raise
        return found, True
    return found, False


def _refuse_early(args: argparse.Namespace, settings: Settings) -> None:
    """Says before the work, and not after it, what cannot be done."""
    if bool(args.paths) == bool(args.project):
        found = f"here are both: {args.paths[0]}, and --project {args.project}" if args.paths else "here is neither"
        raise ReportError(f"name either files and folders, or a --project; {found}")
    if args.project:
        ask_for_token(settings, "report --project")
    if args.pictures < 0:
        raise ReportError("--pictures is at least 0")
    for file in (args.html, args.csv):
        ask_for_place(file)


def _source(args: argparse.Namespace, settings: Settings, stack: ExitStack) -> tuple[Contracts, str, str]:
    """The contracts, what they are in words, and the version of the model that looks at them now."""
    if args.paths:
        files = named_documents(args.paths, recursive=args.recursive)
        pipeline = build_pipeline(Sources.of(settings).at_once(), settings)
        return FileContracts(files, pipeline, settings), ", ".join(map(str, args.paths)), pipeline.version
    studio = stack.enter_context(LabelStudio(settings.label_studio_url, settings.label_studio_api_key))
    project = named_project(studio, args.project)
    pages = PageSource(settings, studio)
    contracts = ProjectContracts(studio, pages, project, blind_share=settings.blind_share)
    return contracts, f"project {args.project}", ""


def _write_page(
    args: argparse.Namespace,
    found: Sequence[Judged],
    rules: Sequence[Rule],
    source: Contracts,
    *,
    what: str,
    version: str,
) -> None:
    total = min(args.pictures, len(found))
    with tqdm(total=total, unit="contract", desc="pictures", disable=None, file=sys.stderr) as bar:
        page = as_html(
            found,
            rules,
            source,
            what=what,
            version=version,
            now=time.time(),
            pictured=args.pictures,
            progress=bar.update,
        )
    write_private(args.html, page)
    print(f"{args.html}: confidential, it shows parts of the contracts; only you can read it", file=sys.stderr)


def _print(found: Sequence[Judged], rules: Sequence[Rule]) -> None:
    lacking = [one for one in found if one.met is not Met.YES or one.contract.contradictions]
    for one in lacking[:_LISTED]:
        told = f"({one.contract.told}, doubt {one.contract.doubt:.0%})"
        print(f"{one.met.value:<10}{printable(one.contract.name)}  {told}")
        for why in (*one.missing, *one.not_known, *one.contract.contradictions, *one.contract.reasons):
            print(f"{'':<10}{printable(why)}")
    if len(lacking) > _LISTED:
        print(f"… and {len(lacking) - _LISTED} more: --html, --csv and --json have them all")
    states = [one.contract.state for one in found]
    print(", ".join(f"{states.count(state)} {state}" for state in ContractState))
    missing = sum(one.met is Met.NO for one in found)
    not_known = sum(one.met is Met.NOT_KNOWN for one in found)
    asked = " and ".join(f"`{rule}`" for rule in rules)
    print(f"{missing} of {len(found)} contracts lack what {asked} asks for; of {not_known} it is not known")
