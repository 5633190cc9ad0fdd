"""A training run of the detector as a value: everything that decides its weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from backend.training.detector.changes import Changes
from backend.training.detector.detector_network import DetectorNet, ResidualNet, ResidualShape
from backend.training.detector.lite_network import LITE0, LiteNet, LiteShape
from backend.training.training_record import digest_of

__all__ = ["BUNDLED_DETECTOR", "FURTHER_DETECTOR", "SHAPES", "DetectorRecipe", "Shape", "build_network"]

Shape = LiteShape | ResidualShape
SHAPES: tuple[Shape, ...] = (LITE0, ResidualShape())
"""Of the detectors that the program has trained so far, the newest first; a training can go on from each."""


def build_network(shape: Shape, *, dropped: float = 0.0) -> DetectorNet:
    """An untrained network of a shape; `dropped` as in the recipe, for a body whose blocks can be left out."""
    return LiteNet(shape, dropped=dropped) if isinstance(shape, LiteShape) else ResidualNet(shape)


@dataclass(frozen=True, kw_only=True)
class DetectorRecipe:
    """How a detector is made.

    Attributes:
        base: Name and checksum of the weights that it goes on from; empty for random weights.
        shape: Of the network.
        frozen: Stages of the body that keep their weights and statistics, the stem with them; 0 for none.
        dropped: How often the last block of the body is left out; earlier ones less (arXiv:1603.09382).
        body_rate: Learning rate of the body, as a share of that of the heads.
        epochs: Passes over `samples` pages; the learning rate falls over all of them, or to each of `restarts`.
        restarts: Epochs, in order, from which it starts at the top again (SGDR, arXiv:1608.03983).
        samples: Windows of pages that an epoch shows.
        judged: Epochs from one judgement on validation pages to the next; the last one is judged as well.
        batch: Pages of a step.
        shares: How much of an epoch each group of pages makes, as `drawn` or `real/subset`; groups without pages are
            left out, and the others share their part.
        learning_rate: At the top of its curve.
        weight_decay: Of AdamW (arXiv:1711.05101).
        blend: Part of the trained weights in the result; the rest is the base's. So learning from few pages does not
            cost what was known (Wortsman et al. 2022, arXiv:2109.01903).
        averaging: Weight of the past in the moving average of the weights, at each step; the average is what is kept.
        edge_loss: Weight of the boxes' loss beside the heat's.
        turn_loss: Weight of the loss of which way is up.
        half: Convolutions compute in bfloat16, several times as fast on a GPU or a processor with AMX; weights, their
            average and the losses stay float32.
        seed: Of the first weights, the order and the changes.
        changes: What happens to each page.
    """

    base: str = ""
    shape: Shape = LITE0
    frozen: int = 2
    dropped: float = 0.1
    body_rate: float = 0.4
    epochs: int = 8
    restarts: tuple[int, ...] = ()
    samples: int = 800
    judged: int = 1
    batch: int = 8
    shares: Mapping[str, float] = field(
        default_factory=lambda: {
            "drawn": 0.22,
            "real/page_full": 0.55,
            "real/page_stamp_only": 0.04,
            "real/page_photo_sig": 0.04,
            "real/page_semireal": 0.02,
            "real/neg_born_digital": 0.04,
            "real/neg_hard_handwriting": 0.02,
            "real/neg_receipt": 0.04,
            "real/neg_qr": 0.02,
            "real/neg_scan": 0.01,
        }
    )
    learning_rate: float = 1e-3
    weight_decay: float = 0.03
    blend: float = 1.0
    averaging: float = 0.992
    edge_loss: float = 4.0
    turn_loss: float = 0.3
    half: bool = False
    seed: int = 1
    changes: Changes = field(default_factory=Changes)

    def __post_init__(self) -> None:
        bounds = (0, *self.restarts, self.epochs)
        if any(after <= before for before, after in pairwise(bounds)):
            raise ValueError(f"restarts {self.restarts} must rise, and lie within the {self.epochs} epochs")

        if not 0 < self.blend <= 1:
            raise ValueError(f"blend is {self.blend}: more than 0, and at most 1")

    def fallen(self, epoch: float) -> float:
        """The share of its fall that the learning rate has behind it when `epoch` epochs are over."""
        bounds = (0, *self.restarts, self.epochs)
        before, after = next(fall for fall in pairwise(bounds) if epoch < fall[1])
        return (epoch - before) / (after - before)

    def judges(self, epoch: int) -> bool:
        """Whether the epoch of this number, from 0, is judged when it is over."""
        return (epoch + 1) % self.judged == 0 or epoch + 1 == self.epochs

    def as_json(self) -> dict[str, Any]:
        """The recipe as plain JSON; without a base, a blend or restarts, as it was before there were any."""
        facts = dataclasses.asdict(self) | {"changes": self.changes.as_json()}
        for name, none in (("base", ""), ("blend", 1.0), ("restarts", ())):
            if facts[name] == none:
                del facts[name]
        return facts

    @property
    def digest(self) -> str:
        """Twelve hexadecimal digits that change exactly when the recipe does."""
        return digest_of(self.as_json())


BUNDLED_DETECTOR = DetectorRecipe(
    base="imagenet-lite0@579344248a93",
    epochs=120,
    restarts=(24, 40, 60, 84),
    samples=1600,
    judged=4,
    # Small windows, and so more steps in the same time: macro F1 on real validation pages was .463 after 6,400 windows
    # of this size, and 0 after 3,200 of 384 x 384 pixels, which are as many pixels.
    changes=Changes(window=(256, 256), focus=0.75, watermark=0.05, written=0.06, rows=0.12),
)
"""Begins with ImageNet's weights."""

FURTHER_DETECTOR = dataclasses.replace(
    BUNDLED_DETECTOR, base="bundled", epochs=8, restarts=(), judged=2, learning_rate=5e-4, blend=0.5
)
"""Goes on from the detector that comes with this program; the run notes which that was."""
