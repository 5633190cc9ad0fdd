"""Pages: a reference in a task → upright RGB pages, within limits."""

from backend.pages.decode import decode
from backend.pages.page import Limits, Page
from backend.pages.references import Access
from backend.pages.source import PageSource, from_path

__all__ = ["Access", "Limits", "Page", "PageSource", "decode", "from_path"]
