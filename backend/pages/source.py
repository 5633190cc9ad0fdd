"""Pages of a reference: resolved, fetched, kept for a while, decoded."""

from __future__ import annotations

import hashlib
import stat
from typing import TYPE_CHECKING

from backend.errors import LabelStudioError, LimitExceeded, PageUnavailable
from backend.pages.cache import Cache
from backend.pages.decode import decode
from backend.pages.fetch import Fetcher
from backend.pages.page import Limits
from backend.pages.references import AllowList, Inline, LocalFile, Remote, resolve, shorten

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from backend.pages.access import Access
    from backend.pages.page import Page
    from backend.settings import Settings

__all__ = ["PageSource", "from_path"]


class PageSource:
    """References of tasks → pages; one for a process, shared by its threads.

    Args:
        settings: Limits, cache, allow-list and local folder.
        access: Way into Label Studio; without one its files are asked for without authorisation, and cloud references
            are refused.

    Example:
        >>> pages = PageSource(Settings(), None)
        >>> [page] = pages.pages("data:image/gif;base64,R0lGODdhAQABAIAAAP///wAAACwAAAAAAQABAAACAkQBADs=")
        >>> page.width, page.height
        (1, 1)
    """

    def __init__(self, settings: Settings, access: Access | None) -> None:
        self._settings = settings
        self._access = access
        self._limits = Limits.of(settings)
        self._allow_list = AllowList(
            base_url=access.base_url if access else settings.label_studio_url, allowed_hosts=settings.allowed_hosts
        )
        self._fetcher = Fetcher(self._allow_list, self._limits)
        self._cache = Cache(max_bytes=settings.cache_bytes, max_age=settings.cache_seconds)

    def pages(self, reference: str, *, task_id: int | None = None, pages: slice | None = None) -> Iterator[Page]:
        """Upright RGB pages; the file is fetched now, its pages are decoded one by one as they are asked for.

        Args:
            reference: As the task has it: a path of Label Studio's, http(s), s3, gs, azure-blob, azure or data.
            task_id: The task, which Label Studio needs to sign a cloud reference.
            pages: Which pages of the file; all when `None`.

        Raises:
            ReferenceRefused: Not on the allow-list.
            PageUnavailable: Nothing there, or no answer.
            LimitExceeded: Bytes, pixels, pages, seconds or redirects.
            UndecodablePage: Not readable as a page. This one and `LimitExceeded` may also come while iterating.
        """
        data = self._bytes(reference, task_id)
        shown = shorten(reference)
        return decode(data, reference=shown, limits=self._limits, dpi=self._settings.render_dpi, pages=pages)

    def _bytes(self, reference: str, task_id: int | None) -> bytes:
        try:
            source = resolve(
                reference,
                task_id=task_id,
                settings=self._settings,
                access=self._access,
                allow_list=self._allow_list,
                limits=self._limits,
            )
            match source:
                case Inline(data=data):
                    return data
                case LocalFile(path=path):
                    return _read(path, shorten(reference), self._limits)
                case Remote():
                    return self._fetch(source, shorten(reference))
        except LabelStudioError as error:
            raise PageUnavailable(shorten(reference), str(error)) from error

    def _fetch(self, source: Remote, shown: str) -> bytes:
        authorised = self._allow_list.authorises(source.url)
        headers = self._access.headers() if self._access and authorised else {}
        # What one authorisation was given is not handed to another.
        scope = hashlib.sha256(repr(sorted(headers.items())).encode()).digest()
        return self._cache.get((str(source.url), scope), lambda: self._fetcher.fetch(source.url, headers, shown=shown))


def from_path(path: Path, settings: Settings, *, pages: slice | None = None) -> Iterator[Page]:
    """Pages of a file that the operator named; for the command line only, never for a task's reference.

    Raises:
        PageUnavailable: No such file, not a plain file, or not readable.
        LimitExceeded: Bytes, pixels, pages or rendering time.
        UndecodablePage: Not readable as a page.
    """
    limits = Limits.of(settings)
    data = _read(path, str(path), limits)
    return decode(data, reference=str(path), limits=limits, dpi=settings.render_dpi, pages=pages)


def _read(path: Path, shown: str, limits: Limits) -> bytes:
    try:
        # Asked before opening: opening a pipe would wait for a writer.
        if not stat.S_ISREG(path.stat().st_mode):
            raise PageUnavailable(shown, "not a plain file")
        with path.open("rb") as file:
            data = file.read(limits.max_bytes + 1)
    except OSError as error:
        raise PageUnavailable(shown, f"the file cannot be read ({error.strerror})") from error
    if len(data) > limits.max_bytes:
        raise LimitExceeded(shown, f"larger than MAX_BYTES ({limits.max_bytes} bytes)")
    return data
