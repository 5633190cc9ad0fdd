"""The word on an annotated box by what other documents teach: out of fold, because a model agrees with what it learnt.

A network that was trained on these very annotations repeats them, mistakes included. So its head is learnt anew, for
each fold of the documents from the boxes of the other folds alone, on the embeddings that the network gives. The
embeddings themselves are the network's, and keep what it remembers; that is less than its head does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from backend.nets.config import CLASSES, MARKS, NONE
from backend.review.examples import Examples
from backend.review.head import Head, evenly, fit

__all__ = ["FOLDS", "HeldOut", "hold_out"]

FOLDS = 5
_LEAST_DOCUMENTS = 4
"""That the other folds must hold of a class: what fewer teach is chance."""
_RIDGES = (0.3, 1.0, 3.0, 10.0)
_LEAST = 1e-9


@dataclass(frozen=True, kw_only=True, eq=False)
class HeldOut:
    """What names annotated boxes.

    Attributes:
        classes: Indices into `CLASSES` of what the heads know; empty where there are none.
        heads: By fold, each learnt from the other folds.
        told: What was done, in sentences.
    """

    classes: tuple[int, ...] = ()
    heads: Mapping[int, Head] = field(default_factory=dict)
    told: tuple[str, ...] = ()

    def words(self, embeddings: NDArray[np.float32], own: NDArray[np.float64], *, fold: int) -> NDArray[np.float64]:
        """Probabilities (A, 4) over `CLASSES` of boxes, given that each is a mark: an annotator said so.

        Among the classes that the heads know, the fold's head decides; the network gives the share of the others.

        Args:
            embeddings: (A, 512).
            own: (A, 4) the network's own probabilities.
            fold: Of the boxes' document.
        """
        words = own.copy()
        if self.classes:
            known = list(self.classes)
            share = own[:, known].sum(axis=1, keepdims=True)
            words[:, known] = share * self.heads[fold].probabilities(embeddings)
        words[:, NONE] = 0.0
        words[:, :NONE] = np.maximum(words[:, :NONE], _LEAST)
        return np.asarray(words / words.sum(axis=1, keepdims=True))


def hold_out(examples: Examples, fold_of: Sequence[int]) -> HeldOut:
    """Learns a head for each fold, where there are documents enough to learn from.

    The ridge is the one of a few under which the folds that were held out are the likeliest.

    Args:
        examples: Crops of annotated boxes, and of candidates that are none.
        fold_of: The fold of each document, by its number; copies of one document have one number.
    """
    fold = np.array(fold_of, np.intp)
    found = [examples.of(label) for label in range(len(CLASSES))]
    spread = [np.unique(documents) for _, documents in found]
    known = tuple(label for label in range(len(CLASSES)) if _enough(fold[spread[label]]))
    if sum(label < NONE for label in known) < 2:
        return HeldOut(told=(_alone(spread),))
    embeddings = np.concatenate([found[label][0] for label in known])
    labels = np.concatenate([np.full(len(found[label][0]), place, np.intp) for place, label in enumerate(known)])
    held = fold[np.concatenate([found[label][1] for label in known])]
    tried = [_learn(embeddings, labels, held, classes=len(known), ridge=ridge) for ridge in _RIDGES]
    heads, _ = max(tried, key=lambda one: one[1])
    return HeldOut(classes=known, heads=heads, told=_sentences(known, spread))


def _learn(
    embeddings: NDArray[np.float32],
    labels: NDArray[np.intp],
    fold: NDArray[np.intp],
    *,
    classes: int,
    ridge: float,
) -> tuple[dict[int, Head], float]:
    """A head for each fold, and the log likelihood of what each was not shown, the mean over classes."""
    heads: dict[int, Head] = {}
    logs = np.zeros(len(labels))
    for one in range(FOLDS):
        out = fold == one
        heads[one] = fit(embeddings[~out], labels[~out], classes=classes, ridge=ridge)
        said = heads[one].probabilities(embeddings[out])
        logs[out] = np.log(np.maximum(said[np.arange(out.sum()), labels[out]], _LEAST))
    return heads, float(logs @ evenly(labels))


def _enough(folds: NDArray[np.intp]) -> bool:
    """Whether documents of these folds leave enough of them to each fold to learn from."""
    return len(folds) - int(np.bincount(folds, minlength=FOLDS).max()) >= _LEAST_DOCUMENTS


def _alone(spread: Sequence[NDArray[np.intp]]) -> str:
    counted = ", ".join(f"{mark} in {len(spread[label])}" for label, mark in enumerate(MARKS))
    return (
        "Names are doubted on the network's own word, not out of fold: there are too few documents to learn two names "
        f"from ({counted}). A network that learnt from these very annotations repeats them."
    )


def _sentences(known: Sequence[int], spread: Sequence[NDArray[np.intp]]) -> tuple[str, ...]:
    counted = ", ".join(f"{MARKS[label]} in {len(spread[label])}" for label in known if label < NONE)
    thin = [mark for label, mark in enumerate(MARKS) if label not in known]
    more = f"Of {' and '.join(thin)} there are too few documents: there the network's own word counts."
    told = f"Names are doubted out of fold, by what the other documents teach ({counted} documents)."
    return (told, more) if thin else (told,)
