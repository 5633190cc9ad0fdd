"""A training run of the detector as a value: everything that decides its weights."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from backend.training.detector.detector_network import Shape
from backend.training.detector.scenes import Changes

__all__ = ["BUNDLED_DETECTOR", "DetectorRecipe"]


@dataclass(frozen=True, kw_only=True)
class DetectorRecipe:
    """How a detector is made.

    Attributes:
        base: Name and checksum of the detector that it goes on from; empty for random weights.
        shape: Of the network.
        epochs: Passes over `samples` pages; the learning rate falls over all of them, or to each of `restarts`.
        restarts: Epochs, in order, from which it starts at the top again (SGDR, arXiv:1608.03983).
        samples: Pages of an epoch.
        batch: Pages of a step.
        shares: How much of an epoch each group of pages makes, as `drawn` or `real/subset`; groups without pages are
            left out, and the others share their part.
        learning_rate: At the top of its curve.
        weight_decay: Of AdamW (arXiv:1711.05101).
        blend: Part of the trained weights in what is kept, the rest being those of the base: so what is learnt from few
            pages is not paid for with what was known (Wortsman et al. 2022, arXiv:2109.01903).
        averaging: Weight of the past in the moving average of the weights, at each step; the average is what is kept.
        edge_loss: Weight of the boxes' loss beside the heat's.
        half: Convolutions compute in bfloat16, several times as fast on a GPU or a processor with AMX; weights, their
            average and the losses stay float32.
        seed: Of the first weights, the order and the changes.
        changes: What happens to each page.
    """

    base: str = ""
    shape: Shape = field(default_factory=Shape)
    epochs: int = 8
    restarts: tuple[int, ...] = ()
    samples: int = 3000
    batch: int = 8
    shares: Mapping[str, float] = field(
        default_factory=lambda: {
            "drawn": 0.68,
            "real/page_stamp_only": 0.12,
            "real/page_bw": 0.05,
            "real/page_full": 0.06,
            "real/neg_born_digital": 0.07,
            "real/neg_hard_handwriting": 0.01,
            "real/neg_scan": 0.01,
        }
    )
    learning_rate: float = 1.5e-3
    weight_decay: float = 0.03
    blend: float = 1.0
    averaging: float = 0.995
    edge_loss: float = 4.0
    half: bool = True
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

    def as_json(self) -> dict[str, Any]:
        """The recipe as plain JSON; without a base, a blend or restarts, as it was before there were any."""
        facts = dataclasses.asdict(self)
        for name, none in (("base", ""), ("blend", 1.0), ("restarts", ())):
            if facts[name] == none:
                del facts[name]
        return facts

    @property
    def digest(self) -> str:
        """Twelve hexadecimal digits that change exactly when the recipe does."""
        return hashlib.sha256(json.dumps(self.as_json(), sort_keys=True).encode()).hexdigest()[:12]


BUNDLED_DETECTOR = DetectorRecipe(epochs=12, restarts=(8,))
