"""The words that people use for the three marks, in English and in Arabic."""

from __future__ import annotations

import re
import unicodedata
from functools import cache

from backend.vision.network_config import MARKS

__all__ = ["folded", "mark_named"]

_WORDS: dict[str, tuple[str, ...]] = {
    "signature": (
        *("signature", "signatures", "sign", "signing", "autograph", "autographs"),
        *("توقيع", "توقيعات", "تواقيع", "توقيعان", "إمضاء", "إمضاءات", "امضا"),
    ),
    "stamp": (
        *("stamp", "stamps", "seal", "seals", "chop", "chops"),
        *("ختم", "أختام", "ختوم", "ختمان", "خاتم", "خواتم", "مهر", "دمغة", "دمغات"),
    ),
    "thumb": (
        *("thumb", "thumbs", "thumbprint", "thumbprints", "thumb print", "thumb prints", "thumb mark", "thumb marks"),
        *("thumb impression", "thumb impressions", "fingerprint", "fingerprints", "finger print", "finger prints"),
        *("بصمة", "بصمات", "بصمتان", "بصم", "إبهام"),
    ),
}
"""Singular, plural and common synonyms. Of `initials`, `sign date` and the like, people mean something else."""
_BESIDE = (
    *("the", "a", "of", "company", "official", "corporate", "rubber", "round", "ink", "wet", "handwritten", "hand"),
    *("الشركة", "شركة", "رسمي", "رسمية", "مطاطي", "يد", "يدوي", "يدوية", "شخصي", "إصبع", "أصبع", "أصابع"),
)
"""Words that may stand beside, and change nothing."""
_ARTICLE = "ال"
_BETWEEN = re.compile(r"[/|\\()\[\]{},،;؛:+&–—•]| - ")
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
    found = {_named(part) for part in _BETWEEN.split(label) if folded(part)}
    return found.pop() if len(found) == 1 else None


def _named(part: str) -> str | None:
    words = [_bare(word) for word in folded(part).split()]
    words = [word for word in words if word not in _beside()]
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
