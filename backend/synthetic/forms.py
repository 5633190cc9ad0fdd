"""What is filled in: ruled tables, form lines, boxes to tick, and words written by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from backend.synthetic.blocks import PEN_COLOURS, Draft, pick_hand_font, write_by_hand
from backend.synthetic.lettering import Font
from backend.synthetic.sheet import BLACK, Density, Rect, diluted
from backend.synthetic.texts import pick
from backend.synthetic.typeset import Type, line_width, set_line

__all__ = ["fields", "table"]


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
