"""By what a page is known again: a box that was shown says nothing about another page that has come to its place.

The pages of an annotation, of which there may be more than memory has room for.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from backend.corrections.crop_store import difference, perceptual
from backend.corrections.splits import COPY_BITS
from backend.errors import PageUnavailable

if TYPE_CHECKING:
    from backend.pages.page import Page

__all__ = ["AnyPage", "Imprint", "PageShelf", "other_pages"]

_SIDE = 256
"""Pixels to which a page is made smaller first: its hash is the same, and sooner there."""
_MOST_PIXELS = 128 << 20
"""Bytes: five pages of A4 at 300 dpi."""


class AnyPage(Protocol):
    """An upright page, as `backend.pages.page.Page` is one, whether its pixels are in memory or not."""

    @property
    def width(self) -> int: ...

    @property
    def height(self) -> int: ...

    @property
    def digest(self) -> str: ...

    @property
    def pixels(self) -> NDArray[np.uint8]: ...


@dataclass(frozen=True, kw_only=True, eq=False)
class _ShelvedPage:
    """A page whose pixels come from a shelf."""

    width: int
    height: int
    digest: str
    get: Callable[[], NDArray[np.uint8]]

    @property
    def pixels(self) -> NDArray[np.uint8]:
        return self.get()


class PageShelf:
    """The pages of one annotation, of which the pixels of those that were used last are in memory.

    A contract may bear a mark on each of a hundred pages. What has no room is fetched again when it is used.

    Args:
        fetch: Gives a page by its index within the task.
        most: Bytes of pixels that are held, unless one page has more.
    """

    def __init__(self, fetch: Callable[[int], Page], *, most: int = _MOST_PIXELS) -> None:
        self._fetch = fetch
        self._most = most
        self._held: OrderedDict[int, NDArray[np.uint8]] = OrderedDict()
        self._size = 0

    def page(self, index: int) -> AnyPage:
        """Fetches a page; raises what `fetch` raises, and so do its pixels."""
        page = self._fetch(index)
        self._hold(index, page.pixels)
        get = partial(self._pixels, index, page.digest)
        return _ShelvedPage(width=page.width, height=page.height, digest=page.digest, get=get)

    def _pixels(self, index: int, digest: str) -> NDArray[np.uint8]:
        if index not in self._held:
            page = self._fetch(index)
            if page.digest != digest:
                raise PageUnavailable(page.reference, "it was replaced while its marks were cut out: looked at again")
            self._hold(index, page.pixels)
        self._held.move_to_end(index)
        return self._held[index]

    def _hold(self, index: int, pixels: NDArray[np.uint8]) -> None:
        self._held[index] = pixels
        self._size += pixels.nbytes
        while self._size > self._most and len(self._held) > 1:
            self._size -= self._held.popitem(last=False)[1].nbytes


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
