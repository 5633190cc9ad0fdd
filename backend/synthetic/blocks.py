"""Blocks of a page that flow from top to bottom: headings, clauses, tables, forms to fill in, signature blocks.

Words written in by hand are names, dates and notes in a pen, wavering and slanted; they are no marks.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import cv2
import numpy as np

from backend.synthetic import lettering, ornaments
from backend.synthetic.lettering import Coverage, Font
from backend.synthetic.ornaments import PRINT_COLOURS
from backend.synthetic.sheet import (
    BLACK,
    MM_PER_POINT,
    Align,
    Density,
    Rect,
    Sheet,
    Type,
    density_of,
    diluted,
    line_width,
    set_line,
    set_paragraph,
)
from backend.synthetic.texts import Writer, pick

__all__ = [
    "PEN_COLOURS",
    "Draft",
    "clauses",
    "fields",
    "footer",
    "heading",
    "house_colours",
    "letterhead",
    "pick_hand_font",
    "signature_block",
    "table",
    "write_by_hand",
]

PEN_COLOURS: tuple[Density, ...] = (density_of(30, 45, 130), density_of(25, 60, 160), density_of(45, 45, 55))
_LOUD: tuple[Density, ...] = (density_of(200, 30, 40), density_of(20, 60, 190))
"""Colours of printed warnings and links."""


def pick_hand_font(rng: np.random.Generator) -> Font:
    """The letters of one writer."""
    return pick(rng, lettering.fonts_of("script"))


def write_by_hand(
    sheet: Sheet,
    rng: np.random.Generator,
    text: str,
    font: Font,
    *,
    points: float,
    pen: Density,
    at: tuple[float, float],
) -> float:
    """Writes `text` on one line from `at`, the left end of its upper edge in mm.

    Returns:
        The width in mm.
    """
    size = points * MM_PER_POINT * sheet.scale
    words = _wavering(lettering.render(text, font, size), rng, size)
    sheet.lay(words, sheet.pixels(at[0]), sheet.pixels(at[1]), pen)
    return float(words.shape[1] / sheet.scale)


def _wavering(line: Coverage, rng: np.random.Generator, size: float) -> Coverage:
    """Bends printed letters as a hand would: slant, a rising line, uneven letters and uneven pressure."""
    slant, rise = rng.normal(0.08, 0.12), rng.normal(0, 0.025)
    margin = round(size * 0.4)
    padded = cv2.copyMakeBorder(line, margin, margin, margin, margin, cv2.BORDER_CONSTANT, value=0)
    height, width = padded.shape
    columns, rows = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    cells = max(round(width / (0.45 * size)), 2), max(round(height / (0.6 * size)), 2)
    bend_x, bend_y, pressure = (
        cv2.resize(rng.standard_normal(cells[::-1], np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
        for _ in range(3)
    )
    reach = np.float32(0.05 * size)
    from_x = columns + np.float32(slant) * (rows - height / 2) + reach * bend_x
    from_y = rows + np.float32(rise) * (columns - width / 2) + reach * bend_y
    bent = cv2.remap(padded, from_x.astype(np.float32), from_y.astype(np.float32), cv2.INTER_LINEAR)
    return np.asarray(bent * np.clip(0.85 + 0.12 * pressure, 0.4, 1), np.float32)


@dataclass(kw_only=True)
class Draft:
    """A page that is being written: the sheet, the pen's height on it, and the house style.

    Attributes:
        sheet: What is printed on.
        rng: Where the randomness comes from.
        writer: Words in the page's (or the column's) language.
        body: How running text is set.
        title: How headings are set.
        left: Left edge of the column in mm.
        width: Width of the column in mm.
        y: Where the next block goes, in mm from the top.
        bottom: Lowest position for running text, in mm.
        align: Of running text.
        accent: Colour of headings, bars and logos.
        anchors: Places to sign at, found so far.
    """

    sheet: Sheet
    rng: np.random.Generator
    writer: Writer
    body: Type
    title: Type
    left: float
    width: float
    y: float
    bottom: float
    align: Align
    accent: Density
    anchors: list[Rect] = field(default_factory=list)

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def paragraph(self, text: str, style: Type | None = None, *, align: Align | None = None, indent: float = 0) -> None:
        """Sets `text` at the pen, indented from the side where lines start."""
        style = style or self.body
        left = self.left if style.rtl else self.left + indent
        self.y = set_paragraph(
            self.sheet,
            text,
            left,
            self.y,
            style,
            width=self.width - indent,
            align=align or self.align,
            bottom=self.bottom,
        )

    def room(self) -> float:
        """Height left above the bottom, in mm."""
        return self.bottom - self.y


def heading(draft: Draft, text: str, *, centred: bool = False, larger: float = 1.0) -> None:
    """A heading line in the title type, sometimes on a coloured bar."""
    style = replace(draft.title, points=draft.title.points * larger)
    if draft.chance(0.06) and not centred:
        draft.sheet.fill(Rect(draft.left, draft.y - 0.5, draft.width, style.pitch + 1), diluted(draft.accent, 0.15))
    draft.paragraph(text, style, align="centre" if centred else "start")
    draft.y += 0.3 * style.pitch


def clauses(draft: Draft, *, until: float, first: int = 1) -> None:
    """Numbered clauses with headings, the last begun above `until` mm."""
    number, bulleted = first, draft.chance(0.3)
    gap = draft.rng.uniform(0.2, 0.9) * draft.body.pitch
    while min(until, draft.bottom) - draft.y > 4 * draft.body.pitch:
        heading(draft, draft.writer.clause(number))
        for part in range(1, int(draft.rng.integers(2, 5))):
            if part > 1 and draft.y > until:
                break
            _clause(draft, "•" if bulleted else draft.writer.digits(f"{number}.{part}"))
            draft.y += 0.3 * gap
        draft.y += gap
        number += 1


def _clause(draft: Draft, label: str) -> None:
    """One paragraph with its number or bullet beside it; now and then printed in colour."""
    start, style = draft.y, draft.body
    if draft.chance(0.025):
        style = replace(style, density=pick(draft.rng, _LOUD), underline=draft.chance(0.4))
    indent = max(9.0, line_width(draft.sheet, label, style) + 2) if draft.width > 100 else 0.0
    draft.paragraph(draft.writer.paragraph(int(draft.rng.integers(1, 4))), style, indent=indent)
    if indent and draft.y > start:
        set_line(draft.sheet, label, draft.left, start, style, width=draft.width)
        _emphasis(draft, start)


def _emphasis(draft: Draft, y: float) -> None:
    """Now and then a highlighter stroke, or a red or blue line, over a paragraph's first lines."""
    place = draft.left + draft.rng.uniform(0.1, 0.5) * draft.width, y
    length = draft.rng.uniform(0.15, 0.45) * draft.width
    if draft.chance(0.012):
        ornaments.highlight(draft.sheet, draft.rng, Rect(*place, length, draft.body.pitch))
    elif draft.chance(0.012):
        draft.sheet.fill(
            Rect(place[0], y + draft.body.pitch * 0.85, length, 0.35),
            pick(draft.rng, (*PEN_COLOURS, density_of(200, 40, 40))),
        )


def letterhead(draft: Draft) -> None:
    """Name, address and sign of a company or ministry at the top, then a rule."""
    sheet, rng, writer = draft.sheet, draft.rng, draft.writer
    size = rng.uniform(14, 26)
    colour = draft.accent if draft.chance(0.7) else BLACK
    where = int(rng.integers(3))
    x = (draft.left, draft.left + draft.width - size, draft.left + (draft.width - size) / 2)[where]
    ornaments.logo(sheet, rng, writer, Rect(x, draft.y, size, size), colour)
    name = replace(draft.title, points=rng.uniform(12, 18), density=colour)
    small = replace(draft.body, points=7.5, density=colour if draft.chance(0.4) else draft.body.density)
    lines = [(writer.slot("company"), name), (writer.slot("address"), small), (writer.slot("phone"), small)]
    if draft.chance(0.4):
        lines.append((writer.slot("link"), replace(small, density=_LOUD[1], underline=True, rtl=False)))
    align: Align = "centre"
    top = draft.y + size + 1
    if where < 2:
        top = draft.y + 1
        align = "end" if (where == 0) != draft.body.rtl else "start"
    for text, style in lines:
        set_line(sheet, text, draft.left, top, style, width=draft.width, align=align)
        top += style.pitch
    draft.y = max(top, draft.y + size) + 2
    if draft.chance(0.6):
        sheet.fill(Rect(draft.left, draft.y, draft.width, rng.uniform(0.2, 1.0)), colour)
    draft.y += 5


def footer(draft: Draft) -> None:
    """A page number, and sometimes a line of small print, under the running text."""
    sheet, rng = draft.sheet, draft.rng
    y = sheet.height - rng.uniform(9, 14)
    small = replace(draft.body, points=7.5, density=draft.accent if draft.chance(0.25) else draft.body.density)
    if draft.chance(0.75):
        total = int(rng.integers(2, 30))
        text = draft.writer.page_number(int(rng.integers(1, total + 1)), total)
        set_line(sheet, text, draft.left, y, small, width=draft.width, align=pick(rng, ("start", "centre", "end")))
    if draft.chance(0.3):
        text = f"{draft.writer.slot('company')} - {draft.writer.slot('address')} - {draft.writer.slot('phone')}"
        set_line(sheet, text, draft.left, y - small.pitch, small, width=draft.width, align="centre")
        sheet.fill(Rect(draft.left, y - small.pitch - 1, draft.width, 0.25), small.density)


def signature_block(draft: Draft, *, people: int) -> None:
    """Places to sign: who signs, room for the hand, a line, name, title and date, side by side or one under another."""
    sheet, rng, writer = draft.sheet, draft.rng, draft.writer
    space = rng.uniform(14, 26)
    ruled, dotted = draft.chance(0.4), draft.chance(0.6)
    boxed = not ruled and draft.chance(0.15)
    shown = [label for label in ("name", "role", "date") if draft.chance(0.6)]
    gutter = 8.0
    width = (draft.width - gutter * (people - 1)) / people
    top = draft.y
    for person in range(people):
        left = draft.left + (people - 1 - person if draft.body.rtl else person) * (width + gutter)
        y = top
        bold = replace(draft.body, font=draft.title.font)
        for text in (writer.signing(), writer.slot("company"))[: 1 + draft.chance(0.5)]:
            y = set_paragraph(sheet, text, left, y, bold, width=width, align="start")
        draft.anchors.append(Rect(left, y, width, space))
        y += space
        if boxed:
            sheet.frame(Rect(left, y - space, width, space), BLACK, thickness=0.25)
        elif ruled:
            sheet.fill(Rect(left, y, width * 0.8, 0.25), BLACK)
        elif dotted:
            sheet.dots(left, y, width * 0.85, BLACK)
        for label in shown:
            y = set_paragraph(sheet, writer.slot(label), left, y + 0.5, draft.body, width=width)
        draft.y = max(draft.y, y)
    if draft.chance(0.1):
        _note(draft, top)
    draft.y += 4


def _note(draft: Draft, y: float) -> None:
    """A sentence in a signer's own hand, such as that the contract was read and approved."""
    rng, font, pen = draft.rng, pick_hand_font(draft.rng), pick(draft.rng, PEN_COLOURS)
    x, y = draft.left + rng.uniform(0, 0.3) * draft.width, y + rng.uniform(2, 12)
    for _ in range(int(rng.integers(1, 4))):
        text, points = draft.writer.slot("note"), draft.body.points * rng.uniform(1.1, 1.5)
        write_by_hand(draft.sheet, rng, text, font, points=points, pen=pen, at=(x, y))
        x, y = x + rng.normal(0, 3), y + points * 0.5


def house_colours(rng: np.random.Generator) -> Density:
    """The accent colour of a house style; black is the commonest."""
    return BLACK if rng.random() < 0.35 else pick(rng, PRINT_COLOURS)


def table(draft: Draft, *, rows: int) -> None:
    """A ruled table with a header row, shaded or coloured now and then."""
    sheet, rng, writer = draft.sheet, draft.rng, draft.writer
    columns = int(rng.integers(3, 6))
    shares = rng.uniform(0.6, 1.4, columns)
    shares[1] += 1.2
    edges = draft.left + draft.width * np.concatenate([[0], np.cumsum(shares) / shares.sum()])
    row_height = draft.body.pitch * rng.uniform(1.1, 1.7)
    rows = min(rows, int(draft.room() / row_height) - 1)
    if rows < 2:
        return
    coloured, line = draft.chance(0.45), rng.uniform(0.15, 0.4)
    for row in range(rows):
        top = draft.y + row * row_height
        style = draft.body
        if row == 0 and coloured:
            sheet.fill(Rect(draft.left, top, draft.width, row_height), draft.accent)
        elif row == 0:
            style = replace(draft.body, font=draft.title.font)
        for column in range(columns):
            text = writer.slot("column") if row == 0 else _cell(draft, column, row)
            cell = (float(edges[column]) + 1, top + 0.15 * row_height)
            if row == 0 and coloured:
                style = replace(style, density=diluted(draft.accent, -1))
            if line_width(sheet, text, style) < edges[column + 1] - edges[column] - 2:
                set_line(sheet, text, *cell, style, width=float(edges[column + 1] - edges[column]) - 2)
        sheet.fill(Rect(draft.left, top, draft.width, line), BLACK)
    bottom = draft.y + rows * row_height
    sheet.fill(Rect(draft.left, bottom, draft.width, line), BLACK)
    if draft.chance(0.8):
        for edge in edges:
            sheet.fill(Rect(float(edge), draft.y, line, rows * row_height), BLACK)
    draft.y = bottom + 4


def _cell(draft: Draft, column: int, row: int) -> str:
    writer = draft.writer
    if column == 1:
        return writer.slot("item")
    return writer.digits(str(row)) if column == 0 else writer.digits(f"{draft.rng.uniform(1, 9999):,.2f}")


def fields(draft: Draft, *, rows: int) -> None:
    """Form lines: a label, then a box, a rule or dots to fill in, some filled by hand."""
    sheet, rng = draft.sheet, draft.rng
    boxed, pen = draft.chance(0.4), pick(rng, PEN_COLOURS)
    hand = pick_hand_font(rng)
    per_row = 2 if draft.width > 120 and draft.chance(0.6) else 1
    height = draft.body.pitch * rng.uniform(1.4, 2.0)
    for _ in range(min(rows, int(draft.room() / height))):
        for column in range(per_row):
            width = draft.width / per_row - 4
            left = draft.left + column * draft.width / per_row
            if draft.chance(0.12):
                _choices(draft, left, width)
                continue
            label = draft.writer.field() + (":" if draft.chance(0.8) else "")
            used = line_width(sheet, label, draft.body) + 2
            set_line(sheet, label, left, draft.y, draft.body, width=width)
            start = left if draft.body.rtl else left + used
            if boxed:
                sheet.frame(Rect(start, draft.y - 0.3, width - used, height * 0.8), BLACK, thickness=0.2)
            else:
                sheet.dots(start, draft.y + draft.body.pitch * 0.85, width - used, BLACK)
            if draft.chance(0.3):
                _handwrite(draft, start + 2, draft.y - 0.6, width - used - 3, hand=hand, pen=pen)
        draft.y += height
    draft.y += 2


def _choices(draft: Draft, left: float, width: float) -> None:
    """Boxes to tick, with a word beside each; a pen ticked one of them perhaps."""
    size, ticked = draft.body.pitch * 0.6, int(draft.rng.integers(0, 4))
    pen = pick(draft.rng, PEN_COLOURS)
    for index, x in enumerate(np.linspace(left, left + width, 4)[:3]):
        box = Rect(float(x), draft.y + 0.15 * draft.body.pitch, size, size)
        draft.sheet.frame(box, BLACK, thickness=0.2)
        word = replace(draft.body, rtl=False)
        set_line(draft.sheet, draft.writer.field(), box.x + size + 1, draft.y, word, width=width / 3 - size - 2)
        if index == ticked:
            hook = [
                (box.x + 0.4, box.y + size * 0.4),
                (box.x + size * 0.5, box.y + size),
                (box.x + size * 1.4, box.y - size * 0.4),
            ]
            draft.sheet.polygon([*hook, hook[1]], pen, thickness=0.4)


def _handwrite(draft: Draft, x: float, y: float, width: float, *, hand: Font, pen: Density) -> None:
    """A name, date or number in a pen, where it fits into `width` mm."""
    writer = draft.writer
    text = pick(draft.rng, (writer.slot("date"), writer.slot("name"), writer.serial(8), writer.slot("city")))
    points = draft.body.points * draft.rng.uniform(1.0, 1.4)
    if line_width(draft.sheet, text, Type(font=hand, points=points)) + 4 <= width:
        write_by_hand(draft.sheet, draft.rng, text, hand, points=points, pen=pen, at=(x, y - 2))
