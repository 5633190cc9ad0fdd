"""Documents made in memory: PDF, TIFF and images, as scanners and phones make them."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

__all__ = ["bars", "image", "marked", "packed", "pdf", "tiff", "turned"]


def marked(number: int, *, width: int = 120, height: int = 170) -> Image.Image:
    """A page with noise and as many red bars at its top as its number says; no two numbers look the same."""
    pixels = np.random.default_rng(number).integers(225, 256, (height, width, 3), dtype=np.uint8)
    for bar in range(number):
        pixels[4 + 9 * bar : 9 + 9 * bar, 10:60] = (200, 30, 40)
    return Image.fromarray(pixels)


def bars(page: Image.Image) -> int:
    """How many red bars a page has at its top, of whatever size it is."""
    column = np.asarray(page.convert("RGB"), dtype=int)[:, page.width // 4]
    red = column[:, 0] - column[:, 1] > 80
    return int((np.diff(red.astype(int), prepend=0) == 1).sum())


def packed(first: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    # A copy: Pillow keeps options of one format in the image, which then fail in another.
    first.copy().save(file, kind, **options)
    return file.getvalue()


def pdf(*numbers: int) -> bytes:
    pages = [marked(number) for number in numbers]
    return packed(pages[0], "PDF", save_all=True, append_images=pages[1:], resolution=72)


def tiff(*numbers: int) -> bytes:
    pages = [marked(number) for number in numbers]
    return packed(pages[0], "TIFF", save_all=True, append_images=pages[1:], compression="tiff_lzw")


def image(number: int) -> bytes:
    return packed(marked(number), "PNG")


def turned(number: int) -> bytes:
    """A phone's photograph: stored lying, with the word that it is to be turned to the right."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return packed(marked(number).transpose(Image.Transpose.ROTATE_90), "JPEG", quality=95, exif=exif)
