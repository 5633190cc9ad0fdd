"""Pages of a reference: resolved, fetched, and decoded by content, never by name, in a process that can be ended.

Fetched files stay for a while: in memory only, bounded by bytes and age, one fetch at a time for one key.
"""

from __future__ import annotations

import hashlib
import os
import stat
import threading
import time
import weakref
from collections import OrderedDict
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from backend.errors import (
    CutShort,
    LabelStudioError,
    LimitExceeded,
    PageUnavailable,
    ReferenceRefused,
    UndecodablePage,
)
from backend.pages.decoders import decoder
from backend.pages.fetch import Fetcher, FileRoom
from backend.pages.headers import KINDS, sniff
from backend.pages.page import Limits, Page
from backend.pages.references import SMALLER, Access, AllowList, Inline, LocalFile, Remote, resolve, shorten

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator

    from backend.settings import Settings

__all__ = ["ENOUGH_DPI", "PAGE_SUFFIXES", "Cache", "PageSource", "decode", "from_path", "read_plain"]

_IMAGES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".avif", ".heic", ".heif", ".jp2", ".j2k")
PAGE_SUFFIXES = frozenset({".pdf", ".tif", ".tiff", *_IMAGES})
"""How the names of files with pages end, in lower case: by them files are picked out of folders."""

ENOUGH_DPI = 150.0
"""Dots an inch that the detector, and the classifier's crops, can use: a page to be looked at needs no more."""


def decode(
    data: bytes,
    *,
    reference: str,
    limits: Limits,
    dpi: int,
    pages: slice | None = None,
    enough: float | None = None,
) -> Iterator[Page]:
    """Pages of a file as upright RGB, lazily: one page at a time is in memory.

    A file has a process to itself until its last page: one that is made to take for ever holds up no other. Of
    animations, and of the several pictures that phones put in one JPEG, the first is the page. PDF pages are drawn as
    they would be printed, annotations and form fields included.

    Args:
        data: The whole file.
        reference: Shown in errors and kept in each page; already shortened.
        limits: Checked from headers, before pixels are decoded. If more than `limits.max_pages` of a file
            are wanted, the file is refused as a whole, before its first page.
        dpi: Resolution at which PDF pages are rendered.
        pages: Which pages, such as `slice(-2, None)` for the last two; all when `None`. Directories of a TIFF are
            walked no further than these need.
        enough: Dots an inch that the caller can use, such as `ENOUGH_DPI`. A picture of twice, four or eight times as
            many comes at half, a quarter or an eighth of its size. A JPEG is then decoded sooner. All there are when
            `None`.

    Raises:
        LimitExceeded: Bytes, pixels, pages, parts of a file, time or memory.
        CutShort: The file ends before the page does.
        PageUnavailable: There is no memory for it at the moment, or no process.
        UndecodablePage: No format of ours, damaged or encrypted.
    """
    if len(data) > limits.max_bytes:
        raise LimitExceeded(reference, f"{len(data)} bytes, more than MAX_BYTES ({limits.max_bytes}): {SMALLER}")
    if not data:
        raise CutShort(reference, "the file is empty")
    kind = sniff(data)
    if kind is None:
        raise UndecodablePage(reference, f"neither {KINDS.replace(' or ', ' nor ')}")
    return _pages(data, kind, reference=reference, limits=limits, dpi=dpi, pages=pages, enough=enough)


def _pages(
    data: bytes, kind: str, *, reference: str, limits: Limits, dpi: int, pages: slice | None, enough: float | None
) -> Iterator[Page]:
    with decoder(reference) as process:
        indices = process.open(data, kind, pages, reference=reference, limits=limits)
        if len(indices) > limits.max_pages:
            too_many = f"{len(indices)} pages, more than MAX_PAGES ({limits.max_pages})"
            raise LimitExceeded(reference, f"{too_many}: split the file, or raise MAX_PAGES")
        digest = hashlib.sha256(data).hexdigest()
        for index in indices:
            page = process.page(index, dpi=dpi, enough=enough, reference=reference, limits=limits)
            yield replace(page, digest=digest)


# As many files find room in a cache as settings have it.
_KEPT_AT_LEAST = 8


class Cache:
    """Bytes by key, the least recently used going first; never on disk, because contracts must not stay there.

    Age counts from the fetch, not from the last use, and every call drops all that is too old. Callers that want a key
    which is being fetched wait for that fetch and share its outcome, an error too; an error is not kept.

    Args:
        max_bytes: Bytes kept in all; 0 keeps nothing. A file larger than this is handed on and not kept.
        max_age: Seconds.
        clock: Monotonic seconds.
        largest: A file larger than this is not kept either.
    """

    def __init__(
        self,
        *,
        max_bytes: int,
        max_age: float,
        clock: Callable[[], float] = time.monotonic,
        largest: int | None = None,
    ) -> None:
        self._max_bytes = max_bytes
        self._largest = max_bytes if largest is None else min(largest, max_bytes)
        self._max_age = max_age
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: OrderedDict[Hashable, tuple[float, bytes]] = OrderedDict()
        self._flights: dict[Hashable, Future[bytes]] = {}
        self._size = 0

    @classmethod
    def of(cls, settings: Settings) -> Cache:
        """As the settings say; a few files that are much larger than others do not take the place of all of them."""
        largest = settings.cache_bytes // _KEPT_AT_LEAST
        return cls(max_bytes=settings.cache_bytes, max_age=settings.cache_seconds, largest=largest)

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def size(self) -> int:
        """Bytes kept now."""
        return self._size

    def get(self, key: Hashable, fetch: Callable[[], bytes]) -> bytes:
        """The bytes of `key`, from memory, from a fetch under way, or from `fetch`.

        Raises:
            Exception: Whatever `fetch` raised, here or in the thread whose fetch was shared.
        """
        with self._lock:
            self._drop_old()
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key][1]
            flight = self._flights.get(key)
            leads = flight is None
            if flight is None:
                flight = self._flights[key] = Future()
        if leads:
            self._fly(key, flight, fetch)
        return flight.result()

    def forget(self, key: Hashable) -> None:
        """Drops the bytes of `key`: the next call fetches them anew."""
        with self._lock:
            if key in self._kept:
                self._size -= len(self._kept.pop(key)[1])

    def _fly(self, key: Hashable, flight: Future[bytes], fetch: Callable[[], bytes]) -> None:
        """Fetches, keeps and tells the waiting; the flight ends whatever happens, or its waiters would never wake."""
        try:
            data = fetch()
        except BaseException as error:
            with self._lock:
                del self._flights[key]
            flight.set_exception(error)
            return
        with self._lock:
            del self._flights[key]
            self._keep(key, data)
        flight.set_result(data)

    def _keep(self, key: Hashable, data: bytes) -> None:
        if len(data) > self._largest:
            return
        self._kept[key] = (self._clock(), data)
        self._size += len(data)
        while self._size > self._max_bytes:
            _, (_, dropped) = self._kept.popitem(last=False)
            self._size -= len(dropped)

    def _drop_old(self) -> None:
        horizon = self._clock() - self._max_age
        for key in [key for key, (fetched, _) in self._kept.items() if fetched <= horizon]:
            self._size -= len(self._kept.pop(key)[1])


# One for all sources of this process.
_ROOM = FileRoom()


class _Held:
    """A file that is there and waits to be decoded; its room is free when nobody has this object any more.

    Raises:
        PageUnavailable: Too many large ones wait already.
    """

    def __init__(self, data: bytes, shown: str) -> None:
        if not _ROOM.take(len(data)):
            raise PageUnavailable(shown, "too many large files wait to be decoded: ask again")
        weakref.finalize(self, _ROOM.give_back, len(data)).atexit = False


class PageSource:
    """References of tasks → pages; one for a process, shared by its threads.

    Args:
        settings: Limits, cache, allow-list and local folder.
        access: Way into Label Studio; without one its files are asked for without authorisation, and cloud references
            are refused.
        cache: Keeps fetched files; sources that share one share its bound on memory, and no file across authorisations.
            One of its own when `None`.

    Example:
        >>> pages = PageSource(Settings(), None)
        >>> [page] = pages.pages("data:image/gif;base64,R0lGODdhAQABAIAAAP///wAAACwAAAAAAQABAAACAkQBADs=")
        >>> page.width, page.height
        (1, 1)
    """

    def __init__(self, settings: Settings, access: Access | None, *, cache: Cache | None = None) -> None:
        self._settings = settings
        self._access = access
        self._limits = Limits.of(settings)
        self._allow_list = AllowList(
            base_url=access.base_url if access else settings.label_studio_url, allowed_hosts=settings.allowed_hosts
        )
        self._fetcher = Fetcher(self._allow_list, self._limits, _ROOM)
        self._cache = Cache.of(settings) if cache is None else cache

    def pages(
        self, reference: str, *, task_id: int | None = None, pages: slice | None = None, enough: float | None = None
    ) -> Iterator[Page]:
        """Upright RGB pages; the file is fetched now, its pages are decoded one by one as they are asked for.

        A file that was cut short, or is damaged, is not kept in memory: asked for again, it is fetched again.

        Args:
            reference: As the task has it: a path of Label Studio's, http(s), s3, gs, azure-blob, azure or data.
            task_id: The task, which Label Studio needs to sign a cloud reference.
            pages: Which pages of the file; all when `None`.
            enough: Dots an inch that the caller can use; all there are when `None`.

        Raises:
            ReferenceRefused: Not on the allow-list.
            PageUnavailable: Nothing there, no answer, no memory for it now, or, as `CutShort`, not all of it.
            LimitExceeded: Bytes, pixels, pages, seconds or redirects.
            UndecodablePage: Not readable as a page. This one, `CutShort` and `LimitExceeded` may also come while
                iterating.
        """
        key, data = self._bytes(reference, task_id)
        held = _Held(data, shorten(reference))
        try:
            found = decode(
                data,
                reference=shorten(reference),
                limits=self._limits,
                dpi=self._settings.render_dpi,
                pages=pages,
                enough=enough,
            )
        except (CutShort, UndecodablePage):
            self._cache.forget(key)
            raise
        return self._watched(found, key, held)

    def _watched(self, pages: Iterator[Page], key: Hashable, _held: _Held) -> Iterator[Page]:
        """The pages; `_held` lives as long as they do, whether anybody asks for one or not."""
        try:
            yield from pages
        except (CutShort, UndecodablePage):
            self._cache.forget(key)
            raise

    def _bytes(self, reference: str, task_id: int | None) -> tuple[Hashable, bytes]:
        """The file, and what it is kept under, if it is kept."""
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
                    return None, data
                case LocalFile(path=path, root=root):
                    return None, read_plain(path, shorten(reference), max_bytes=self._limits.max_bytes, root=root)
                case Remote():
                    return self._fetch(source, shorten(reference))
        except LabelStudioError as error:
            raise PageUnavailable(shorten(reference), str(error)) from error

    def _fetch(self, source: Remote, shown: str) -> tuple[Hashable, bytes]:
        authorised = self._allow_list.authorises(source.url)
        headers = self._access.headers() if self._access and authorised else {}
        # What one authorisation was given is not handed to another.
        scope = hashlib.sha256(repr(sorted(headers.items())).encode()).digest()
        key = (str(source.url), scope)
        return key, self._cache.get(key, lambda: self._fetcher.fetch(source.url, headers, shown=shown))


def from_path(
    path: Path, settings: Settings, *, pages: slice | None = None, enough: float | None = None
) -> Iterator[Page]:
    """Pages of a file that the operator named; for the command line only, never for a task's reference.

    Args:
        path: The file.
        settings: Limits, and the resolution of PDF pages.
        pages: Which pages of the file; all when `None`.
        enough: Dots an inch that the caller can use; all there are when `None`.

    Raises:
        PageUnavailable: No such file, not a plain file, not readable, or, as `CutShort`, not all there.
        LimitExceeded: Bytes, pixels, pages, time or memory.
        UndecodablePage: Not readable as a page.
    """
    limits = Limits.of(settings)
    data = read_plain(path, str(path), max_bytes=limits.max_bytes)
    return decode(data, reference=str(path), limits=limits, dpi=settings.render_dpi, pages=pages, enough=enough)


def read_plain(path: Path, shown: str, *, max_bytes: int, root: Path | None = None) -> bytes:
    """The bytes of a plain file; with `root`, of one below it.

    What is judged is the file that is open: another one may have taken the place of the name since it was looked at.

    Args:
        path: The file; with `root`, without links.
        shown: What errors call it.
        max_bytes: Its largest size; a file that grows meanwhile is read no further.
        root: The folder that it must lie in, without links; None for any.

    Raises:
        PageUnavailable: No such file, not a plain file, or not readable.
        ReferenceRefused: It lies elsewhere than below `root`.
        LimitExceeded: Larger than `max_bytes`.
    """
    try:
        # Asked before opening, for opening some devices does something.
        if not stat.S_ISREG(path.stat().st_mode):
            raise PageUnavailable(shown, "not a plain file")
        # Without waiting: opening a pipe would wait for a writer. The path below a root is resolved: no link is left.
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (os.O_NOFOLLOW if root else 0))
        try:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise PageUnavailable(shown, "not a plain file")
            if root and not Path(os.readlink(f"/proc/self/fd/{handle}")).is_relative_to(root):
                raise ReferenceRefused(shown, "the file lies outside LOCAL_FILES_ROOT")
            with open(handle, "rb", closefd=False) as file:
                data = file.read(max_bytes + 1)
        finally:
            os.close(handle)
    except OSError as error:
        raise PageUnavailable(shown, f"the file cannot be read ({error.strerror})") from error
    if len(data) > max_bytes:
        raise LimitExceeded(shown, f"larger than MAX_BYTES ({max_bytes} bytes): {SMALLER}")
    return data
