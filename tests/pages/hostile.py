"""Files made to harm whoever decodes them, by kind: small to send, long to read, large in memory, or simply lies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.pages.hostile_drawings import DRAWN
from tests.pages.hostile_parts import PARTS
from tests.pages.hostile_pdfs import PDFS
from tests.pages.hostile_pictures import PICTURES

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["HOSTILE"]

HOSTILE: dict[str, Callable[[], bytes]] = {
    **PICTURES,
    **PARTS,
    **{f"PDF: {name}": make for name, make in (PDFS | DRAWN).items()},
}
"""Each by what is hostile in it."""
