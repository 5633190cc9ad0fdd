"""The pages: whether tasks name them, and whether those of each kind and each manner of name can be read."""

from __future__ import annotations

import re
import time
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import httpx2

from backend.commands.doctor.findings import Checked, Fields, failed, skipped, this_many, this_part, well
from backend.errors import CutShort, LimitExceeded, PageError, RequestError, SettingsError, UndecodablePage
from backend.labelstudio.connections import first_page
from backend.labelstudio.probing import spread_tasks
from backend.labelstudio.tasks import TaskPage, task_pages
from backend.pages.references import CLOUD_SCHEMES, AllowList, host_of, shorten
from backend.pages.source import PageSource

if TYPE_CHECKING:
    from backend.labelstudio.client import LabelStudio
    from backend.labelstudio.labelling import Binding
    from backend.settings import Settings

__all__ = ["PAGES_CHECK", "check_hosts", "check_pages", "chosen", "find_pages", "name_of", "reference_kind"]

PAGES_CHECK = "pages"
HOSTS = "allowed hosts"
UPLOAD, LOCAL, HTTP, CLOUD, INLINE = "upload", "local file", "http", "cloud", "data URI"
_NAMED = 5
# Of each kind; the seconds are those after which no further one is begun.
_MOST_READ, _MOST_MANNERS, _SECONDS = 24, 16, 60.0
# The host of the task's own address, or one that this led to.
_UNLISTED = re.compile(r"(?:host|redirected to) (\S+?)(?: is not allowed)?: add it to ALLOWED_HOSTS")
_ENDING = re.compile(r"\.([A-Za-z0-9]{1,5})$")
_REMEDIES = {
    UPLOAD: "set LABEL_STUDIO_API_KEY to the token of a user who sees the project; or import the file anew",
    LOCAL: "set LOCAL_FILES_ROOT to the folder, where this machine has it; else start Label Studio with "
    "LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true and add the folder to the project's Cloud Storage",
    HTTP: "let that address answer this machine, within FETCH_TIMEOUT and MAX_BYTES",
    CLOUD: "mend the project's Cloud Storage in Label Studio, which signs such references; where its host is a private "
    "one, list it in ALLOWED_HOSTS",
    INLINE: "import the task anew, with an image in base64",
}


def name_of(kind: str) -> str:
    """What a finding about pages of one kind is called."""
    return f"{PAGES_CHECK}: {kind}"


def check_hosts(settings: Settings) -> Checked[Settings]:
    """Whether LABEL_STUDIO_URL and ALLOWED_HOSTS are addresses; gives settings by which pages can be fetched."""
    try:
        AllowList(base_url=settings.label_studio_url, allowed_hosts=settings.allowed_hosts)
    except SettingsError as error:
        remedy = "LABEL_STUDIO_URL=http://host:8080, ALLOWED_HOSTS=host,host:8000, as far as they are needed"
        return failed(HOSTS, str(error), remedy=remedy)
    others = f", and from {settings.allowed_hosts}" if settings.allowed_hosts else " alone"
    return well(HOSTS, f"pages may come from {settings.label_studio_url}{others}", settings)


def find_pages(
    studio: LabelStudio, state: Fields, bindings: tuple[Binding, ...]
) -> Checked[Mapping[str, Sequence[TaskPage]]]:
    """Whether tasks from all over the project name pages; gives their pages by the kind of reference."""
    tasks, total = spread_tasks(studio, int(state["id"]))
    if not tasks:
        return skipped(
            PAGES_CHECK, f"the project has no tasks yet: python -m backend import FOLDER --project {state['id']}"
        )
    found, without = pages_by_kind(tasks, bindings, own=AllowList(base_url=studio.base_url, allowed_hosts=""))
    these = this_part(len(tasks), total, "task")
    if without:
        return failed(
            PAGES_CHECK,
            f"{len(without)} of {these} name no page, such as {_listed(list(without.items()))}",
            remedy=f"name the field of their data in the label config's Image (project {state['id']}, Settings, "
            "Labeling Interface), or import them anew",
            value=found,
        )
    return well(PAGES_CHECK, f"{these} name pages, by {', '.join(found)}", found)


def pages_by_kind(
    tasks: Iterable[Mapping[str, Any]], bindings: tuple[Binding, ...], *, own: AllowList
) -> tuple[dict[str, list[TaskPage]], dict[int, str]]:
    """The pages of each kind of reference, and why tasks have none, by their ids."""
    found: dict[str, list[TaskPage]] = {}
    unreadable: dict[int, str] = {}
    for task in tasks:
        try:
            for task_page in task_pages(0, task, bindings):
                found.setdefault(reference_kind(task_page.reference, own=own), []).append(task_page)
        except (RequestError, LimitExceeded) as error:
            unreadable[int(task["id"])] = str(error)
    return found, unreadable


def reference_kind(reference: str, *, own: AllowList) -> str:
    """Of which kind a reference is.

    Args:
        reference: As the task has it.
        own: Allows Label Studio's own addresses.
    """
    text = reference.strip()
    scheme = text.partition(":")[0].lower() if ":" in text else ""
    if scheme == "data":
        return INLINE
    if scheme in CLOUD_SCHEMES:
        return CLOUD
    if scheme in ("http", "https") and not _is_own(text, own):
        return HTTP
    return LOCAL if "/data/local-files/" in text else UPLOAD


def chosen(pages: Sequence[TaskPage]) -> list[TaskPage]:
    """The pages of one kind to read: the first of each manner of name, then others from the first to the last.

    A manner is what may keep a name from being read: its host, its ending, its scripts and odd characters.
    """
    first: dict[object, int] = {}
    for place, task_page in enumerate(pages):
        first.setdefault(_manner(task_page.reference), place)
    manners = list(first.values())
    places = dict.fromkeys(manners[at] for at in _spread(len(manners), most=_MOST_MANNERS))
    places |= dict.fromkeys(_spread(len(pages), most=_MOST_READ - len(places)))
    return [pages[place] for place in places]


def check_pages(settings: Settings, *, kind: str, pages: Sequence[TaskPage], studio: LabelStudio) -> Checked[str]:
    """Whether pages of one kind can be fetched and decoded as the backend would; each one that cannot is named."""
    name, source, until = name_of(kind), PageSource(settings, studio), time.monotonic() + _SECONDS
    read: list[str] = []
    wrong: list[tuple[int | None, PageError]] = []
    for task_page in chosen(pages):
        if (wrong or read) and time.monotonic() > until:
            break
        try:
            page = first_page(source, task_page.reference, task=task_page.task)
        except PageError as error:
            wrong.append((task_page.task, error))
        else:
            size = f"{page.width} × {page.height} pixels"
            read.append(f"task {task_page.task}: {shorten(task_page.reference)}, {size}")
    looked = f"{len(read) + len(wrong)} of {this_many(len(pages), 'page')} looked at"
    if wrong:
        told = _listed([(task, str(error)) for task, error in wrong])
        ways_out = dict.fromkeys(_remedy(kind, one, allowed=settings.allowed_hosts, alone=not read) for _, one in wrong)
        return failed(name, f"{told} ({len(wrong)} of {looked})", remedy="; or ".join(ways_out))
    return well(name, f"{looked}, such as {read[0]}", kind)


def _spread(count: int, *, most: int) -> list[int]:
    """At most so many places out of `count`, the first and the last among them, evenly apart."""
    if count <= most:
        return list(range(count))
    return [round(at * (count - 1) / (most - 1)) for at in range(most)]


def _manner(reference: str) -> object:
    text = reference.strip()
    if text[:5].lower() == "data:":
        return text[:64].partition(",")[0]
    ending = _ENDING.search(text)
    odd = {one if one.isascii() else unicodedata.name(one, "?").split(" ")[0] for one in text if not one.isalnum()}
    scripts = {unicodedata.name(one, "?").split(" ")[0] for one in text if one.isalnum() and not one.isascii()}
    return host_of(text), ending and ending[1].lower(), frozenset(odd), frozenset(scripts)


def _listed(reasons: Sequence[tuple[int | None, str]]) -> str:
    told = "; ".join(f"task {task}: {reason}" for task, reason in reasons[:_NAMED])
    return f"{told}; and {len(reasons) - _NAMED} more" if len(reasons) > _NAMED else told


def _remedy(kind: str, error: PageError, *, allowed: str, alone: bool) -> str:
    if isinstance(error, CutShort):
        return "wait until its upload or copy is whole; where it stays so, import the task anew"
    if isinstance(error, LimitExceeded):
        return "raise the setting that it names, for `serve` as well"
    if isinstance(error, UndecodablePage):
        return "import the task anew, as JPEG, PNG, WebP, TIFF or PDF"
    if host := _UNLISTED.match(error.reason):
        return f"ALLOWED_HOSTS={f'{allowed},{host[1]}' if allowed else host[1]}"
    return _REMEDIES[kind] if alone else "see that the file is there under that very name; else import the task anew"


def _is_own(text: str, own: AllowList) -> bool:
    try:
        return own.allows(httpx2.URL(text))
    except httpx2.InvalidURL:
        return False
