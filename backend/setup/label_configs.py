"""The label configs of new projects; they travel with the program. The same files lie in the repository's root."""

from __future__ import annotations

from importlib import resources

__all__ = ["label_config"]


def label_config(*, paged: bool) -> str:
    """The XML for tasks of one page (`$image`), or for documents of several pages (`$pages`)."""
    name = "label_config_pages.xml" if paged else "label_config.xml"
    return resources.files("backend.setup").joinpath(name).read_text(encoding="utf-8")
