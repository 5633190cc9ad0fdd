"""Printed things on a page that are no marks: logos, emblems, codes, photographs, borders, banners, watermarks."""

from __future__ import annotations

import math

import cv2
import numpy as np

from backend.synthetic import lettering
from backend.synthetic.sheet import BLACK, Density, Rect, Sheet, density_of, diluted
from backend.synthetic.texts import Writer, pick

__all__ = [
    "PRINT_COLOURS",
    "banner_words",
    "bar_code",
    "emblem",
    "fee_stamps",
    "guilloche",
    "highlight",
    "logo",
    "page_border",
    "photograph",
    "rosette",
    "square_code",
    "watermark",
]

PRINT_COLOURS: tuple[Density, ...] = (
    density_of(20, 60, 140),
    density_of(180, 25, 40),
    density_of(0, 120, 90),
    density_of(230, 120, 20),
    density_of(110, 30, 110),
    density_of(0, 140, 190),
    density_of(120, 85, 30),
    density_of(200, 160, 40),
)


def logo(sheet: Sheet, rng: np.random.Generator, writer: Writer, rect: Rect, density: Density) -> None:
    """A company's sign inside a square of `size` mm."""
    x, y, size = rect.x, rect.y, rect.width
    other = pick(rng, PRINT_COLOURS) if rng.random() < 0.4 and density != BLACK else density
    match int(rng.integers(6)):
        case 0:
            _rings(sheet, rng, rect, density, other)
        case 1:
            _shield(sheet, rng, rect, density, other)
        case 2:
            _swooshes(sheet, rng, rect, density, other)
        case 3:
            _tiles(sheet, rng, rect, density, other)
        case 4:
            emblem(sheet, rng, writer, rect, density)
        case _:
            sheet.fill(rect, density)
            letter = writer.slot("firm")[0].upper()
            face = pick(rng, lettering.fonts_of("serif", "sans", "kufi", bold=True))
            glyph = lettering.render(letter, face, 0.75 * size * sheet.scale)
            left = sheet.pixels(x + size / 2) - glyph.shape[1] // 2
            sheet.knock_out(glyph, left, sheet.pixels(y + size / 2) - glyph.shape[0] // 2)


def _rings(sheet: Sheet, rng: np.random.Generator, rect: Rect, density: Density, other: Density) -> None:
    x, y, size = rect.x, rect.y, rect.width
    for index in range(int(rng.integers(1, 4))):
        inset = index * size * 0.13
        style = other if index % 2 else density
        sheet.ellipse(
            Rect(x + inset, y + inset, size - 2 * inset, size - 2 * inset),
            style,
            thickness=size * rng.uniform(0.03, 0.08),
        )
    if rng.random() < 0.6:
        sheet.ellipse(Rect(x + size * 0.36, y + size * 0.36, size * 0.28, size * 0.28), density)


def _shield(sheet: Sheet, rng: np.random.Generator, rect: Rect, density: Density, other: Density) -> None:
    x, y, size = rect.x, rect.y, rect.width
    side = [(x, y), (x + size, y), (x + size, y + 0.55 * size), (x + size / 2, y + size), (x, y + 0.55 * size)]
    sheet.polygon(side, density, thickness=None if rng.random() < 0.5 else size * 0.06)
    turn = rng.uniform(0, 1) + np.arange(10) * math.pi / 5
    reach = np.where(np.arange(10) % 2, 0.1, 0.24) * size
    star = np.column_stack([x + size / 2 + reach * np.sin(turn), y + 0.42 * size + reach * np.cos(turn)])
    sheet.polygon([(float(px), float(py)) for px, py in star], other)


def _swooshes(sheet: Sheet, rng: np.random.Generator, rect: Rect, density: Density, other: Density) -> None:
    x, y, size = rect.x, rect.y, rect.width
    for index in range(int(rng.integers(2, 5))):
        along = np.linspace(0, 1, 24)
        lift = rng.uniform(0.2, 0.9)
        upper = y + size * (0.9 - 0.18 * index - lift * 0.6 * np.sin(along * math.pi * rng.uniform(0.6, 1.0)))
        lower = upper + size * 0.14 * np.sin(along * math.pi)
        edge = np.concatenate(
            [np.column_stack([x + size * along, upper]), np.column_stack([x + size * along, lower])[::-1]]
        )
        sheet.polygon([(float(px), float(py)) for px, py in edge], other if index % 2 else density)


def _tiles(sheet: Sheet, rng: np.random.Generator, rect: Rect, density: Density, other: Density) -> None:
    x, y, size = rect.x, rect.y, rect.width
    count = int(rng.integers(2, 4))
    cell = size / count
    for row, column in np.argwhere(rng.random((count, count)) < 0.75):
        style = other if (row + column) % 2 else density
        place = (x + column * cell, y + row * cell)
        if rng.random() < 0.5:
            sheet.fill(Rect(*place, cell * 0.9, cell * 0.9), style)
        else:
            sheet.ellipse(Rect(*place, cell * 0.9, cell * 0.9), style)


def emblem(sheet: Sheet, rng: np.random.Generator, writer: Writer, rect: Rect, density: Density) -> None:
    """A printed round coat of arms: as near to a stamp as print comes."""
    x, y, size = rect.x, rect.y, rect.width
    centre_x, centre_y, radius = x + size / 2, y + size / 2, size / 2
    sheet.ellipse(rect, density, thickness=size * 0.02)
    if rng.random() < 0.6:
        sheet.ellipse(Rect(x + size * 0.16, y + size * 0.16, size * 0.68, size * 0.68), density, thickness=size * 0.012)
        face = pick(rng, lettering.fonts_of(bold=True, arabic=writer.language == "ar"))
        ring = lettering.render_on_circle(
            writer.slot("company"), face, 0.11 * size * sheet.scale, radius=0.42 * size * sheet.scale, centre_angle=0
        )
        sheet.lay(
            ring, sheet.pixels(centre_x) - ring.shape[1] // 2, sheet.pixels(centre_y) - ring.shape[0] // 2, density
        )
    rays = int(rng.integers(5, 13))
    for turn in np.arange(rays) * 2 * math.pi / rays:
        tip = (centre_x + 0.55 * radius * math.sin(turn), centre_y - 0.55 * radius * math.cos(turn))
        left, right = turn - math.pi / rays, turn + math.pi / rays
        base = [
            (centre_x + 0.22 * radius * math.sin(side), centre_y - 0.22 * radius * math.cos(side))
            for side in (left, right)
        ]
        sheet.polygon([tip, *base], density)
    sheet.ellipse(Rect(centre_x - 0.15 * radius, centre_y - 0.15 * radius, 0.3 * radius, 0.3 * radius), density)


def square_code(sheet: Sheet, rng: np.random.Generator, rect: Rect) -> None:
    """A block of black and white modules with three finder squares, such as a QR code."""
    x, y, size = rect.x, rect.y, rect.width
    modules = 25 if size < 22 else 33
    grid = (rng.random((modules, modules)) < 0.48).astype(np.float32)
    finder = np.ones((7, 7), np.float32)
    finder[1:6, 1:6] = 0
    finder[2:5, 2:5] = 1
    for row, column in ((0, 0), (0, modules - 7), (modules - 7, 0)):
        grid[max(row - 1, 0) : row + 8, max(column - 1, 0) : column + 8] = 0
        grid[row : row + 7, column : column + 7] = finder
    side = sheet.pixels(size)
    pattern = np.asarray(cv2.resize(grid, (side, side), interpolation=cv2.INTER_AREA), np.float32)
    sheet.lay(pattern, sheet.pixels(x), sheet.pixels(y), BLACK)


def bar_code(sheet: Sheet, rng: np.random.Generator, rect: Rect) -> None:
    """Upright bars of four widths."""
    x, y, width, height = rect.x, rect.y, rect.width, rect.height
    bars = np.repeat(np.arange(90) % 2, rng.integers(1, 5, 90)).astype(np.float32)
    columns = cv2.resize(bars[None], (sheet.pixels(width), 1), interpolation=cv2.INTER_AREA)
    sheet.lay(np.repeat(columns, sheet.pixels(height), axis=0), sheet.pixels(x), sheet.pixels(y), BLACK)


def photograph(sheet: Sheet, rng: np.random.Generator, rect: Rect, *, portrait: bool) -> None:
    """A printed photograph: a passport picture, or a small scene of soft shapes."""
    x, y, width, height = rect.x, rect.y, rect.width, rect.height
    high, wide = sheet.pixels(height), sheet.pixels(width)
    rows, columns = np.mgrid[0 : 1 : complex(high), 0 : 1 : complex(wide)].astype(np.float32)
    picture = np.empty((high, wide, 3), np.float32)
    picture[:] = rng.uniform(0.35, 0.95, 3) + (rows * rng.uniform(-0.2, 0.2))[..., None]
    skin = np.array([0.82, 0.6, 0.47]) * rng.uniform(0.6, 1.1)
    blobs = (
        [(0.5, 1.05, 0.48, 0.42, rng.uniform(0.1, 0.9, 3)), (0.5, 0.36, 0.27, 0.26, rng.uniform(0.05, 0.25, 3)),
         (0.5, 0.43, 0.2, 0.26, skin)]
        if portrait
        else [(*rng.uniform(0, 1, 2), *rng.uniform(0.1, 0.5, 2), rng.uniform(0.1, 0.9, 3)) for _ in range(8)]
    )  # fmt: skip
    for centre_x, centre_y, half_x, half_y, colour in blobs:
        distance = ((columns - centre_x) / half_x) ** 2 + ((rows - centre_y) / half_y) ** 2
        inside = np.clip((1.1 - distance) * 5, 0, 1)[..., None]
        picture = picture * (1 - inside) + inside * np.asarray(colour, np.float32) * (0.8 + 0.4 * columns[..., None])
    grain = rng.normal(0, 0.03, (high, wide, 1)).astype(np.float32)
    if rng.random() < 0.3:
        picture = np.repeat(picture.mean(axis=2, keepdims=True), 3, axis=2)
    sheet.picture(-np.log10(np.clip(picture + grain, 0.05, 0.98)).astype(np.float32), x, y)


def guilloche(sheet: Sheet, rng: np.random.Generator, rect: Rect, density: Density) -> None:
    """A banner of fine interlaced lines over a pale ground, as on revenue paper."""
    x, y, width, height = rect.x, rect.y, rect.width, rect.height
    sheet.fill(rect, diluted(density, 0.3))
    along = np.linspace(0, 1, 400)
    lines = np.zeros((sheet.pixels(height), sheet.pixels(width)), np.uint8)
    for middle, lobes in zip(rng.uniform(0.2, 0.8, 3), rng.integers(4, 30, 3), strict=True):
        envelope = 0.12 + 0.3 * np.sin(along * math.pi * rng.integers(1, 5)) ** 2
        for phase in np.linspace(0, 2 * math.pi, 9):
            wave = middle + envelope * np.sin(along * 2 * math.pi * lobes + phase)
            path = np.column_stack([along * lines.shape[1], wave * lines.shape[0]])
            cv2.polylines(lines, [np.round(path * 16).astype(np.int32)], False, 140, 1, cv2.LINE_AA, 4)
    sheet.lay(lines.astype(np.float32) / np.float32(255), sheet.pixels(x), sheet.pixels(y), density)
    sheet.frame(rect, density, thickness=0.5)
    sheet.ellipse(
        Rect(x + width / 2 - height * 0.35, y + height * 0.12, height * 0.7, height * 0.76), density, thickness=0.6
    )


def banner_words(sheet: Sheet, rng: np.random.Generator, writer: Writer, rect: Rect, density: Density) -> None:
    """Large letters over a banner: a value and a title, as on revenue paper."""
    face = pick(rng, lettering.fonts_of(bold=True, arabic=writer.language == "ar"))
    for text, share in ((writer.slot("currency") + " " + writer.serial(3), 0.18), (writer.title(), 0.6)):
        letters = lettering.render(text, face, rng.uniform(0.14, 0.22) * rect.height * sheet.scale)
        left = sheet.pixels(rect.x + rect.width / 2) - letters.shape[1] // 2
        sheet.lay(letters, left, sheet.pixels(rect.y + share * rect.height), density)


def rosette(sheet: Sheet, rng: np.random.Generator, density: Density) -> None:
    """A pale security pattern of interlaced curves over the middle of the page."""
    side = sheet.pixels(min(sheet.width, sheet.height) * rng.uniform(0.5, 0.95))
    turn = np.linspace(0, 2 * math.pi, 1500)
    lines = np.zeros((side, side), np.uint8)
    for index in range(int(rng.integers(3, 9))):
        reach = side * (0.25 + 0.03 * index) * (1 + 0.6 * np.cos(int(rng.integers(5, 24)) * turn + index)) / 1.4
        path = np.column_stack([side / 2 + reach * np.cos(turn), side / 2 + reach * np.sin(turn)])
        cv2.polylines(
            lines, [np.round(path * 16).astype(np.int32)], True, 255, max(round(0.2 * sheet.scale), 1), cv2.LINE_AA, 4
        )
    x, y = (sheet.pixels(sheet.width) - side) // 2, (sheet.pixels(sheet.height) - side) // 2
    sheet.lay(lines.astype(np.float32) / np.float32(255), x, y, diluted(density, rng.uniform(0.08, 0.3)))


def fee_stamps(sheet: Sheet, rng: np.random.Generator, writer: Writer, x: float, y: float) -> None:
    """One to six adhesive revenue stamps: small coloured squares with a perforated edge and a value."""
    colour = pick(rng, PRINT_COLOURS)
    width, height = rng.uniform(18, 26), rng.uniform(20, 30)
    face = pick(rng, lettering.fonts_of(bold=True))
    rows, columns = rng.integers(1, (3, 4))
    for row, column in np.ndindex(int(rows), int(columns)):
        rect = Rect(x + column * width, y + row * height, width, height)
        sheet.fill(Rect(rect.x + 0.8, rect.y + 0.8, width - 1.6, height - 1.6), diluted(colour, 0.45))
        sheet.frame(Rect(rect.x + 2, rect.y + 2, width - 4, height - 4), colour, thickness=0.3)
        for along in np.arange(0, width, 1.6):
            for top in (rect.y, rect.y + height):
                sheet.ellipse(Rect(float(rect.x + along), top - 0.5, 1, 1), diluted(colour, 0.5))
        emblem(sheet, rng, writer, Rect(rect.x + width * 0.3, rect.y + 4, width * 0.4, width * 0.4), colour)
        value = lettering.render(writer.serial(2), face, 0.28 * height * sheet.scale)
        sheet.lay(
            value, sheet.pixels(rect.x + width / 2) - value.shape[1] // 2, sheet.pixels(rect.y + 0.6 * height), colour
        )


def page_border(sheet: Sheet, rng: np.random.Generator, density: Density) -> None:
    """One or two frames around the page, sometimes with a row of little diamonds between them."""
    inset = rng.uniform(6, 12)
    for step in range(int(rng.integers(1, 3))):
        edge = inset + 3.2 * step
        sheet.frame(
            Rect(edge, edge, sheet.width - 2 * edge, sheet.height - 2 * edge), density, thickness=rng.uniform(0.3, 0.9)
        )
    if rng.random() < 0.35:
        middle = inset + 1.6
        for along in np.arange(middle, sheet.height - middle, 4.0):
            for left in (middle, sheet.width - middle):
                tip = [(left - 1, along), (left, along - 1.4), (left + 1, along), (left, along + 1.4)]
                sheet.polygon([(float(px), float(py)) for px, py in tip], density)


def watermark(sheet: Sheet, rng: np.random.Generator, writer: Writer) -> None:
    """Pale large letters across the page."""
    text = pick(rng, ("نسخة", "سري", "صورة")) if writer.language == "ar" else pick(rng, ("COPY", "DRAFT", "ORIGINAL"))
    face = pick(rng, lettering.fonts_of(bold=True, arabic=writer.language == "ar"))
    letters = lettering.render(text, face, rng.uniform(35, 60) * sheet.scale)
    side = math.ceil(math.hypot(*letters.shape))
    turn = cv2.getRotationMatrix2D((letters.shape[1] / 2, letters.shape[0] / 2), rng.uniform(25, 60), 1)
    turn[:, 2] += (side - letters.shape[1]) / 2, (side - letters.shape[0]) / 2
    turned = np.asarray(cv2.warpAffine(letters, turn, (side, side)), np.float32)
    colour = diluted(pick(rng, (*PRINT_COLOURS, BLACK, BLACK)), rng.uniform(0.02, 0.055))
    place = (sheet.pixels(sheet.width) - side) // 2, (sheet.pixels(sheet.height) - side) // 2
    sheet.lay(turned, *place, colour)


def highlight(sheet: Sheet, rng: np.random.Generator, rect: Rect) -> None:
    """A stroke of highlighter."""
    x, y, width, height = rect.x, rect.y, rect.width, rect.height
    colour = pick(
        rng, (density_of(250, 240, 70), density_of(150, 245, 120), density_of(255, 150, 190), density_of(255, 190, 80))
    )
    lift = rng.uniform(-0.6, 0.6)
    sheet.polygon([(x, y + lift), (x + width, y), (x + width, y + height), (x, y + height + lift)], colour)
