"""What stamp faces are made of: fitted lines of text, stacks of lines, rings.

Words of invented companies and offices, as they stand on stamps, in Arabic and English.

Small ornaments of stamps: stars, rosettes, crescents, shields, wheels and coats of arms that belong to nobody.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from backend.synthetic.lettering import Font, fonts_of, is_arabic, render

__all__ = [
    "SHIFT",
    "Image",
    "Language",
    "Layer",
    "StampWords",
    "draw_emblem",
    "draw_star",
    "fitted",
    "pick_date",
    "pick_stamp_font",
    "pick_words",
    "put",
    "ring",
    "stack",
]

Language = Literal["ar", "en"]
Layer = NDArray[np.float32]
_SHIFT = 4
Image = NDArray[np.uint8]
SHIFT = 4
"""Fractional bits of coordinates given to OpenCV, which draws antialiased at sub-pixel places only in this form."""


@dataclass(frozen=True, kw_only=True)
class StampWords:
    """What one stamp says: a company in both languages, its place, numbers and an office note."""

    arabic: str
    english: str
    place_arabic: str
    place_english: str
    number: str
    telephone: str
    office_arabic: str
    office_english: str
    initials: str


_KINDS = (
    ("شركة {} للتجارة والمقاولات", "{} TRADING & CONTRACTING CO."),
    ("مؤسسة {} للخدمات العامة", "{} GENERAL SERVICES EST."),
    ("شركة {} ذ.م.م", "{} CO. W.L.L"),
    ("مجموعة {} القابضة", "{} HOLDING GROUP"),
    ("مكتب {} للمحاماة", "{} LAW OFFICE"),
    ("شركة {} للعقارات", "{} REAL ESTATE"),
    ("{} للاتصالات", "{} TELECOM"),
    ("شركة {} للنقل والخدمات اللوجستية", "{} TRANSPORT & LOGISTICS"),
    ("مصنع {} للألمنيوم", "{} ALUMINIUM FACTORY"),
    ("صيدلية {}", "{} PHARMACY"),
    ("مركز {} الطبي", "{} MEDICAL CENTRE"),
    ("بلدية {}", "MUNICIPALITY OF {}"),
    ("وزارة شؤون {}", "MINISTRY OF {} AFFAIRS"),
    ("كاتب العدل {}", "NOTARY PUBLIC {}"),
)
_NAMES = (
    ("الخليج", "GULF"), ("النور", "AL NOOR"), ("الوفاء", "AL WAFA"), ("الصقر", "FALCON"), ("الأمانة", "AL AMANA"),
    ("البركة", "AL BARAKA"), ("الواحة", "OASIS"), ("المدينة", "AL MADINA"),
    ("الشروق", "SUNRISE"), ("الريان", "AL RAYYAN"),
    ("المستقبل", "FUTURE"), ("الجزيرة", "AL JAZIRA"), ("السلام", "AL SALAM"), ("النخلة", "PALM"), ("اللؤلؤة", "PEARL"),
    ("الهلال", "CRESCENT"), ("الرواد", "PIONEERS"), ("الحكمة", "AL HIKMA"), ("الفجر", "AL FAJR"), ("المها", "ORYX"),
)  # fmt: skip
_PLACES = (
    ("الدوحة - قطر", "DOHA - QATAR"), ("مسقط", "MUSCAT"), ("الكويت", "KUWAIT"), ("بغداد", "BAGHDAD"), ("تونس", "TUNIS"),
    ("الجزائر", "ALGER"), ("عمّان - الأردن", "AMMAN - JORDAN"), ("دبي", "DUBAI U.A.E"), ("الرياض", "RIYADH K.S.A"),
    ("القاهرة", "CAIRO"), ("بيروت", "BEIRUT"), ("المنامة", "MANAMA"),
)  # fmt: skip
_OFFICES = (
    ("مدفوع", "PAID"), ("معتمد", "APPROVED"), ("صورة طبق الأصل", "TRUE COPY"),
    ("استلم", "RECEIVED"), ("ملغي", "CANCELLED"),
    ("سري", "CONFIDENTIAL"), ("عاجل", "URGENT"), ("الحسابات", "ACCOUNTS"), ("وارد", "IN"), ("صادر", "OUT"),
    ("المدير العام", "GENERAL MANAGER"), ("قسم العقود", "CONTRACTS DEPT."), ("نسخة", "COPY"), ("تم التدقيق", "CHECKED"),
    ("الموارد البشرية", "HUMAN RESOURCES"), ("أصل", "ORIGINAL"), ("مطابق", "VERIFIED"), ("تم النشر", "POSTED"),
)  # fmt: skip
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_EASTERN = str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩")


def pick_words(rng: np.random.Generator) -> StampWords:
    """The words of one invented company."""
    kind_arabic, kind_english = _KINDS[rng.integers(len(_KINDS))]
    name_arabic, name_english = _NAMES[rng.integers(len(_NAMES))]
    place_arabic, place_english = _PLACES[rng.integers(len(_PLACES))]
    office_arabic, office_english = _OFFICES[rng.integers(len(_OFFICES))]
    number = str(rng.integers(100, 99999))
    english = kind_english.format(name_english)
    if rng.random() < 0.25:
        english = english.title()
    return StampWords(
        arabic=kind_arabic.format(name_arabic),
        english=english,
        place_arabic=place_arabic,
        place_english=place_english,
        number=number if rng.random() < 0.5 else number.translate(_EASTERN),
        telephone=str(rng.integers(2_000_000, 99_999_999)),
        office_arabic=office_arabic,
        office_english=office_english,
        initials="".join(word[0] for word in english.split() if word[0].isalpha())[: rng.integers(2, 4)],
    )


def pick_date(rng: np.random.Generator, language: Language) -> str:
    """A date as date stamps set it."""
    day, month, year = int(rng.integers(1, 29)), int(rng.integers(0, 12)), int(rng.integers(2005, 2027))
    if language == "ar":
        return f"{year}/{month + 1:02d}/{day:02d}".translate(_EASTERN if rng.random() < 0.6 else {})
    forms = (
        f"{day:02d} {_MONTHS[month]} {year}",
        f"{day:02d} {_MONTHS[month]}. {year}",
        f"- {day} {_MONTHS[month]} {year}",
        f"{day:02d}/{month + 1:02d}/{year}",
        f"{year}-{month + 1:02d}-{day:02d}",
        f"{day:02d} -{month + 1:02d}- {year}",
    )
    return forms[rng.integers(len(forms))]


def _fixed(points: NDArray[np.float64]) -> NDArray[np.int32]:
    """Fixed-point coordinates: OpenCV antialiases at sub-pixel places only in this form, and only on 8-bit images."""
    return np.round(points * (1 << _SHIFT)).astype(np.int32)


def _fill(canvas: NDArray[np.uint8], points: NDArray[np.float64], value: int = 255) -> None:
    cv2.fillPoly(canvas, [_fixed(points)], value, lineType=cv2.LINE_AA, shift=_SHIFT)


def draw_star(size: int, *, points: int = 5, sharpness: float = 0.4, turn: float = 0.0) -> Layer:
    """A filled star, (size, size) float32 coverage; `sharpness` is the inner radius over the outer one."""
    image = np.zeros((size, size), np.uint8)
    angle = np.arange(2 * points) * np.pi / points + turn
    radius = np.where(np.arange(2 * points) % 2 == 0, 0.48, 0.48 * sharpness) * size
    outline = np.column_stack([size / 2 + radius * np.sin(angle), size / 2 - radius * np.cos(angle)])
    _fill(image, outline)
    return _unit(image)


def draw_emblem(rng: np.random.Generator, size: int) -> Layer:
    """One ornament of a random sort, (size, size) float32 coverage."""
    size = max(size, 8)
    sort = rng.integers(6)
    if sort == 0:
        points = int(rng.choice([5, 5, 6, 8, 12]))
        return draw_star(
            size, points=points, sharpness=float(rng.uniform(0.38, 0.5) if points == 5 else rng.uniform(0.4, 0.8))
        )
    if sort == 1:
        return _rosette(rng, size)
    if sort == 2:
        return _crescent(size)
    if sort == 3:
        return _wheel(rng, size)
    return _arms(rng, size)


def _unit(image: NDArray[np.uint8]) -> Layer:
    return image.astype(np.float32) / np.float32(255)


def _rosette(rng: np.random.Generator, size: int) -> Layer:
    image = np.zeros((size, size), np.uint8)
    angle = np.linspace(0, 2 * np.pi, 361)
    petals, depth = int(rng.integers(4, 13)), rng.uniform(0.2, 0.5)
    for scale in (1.0, 0.62, 0.35):
        radius = size * 0.46 * scale * (1 - depth + depth * np.cos(petals * angle))
        outline = np.column_stack([size / 2 + radius * np.cos(angle), size / 2 + radius * np.sin(angle)])
        cv2.polylines(image, [_fixed(outline)], True, 255, max(size // 40, 1), cv2.LINE_AA, _SHIFT)
    return _unit(image)


def _crescent(size: int) -> Layer:
    image = np.zeros((size, size), np.uint8)
    cv2.circle(image, (size // 2, size // 2), int(size * 0.42), 255, -1, cv2.LINE_AA)
    cv2.circle(image, (int(size * 0.61), size // 2), int(size * 0.34), 0, -1, cv2.LINE_AA)
    layer = _unit(image)
    star = draw_star(max(size // 3, 6))
    top, left = (size - len(star)) // 2, int(size * 0.52)
    layer[top : top + len(star), left : left + len(star)] += star[:, : size - left]
    return np.minimum(layer, 1)


def _wheel(rng: np.random.Generator, size: int) -> Layer:
    image = np.zeros((size, size), np.uint8)
    centre, pen = (size // 2, size // 2), max(size // 24, 1)
    for scale in (0.45, 0.2):
        cv2.circle(image, centre, int(size * scale), 255, pen, cv2.LINE_AA)
    spokes = int(rng.integers(6, 25))
    for angle in np.arange(spokes) * 2 * np.pi / spokes:
        direction = np.array([np.cos(angle), np.sin(angle)])
        start, end = size / 2 + direction * size * 0.2, size / 2 + direction * size * 0.45
        cv2.line(image, start.astype(int).tolist(), end.astype(int).tolist(), 255, pen, cv2.LINE_AA)
    return _unit(image)


def _arms(rng: np.random.Generator, size: int) -> Layer:
    """Two mirrored wings about a shield: reads as a coat of arms."""
    image = np.zeros((size, size), np.uint8)
    feathers = int(rng.integers(6, 13))
    longest, lift = rng.uniform(0.36, 0.47), rng.uniform(0.3, 0.45) * np.pi
    for index in range(feathers):
        share = index / (feathers - 1)
        angle = -0.3 * np.pi + share * (lift + 0.3 * np.pi)
        length = size * longest * (0.45 + 0.55 * np.sin(np.pi * (0.15 + 0.75 * share)))
        root = np.array([size * 0.53, size * (0.7 - 0.3 * share)])
        tip = root + length * np.array([np.cos(angle), -np.sin(angle)])
        side = size * 0.022 * np.array([np.sin(angle), np.cos(angle)])
        _fill(image, np.array([root, 0.4 * root + 0.6 * tip + side, tip, 0.4 * root + 0.6 * tip - side]))
    shield = np.array([[0.5, 0.3], [0.66, 0.3], [0.66, 0.55], [0.6, 0.68], [0.5, 0.76]]) * size
    _fill(image, shield, 0 if rng.random() < 0.5 else 255)
    cv2.polylines(image, [_fixed(shield)], False, 255, max(size // 40, 1), cv2.LINE_AA, _SHIFT)
    _fill(image, np.array([[0.5, 0.12], [0.58, 0.2], [0.5, 0.28]]) * size)
    return _unit(np.maximum(image, image[:, ::-1]))


def pick_stamp_font(rng: np.random.Generator, language: Language) -> Font:
    """A face that stamps in this language are cut in."""
    faces = fonts_of("naskh", "kufi") if language == "ar" else fonts_of("serif", "sans", "mono")
    return faces[rng.integers(len(faces))]


def fitted(text: str, font: Font, height_px: float, width_px: float) -> Layer:
    """A line whose ink is about `height_px` tall (or less, so that it fits `width_px`)."""
    size = height_px * (1.3 if not font.arabic else 1.15)
    line = _cropped(render(text, font, size))
    if line.shape[1] > width_px:
        line = _cropped(render(text, font, max(size * width_px / line.shape[1], 3.0)))
    return line


def _cropped(layer: Layer) -> Layer:
    columns, rows = np.flatnonzero(layer.max(axis=0) > 0.05), np.flatnonzero(layer.max(axis=1) > 0.05)
    if not len(columns):
        return np.zeros((1, 1), np.float32)
    return layer[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def put(canvas: Layer, layer: Layer, x: float, y: float) -> None:
    """Add a layer centred on a point; what hangs over the canvas is lost."""
    left, top = round(x - layer.shape[1] / 2), round(y - layer.shape[0] / 2)
    x0, y0 = max(left, 0), max(top, 0)
    x1, y1 = min(left + layer.shape[1], canvas.shape[1]), min(top + layer.shape[0], canvas.shape[0])
    if x1 > x0 and y1 > y0:
        part = canvas[y0:y1, x0:x1]
        np.maximum(part, layer[y0 - top : y1 - top, x0 - left : x1 - left], out=part)


def stack(rng: np.random.Generator, canvas: Layer, lines: list[str], y: float, *, width: float, height: float) -> None:
    """Lines of text one under another, centred."""
    step = height / len(lines)
    emphasis = int(rng.integers(len(lines)))
    for index, text in enumerate(lines):
        language: Language = "ar" if is_arabic(text) else "en"
        tall = step * (0.8 if index == emphasis else 0.62)
        line = fitted(text, pick_stamp_font(rng, language), tall, width)
        put(canvas, line, canvas.shape[1] / 2, y + (index - (len(lines) - 1) / 2) * step)


def ring(image: Image, radius: float, width: float) -> None:
    """Draw a circle about the middle of an image; radius and width in pixels."""
    one = 1 << SHIFT
    centre = (round(image.shape[1] / 2 * one), round(image.shape[0] / 2 * one))
    cv2.circle(image, centre, round(radius * one), 255, max(round(width), 1), cv2.LINE_AA, SHIFT)
