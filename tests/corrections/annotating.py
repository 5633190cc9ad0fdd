"""An annotator to test with: pages, what was shown on them, and Label Studio's payloads about what was left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from backend.corrections.shown import Proposal
from backend.labelstudio.annotations import Annotation, Region
from backend.pages.page import Page

CONFIG = (
    '<View><Image name="page" valueList="$pages"/><RectangleLabels name="mark" toName="page">'
    '<Label value="Seal" predicted_values="stamp"/><Label value="signature"/><Label value="thumb"/>'
    '<Label value="logo"/></RectangleLabels></View>'
)
WIDTH, HEIGHT = 400, 600
WORDS = {"stamp": "Seal"}


def page_of(annotation: Annotation, index: int) -> Page:
    """A page of noise that belongs to its reference alone."""
    seed = abs(hash_of(annotation.references[index]))
    pixels = np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    return Page(pixels=pixels, reference=annotation.references[index], index=0)


def hash_of(text: str) -> int:
    return int.from_bytes(text.encode()[-8:], "big")


def shown(region: str, label: str, box: tuple[float, float, float, float], *, page: int = 0) -> Proposal:
    return Proposal(
        region=Region(id=region, page=page, label=label, box=box),
        probabilities=(0.7, 0.1, 0.1, 0.1),
        score=0.7,
        page_size=(WIDTH, HEIGHT),
        word=WORDS.get(label, label),
    )


def drawn(
    region: str, label: str, box: tuple[float, float, float, float], *, page: int = 0, rotation: float = 0, **extra: Any
) -> dict[str, Any]:
    x1, y1, x2, y2 = box
    return {
        "id": region,
        "type": "rectanglelabels",
        "from_name": "mark",
        "to_name": "page",
        "item_index": page,
        "original_width": WIDTH,
        "original_height": HEIGHT,
        "image_rotation": 0,
        "value": {
            "x": 100 * x1 / WIDTH,
            "y": 100 * y1 / HEIGHT,
            "width": 100 * (x2 - x1) / WIDTH,
            "height": 100 * (y2 - y1) / HEIGHT,
            "rotation": rotation,
            "rectanglelabels": [WORDS.get(label, label)],
        },
        **extra,
    }


def iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat().replace("+00:00", "Z")


def saved(
    annotation: int,
    *,
    task: int,
    at: float,
    result: Sequence[Mapping[str, Any]],
    created: float | None = None,
    action: str = "ANNOTATION_CREATED",
    pages: int = 2,
    config: str = CONFIG,
    **fields: Any,
) -> dict[str, Any]:
    """The payload that Label Studio sends when an annotation is saved."""
    return {
        "action": action,
        "annotation": {
            "id": annotation,
            "task": task,
            "project": 1,
            "result": list(result),
            "was_cancelled": False,
            "created_at": iso(at if created is None else created),
            "updated_at": iso(at),
            "completed_by": 1,
            "lead_time": 3.5,
            "parent_prediction": 1,
            **fields,
        },
        "task": {"id": task, "project": 1, "data": {"pages": [f"/data/upload/1/t{task}p{n}" for n in range(pages)]}},
        "project": {"id": 1, "label_config": config, "token": "secret-token"},
    }


def deleted(*annotations: int) -> dict[str, Any]:
    return {"action": "ANNOTATIONS_DELETED", "annotations": [{"id": one} for one in annotations], "project": {"id": 1}}
