"""By what a page is known again: a box that was shown says nothing about another page that has come to its place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from backend.corrections.crop_store import difference, perceptual
from backend.corrections.splits import COPY_BITS

if TYPE_CHECKING:
    from backend.corrections.page_shelf import AnyPage

__all__ = ["Imprint", "other_pages"]

_SIDE = 256
"""Pixels to which a page is made smaller first: its hash is the same, and sooner there."""


@dataclass(frozen=True, kw_only=True)
class Imprint:
    """What a page is known again by.

    Attributes:
        file: SHA-256 of its file; empty where nobody knows.
        picture: 64-bit perceptual hash, as 16 hex digits.
    """

    file: str
    picture: str

    @classmethod
    def of(cls, page: AnyPage) -> Imprint:
        """The imprint of a page, at whatever size it was decoded."""
        small = cv2.resize(page.pixels, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
        return cls(file=page.digest, picture=perceptual(np.asarray(small, np.uint8)))


def other_pages(shown: Mapping[int, Imprint], pages: Mapping[int, AnyPage]) -> frozenset[int]:
    """Indices of the pages that are others than those that were shown at their places.

    The file decides: that of another place was moved here, however alike the two pages are. A file that was shown
    nowhere may be the same page, written anew: then the pictures decide. They are the same within the bits by which
    copies are known (`backend.corrections.splits`).

    Args:
        shown: Of the pages that were shown, by their index. Of others nothing is said.
        pages: The pages that are there now, by their index.
    """
    files = {one.file for one in shown.values() if one.file}
    return frozenset(index for index, page in pages.items() if index in shown and _is_other(shown[index], page, files))


def _is_other(was: Imprint, page: AnyPage, files: Iterable[str]) -> bool:
    if page.digest and page.digest == was.file:
        return False
    return page.digest in files or difference(Imprint.of(page).picture, was.picture) > COPY_BITS
