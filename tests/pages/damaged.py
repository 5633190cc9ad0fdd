"""Whole files of every kind, and the damage that copying, mailing and attackers do to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.pages.files import noisy, pdf, picture_pdf, sheets

if TYPE_CHECKING:
    import random

__all__ = ["VALID", "damaged"]

_HEADER = 200
_LONGEST = 5000

VALID = {
    "JPEG": noisy("JPEG"),
    "progressive JPEG": noisy("JPEG", progressive=True),
    "grey JPEG": noisy("JPEG", mode="L"),
    "CMYK JPEG": noisy("JPEG", mode="CMYK"),
    "PNG": noisy("PNG"),
    "PNG with transparency": noisy("PNG", mode="RGBA"),
    "palette PNG": noisy("PNG", mode="P"),
    "TIFF": noisy("TIFF"),
    "fax TIFF": noisy("TIFF", mode="1", compression="group4"),
    "LZW TIFF": sheets(2),
    "deflated TIFF": noisy("TIFF", compression="tiff_adobe_deflate"),
    "JPEG TIFF": noisy("TIFF", compression="jpeg"),
    "WebP": noisy("WEBP"),
    "lossless WebP": noisy("WEBP", lossless=True),
    "BMP": noisy("BMP"),
    "GIF": noisy("GIF"),
    "AVIF": noisy("AVIF"),
    "HEIC": noisy("HEIF"),
    "JPEG 2000": noisy("JPEG2000"),
    "PDF": pdf(count=2),
    "PDF with a picture": picture_pdf(noisy("JPEG"), width=64, height=64),
}
"""One of every kind and packing, every part of which matters."""


def damaged(data: bytes, dice: random.Random) -> bytes:
    """A file with one to eight parts changed, half of them in its header: bytes, bits, numbers, cuts, copies, holes."""
    spoiled = bytearray(data)
    for _ in range(dice.randint(1, 8)):
        place = dice.randrange(min(_HEADER, len(spoiled)) if dice.random() < 0.5 else len(spoiled))
        length = dice.randint(1, 64)
        match dice.choice(("byte", "bit", "number", "cut", "double", "drop", "swap", "zero", "repeat")):
            case "byte":
                spoiled[place] = dice.randrange(256)
            case "bit":
                spoiled[place] ^= 1 << dice.randrange(8)
            case "number":
                value = dice.choice((0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF))
                spoiled[place : place + 4] = value.to_bytes(4, dice.choice(("big", "little")))
            case "cut":
                del spoiled[max(place, 8) :]
            case "double":
                spoiled[place:place] = spoiled[place : place + length]
            case "drop":
                del spoiled[max(place, 8) : max(place, 8) + length]
            case "swap":
                other = dice.randrange(len(spoiled))
                spoiled[place], spoiled[other] = spoiled[other], spoiled[place]
            case "zero":
                spoiled[place : place + length] = bytes(length)
            case "repeat":
                spoiled[place : place + 1] = spoiled[place : place + 1] * dice.randint(2, _LONGEST)
    return bytes(spoiled)
