"""How each project's pages are reached: which token, and never any other host than Label Studio's."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Protocol

import httpx2

from backend.errors import SettingsError, UndecodablePage
from backend.labelstudio.client import LabelStudio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from backend.pages.page import Page
    from backend.pages.references import Access
    from backend.settings import Settings

__all__ = ["Connections", "Pages", "ask_for_token", "decoded", "fetched", "first_page", "plain_address", "same_origin"]

_LOG = logging.getLogger(__name__)
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_PORTS = {"http": 80, "https": 443}
# Bounds on what strangers can make this process remember.
_MOST_PROJECTS = 1000
_MOST_TOKENS = 4


class Pages(Protocol):
    """A source of pages."""

    def pages(
        self, reference: str, *, task_id: int | None, pages: slice | None, enough: float | None = None
    ) -> Iterator[Page]:
        """The wanted upright pages of a reference, with as many dots an inch as are `enough`; raises PageError."""
        ...


def ask_for_token(settings: Settings, command: str) -> None:
    """Refuses to begin a command that cannot do without Label Studio's API, where nothing opens that.

    Raises:
        SettingsError: There is no token.
    """
    if not settings.label_studio_api_key:
        raise SettingsError(
            f"LABEL_STUDIO_API_KEY is empty: `{command}` uses Label Studio's API and needs a token: copy yours from "
            f"Account & Settings of {settings.label_studio_url} (LABEL_STUDIO_URL)"
        )


class Connections:
    """A page source for each project.

    With `LABEL_STUDIO_API_KEY` all projects share one. Without it, a project's pages are fetched with the token that
    Label Studio sent with /setup. It is kept in memory only, and used for `LABEL_STUDIO_URL` alone. So no request can
    make this program send a token elsewhere, or one Label Studio's token to another.

    Args:
        settings: Names Label Studio and its key.
        source: Makes a page source over an access to Label Studio.
    """

    def __init__(self, settings: Settings, *, source: Callable[[Access], Pages]) -> None:
        self._settings = settings
        self._source = source
        self._lock = threading.Lock()
        self._tokens: OrderedDict[str, str] = OrderedDict()
        self._sources: OrderedDict[str, tuple[LabelStudio, Pages]] = OrderedDict()

    def learn(self, project: str, *, hostname: str, token: str) -> None:
        """Remembers the token that came with a project's /setup, where it is needed and from the right Label Studio."""
        if self._settings.label_studio_api_key or not token:
            return
        if not same_origin(hostname, self._settings.label_studio_url):
            _LOG.warning(
                "token of project %s not kept: Label Studio calls itself %.200r, LABEL_STUDIO_URL is %r; "
                "make them equal, or set LABEL_STUDIO_API_KEY",
                project,
                hostname,
                self._settings.label_studio_url,
            )
            return
        with self._lock:
            self._tokens[project] = token
            self._tokens.move_to_end(project)
            if len(self._tokens) > _MOST_PROJECTS:
                self._tokens.popitem(last=False)

    def pages(self, project: str) -> Pages:
        """The page source of a project."""
        return self._reach(project)[1]

    def studio(self, project: str) -> LabelStudio:
        """Label Studio's API, with the token of a project."""
        return self._reach(project)[0]

    def _reach(self, project: str) -> tuple[LabelStudio, Pages]:
        with self._lock:
            token = self._settings.label_studio_api_key or self._tokens.get(project, "")
            if token not in self._sources:
                studio = LabelStudio(self._settings.label_studio_url, token)
                self._sources[token] = studio, self._source(studio)
            self._sources.move_to_end(token)
            if len(self._sources) > _MOST_TOKENS:
                self._sources.popitem(last=False)
            return self._sources[token]


def first_page(source: Pages, reference: str, *, task: int | None) -> Page:
    """The first page of what a task refers to.

    Raises:
        PageError: There is none to be had.
    """
    return decoded(fetched(source, reference, task=task))


def fetched(source: Pages, reference: str, *, task: int | None, enough: float | None = None) -> Iterator[Page]:
    """The file that a task refers to, its first page not decoded yet: that is when it becomes large.

    Args:
        source: Where pages come from.
        reference: As the task has it.
        task: The task.
        enough: Dots an inch that the caller can use; all there are when `None`.

    Raises:
        PageError: It is not to be had.
    """
    return source.pages(reference, task_id=task, pages=slice(0, 1), enough=enough)


def decoded(file: Iterator[Page]) -> Page:
    """The first page of what was fetched.

    Raises:
        PageError: It is no page.
    """
    page = next(file, None)
    if page is None:
        raise UndecodablePage("(an empty file)", "it has no page")
    return page


def same_origin(one: str, other: str) -> bool:
    """Whether two addresses have the same scheme, host and port; all names of the loopback are one."""
    try:
        return _origin(one) == _origin(other)
    except httpx2.InvalidURL:
        return False


def plain_address(address: str) -> str:
    """An address in the one form that all spellings of it have; all names of the loopback are one.

    Example:
        >>> plain_address("http://127.0.0.1/"), plain_address("https://labels.company:8443/studio")
        ('http://localhost:80', 'https://labels.company:8443/studio')
    """
    try:
        scheme, host, port = _origin(address)
        return f"{scheme}://{host}:{port}{httpx2.URL(address).path.rstrip('/')}"
    except httpx2.InvalidURL:
        return address


def _origin(address: str) -> tuple[str, str, int | None]:
    url = httpx2.URL(address)
    return url.scheme, "localhost" if url.host in _LOOPBACK else url.host, url.port or _PORTS.get(url.scheme)
