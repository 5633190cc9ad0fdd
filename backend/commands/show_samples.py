"""The command `samples`: what the corrections made, as tables, JSON Lines, a sheet, or the story of one.

The sheet shows their crops, as a page or an image.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from sqlalchemy import Connection, Row, func, select

from backend.commands.amounts import one_or_more
from backend.commands.samples_like import alike_page, chosen_of, follow_verdict, like_lines, look_alikes
from backend.corrections.counts import LedgerCounts, count, tables
from backend.corrections.crop_store import CropStore, difference
from backend.corrections.memory import acting_verdicts, forget_verdict, restore_verdict, verdict_lines
from backend.corrections.outcomes import Outcome
from backend.corrections.service import Store
from backend.corrections.splits import COPY_BITS
from backend.corrections.tables import forgotten, memory, proposal, sample
from backend.errors import LedgerError, SettingsError
from backend.files import ask_for_place, private_file, write_private
from backend.labelstudio.client import LabelStudio
from backend.labelstudio.connections import ask_for_token
from backend.markup import render
from backend.pages.encoding import png_uri
from backend.settings import Settings
from backend.terminal import advise
from backend.vision.network_config import CLASSES

__all__ = ["SampleShelf", "add_arguments", "run", "shelves", "story"]

_AT_ONCE = 1000
_CENTIS = 2


def sample_lines(connection: Connection) -> Iterator[str]:
    """One JSON object for each sample.

    Boxes are x1, y1, x2, y2 in pixels of the upright page; moments are ISO 8601, UTC; `probabilities` are the shown
    box's, by class, and null where nothing was shown. The meaning of each field is in `docs/corrections.md`.
    """
    renamed: Counter[str] = Counter()
    followed = select(proposal.c.recalled, func.count()).where(proposal.c.recalled.is_not(None))
    for name, number in connection.execute(followed.group_by(proposal.c.recalled)):
        renamed[name] = int(number)
    suppressed: Counter[str] = Counter()
    for name, number in connection.execute(
        select(memory.c.sample, func.sum(memory.c.suppressed)).group_by(memory.c.sample)
    ):
        suppressed[name] = int(number or 0)
    back = set(connection.execute(select(forgotten.c.sample)).scalars())
    rows = connection.execution_options(yield_per=_AT_ONCE).execute(
        select(sample).order_by(sample.c.annotated, sample.c.id)
    )
    for row in rows:
        followers = {"renamed": renamed[row.id], "suppressed": suppressed[row.id], "taken_back": row.id in back}
        yield json.dumps({**_facts(row), "recall": followers}, ensure_ascii=False)


def _facts(row: Row[Any]) -> dict[str, Any]:
    shown = row.probabilities
    return {
        "id": row.id,
        "outcome": row.outcome,
        "label": row.label,
        "shown_as": row.wrong or (row.label if row.shown is not None else None),
        "weak": bool(row.weak),
        "blind": bool(row.blind),
        "quarantine": row.quarantine,
        "project": row.project,
        "task": row.task,
        "annotation": row.annotation,
        "annotator": row.annotator,
        "region": row.region,
        "page": row.page + 1,
        "box": [round(side, _CENTIS) for side in (row.x1, row.y1, row.x2, row.y2)],
        "page_size": [row.page_width, row.page_height],
        "page_sha256": row.page_sha256,
        "document": row.document,
        "split": row.split,
        "crop": f"{row.crop}.png",
        "crop_sha256": row.crop_sha256,
        "crop_box": row.margin,
        "phash": row.phash,
        "model_version": row.version,
        "probabilities": None if shown is None else dict(zip(CLASSES, shown, strict=True)),
        "shown": _iso(row.shown),
        "annotated": _iso(row.annotated),
        "lead_time": row.lead_time,
    }


def _iso(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat()


SIDE = 132
COLUMNS = 8
CAPTION = 34
HEADING = 30
MEANINGS: Mapping[str, str] = {
    Outcome.RELABELLED: "shown under a wrong name: hard examples",
    Outcome.REJECTED: "shown where nothing is: hard negatives",
    Outcome.MISSED: "not shown at all",
    Outcome.MOVED: "shown in the wrong place",
    Outcome.DUPLICATE: "shown twice",
    Outcome.ACCEPTED: "shown, seen and left as they were",
}
_WITH_ID = ("show", "like", "forget", "restore")
_ALIKE = 0.3
"""Distance up to which boxes are said to look alike; a person decides."""


@dataclass(frozen=True, kw_only=True)
class SampleShelf:
    """Samples of one outcome, with their crops.

    Attributes:
        total: How many there are, of which the newest are shown.
    """

    outcome: str
    meaning: str
    total: int
    samples: Sequence[tuple[Row[Any], Image.Image]]


def shelves(connection: Connection, crops: CropStore, *, most: int) -> list[SampleShelf]:
    """Samples by outcome, those that teach the most first; `most` of each, the newest."""
    found = []
    for outcome, meaning in MEANINGS.items():
        rows = connection.execute(
            select(sample)
            .where(sample.c.outcome == outcome)
            .order_by(sample.c.annotated.desc(), sample.c.id)
            .limit(most)
        ).all()
        total = connection.execute(select(func.count()).where(sample.c.outcome == outcome)).scalar() or 0
        shown = list(_with_crops(rows, crops))
        if total:
            found.append(SampleShelf(outcome=str(outcome), meaning=meaning, total=total, samples=shown))
    return found


def _html_sheet(found: Sequence[SampleShelf]) -> str:
    """The contact sheet as one page that needs no other file."""
    return render("sheet.html", "backend.commands", shelves=found, data_uri=_data_uri, moment=_moment)


def _png_sheet(found: Sequence[SampleShelf]) -> Image.Image:
    """The contact sheet as one image."""
    rows = [-(-len(shelf.samples) // COLUMNS) for shelf in found]
    height = sum(HEADING + size * (SIDE + CAPTION) for size in rows) + 12
    sheet = Image.new("RGB", (COLUMNS * (SIDE + 8) + 8, max(height, HEADING)), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    top = 6
    for shelf, size in zip(found, rows, strict=True):
        pen.text((8, top + 6), f"{shelf.outcome} ({shelf.total}): {shelf.meaning}", fill="black", font=font)
        for place, (row, crop) in enumerate(shelf.samples):
            left, down = 8 + place % COLUMNS * (SIDE + 8), top + HEADING + place // COLUMNS * (SIDE + CAPTION)
            sheet.paste(crop, (left + (SIDE - crop.width) // 2, down + (SIDE - crop.height) // 2))
            pen.text((left, down + SIDE + 2), f"{_verdict(row)}\n{row.id[:20]}", fill="#555", font=font, spacing=1)
        top += HEADING + size * (SIDE + CAPTION)
    return sheet


def story(connection: Connection, name: str) -> str:
    """What is known of one sample, for a person to read.

    Raises:
        LedgerError: There is none of that name.
    """
    row = connection.execute(select(sample).where(sample.c.id == name)).first()
    if row is None:
        raise LedgerError(f"there is no sample {name!r}: `samples --sheet FILE.html` shows their names")
    told = list(_chapters(row, *_copies(connection, row)))
    of_it = select(func.sum(memory.c.suppressed)).where(memory.c.sample == name)
    if suppressed := connection.execute(of_it).scalar():
        told.append(f"  recall     kept {suppressed} boxes that look like it from being shown")
    return "\n".join(told)


def _chapters(row: Row[Any], exact: Sequence[str], near: Sequence[str]) -> Iterator[str]:
    place = f"x {row.x1:.0f} to {row.x2:.0f}, y {row.y1:.0f} to {row.y2:.0f} of {row.page_width} x {row.page_height} px"
    yield f"sample {row.id}: {row.label}, {row.outcome}" + (", weak evidence" if row.weak else "")
    yield f"  where      project {row.project}, task {row.task}, page {row.page + 1}, {place}"
    if row.shown is None:
        yield "  shown      nothing was proposed there"
    else:
        certainty = ", ".join(f"{name} {share:.1%}" for name, share in zip(CLASSES, row.probabilities, strict=True))
        seen = "hidden" if row.blind else "shown "
        yield f"  {seen}     {_moment(row.shown)} as {row.wrong or row.label} by {row.version}"
        yield f"             {certainty}"
    worked = "" if row.lead_time is None else f", after {row.lead_time:.0f} s of work"
    yield f"  corrected  {_moment(row.annotated)} in annotation {row.annotation} by annotator {row.annotator}{worked}"
    yield f"  verdict    {_verdict(row)}"
    yield f"  split      {row.split}, as the whole document {row.document[:12]}"
    yield f"  crop       {row.crop}.png, page {row.page_sha256[:12]}"
    if exact:
        yield f"  copies     to the pixel: {', '.join(exact)}"
    if near:
        yield f"  look-alike {', '.join(near)}"
    if row.quarantine:
        yield f"  quarantine {row.quarantine}"


def _copies(connection: Connection, row: Row[Any]) -> tuple[list[str], list[str]]:
    """Names of samples with the same pixels, and of those whose perceptual hash is within 3 bits."""
    others = select(sample.c.id, sample.c.crop_sha256, sample.c.phash).where(sample.c.id != row.id)
    exact, near = [], []
    for other in connection.execute(others.order_by(sample.c.id)):
        if other.crop_sha256 == row.crop_sha256:
            exact.append(other.id)
        elif difference(other.phash, row.phash) <= COPY_BITS:
            near.append(other.id)
    return exact, near


def _verdict(row: Row[Any]) -> str:
    said = f"{row.wrong} → {row.label}" if row.wrong else str(row.label)
    return f"{said} (blind)" if row.blind else said


def _with_crops(rows: Sequence[Row[Any]], crops: CropStore) -> Iterator[tuple[Row[Any], Image.Image]]:
    for row in rows:
        image = Image.fromarray(crops.get(row.crop))
        image.thumbnail((SIDE, SIDE))
        yield row, image


def _data_uri(image: Image.Image) -> str:
    return png_uri(np.asarray(image))


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `samples`."""
    parser.add_argument(
        "words",
        nargs="*",
        metavar="show ID | list | like ID | forget ID | restore ID",
        help="show: where one sample comes from; list: the corrections that other boxes follow; like: shown boxes that "
        "look like a corrected one; forget: take a correction back; restore: let it act again",
    )
    parser.add_argument(
        "--html", type=Path, metavar="FILE", help="with `like`: write a page with pictures of these boxes here"
    )
    parser.add_argument(
        "--follow",
        metavar="all|none|1,4,7",
        help="with `like`: correct these boxes of the list in the same way; open tasks get new predictions, annotated "
        "tasks go to the tab Review",
    )
    parser.add_argument("--sheet", type=Path, metavar="FILE", help="write a contact sheet of the crops, .html or .png")
    parser.add_argument(
        "--most",
        type=one_or_more,
        default=200,
        help="at most so many crops of an outcome, and lines of a list (default: 200)",
    )
    parser.add_argument("--json", action="store_true", help="print the counts as one JSON document")
    parser.add_argument(
        "--json-lines", action="store_true", help="print all that is known of each sample, one JSON object a line"
    )


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Prints counts beside the original model card's, a story or a list, writes a sheet, or takes a verdict back.

    Raises:
        LedgerError: The database or a crop cannot be used, or there is no such sample.
        OutputError: A file cannot be written.
        SettingsError: The arguments cannot be understood.
    """
    _refuse(args.words)
    _ask_for_places(args)
    store = Store.open(settings)
    if args.words and args.words[0] == "like":
        _like(store, settings, args)
    elif args.words:
        _word(store, *args.words, most=args.most)
    elif args.sheet is not None:
        _write_sheet(store, args.sheet, most=args.most)
    elif args.json_lines:
        with store.engine.connect() as connection:
            for line in sample_lines(connection):
                print(line)
    elif args.json:
        print(json.dumps(count(store.engine).as_json()))
    else:
        _counted(count(store.engine))
    store.engine.dispose()
    return os.EX_OK


def _counted(facts: LedgerCounts) -> None:
    print(tables(facts))
    if facts.count():
        advise("--sheet sheet.html shows the crops; `samples list` the corrections that other boxes follow")
    else:
        print(
            "nothing was learnt yet: correct boxes in Label Studio and submit; `sync` fetches what no webhook brought",
            file=sys.stderr,
        )


def _refuse(words: list[str]) -> None:
    """Refuses words that say nothing, before anything is opened."""
    if words and words != ["list"] and (len(words) != 2 or words[0] not in _WITH_ID):
        raise SettingsError(
            "samples takes `show ID`, `list`, `like ID`, `forget ID`, `restore ID` or nothing, besides its options"
        )


def _ask_for_places(args: argparse.Namespace) -> None:
    """Refuses files that cannot be written, before anything is opened."""
    if args.sheet is not None and args.sheet.suffix.lower() not in {".html", ".png"}:
        raise SettingsError(f"{args.sheet}: a sheet is an .html page or a .png image")
    for file in (args.sheet, args.html):
        ask_for_place(file)


def _word(store: Store, word: str, name: str = "", *, most: int) -> None:
    """Does what one word says."""
    if word == "forget":
        forget_verdict(store.engine, name, at=time.time())
        print(f"{name} is taken back: no box follows it from now on; `samples restore {name}` undoes that")
    elif word == "restore":
        restore_verdict(store.engine, name)
        print(f"{name} is followed again")
    else:
        with store.engine.connect() as connection:
            told = story(connection, name) if word == "show" else "\n".join(_listed(connection, most))
        print(told)


def _like(opened: Store, settings: Settings, args: argparse.Namespace) -> None:
    """Lists look-alikes, writes a page of them, or does what a person decided."""
    name = args.words[1]
    found = look_alikes(opened, name, distance=_ALIKE, most=args.most)
    print("\n".join(like_lines(name, found)))
    if args.html:
        write_private(args.html, alike_page(name, found))
        print(f"{args.html}: confidential, it shows parts of the pages; only you can read it")
    if args.follow is None:
        return
    chosen = chosen_of(found, args.follow)
    if chosen:
        ask_for_token(settings, "samples like --follow")
    with LabelStudio(settings.label_studio_url, settings.label_studio_api_key) as studio:
        done = follow_verdict(opened, studio, name, chosen)
    print(
        f"{len(done.changed)} open tasks are shown other boxes, {len(done.review)} annotated ones are in the tab "
        f"Review, {len(done.gone)} do not show the box any more"
    )


def _listed(connection: Connection, most: int) -> list[str]:
    return verdict_lines(acting_verdicts(connection, most=most))


def _write_sheet(store: Store, file: Path, *, most: int) -> None:
    with store.engine.connect() as connection:
        found = shelves(connection, store.crops, most=most)
    if file.suffix.lower() == ".html":
        write_private(file, _html_sheet(found))
    else:
        with private_file(file) as opened:
            _png_sheet(found).save(opened, format="PNG")
    crops = sum(len(shelf.samples) for shelf in found)
    print(f"{file}: {crops} crops; confidential, it shows parts of the pages; only you can read it")
