"""What the ledger and Label Studio tell: tasks that were not looked at, labels that nobody knows, boxes that are old.

And pages that this backend reads and the annotator's browser does not show.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

from backend.commands.doctor.findings import Checked, Fields, doubtful, skipped, this_many, this_part, well
from backend.corrections.counts import LedgerCounts, count
from backend.errors import LimitExceeded, RequestError
from backend.labelstudio.probing import spread_tasks
from backend.labelstudio.tasks import task_pages

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from backend.labelstudio.client import LabelStudio
    from backend.labelstudio.labelling import Binding

__all__ = ["BROWSER", "EXCHANGED", "STORED", "check_browser", "check_ledger", "check_stored", "unshown_kind"]

_UNREAD = "tasks looked at"
_UNKNOWN_LABELS = "labels in use"
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
    return _judge_unread(facts, number), _judge_unknown(facts, number), _judge_exchanged(facts, number)


def _judge_unread(facts: LedgerCounts, project: int | None) -> Checked[int]:
    """Whether tasks wait to be looked at; each is named, with its reason."""
    waiting = [one for one in facts.unread_such if project in (None, one.project)]
    if not waiting:
        return well(_UNREAD, "no task that was asked for is still to be looked at", facts.unread)
    named = "; ".join(f"task {one.task}: {one.reason}" for one in waiting[:_NAMED])
    more = f"; and {len(waiting) - _NAMED} more, see /status" if len(waiting) > _NAMED else ""
    return doubtful(
        _UNREAD,
        f"{this_many(len(waiting), 'task')} could not be looked at yet: {named}{more}",
        remedy="mend what is said there; they are asked for again by themselves, and at once by Retrieve Predictions "
        "or `prelabel --project`",
        value=facts.unread,
    )


def _judge_unknown(facts: LedgerCounts, project: int | None) -> Checked[int]:
    """Whether annotators' regions bear labels that no label config knows."""
    found = [one for one in facts.unknown if project in (None, one.project)]
    if not found:
        return well(_UNKNOWN_LABELS, "every label in the corrections is known", 0)
    number = sum(one.regions for one in found)
    told = "; ".join(str(one) for one in found[:_NAMED])
    return doubtful(
        _UNKNOWN_LABELS, f"{told}: they teach nothing until they are known", remedy=found[0].remedy, value=number
    )


def _judge_exchanged(facts: LedgerCounts, project: int | None) -> Checked[int]:
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
    tasks, total = spread_tasks(studio, int(state["id"]))
    if not tasks:
        return skipped(BROWSER, "the project has no tasks yet")
    blank: dict[int, str] = {}
    for task in tasks:
        kinds = [kind for reference in _references(task, bindings) if (kind := unshown_kind(reference))]
        if kinds:
            blank[int(task["id"])] = kinds[0]
    these = this_part(len(tasks), total, "task")
    if not blank:
        return well(BROWSER, f"no page is named that a browser does not show, in {these}", 0)
    first, kind = next(iter(blank.items()))
    return doubtful(
        BROWSER,
        f"{len(blank)} of {these} have pages that browsers do not show, such as task {first} ({kind}): annotators see "
        "an empty frame",
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
    except (RequestError, LimitExceeded):
        return []
