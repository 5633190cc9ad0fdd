"""An annotator who knows the truth: corrects the shown boxes of one page as a person would, and counts each action."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from backend.geometry import as_boxes, iou, to_percent
from backend.labelstudio.annotations import Region

__all__ = ["KINDS", "Corrected", "TrueMark", "Work", "correct", "saved"]

LOOSE = 0.5
"""IoU with the mark below which a box is drawn anew."""
ANOTHER = 0.1
"""IoU with every mark below which a box is on nothing."""
_WHO = 1


@dataclass(frozen=True, kw_only=True)
class TrueMark:
    """A mark as it should be boxed: its class, and x1, y1, x2, y2 in pixels."""

    label: str
    box: tuple[float, float, float, float]


@dataclass(frozen=True, kw_only=True)
class Work:
    """Actions of an annotator.

    Attributes:
        deleted: Boxes on nothing, and second boxes on one mark.
        relabelled: Boxes with another mark's name.
        moved: Boxes that lay badly on their mark; one that was also misnamed counts in both.
        added: Marks drawn because no box was shown.
    """

    deleted: int = 0
    relabelled: int = 0
    moved: int = 0
    added: int = 0

    @property
    def all(self) -> int:
        return self.deleted + self.relabelled + self.moved + self.added

    def __add__(self, other: Work) -> Work:
        mine, theirs = asdict(self), asdict(other)
        return Work(**{kind: mine[kind] + theirs[kind] for kind in KINDS})


KINDS = tuple(Work.__dataclass_fields__)


@dataclass(frozen=True, kw_only=True)
class Corrected:
    """What the annotator leaves on a page.

    Attributes:
        regions: One for each true mark; a box that was kept, renamed or moved keeps its id.
        work: What that took.
    """

    regions: tuple[Region, ...]
    work: Work


def correct(shown: Sequence[Region], marks: Sequence[TrueMark], *, name: str) -> Corrected:
    """Corrects the boxes of one page.

    Each mark takes one of the boxes that overlap it by at least .1: those of its own name first, then by IoU. What no
    mark takes is deleted. A taken box is renamed where its name is wrong, and drawn anew where its IoU is below .5; a
    box that does, stays as it is, however loose. Marks that took none are added.

    Args:
        shown: The shown boxes, in pixels.
        marks: The true ones.
        name: Begins the ids of added regions, so that they differ from page to page.
    """
    overlap = iou(as_boxes([one.box for one in shown]), as_boxes([one.box for one in marks]))
    pairs = [(s, m) for s in range(len(shown)) for m in range(len(marks)) if overlap[s, m] >= ANOTHER]
    pairs.sort(key=lambda pair: (shown[pair[0]].label != marks[pair[1]].label, -overlap[pair], shown[pair[0]].id, pair))
    taken: dict[int, int] = {}
    for s, m in pairs:
        if m not in taken and s not in taken.values():
            taken[m] = s
    left, work = [], Work(deleted=len(shown) - len(taken), added=len(marks) - len(taken))
    for place, mark in enumerate(marks):
        if place not in taken:
            left.append(Region(id=f"{name}-{place}", page=0, label=mark.label, box=mark.box))
            continue
        box = shown[taken[place]]
        loose = bool(overlap[taken[place], place] < LOOSE)
        left.append(Region(id=box.id, page=0, label=mark.label, box=mark.box if loose else box.box))
        work += Work(relabelled=int(box.label != mark.label), moved=int(loose))
    return Corrected(regions=tuple(left), work=work)


def saved(
    regions: Sequence[Region], *, task: Mapping[str, Any], size: tuple[int, int], config: str, moment: str
) -> dict[str, Any]:
    """The webhook that Label Studio sends when the annotation of a task is submitted.

    Args:
        regions: What was left on its one page.
        task: As it was predicted.
        size: Width and height of the page, pixels.
        config: The project's label config; its control is `mark` on `page`, its labels bear the marks' own names.
        moment: When, in ISO 8601.
    """
    annotation = {
        "id": task["id"],
        "task": task["id"],
        "project": task["project"],
        "result": [_drawn(one, size) for one in regions],
        "was_cancelled": False,
        "created_at": moment,
        "updated_at": moment,
        "completed_by": _WHO,
        "parent_prediction": task["id"],
    }
    project = {"id": task["project"], "label_config": config}
    return {"action": "ANNOTATION_CREATED", "annotation": annotation, "task": dict(task), "project": project}


def _drawn(region: Region, size: tuple[int, int]) -> dict[str, Any]:
    width, height = size
    [percent] = to_percent(as_boxes(region.box), width=width, height=height)
    x, y, across, down = np.asarray(percent).tolist()
    return {
        "id": region.id,
        "type": "rectanglelabels",
        "from_name": "mark",
        "to_name": "page",
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "value": {
            "x": x,
            "y": y,
            "width": across,
            "height": down,
            "rotation": 0,
            "rectanglelabels": [region.label],
        },
    }
