"""The pages: whether each kind of reference can be read, which tasks were not looked at, which labels nobody knows.

And pages that this backend reads and the annotator's browser does not show.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import httpx2

from backend.commands.doctor.findings import Checked, Fields, doubtful, failed, skipped, this_many, well
from backend.corrections.counts import LedgerCounts, count
from backend.errors import CutShort, LimitExceeded, PageError, RequestError, SettingsError, UndecodablePage
from backend.labelstudio.connections import first_page
from backend.labelstudio.probing import newest_tasks
from backend.labelstudio.tasks import TaskPage, task_pages
from backend.pages.references import CLOUD_SCHEMES, AllowList, shorten
from backend.pages.source import PageSource

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from backend.labelstudio.client import LabelStudio
    from backend.labelstudio.labelling import Binding
    from backend.settings import Settings

__all__ = [
    "BROWSER",
    "EXCHANGED",
    "PAGES_CHECK",
    "STORED",
    "UNKNOWN_LABELS",
    "UNREAD",
    "check_browser",
    "check_hosts",
    "check_ledger",
    "check_page",
    "check_stored",
    "find_pages",
    "judge_exchanged",
    "judge_unknown",
    "judge_unread",
    "kind_of",
    "name_of",
    "unshown_kind",
]

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


def find_pages(studio: LabelStudio, state: Fields, bindings: tuple[Binding, ...]) -> Checked[Mapping[str, TaskPage]]:
    """Whether the newest tasks name pages; gives one page of each kind of reference."""
    tasks = list(newest_tasks(studio, int(state["id"]), most=_TASKS_LOOKED_AT))
    if not tasks:
        return skipped(
            PAGES_CHECK, f"the project has no tasks yet: python -m backend import FOLDER --project {state['id']}"
        )
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
) -> tuple[dict[str, TaskPage], dict[int, str]]:
    """The first page of each kind, and why tasks have none, by their ids."""
    found: dict[str, TaskPage] = {}
    unreadable: dict[int, str] = {}
    for task in tasks:
        try:
            for task_page in task_pages(0, task, bindings):
                found.setdefault(kind_of(task_page.reference, own=own), task_page)
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


def check_page(settings: Settings, *, kind: str, task_page: TaskPage, studio: LabelStudio) -> Checked[str]:
    """Whether one page can be fetched and decoded as the backend would."""
    name = name_of(kind)
    try:
        page = first_page(PageSource(settings, studio), task_page.reference, task=task_page.task)
    except PageError as error:
        remedy = _remedy(kind, error, allowed=settings.allowed_hosts)
        return failed(name, f"task {task_page.task}: {error}", remedy=remedy)
    return well(
        name, f"task {task_page.task}: {shorten(task_page.reference)}, {page.width} × {page.height} pixels", kind
    )


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


UNREAD = "tasks looked at"
UNKNOWN_LABELS = "labels in use"
EXCHANGED = "exchanged pages"
STORED = "stored boxes"
BROWSER = "browser"
_NAMED = 5
_MOST_OUTDATED = 100
# Kinds that Label Studio's editor leaves blank, since browsers do; by how names end.
_UNSHOWN = {".tif": "TIFF", ".tiff": "TIFF", ".heic": "HEIC", ".heif": "HEIC", ".jp2": "JPEG 2000", ".j2k": "JPEG 2000"}
_UNSHOWN |= {".pdf": "PDF"}


def check_ledger(engine: Engine, project: Fields | None) -> tuple[Checked[int], ...]:
    """What the ledger knows of tasks that could not be looked at, of labels that nobody knows, and of exchanged pages.

    Args:
        engine: The ledger's database.
        project: The project's fields; None for all projects.
    """
    facts = count(engine)
    number = None if project is None else int(project["id"])
    return judge_unread(facts, number), judge_unknown(facts, number), judge_exchanged(facts, number)


def judge_unread(facts: LedgerCounts, project: int | None) -> Checked[int]:
    """Whether tasks wait to be looked at; each is named, with its reason."""
    waiting = [one for one in facts.unread_such if project in (None, one.project)]
    if not waiting:
        return well(UNREAD, "no task that was asked for is still to be looked at", facts.unread)
    named = "; ".join(f"task {one.task}: {one.reason}" for one in waiting[:_NAMED])
    more = f"; and {len(waiting) - _NAMED} more, see /status" if len(waiting) > _NAMED else ""
    return doubtful(
        UNREAD,
        f"{this_many(len(waiting), 'task')} could not be looked at yet: {named}{more}",
        remedy="mend what is said there; they are asked for again by themselves, and at once by Retrieve Predictions "
        "or `prelabel --project`",
        value=facts.unread,
    )


def judge_unknown(facts: LedgerCounts, project: int | None) -> Checked[int]:
    """Whether annotators' regions bear labels that no label config knows."""
    found = [one for one in facts.unknown if project in (None, one.project)]
    if not found:
        return well(UNKNOWN_LABELS, "every label in the corrections is known", 0)
    number = sum(one.regions for one in found)
    told = "; ".join(str(one) for one in found[:_NAMED])
    return doubtful(
        UNKNOWN_LABELS, f"{told}: they teach nothing until they are known", remedy=found[0].remedy, value=number
    )


def judge_exchanged(facts: LedgerCounts, project: int | None) -> Checked[int]:
    """Whether annotated tasks have other pages now than those that their boxes were shown on; each is named."""
    found = [one for one in facts.exchanged_such if project in (None, one.project)]
    if not found:
        return well(EXCHANGED, "annotated pages are those that boxes were shown on, as far as anybody looked", 0)
    told = "; ".join(str(one) for one in found[:_NAMED])
    more = f"; and {len(found) - _NAMED} more, see /status" if len(found) > _NAMED else ""
    return doubtful(
        EXCHANGED,
        f"{told}{more}: what was shown there teaches nothing",
        remedy=found[0].remedy,
        value=facts.exchanged,
    )


def check_stored(studio: LabelStudio, state: Fields, version: str) -> Checked[int]:
    """Whether open tasks have stored predictions, but none of the version that this project is served as."""
    tasks = studio.outdated_tasks(int(state["id"]), version, most=_MOST_OUTDATED)
    if not tasks:
        return well(STORED, "no open task has only boxes of another model or label config", 0)
    many = (
        f"{_MOST_OUTDATED} open tasks or more" if len(tasks) == _MOST_OUTDATED else this_many(len(tasks), "open task")
    )
    return doubtful(
        STORED,
        f"{many}, such as task {tasks[0]}, have only boxes that another model or another label config made: the editor "
        "shows none of them, or none with a name",
        remedy=f"`serve` renews them by itself, a few at a time; at once: python -m backend prelabel --project "
        f"{state['id']} --only-outdated --replace",
        value=len(tasks),
    )


def check_browser(studio: LabelStudio, state: Fields, bindings: tuple[Binding, ...]) -> Checked[int]:
    """Whether the newest tasks' pages are of kinds that Label Studio's editor shows."""
    tasks = list(newest_tasks(studio, int(state["id"]), most=_TASKS_LOOKED_AT))
    if not tasks:
        return skipped(BROWSER, "the project has no tasks yet")
    blank: dict[int, str] = {}
    for task in tasks:
        kinds = [kind for reference in _references(task, bindings) if (kind := unshown_kind(reference))]
        if kinds:
            blank[int(task["id"])] = kinds[0]
    if not blank:
        return well(BROWSER, f"the newest {this_many(len(tasks), 'task')} name no page that a browser does not show", 0)
    first, kind = next(iter(blank.items()))
    return doubtful(
        BROWSER,
        f"{len(blank)} of the newest {this_many(len(tasks), 'task')} have pages that browsers do not show, such as "
        f"task {first} ({kind}): annotators see an empty frame",
        remedy="import the files by python -m backend import, which makes JPEG or PNG pages of them",
        value=len(blank),
    )


def unshown_kind(reference: str) -> str | None:
    """The kind of file that a reference names, where browsers do not show it; None where they do, or its name is mute.

    Args:
        reference: As the task has it: an address, or a local file's path under `?d=`.
    """
    if reference.startswith("data:"):
        return None
    try:
        parts = urlsplit(reference)
    except ValueError:
        return None
    local = dict(parse_qsl(parts.query)).get("d", "")
    name = (local or parts.path).lower()
    return next((kind for suffix, kind in _UNSHOWN.items() if name.endswith(suffix)), None)


def _references(task: Fields, bindings: tuple[Binding, ...]) -> Sequence[str]:
    try:
        return [task_page.reference for task_page in task_pages(0, task, bindings)]
    except RequestError:
        return []
