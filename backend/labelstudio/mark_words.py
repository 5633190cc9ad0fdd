"""What people's words say, in English and in Arabic: names of the three marks, and choices about a whole task."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from backend.labelstudio.config_tags import is_called, is_yes
from backend.vision.network_config import MARKS

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

__all__ = ["SAYINGS", "Statement", "folded", "holds", "mark_named", "read_statements"]

_WORDS: dict[str, tuple[str, ...]] = {
    "signature": (
        *("signature", "signatures", "sign", "signing", "autograph", "autographs", "sig", "sigs"),
        *("توقيع", "توقيعات", "تواقيع", "توقيعان", "توقيعين", "إمضاء", "إمضاءات", "امضا"),
        "دستخط",
    ),
    "stamp": (
        *("stamp", "stamps", "seal", "seals", "chop", "chops"),
        *("ختم", "أختام", "ختوم", "ختمان", "ختمين", "خاتم", "خواتم", "مهر", "دمغة", "دمغات"),
        *("cachet", "cachets", "tampon", "tampons", "sceau", "sceaux", "مہر"),
    ),
    "thumb": (
        *("thumb", "thumbs", "thumbprint", "thumbprints", "thumb print", "thumb prints", "thumb mark", "thumb marks"),
        *("thumb impression", "thumb impressions", "fingerprint", "fingerprints", "finger print", "finger prints"),
        *("finger impression", "finger impressions", "finger", "fingers", "lti", "rti", "l t i", "r t i"),
        *("بصمة", "بصمات", "بصمتان", "بصمتين", "بصم", "إبهام"),
        *("empreinte", "empreintes", "empreinte digitale", "empreintes digitales", "انگوٹھا", "اثر انگشت"),
    ),
}
"""Singular, plural and common synonyms: English, Arabic, and some of French, Urdu and Persian. Of `initials`, `sign
date` and the like, people mean something else."""
_BESIDE = (
    *("the", "a", "of", "company", "official", "corporate", "rubber", "round", "ink", "wet", "handwritten", "hand"),
    *("written", "notary", "notarial", "office", "business", "left", "right", "mark", "marks", "impression"),
    *("manual", "index", "or", "s"),  # the `s` of "signature(s)" and of "company's"
    *("full", "manuscript", "handwriting", "square", "oval", "image", "manuscrite", "manuscrites", "et"),
    *("الشركة", "شركة", "رسمي", "رسمية", "مطاطي", "يد", "يدوي", "يدوية", "شخصي", "إصبع", "أصبع", "أصابع"),
    *("مؤسسة", "مكتب", "موثق", "أيمن", "أيسر", "يمنى", "يسرى", "سبابة", "وسطى", "بنصر", "خنصر", "أو"),
    *("خطي", "خطية", "بخط", "حي", "حية", "كامل", "كاملة", "صورة", "حبر", "بالحبر", "حبري", "حبرية"),
    *("دائري", "دائرية", "بيضوي", "بيضاوي", "مستطيل"),
)
"""Words that may stand beside, and change nothing, as numbers do."""
_ARTICLE = "ال"
_BETWEEN = re.compile(r"[/|\\()\[\]{},،;؛:+&–—•]| - ")
_ASIDE = re.compile(r"(?:رقم\s*)?\d+|[#*'\"’“”«»]")
"""Numbers, such as those of a first and a second signature, with the Arabic word before them, and quotes. A `?` or a
cross may say something else."""
_ALIKE = str.maketrans({"ى": "ي", "ی": "ي", "ة": "ه", "ک": "ك", "ٱ": "ا", "ـ": "", "_": " ", "-": " ", ".": " "})


def folded(text: str) -> str:
    """A label as it is compared: letter case, diacritics, Arabic letter variants and the tatweel do not count.

    Example:
        >>> folded(" Thumb_Print ") == folded("thumb print")
        True
        >>> folded("الإمضاء") == folded("الامضاء")
        True
    """
    # Decomposed, a hamza on its seat is a mark of its own, as the vowel signs are.
    plain = "".join(one for one in unicodedata.normalize("NFKD", text) if unicodedata.category(one) not in ("Mn", "Cf"))
    return " ".join(plain.casefold().translate(_ALIKE).split())


def mark_named(label: str) -> str | None:
    """The mark that a label names in English or Arabic, with or without the article; None for another word.

    A label in two languages, such as `Stamp / ختم`, names a mark when both parts name the same one.
    """
    parts = (_telling(part) for part in _BETWEEN.split(label))
    found = {_named(words) for words in parts if words}
    return found.pop() if len(found) == 1 else None


def _telling(part: str) -> list[str]:
    """The words of a part that may name a mark: not those that may stand beside it."""
    words = (_bare(word) for word in _ASIDE.sub(" ", folded(part)).split())
    return [word for word in words if word not in _beside()]


def _named(words: list[str]) -> str | None:
    phrases = _phrases()
    if " ".join(words) in phrases:
        return phrases[" ".join(words)]
    found = {phrases.get(word) for word in words}
    return found.pop() if len(found) == 1 else None


def _bare(word: str) -> str:
    """A folded word without the Arabic article."""
    stem = word.removeprefix(_ARTICLE)
    return stem if len(stem) > 1 else word


@cache
def _phrases() -> dict[str, str]:
    """The mark of each word, folded."""
    return {folded(word): mark for mark in MARKS for word in _WORDS[mark]}


@cache
def _beside() -> frozenset[str]:
    return frozenset(_bare(folded(word)) for word in _BESIDE)


SAYINGS = ("both", "none", "signed", "stamped", "unsigned", "unstamped")
"""What a choice can say: a signature and a stamp, neither of them, a signature, a stamp, no signature, no stamp."""
_WHOLE = SAYINGS[:2]
"""They say all that there is to say: one that holds is chosen alone."""
_SAYING_WORDS: dict[str, tuple[str, ...]] = {
    "both": (
        *("both", "signed and stamped", "signature and stamp", "signed + stamped", "stamped and signed"),
        *("كلاهما", "موقع ومختوم", "موقعة ومختومة", "توقيع وختم"),
    ),
    "none": (
        *("none", "neither", "nothing", "no marks", "no signature or stamp", "not signed or stamped"),
        *("لا شيء", "لا يوجد", "بلا علامات", "بدون", "بلا توقيع ولا ختم", "غير موقع وغير مختوم"),
    ),
    "signed": (
        *("signed", "signature", "has signature", "signature only", "signed only"),
        *("موقع", "موقعة", "توقيع", "توقيع فقط", "موقع فقط"),
    ),
    "stamped": (
        *("stamped", "sealed", "stamp", "seal", "has stamp", "stamp only", "stamped only"),
        *("مختوم", "مختومة", "ختم", "ختم فقط", "مختوم فقط"),
    ),
    "unsigned": (
        *("unsigned", "not signed", "no signature", "without signature", "signature missing"),
        *("غير موقع", "غير موقعة", "بدون توقيع", "بلا توقيع", "لا توقيع"),
    ),
    "unstamped": (
        *("unstamped", "not stamped", "unsealed", "no stamp", "no seal", "without stamp", "stamp missing"),
        *("غير مختوم", "غير مختومة", "بدون ختم", "بلا ختم", "لا ختم"),
    ),
}


@dataclass(frozen=True, kw_only=True)
class Statement:
    """A `Choices` control whose choices say what a task, or each of its pages, bears.

    Attributes:
        control: Its name; a result's `from_name`.
        image: The name of the Image that it is about.
        choices: The project's own choice for each of `SAYINGS` that it has one for, such as `{"signed": "موقع"}`.
        several: Whether several choices may be taken (`choice="multiple"`).
        by_page: Whether each page is told of apart (`perItem="true"`).
    """

    control: str
    image: str
    choices: Mapping[str, str]
    several: bool
    by_page: bool

    def chosen(self, marks: Collection[str]) -> list[str]:
        """The choices to take where there are such marks; none where no choice, or more than one, says it.

        Args:
            marks: Of `signature`, `stamp` and `thumb`, those that were found.
        """
        true = [one for one in SAYINGS if one in self.choices and holds(one, marks)]
        if whole := [one for one in true if one in _WHOLE]:
            true = whole
        return [self.choices[one] for one in true] if self.several or len(true) == 1 else []

    def sayings(self, choices: Collection[str]) -> list[str]:
        """What choices of it say; those that are not known say nothing."""
        return [one for one in SAYINGS if self.choices.get(one) in choices]


def holds(saying: str, marks: Collection[str]) -> bool:
    """Whether what a choice says is true of such marks.

    Args:
        saying: One of `SAYINGS`.
        marks: Of `signature`, `stamp` and `thumb`, those that are there.
    """
    signed, stamped = "signature" in marks, "stamp" in marks
    return {
        "both": signed and stamped,
        "none": not signed and not stamped,
        "signed": signed,
        "stamped": stamped,
        "unsigned": not signed,
        "unstamped": not stamped,
    }[saying]


def read_statements(root: Element, images: Collection[str], repeated: Collection[Element]) -> tuple[Statement, ...]:
    """The `Choices` of a label config that are filled.

    A choice says what its `predicted_values` say, one of `SAYINGS`; else what its words say in English or Arabic. A
    control counts when some choice of it is about a signature or a stamp: `none` or `both` alone may be about anything.

    Args:
        root: The label config.
        images: Names of its Images.
        repeated: Tags inside a Repeater, which are left alone.
    """
    found: list[Statement] = []
    for tag in root.iter():
        image = tag.get("toName", "").strip()
        alone = image in images and tag not in repeated and tag.get("name")
        per_region = is_yes(tag, "perRegion") or is_yes(tag, "model_skip")
        if not is_called(tag, "choices") or not alone or per_region:
            continue
        choices: dict[str, str] = {}
        told = False
        for choice in tag.iter():
            value = choice.get("alias") or choice.get("value", "")
            saying, mapped = _saying(choice)
            if is_called(choice, "choice") and value and saying:
                choices.setdefault(saying, value)
                told = told or mapped or saying not in _WHOLE
        if told:
            several = tag.get("choice", "").strip().casefold() == "multiple"
            found.append(
                Statement(
                    control=tag.get("name", ""),
                    image=image,
                    choices=choices,
                    several=several,
                    by_page=is_yes(tag, "perItem"),
                )
            )
    return tuple(found)


def _saying(choice: Element) -> tuple[str, bool]:
    """What a choice says, and whether `predicted_values` say so; "" for other things."""
    values = [value.strip().casefold() for value in choice.get("predicted_values", "").split(",")]
    if mapped := [one for one in SAYINGS if one in values]:
        return mapped[0], True
    words = _sayings_by_word()
    named = (words.get(folded(choice.get(key, ""))) for key in ("alias", "value"))
    return next((one for one in named if one), ""), False


@cache
def _sayings_by_word() -> dict[str, str]:
    return {folded(word): saying for saying in SAYINGS for word in _SAYING_WORDS[saying]}
