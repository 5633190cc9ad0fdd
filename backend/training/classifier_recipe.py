"""A training run as a value: everything that decides its weights, written beside them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from backend.training.augment import Augmentation
from backend.training.training_record import digest_of

__all__ = ["BUNDLED", "Corrections", "Recipe", "Stage"]


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A stretch of training with one resolution and one learning-rate curve.

    Attributes:
        size: Side of the network's input, pixels.
        epochs: Passes over as many crops as the recipe's `samples`.
        learning_rate: At the top of the curve.
        head_only: Trains the last layer alone, the rest standing still.
        shares: In place of the recipe's.
    """

    size: int
    epochs: int
    learning_rate: float
    head_only: bool = False
    shares: Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        _ask_for_counts(size=self.size, epochs=self.epochs)


@dataclass(frozen=True, kw_only=True)
class Corrections:
    """How annotators' samples are learnt, and what they have to amount to.

    The original training wrote copies, about 4 of a signature, 6 of a stamp, 7 of a thumb and 4 of a misclassified
    mark. Here each showing is augmented anew, and its factors say how often an epoch shows a sample.

    Attributes:
        factors: By label: how often an epoch shows each sample that is not hard.
        hard_factor: The same of each hard example, before `hard_times`.
        hard_times: How many times as often hard examples are drawn, 1 to 3.
        hard_share: Most of a batch that hard examples may be, at most .3.
        drawn_pages: Pages drawn afresh, so that nothing is forgotten.
        replay_pages: More of them for the detector alone, all on the training side.
        least_samples: Fewest samples on the training side that are worth a training.
        least_pages: Fewest annotated pages on the training side from which the detector learns as well.
        precision: The thresholds are the lowest at which each class has this precision on validation documents.
        least_positives: Fewest right crops above a threshold; where there are fewer, it is 0.
    """

    factors: Mapping[str, float] = field(
        default_factory=lambda: {"signature": 4.0, "stamp": 6.0, "thumb": 7.0, "none": 4.0}
    )
    hard_factor: float = 4.0
    hard_times: float = 2.5
    hard_share: float = 0.3
    drawn_pages: int = 240
    replay_pages: int = 400
    least_samples: int = 20
    least_pages: int = 12
    precision: float = 0.8
    least_positives: int = 20

    def __post_init__(self) -> None:
        if not 1 <= self.hard_times <= 3:
            raise ValueError(f"hard_times is {self.hard_times}: from 1 to 3, beyond which they are learnt by heart")
        if not 0 < self.hard_share <= 0.3:
            raise ValueError(f"hard_share is {self.hard_share}: more than 0, and at most 0.3 of a batch")
        if not 0 <= self.precision < 1:
            raise ValueError(f"precision is {self.precision}: from 0 to below 1")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How weights are made.

    Attributes:
        base: `scratch`, or the path of weights to start from: `.onnx` that this program wrote, or `.safetensors`. Where
            the first network is given beside the recipe: its name and checksum; of `BUNDLED`, its name alone.
        stages: One after the other.
        samples: Crops of one epoch.
        batch: Crops of one step.
        shares: How much of an epoch each domain and label makes, as `domain/label`; groups without crops are left out
            and the others share their part.
        pool: The served network first averages its 224 x 224 input over squares of this side. Half the resolution takes
            a quarter of the time, here as in serving. Marks on small scans have no more than that anyway.
        weight_decay: Of AdamW (Loshchilov and Hutter, 2019, arXiv:1711.05101).
        label_smoothing: Share of the target that all classes divide among themselves.
        averaging: Weight of the past in the moving average of the weights, at each step; the average is what is kept.
        patience: Epochs without a better validation score after which a stage ends.
        half: Convolutions compute in bfloat16. That is several times as fast on a GPU or a processor with AMX, and
            slower on others. Weights, their average and the loss stay float32.
        seed: Of the first weights, the order and the augmentation.
        augmentation: What happens to each crop.
        corrections: How annotators' samples are learnt beside; None where there are none.
    """

    base: str = "scratch"
    stages: tuple[Stage, ...]
    samples: int = 8000
    batch: int = 64
    shares: Mapping[str, float] = field(
        default_factory=lambda: {
            "drawn/signature": 0.13,
            "drawn/stamp": 0.13,
            "drawn/thumb": 0.14,
            "drawn/none": 0.20,
            "real/signature": 0.15,
            "real/stamp": 0.12,
            "real/none": 0.13,
        }
    )
    pool: int = 1
    weight_decay: float = 0.05
    label_smoothing: float = 0.03
    averaging: float = 0.995
    patience: int = 4
    half: bool = False
    seed: int = 1
    augmentation: Augmentation = field(default_factory=Augmentation)
    corrections: Corrections | None = None

    def __post_init__(self) -> None:
        if not self.stages:
            raise ValueError("a recipe needs at least one stage")
        _ask_for_counts(samples=self.samples, batch=self.batch)
        if not 0 <= self.label_smoothing <= 0.05:
            raise ValueError(f"label_smoothing is {self.label_smoothing}: more than 0.05 would spoil the probabilities")

    def as_json(self) -> dict[str, Any]:
        """The recipe as plain JSON; without corrections, bfloat16 or overlaps, as it was before there were any."""
        facts = dataclasses.asdict(self)
        if not self.augmentation.overlap:
            del facts["augmentation"]["overlap"]
        if not self.half:
            del facts["half"]
        if self.corrections is None:
            del facts["corrections"]
        return facts

    @property
    def digest(self) -> str:
        """Twelve hexadecimal digits that change exactly when the recipe does."""
        return digest_of(self.as_json())


def _ask_for_counts(**counts: object) -> None:
    """Refuses what is no whole number above 0.

    Raises:
        ValueError: One is none; it is named.
    """
    for name, value in counts.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ValueError(f"{name} is {value!r}: a whole number above 0")


BUNDLED = Recipe(
    base="bundled",
    pool=2,
    averaging=0.99,
    shares={
        "drawn/signature": 0.12,
        "drawn/stamp": 0.12,
        "drawn/thumb": 0.09,
        "drawn/none": 0.23,
        "real/signature": 0.16,
        "real/stamp": 0.13,
        "real/none": 0.15,
    },
    stages=(Stage(size=112, epochs=6, learning_rate=5e-4),),
)
"""Goes on from the weights that come with this program; the run notes which these were."""
