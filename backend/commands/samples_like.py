"""`samples like ID`: shown boxes that look like a corrected one, as a list or a page, and what a person decides.

Recall acts by itself only on the very thing. What merely looks alike is a question: follow the correction for all of
them, for some, or for none. In open tasks the stored prediction is changed; an annotated task goes to the Review tab.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import select

from backend.commands.review.review_command import KIND, SCORE, make_tab
from backend.corrections.remembering import Proposals, ShownPrediction
from backend.corrections.renewals import note_rulings
from backend.corrections.service import Store
from backend.corrections.shown import Proposal, shown_before
from backend.corrections.sights import Alike, NearRows, find_alike, network_of
from backend.corrections.tables import sample
from backend.errors import LedgerError, SettingsError
from backend.labelstudio.client import LabelStudio
from backend.labelstudio.labelling import Binding, bind
from backend.labelstudio.project_annotations import word_of
from backend.labelstudio.projects import write_columns
from backend.labelstudio.stating import PageControls, restated
from backend.labelstudio.stored_predictions import PredictionRegions, read_open_task, rewrite
from backend.labelstudio.tasks import task_pages
from backend.markup import render
from backend.vision.network_config import CLASSES, NONE

__all__ = ["Followed", "alike_page", "chosen_of", "follow_verdict", "like_lines", "look_alikes"]

_FIRST = 0.0
"""The score in the Review tab, which shows the lowest first."""


@dataclass(frozen=True, kw_only=True)
class Followed:
    """What came of a decision.

    Attributes:
        changed: Open tasks whose prediction was changed.
        review: Annotated tasks that went to the Review tab.
        gone: Tasks that are gone, or show the box no more.
    """

    changed: tuple[int, ...]
    review: tuple[int, ...]
    gone: tuple[int, ...]


def look_alikes(opened: Store, name: str, *, distance: float, most: int) -> list[Alike]:
    """Boxes that are shown under another name than a sample's, and look like it: the very thing first.

    Raises:
        LedgerError: There is no such sample, or no network remembers it.
    """
    label = _label_of(opened, name)
    network = network_of(opened.engine, name)
    rows = NearRows(opened.engine, opened.lookalikes, network=network)
    found = find_alike(opened.engine, rows, name, network=network, distance=distance, most=most)
    return [one for one in found if one.label != label]


def like_lines(name: str, found: Sequence[Alike]) -> list[str]:
    """The list for a terminal, numbered from 1."""
    if not found:
        return [f"no shown box looks like {name}"]
    return [
        f"{place:>4}  task {one.task}, page {one.page + 1}: {one.label}, "
        f"{'the very thing' if one.same else 'looks alike'} (distance {one.distance:.3f})"
        for place, one in enumerate(found, start=1)
    ]


def alike_page(name: str, found: Sequence[Alike]) -> str:
    """The list as one page with pictures that needs no other file."""
    pictures = [f"data:image/jpeg;base64,{base64.b64encode(one.picture).decode()}" for one in found]
    return render("alike.html", "backend.commands", name=name, found=list(zip(found, pictures, strict=True)))


def chosen_of(found: Sequence[Alike], words: str) -> list[Alike]:
    """Those that a person chose: `all`, `none`, or numbers of the list such as `1,4,7`.

    Raises:
        SettingsError: The words are neither.
    """
    if words in {"all", "none"}:
        return list(found) if words == "all" else []
    try:
        places = [int(word) for word in words.split(",")]
    except ValueError as error:
        raise SettingsError(f"--follow {words} is neither all nor none nor numbers of the list, as 1,4,7") from error
    if not all(1 <= place <= len(found) for place in places):
        raise SettingsError(f"--follow {words}: the list has {len(found)} boxes")
    return [found[place - 1] for place in dict.fromkeys(places)]


def follow_verdict(opened: Store, studio: LabelStudio, name: str, chosen: Iterable[Alike]) -> Followed:
    """Follows a sample's verdict for some boxes: removed where it says none, else renamed.

    Raises:
        LabelStudioError: Label Studio refused or did not answer; what was done by then is done.
        LedgerError: What is shown from now on could not be remembered.
    """
    label = _label_of(opened, name)
    by_task: dict[int, list[Alike]] = {}
    for one in chosen:
        by_task.setdefault(one.task, []).append(one)
    changed: list[int] = []
    gone: list[int] = []
    review: dict[int, dict[int, Mapping[str, Any]]] = {}
    for task, boxes in sorted(by_task.items()):
        project = boxes[0].project
        found = read_open_task(studio, task)
        if project is None:
            gone.append(task)
        elif found is None:
            review.setdefault(project, {})[task] = {SCORE: _FIRST, KIND: f"looks like {name}"}
        else:
            bindings = bind(str(studio.project(project).get("label_config") or ""))
            ruling = _Ruling(sample=name, label=label, regions=frozenset(one.region for one in boxes))
            stated = any(one.statements for one in bindings)
            pages = [(one.item, one.bindings) for one in task_pages(0, found.body, bindings)] if stated else []
            held = [(shown, ruling.result(shown.result, bindings, pages, task=task)) for shown in found.predictions]
            ruled = [(shown, result) for shown, result in held if result != list(shown.result)]
            # Before the first is changed: who is cut off in between shall not have what is done by then renewed.
            note_rulings(opened.engine, {task: [shown.version for shown, _ in ruled]}, name, at=time.time())
            for shown, result in ruled:
                _change(opened, studio, shown, result, task=task, project=project, ruling=ruling)
            (changed if ruled else gone).append(task)
    for project, values in review.items():
        write_columns(studio, project, values)
        make_tab(studio, project)
    reviewed = sorted(task for values in review.values() for task in values)
    return Followed(changed=tuple(changed), review=tuple(reviewed), gone=tuple(gone))


def _change(
    opened: Store,
    studio: LabelStudio,
    shown: PredictionRegions,
    result: Sequence[Mapping[str, Any]],
    *,
    task: int,
    project: int,
    ruling: _Ruling,
) -> None:
    """Puts changed regions into a stored prediction."""
    with opened.engine.connect() as connection:
        ids = [str(one.get("id")) for one in shown.result]
        known = shown_before(connection, task=task, regions=ids, moment=time.time())
    if known is not None:
        words = {str(one.get("id")): word_of(one) for one in result}
        proposals = [changed for one in known.proposals if (changed := ruling.proposal(one, words)) is not None]
        # Before Label Studio shows it: what is deleted or kept of it shall be understood.
        Proposals(opened.engine).remember(
            ShownPrediction(task=task, project=project, version=shown.version, proposals=proposals, pages=known.pages)
        )
    content = {"result": result, "score": shown.score, "model_version": shown.version}
    rewrite(studio, shown.id, task=task, content=content)


@dataclass(frozen=True, kw_only=True)
class _Ruling:
    """One verdict for some regions of a task."""

    sample: str
    label: str
    regions: frozenset[str]

    def result(
        self,
        before: Sequence[Mapping[str, Any]],
        bindings: Sequence[Binding],
        pages: Sequence[PageControls],
        *,
        task: int,
    ) -> list[Mapping[str, Any]]:
        """The regions of a prediction as they are to be, and what Choices say of them."""
        after = [one for region in before if (one := self._region(region, bindings)) is not None]
        return list(before) if after == list(before) else restated(before, after, pages, task=task)

    def _region(self, region: Mapping[str, Any], bindings: Sequence[Binding]) -> Mapping[str, Any] | None:
        """A region as it is to be; None where it goes."""
        if region.get("id") not in self.regions:
            return region
        if self.label == CLASSES[NONE]:
            return None
        own = next((one for one in bindings if one.control == region.get("from_name")), None)
        word = own and own.labels.get(self.label)
        if own is None or word is None or own.kind not in (region.get("value") or {}):
            return region
        meta = {"text": [f"as corrected in annotation {self.sample.partition('-')[0]}, by decision"]}
        return {**region, "value": {**region["value"], own.kind: [word]}, "meta": meta}

    def proposal(self, proposal: Proposal, words: Mapping[str, str | None]) -> Proposal | None:
        """The same for what the ledger remembers; `words` are the labels that regions bear now."""
        if proposal.region.id not in self.regions:
            return proposal
        if self.label == CLASSES[NONE]:
            return None
        word = words.get(proposal.region.id)
        return replace(proposal, region=replace(proposal.region, label=self.label), recalled=self.sample, word=word)


def _label_of(opened: Store, name: str) -> str:
    with opened.engine.connect() as connection:
        label = connection.execute(select(sample.c.label).where(sample.c.id == name)).scalar()
    if label is None:
        raise LedgerError(f"there is no sample {name!r}: `samples list` shows their names")
    return str(label)
