"""Words of invented companies and offices, as they stand on stamps, in Arabic and English."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

__all__ = ["Language", "StampWords", "pick_date", "pick_words"]

Language = Literal["ar", "en"]


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
