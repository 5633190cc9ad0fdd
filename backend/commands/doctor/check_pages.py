"""The pages: whether one task of each kind of reference can be read as the backend would read it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import httpx2

from backend.commands.doctor.findings import Checked, Fields, failed, skipped, this_many, well
from backend.errors import CutShort, LimitExceeded, PageError, RequestError, SettingsError, UndecodablePage
from backend.labelstudio.connections import first_page
from backend.labelstudio.probing import newest_tasks
from backend.labelstudio.tasks import sheets
from backend.pages.references import CLOUD_SCHEMES, AllowList, shorten
from backend.pages.source import PageSource

if TYPE_CHECKING:
    from backend.labelstudio.client import LabelStudio
    from backend.labelstudio.labelling import Binding
    from backend.labelstudio.tasks import Sheet
    from backend.settings import Settings

__all__ = ["HOSTS", "PAGES_CHECK", "check_hosts", "check_page", "examples", "find_pages", "kind_of", "name_of"]

PAGES_CHECK = "pages"
HOSTS = "allowed hosts"
UPLOAD, LOCAL, HTTP, CLOUD, INLINE = "upload", "local file", "http", "cloud", "data URI"
# Kinds are rarely mixed, and what came last is what annotators will see.
_TASKS_LOOKED_AT = 300
# The host of the task's own address, or one that this led to.
_UNLISTED = re.compile(r"(?:host|redirected to) (\S+?)(?: is not allowed)?: add it to ALLOWED_HOSTS")
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


def find_pages(studio: LabelStudio, state: Fields, bindings: tuple[Binding, ...]) -> Checked[Mapping[str, Sheet]]:
    """Whether the newest tasks name pages; gives one page of each kind of reference."""
    tasks = list(newest_tasks(studio, int(state["id"]), most=_TASKS_LOOKED_AT))
    if not tasks:
        return skipped(PAGES_CHECK, "the project has no tasks yet: python -m backend import brings some")
    found, without = examples(tasks, bindings, own=AllowList(base_url=studio.base_url, allowed_hosts=""))
    if without:
        task, reason = next(iter(without.items()))
        return failed(
            PAGES_CHECK,
            f"{len(without)} of the newest {this_many(len(tasks), 'task')} name no page, such as task {task}: {reason}",
            remedy=f"name the field of their data in the label config's Image (project {state['id']}, Settings, "
            "Labeling Interface), or import them anew",
            value=found,
        )
    return well(PAGES_CHECK, f"the newest {this_many(len(tasks), 'task')} name pages, by {', '.join(found)}", found)


def examples(
    tasks: Iterable[Mapping[str, Any]], bindings: tuple[Binding, ...], *, own: AllowList
) -> tuple[dict[str, Sheet], dict[int, str]]:
    """The first page of each kind, and why tasks have none, by their ids."""
    found: dict[str, Sheet] = {}
    unreadable: dict[int, str] = {}
    for task in tasks:
        try:
            for sheet in sheets(0, task, bindings):
                found.setdefault(kind_of(sheet.reference, own=own), sheet)
        except RequestError as error:
            unreadable[int(task["id"])] = str(error)
    return found, unreadable


def kind_of(reference: str, *, own: AllowList) -> str:
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


def check_page(settings: Settings, *, kind: str, sheet: Sheet, studio: LabelStudio) -> Checked[str]:
    """Whether one page can be fetched and decoded as the backend would."""
    name = name_of(kind)
    try:
        page = first_page(PageSource(settings, studio), sheet.reference, task=sheet.task)
    except PageError as error:
        remedy = _remedy(kind, error, allowed=settings.allowed_hosts)
        return failed(name, f"task {sheet.task}: {error}", remedy=remedy)
    return well(name, f"task {sheet.task}: {shorten(sheet.reference)}, {page.width} × {page.height} pixels", kind)


def _remedy(kind: str, error: PageError, *, allowed: str) -> str:
    if isinstance(error, CutShort):
        return "wait until its upload or copy is whole; where it stays so, import the task anew"
    if isinstance(error, LimitExceeded):
        return "raise the setting that it names, for `serve` as well"
    if isinstance(error, UndecodablePage):
        return "import the task anew, as JPEG, PNG, WebP, TIFF or PDF"
    if host := _UNLISTED.match(error.reason):
        return f"ALLOWED_HOSTS={f'{allowed},{host[1]}' if allowed else host[1]}"
    return _REMEDIES[kind]


def _is_own(text: str, own: AllowList) -> bool:
    try:
        return own.allows(httpx2.URL(text))
    except httpx2.InvalidURL:
        return False
