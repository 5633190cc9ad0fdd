"""What a decoder process holds: a file of pages, the desk that they are drawn on, and what is said instead of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from backend.errors import PageError

__all__ = ["KEPT_BYTES", "PACKET_BYTES", "Desk", "Document", "Drawn", "Refusal"]

KEPT_BYTES = 32 << 20
"""Largest memory of a page that is used again for the next one: an A4 page of 300 dpi has 26 MB."""
PACKET_BYTES = 64 * 1024
"""Longest request to a decoder process, and longest answer."""


class Refusal(Exception):
    """Why there are no pixels, said in the decoder process; the process that asked raises the error itself.

    Args:
        kind: The error, such as `LimitExceeded`.
        reason: Its reason, in words for an administrator.
    """

    def __init__(self, kind: type[PageError], reason: str) -> None:
        super().__init__(f"{kind.__name__}: {reason}")
        self.kind = kind
        self.reason = reason


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """What is known of a page whose pixels are on the canvas.

    Attributes:
        size: Width and height of the page as the file has it, upright, pixels.
        dpi: Dots an inch of that size, where the file says so plausibly.
    """

    size: tuple[int, int]
    dpi: float | None


class Desk(Protocol):
    """Where one page is drawn, and what it may cost."""

    @property
    def dpi(self) -> int:
        """Resolution at which a document without pixels of its own is drawn."""
        ...

    @property
    def enough(self) -> float | None:
        """Dots an inch that whoever asks can use; `None` for all there are."""
        ...

    def admit(self, width: int, height: int, *, what: str = "", hint: str = "") -> None:
        """Takes a page of so many pixels, or raises `Refusal`; called before anything of it is decoded."""
        ...

    def canvas(self, height: int, width: int) -> NDArray[np.uint8]:
        """Memory for the pixels, (height, width, 3), which the process that asked sees."""
        ...


class Document(Protocol):
    """A file that is open."""

    def indices(self, wanted: slice | None) -> range:
        """Which pages `wanted` means; looks no further into the file than it must."""
        ...

    def page(self, index: int, desk: Desk) -> Drawn:
        """Draws one page; raises `Refusal`."""
        ...

    def close(self) -> None:
        """Lets go of the file."""
        ...
