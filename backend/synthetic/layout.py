"""Whole contract pages: which blocks follow each other on a contract, letter, form, certificate, invoice or annex."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from backend.synthetic import lettering, ornaments
from backend.synthetic.blocks import (
    Draft,
    clauses,
    fields,
    footer,
    heading,
    house_colours,
    letterhead,
    signature_block,
    table,
)
from backend.synthetic.lexicons import ARABIC, ENGLISH
from backend.synthetic.marks import Language
from backend.synthetic.sheet import BLACK, Density, Rect, Sheet, Type
from backend.synthetic.texts import Writer, pick

__all__ = ["write_page"]

_ARABIC_STYLES: tuple[lettering.Style, ...] = ("naskh", "naskh", "kufi")
_LATIN_STYLES: tuple[lettering.Style, ...] = ("serif", "serif", "sans", "sans", "mono")


def write_page(sheet: Sheet, rng: np.random.Generator, language: Language) -> list[Rect]:
    """Prints one page of contract text and ornament on `sheet`.

    Returns:
        The places where people would sign or stamp, in mm.
    """
    draft = _draft(sheet, rng, language)
    if rng.random() < 0.08:
        ornaments.watermark(sheet, rng, draft.writer)
    if rng.random() < 0.07:
        ornaments.page_border(sheet, rng, draft.accent)
    plans = (_contract, _letter, _form, _certificate, _invoice)
    plan: Callable[[Draft], None] = plans[int(rng.choice(len(plans), p=(0.56, 0.14, 0.12, 0.08, 0.10)))]
    if language == "mixed" and rng.random() < 0.75:
        plan = _bilingual
    if rng.random() < 0.06:
        _revenue_paper(draft)
    plan(draft)
    footer(draft)
    _extras(draft)
    return draft.anchors


def _draft(sheet: Sheet, rng: np.random.Generator, language: Language) -> Draft:
    spoken = pick(rng, ("ar", "en")) if language == "mixed" else language
    margin = rng.uniform(14, 28)
    body, title = _types(rng, spoken, house_colours(rng))
    return Draft(
        sheet=sheet,
        rng=rng,
        writer=Writer(ARABIC if spoken == "ar" else ENGLISH, rng),
        body=body,
        title=title,
        left=margin,
        width=sheet.width - 2 * margin,
        y=rng.uniform(10, 28),
        bottom=sheet.height - rng.uniform(18, 26),
        align="justify" if rng.random() < 0.6 else "start",
        accent=house_colours(rng),
    )


def _types(rng: np.random.Generator, spoken: str, accent: Density) -> tuple[Type, Type]:
    """Body and heading type of a house style."""
    arabic = spoken == "ar"
    style = pick(rng, _ARABIC_STYLES if arabic else _LATIN_STYLES)
    plain = [font for font in lettering.fonts_of(style, bold=False, arabic=arabic) if font.name != "lemonada"]
    bold = lettering.fonts_of(style, bold=True, arabic=arabic) or plain
    points = rng.uniform(10, 13.5) if arabic else rng.uniform(8.5, 12)
    strength = rng.uniform(0.75, 1.35)
    body = Type(
        font=pick(rng, plain), points=points, density=(strength,) * 3, rtl=arabic, leading=rng.uniform(1.15, 1.7)
    )
    coloured = rng.random() < 0.35
    title = replace(
        body,
        font=pick(rng, bold),
        points=points * rng.uniform(1.0, 1.2),
        density=accent if coloured else body.density,
        underline=bool(rng.random() < 0.25),
    )
    return body, title


def _revenue_paper(draft: Draft) -> None:
    """A coloured banner at the head of the page, which states its value."""
    colour = pick(draft.rng, ornaments.PRINT_COLOURS)
    banner = Rect(draft.left * 0.6, draft.y * 0.6, draft.sheet.width - draft.left * 1.2, draft.rng.uniform(28, 75))
    ornaments.guilloche(draft.sheet, draft.rng, banner, colour)
    ornaments.banner_words(draft.sheet, draft.rng, draft.writer, banner, colour)
    draft.y = banner.y + banner.height + 8


def _contract(draft: Draft) -> None:
    if draft.chance(0.35):
        letterhead(draft)
    if draft.chance(0.45):
        heading(draft, draft.writer.title(), centred=True, larger=1.35)
        draft.y += 2
        draft.paragraph(draft.writer.opening())
        draft.y += draft.body.pitch
    else:
        draft.paragraph(draft.writer.paragraph(2))
        draft.y += 0.5 * draft.body.pitch
    signed = draft.chance(0.72)
    until = draft.bottom - (draft.rng.uniform(55, 110) if signed else 0)
    if draft.chance(0.15):
        table(draft, rows=int(draft.rng.integers(3, 7)))
    clauses(draft, until=until, first=int(draft.rng.integers(1, 14)))
    if signed:
        _sign(draft)


def _sign(draft: Draft) -> None:
    if draft.chance(0.7):
        draft.paragraph(draft.writer.closing())
        draft.y += draft.rng.uniform(2, 8)
    while draft.room() > 45:
        signature_block(draft, people=int(draft.rng.choice([1, 2, 2, 2, 3])))
        if draft.chance(0.55):
            break


def _letter(draft: Draft) -> None:
    letterhead(draft)
    for text in (
        draft.writer.slot("date"),
        draft.writer.slot("name"),
        draft.writer.slot("company"),
        draft.writer.slot("address"),
    ):
        draft.paragraph(text, align="start")
    draft.y += 2 * draft.body.pitch
    for _ in range(int(draft.rng.integers(2, 6))):
        if draft.room() < 80:
            break
        draft.paragraph(draft.writer.paragraph(int(draft.rng.integers(2, 5))))
        draft.y += draft.body.pitch
    draft.y += draft.rng.uniform(0, 12)
    half = replace(draft, width=draft.width * 0.5, left=draft.left + draft.width * 0.5 * draft.chance(0.5))
    signature_block(half, people=1)


def _form(draft: Draft) -> None:
    if draft.chance(0.7):
        letterhead(draft)
    heading(draft, draft.writer.title(), centred=True, larger=1.3)
    if draft.chance(0.4):
        left = draft.left if draft.body.rtl else draft.left + draft.width - 32
        ornaments.photograph(draft.sheet, draft.rng, Rect(left, draft.y, 30, 38), portrait=True)
        if not draft.body.rtl:
            draft.width -= 36
            fields(draft, rows=6)
            draft.width += 36
        draft.y = max(draft.y, draft.y + 42 * draft.body.rtl)
    for _ in range(int(draft.rng.integers(1, 4))):
        heading(draft, draft.writer.clause(int(draft.rng.integers(1, 9))))
        fields(draft, rows=int(draft.rng.integers(2, 7)))
    if draft.chance(0.5):
        table(draft, rows=int(draft.rng.integers(3, 8)))
    if draft.room() > 60:
        draft.paragraph(draft.writer.paragraph(3))
        draft.y += 4
    if draft.room() > 40:
        signature_block(draft, people=int(draft.rng.integers(1, 4)))


def _certificate(draft: Draft) -> None:
    sheet, rng = draft.sheet, draft.rng
    if draft.chance(0.4):
        _revenue_paper(draft)
    else:
        size = rng.uniform(20, 32)
        ornaments.emblem(sheet, rng, draft.writer, Rect((sheet.width - size) / 2, draft.y, size, size), draft.accent)
        draft.y += size + 4
    draft.paragraph(draft.writer.slot("company"), draft.title, align="centre")
    draft.y += 4
    heading(draft, draft.writer.title(), centred=True, larger=1.9)
    draft.y += 6
    fields(draft, rows=int(rng.integers(2, 6)))
    for _ in range(int(rng.integers(1, 4))):
        draft.paragraph(draft.writer.paragraph(2), align=pick(rng, ("centre", "justify")))
        draft.y += draft.body.pitch
    draft.y += rng.uniform(0, 15)
    if draft.room() > 40:
        signature_block(draft, people=int(rng.integers(1, 3)))


def _invoice(draft: Draft) -> None:
    letterhead(draft)
    heading(draft, draft.writer.title(), larger=1.4)
    fields(draft, rows=3)
    table(draft, rows=int(draft.rng.integers(5, 18)))
    draft.paragraph(draft.writer.paragraph(2))
    draft.y += 6
    if draft.room() > 40:
        signature_block(draft, people=int(draft.rng.integers(1, 3)))


def _bilingual(draft: Draft) -> None:
    """English on the left, Arabic on the right, clause beside clause."""
    if draft.chance(0.5):
        letterhead(draft)
    rng, gutter = draft.rng, 6.0
    width = (draft.width - gutter) / 2
    columns = []
    for spoken, left in (("en", draft.left), ("ar", draft.left + width + gutter)):
        body, title = _types(rng, spoken, draft.accent)
        scale = 0.88
        columns.append(
            replace(
                draft,
                writer=Writer(ARABIC if spoken == "ar" else ENGLISH, rng),
                body=replace(body, points=body.points * scale),
                title=replace(title, points=title.points * scale),
                left=left,
                width=width,
            )
        )
    if draft.chance(0.5):
        for column in columns:
            heading(column, column.writer.title(), centred=True, larger=1.2)
    signed = draft.chance(0.75)
    until = draft.bottom - (rng.uniform(55, 100) if signed else 0)
    ruled = draft.chance(0.35)
    top, number = max(column.y for column in columns) + 2, int(rng.integers(1, 14))
    first = top
    while top < until - 18:
        sentences = int(rng.integers(1, 4))
        for column in columns:
            column.y, column.bottom = top, until
            heading(column, column.writer.clause(number))
            column.paragraph(column.writer.paragraph(sentences))
        top = max(column.y for column in columns) + 0.6 * columns[0].body.pitch
        number += 1
        if ruled:
            draft.sheet.fill(Rect(draft.left, top - 1.2, draft.width, 0.2), BLACK)
    if ruled or draft.chance(0.3):
        draft.sheet.fill(Rect(draft.left + width + gutter / 2, first, 0.2, top - first), BLACK)
    if signed:
        for column in columns:
            column.y, column.bottom = top + 3, draft.bottom + 10
            signature_block(column, people=1)


def _extras(draft: Draft) -> None:
    """Codes, a small picture, a note in the margin."""
    sheet, rng = draft.sheet, draft.rng
    if draft.chance(0.08):
        size = rng.uniform(14, 26)
        left = pick(rng, (8.0, sheet.width - size - 8))
        ornaments.square_code(sheet, rng, Rect(left, pick(rng, (7.0, sheet.height - size - 7)), size, size))
    if draft.chance(0.07):
        ornaments.bar_code(sheet, rng, Rect(sheet.width - 68, rng.uniform(4, 8), 58, rng.uniform(6, 11)))
    if draft.chance(0.04):
        ornaments.photograph(sheet, rng, Rect(rng.uniform(20, 130), rng.uniform(20, 200), 45, 32), portrait=False)
    if draft.chance(0.04):
        ornaments.rosette(sheet, rng, pick(rng, ornaments.PRINT_COLOURS))
    if draft.chance(0.05):
        ornaments.fee_stamps(sheet, rng, draft.writer, rng.uniform(10, 110), rng.uniform(170, 230))
    if draft.chance(0.05):
        size = rng.uniform(14, 24)
        ornaments.logo(
            sheet,
            rng,
            draft.writer,
            Rect(rng.uniform(20, 160), sheet.height - size - 14, size, size),
            pick(rng, ornaments.PRINT_COLOURS),
        )
