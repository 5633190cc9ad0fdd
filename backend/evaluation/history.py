"""The history of a training, as `training.json` beside the weights has it."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

from backend.errors import EvaluationError

__all__ = ["Epoch", "read_history"]


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """One epoch: mean loss on training crops, score (macro F1) on validation documents, by domain too."""

    stage: int
    loss: float
    score: float
    by_domain: dict[str, float]


def read_history(path: Path) -> list[Epoch]:
    """The epochs in order.

    Raises:
        EvaluationError: The file cannot be read, or holds no history.
    """
    try:
        lines = json.loads(path.read_text(encoding="utf-8"))["history"]
        epochs = [
            Epoch(
                stage=int(line["stage"]),
                loss=float(line["loss"]),
                score=float(line["score"]),
                by_domain={str(name): float(value) for name, value in line.get("by_domain", {}).items()},
            )
            for line in lines
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise EvaluationError(f"{path} holds no training history: {error!r}") from error
    # A stage whose head alone is trained for no step has no loss; JSON writes it as NaN.
    return [epoch for epoch in epochs if math.isfinite(epoch.score)]
