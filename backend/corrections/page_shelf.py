"""The pages of an annotation, of which there may be more than memory has room for."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from backend.errors import PageUnavailable

if TYPE_CHECKING:
    from backend.pages.page import Page

__all__ = ["AnyPage", "PageShelf"]

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
    def pixels(self) -> NDArray[np.uint8]:
        """(H, W, 3) RGB."""
        ...


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
        while len(self._held) > 1 and sum(one.nbytes for one in self._held.values()) > self._most:
            self._held.popitem(last=False)
