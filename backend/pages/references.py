"""References of a task → what to open: parsing, the allow-list, and the shortened form that messages show.

What pages need to know of Label Studio, and no more: its address, its authorisation, its presign route.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import parse_qs, unquote, unquote_to_bytes

import httpx2

from backend.errors import LimitExceeded, PageUnavailable, ReferenceRefused, SettingsError, UndecodablePage

if TYPE_CHECKING:
    from backend.pages.page import Limits
    from backend.settings import Settings

__all__ = ["SMALLER", "Access", "AllowList", "Inline", "LocalFile", "Remote", "Source", "host_of", "resolve", "shorten"]

SMALLER = "save it smaller, or raise MAX_BYTES"
"""The way out for a file that is too large."""
CLOUD_SCHEMES = ("s3", "gs", "azure-blob", "azure")
_DEFAULT_PORTS = {"http": 80, "https": 443}
# Where Label Studio keeps pages, under its base address. Only these get its authorisation: a task must not be able to
# send the token to any other route, nor to another program that shares the host.
_PAGE_ROUTES = re.compile(r"data/|storage-data/|(?:tasks|projects)/\d+/(?:presign|resolve)/|static/")
_LOCAL_FILES = "data/local-files/"
_LONGEST_SHOWN = 200
_LAST_PORT = 65_535


class Access(Protocol):
    """A way into one Label Studio; shared by threads."""

    @property
    def base_url(self) -> str:
        """Address of Label Studio, with its path prefix where it has one."""
        ...

    def headers(self) -> dict[str, str]:
        """Authorisation, for `base_url` only; may fetch or renew a token."""
        ...

    def presigned(self, uri: str, task_id: int) -> str:
        """Address of Label Studio's presign route for an s3, gs, azure-blob or azure `uri` of a task."""
        ...


@dataclass(frozen=True, kw_only=True)
class Remote:
    """A page behind http(s)."""

    url: httpx2.URL


@dataclass(frozen=True, kw_only=True)
class LocalFile:
    """A page in a file that may be read, as long as it lies below `root`; both without links."""

    path: Path
    root: Path


@dataclass(frozen=True, kw_only=True)
class Inline:
    """A page that the reference itself carries."""

    data: bytes


Source = Remote | LocalFile | Inline


def shorten(reference: str) -> str:
    """The reference as messages may show it: no credentials, query or fragment; a data URI cut to 32 characters.

    Of a query only the `d` of `/data/local-files/` stays: it is a file's name, and without it all look the same.
    """
    text = "".join(character if character.isprintable() else "�" for character in reference[:4096])
    if text[:5].lower() == "data:":
        return text if len(text) <= 32 else text[:32] + "…"
    bare, _, query = re.sub(r"#.*", "", text).partition("?")
    bare = re.sub(r"^([^/]*//)?[^/]*@(?=.)", r"\1", bare)
    if bare.endswith("/" + _LOCAL_FILES):
        name = re.search(r"(?:^|&)(d=[^&]*)", query)
        bare += "?" + name[1] if name else ""
    return bare if len(bare) <= _LONGEST_SHOWN else bare[:_LONGEST_SHOWN] + "…"


def host_of(reference: str) -> str:
    """The host that a reference of http(s) names, in one spelling and without its port; empty for paths."""
    match = re.match(r"https?://(?:[^/?#@]*@)?(\[[^\]/?#]*\]|[^/?#:]*)", reference[:_LONGEST_SHOWN], re.IGNORECASE)
    return match[1].lower().rstrip(".") if match else ""


class AllowList:
    """Which addresses pages may come from, and which of them get Label Studio's authorisation.

    A listed host is trusted by its name, wherever that resolves to; an entry without a port means 80 for http and
    443 for https. Label Studio's own host and port are always on the list.

    Raises:
        SettingsError: `LABEL_STUDIO_URL` or an entry of `ALLOWED_HOSTS` is no address.
    """

    def __init__(self, *, base_url: str, allowed_hosts: str) -> None:
        self.base = _base(base_url)
        self._own = _endpoint(self.base)
        self._entries = frozenset(
            endpoint for entry in allowed_hosts.split(",") if entry.strip() for endpoint in _endpoints(entry.strip())
        )

    def allows(self, url: httpx2.URL) -> bool:
        return self._is_own_host(url) or _endpoint(url) in self._entries

    def authorises(self, url: httpx2.URL) -> bool:
        """Whether `url` is one of Label Studio's page routes."""
        return self._is_own_host(url) and _PAGE_ROUTES.match(self.route(url)) is not None

    def is_login(self, url: httpx2.URL) -> bool:
        return self._is_own_host(url) and self.route(url).rstrip("/") == "user/login"

    def route(self, url: httpx2.URL) -> str:
        """Path of `url` below Label Studio's prefix; empty when it is elsewhere or climbs with dot segments."""
        # `path` is decoded already; once more, because a proxy on the way may do so too.
        path, prefix = unquote(url.path), self.base.path
        return path.removeprefix(prefix) if path.startswith(prefix) and ".." not in path.split("/") else ""

    def _is_own_host(self, url: httpx2.URL) -> bool:
        """Same scheme, host and port; a plain http Label Studio may also have moved to https on the usual ports."""
        moved = self.base.scheme == "http" and self._own[1] == 80 and _endpoint(url) == (self._own[0], 443)
        return (url.scheme == self.base.scheme and _endpoint(url) == self._own) or (url.scheme == "https" and moved)


def _base(base_url: str) -> httpx2.URL:
    try:
        url = httpx2.URL(base_url.strip().rstrip("/") + "/")
    except httpx2.InvalidURL as error:
        raise SettingsError(f"LABEL_STUDIO_URL is {base_url!r}: {error}") from error
    if url.scheme not in _DEFAULT_PORTS or not url.host:
        raise SettingsError(f"LABEL_STUDIO_URL is {base_url!r}: expected an address such as http://localhost:8080")
    return url


def _endpoint(url: httpx2.URL) -> tuple[str, int | None]:
    """Host and port in one spelling: lower case, IPv6 compressed, the port named."""
    if not url.host:
        return "", None
    origin = httpx2.Origin(url)
    return origin.host.rstrip(".").lower(), origin.port


def _endpoints(entry: str) -> list[tuple[str, int | None]]:
    message = f"ALLOWED_HOSTS has {entry!r}: expected `host` or `host:port`, comma separated"
    if re.search(r"[/@?#\\*\s]", entry):
        raise SettingsError(message)
    try:
        urls = [httpx2.URL(f"{scheme}://{entry}") for scheme in _DEFAULT_PORTS]
    except httpx2.InvalidURL as error:
        raise SettingsError(message) from error
    if not urls[0].host or (urls[0].port or 0) > _LAST_PORT:
        raise SettingsError(message)
    return [_endpoint(url) for url in urls]


def resolve(
    reference: str,
    *,
    task_id: int | None,
    settings: Settings,
    access: Access | None,
    allow_list: AllowList,
    limits: Limits,
) -> Source:
    """What a task's reference stands for.

    A reference that begins with `/` is Label Studio's. `/data/local-files/?d=…` is read under `LOCAL_FILES_ROOT` if
    that is set. If not, Label Studio is asked, as for an upload, and checks its own permissions.

    Raises:
        ReferenceRefused: The scheme, host, route or folder is not allowed, or it is no reference at all.
        PageUnavailable: A local file does not exist.
        LimitExceeded: A data URI is larger than `limits.max_bytes`.
        UndecodablePage: A data URI is not valid base64.
    """
    if not isinstance(reference, str) or not reference.strip():
        raise ReferenceRefused(
            "(no reference)", "the task names no page: check the field that the label config points to"
        )
    if re.match(r"data:", reference, re.IGNORECASE):
        return Inline(data=_inline(reference, limits))
    reference = reference.strip()
    if _is_cloud(reference):
        return Remote(url=_presigned(reference, task_id, access))
    path, mark, query = reference.partition("?")
    # In a query it is a letter like others: Label Studio on Windows writes the names of files so.
    reference = path + mark + query.replace("\\", "%5C")
    if re.search(r"[\x00-\x1f\x7f\\]", reference):
        raise ReferenceRefused(shorten(reference), "control characters and backslashes must be percent-encoded")
    # As browsers do, and so Label Studio's editor: names of files are written into tasks as they are.
    reference = reference.replace(" ", "%20")
    url = _absolute(reference, allow_list)
    if allow_list.authorises(url) and allow_list.route(url) == _LOCAL_FILES and settings.local_files_root:
        return _local(url, Path(settings.local_files_root), shorten(reference))
    return Remote(url=url)


def _is_cloud(reference: str) -> bool:
    return reference.strip().partition("://")[0].lower() in CLOUD_SCHEMES


def _presigned(uri: str, task_id: int | None, access: Access | None) -> httpx2.URL:
    if access is None or task_id is None:
        raise ReferenceRefused(shorten(uri), "a cloud reference is resolved by Label Studio, for a task that it knows")
    return httpx2.URL(access.presigned(uri, task_id))


def _absolute(reference: str, allow_list: AllowList) -> httpx2.URL:
    """The allowed http(s) address that `reference` names."""
    shown = shorten(reference)
    if reference.startswith("/") and not reference.startswith("//"):
        return _own_route(reference, allow_list, shown)
    scheme, separator, _ = reference.partition("://")
    if not separator or scheme.lower() not in _DEFAULT_PORTS:
        raise ReferenceRefused(
            shown, "pages come from Label Studio's own paths, http(s), cloud or data references only"
        )
    try:
        url = httpx2.URL(reference)
    except httpx2.InvalidURL as error:
        raise ReferenceRefused(shown, "not a valid address") from error
    if url.userinfo:
        raise ReferenceRefused(shown, "addresses with a user name or password are refused")
    if not allow_list.allows(url):
        host = url.netloc.decode("ascii")
        raise ReferenceRefused(shown, f"host {host} is not allowed: add it to ALLOWED_HOSTS if pages may come from it")
    return url


def _own_route(reference: str, allow_list: AllowList, shown: str) -> httpx2.URL:
    """A path of Label Studio's, which may carry its prefix already."""
    prefix = allow_list.base.path
    path = reference if reference.startswith(prefix) else prefix + reference[1:]
    try:
        url = allow_list.base.join(path)
    except httpx2.InvalidURL as error:
        raise ReferenceRefused(shown, "not a valid path") from error
    if not allow_list.authorises(url):
        raise ReferenceRefused(
            shown, "not one of Label Studio's page routes, such as /data/upload/ or /data/local-files/"
        )
    return url


def _local(url: httpx2.URL, root: Path, shown: str) -> LocalFile:
    """The file below `root` that `?d=` names; links are followed first and judged by where they lead.

    Where there is no file of a name that holds backslashes, they part folders, as Windows has it.
    """
    names = parse_qs(url.query.decode("ascii"), keep_blank_values=True).get("d", [])
    if len(names) != 1 or not names[0] or "\0" in names[0]:
        raise ReferenceRefused(shown, "expected one file: /data/local-files/?d=folder/page.png")
    try:
        folder = root.resolve(strict=True)
        path = (folder / names[0]).resolve()
        if "\\" in names[0] and not path.exists():
            path = (folder / names[0].replace("\\", "/")).resolve()
    except (OSError, RuntimeError) as error:
        raise PageUnavailable(shown, "the file, or LOCAL_FILES_ROOT itself, does not exist") from error
    if not path.is_relative_to(folder):
        raise ReferenceRefused(shown, "the file lies outside LOCAL_FILES_ROOT")
    return LocalFile(path=path, root=folder)


def _inline(reference: str, limits: Limits) -> bytes:
    shown = shorten(reference)
    head, comma, body = reference.partition(",")
    if not comma:
        raise UndecodablePage(shown, "a data URI needs a comma before its data")
    # Percent-encoding triples and base64 adds a third: what is longer still holds too much, and is not unpacked at all.
    if len(body) > 4 * limits.max_bytes + 4:
        raise LimitExceeded(shown, f"the data URI holds more than MAX_BYTES ({limits.max_bytes}) bytes: {SMALLER}")
    data = unquote_to_bytes(body)
    if head.lower().endswith(";base64"):
        packed = b"".join(data.split())
        try:
            data = base64.b64decode(packed + b"=" * (-len(packed) % 4), validate=True)
        except binascii.Error as error:
            raise UndecodablePage(shown, "the data URI is not valid base64") from error
    if len(data) > limits.max_bytes:
        raise LimitExceeded(shown, f"the data URI holds more than MAX_BYTES ({limits.max_bytes}) bytes: {SMALLER}")
    return data
