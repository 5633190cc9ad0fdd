"""Earlier hard examples: marks and non-marks that a model misnamed and an annotator put right."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Engine, select

from backend.corrections.samples import teaches_hard
from backend.corrections.tables import sample
from backend.geometry import Boxes, as_boxes
from backend.vision.network_config import CLASSES

if TYPE_CHECKING:
    from backend.corrections.crop_store import CropStore
    from backend.vision.classifier import Classifies

__all__ = ["HardExample", "hard_examples", "right_now"]


@dataclass(frozen=True, kw_only=True, eq=False)
class HardExample:
    """One corrected crop.

    Attributes:
        pixels: (h, w, 3) uint8 RGB, margin included.
        box: (1, 4) the mark within them.
        label: What the annotator said, of `CLASSES`.
    """

    pixels: NDArray[np.uint8]
    box: Boxes
    label: str


def hard_examples(engine: Engine, crops: CropStore) -> Iterator[HardExample]:
    """The ledger's: what was relabelled or rejected by someone who saw it, or misnamed on a blind page, undisputed.

    Each picture is read when its turn comes: all of them together may be several GB.

    Raises:
        LedgerError: A crop cannot be read.
    """
    wanted = select(sample).where(teaches_hard()).order_by(sample.c.id)
    with engine.connect() as connection:
        rows = connection.execute(wanted).all()
    for row in rows:
        left, top = row.margin[:2]
        yield HardExample(
            pixels=crops.get(row.crop),
            box=as_boxes([row.x1 - left, row.y1 - top, row.x2 - left, row.y2 - top]),
            label=row.label,
        )


def right_now(classifier: Classifies, examples: Iterable[HardExample]) -> list[bool]:
    """Of each example, whether the classifier's likeliest class is the annotator's.

    A detector network has no say: it looks at pages, and of an example the crop alone is kept.
    """
    return [
        CLASSES[int(classifier.classify(one.pixels, one.box).probabilities[0].argmax())] == one.label
        for one in examples
    ]
