"""The word on an annotated box by what other documents teach: out of fold, because a model agrees with what it learnt.

A network that was trained on these very annotations repeats them, mistakes included. So its head is learnt anew for
each fold of the documents. It learns from the boxes of the other folds alone, on the embeddings that the network gives.
The embeddings themselves are the network's, and keep what it remembers; that is less than its head does.

A small head on the classifier's embeddings: multinomial logistic regression with a ridge, classes counting alike.

Crops to learn names from: of each class a bounded number, drawn evenly from all that come by.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from backend.vision.engine import EMBEDDING
from backend.vision.network_config import CLASSES, MARKS, NONE

__all__ = ["FOLDS", "Examples", "Head", "HeldOut", "evenly", "fit", "hold_out"]

_ROUNDS = 300
_MOST = 2000
"""Of each class: 4 MB of embeddings."""
_SEED = 5
FOLDS = 5
_LEAST_DOCUMENTS = 4
"""That the other folds must hold of a class: what fewer teach is chance."""
_RIDGES = (0.3, 1.0, 3.0, 10.0)
_LEAST = 1e-9


@dataclass(frozen=True, eq=False)
class Head:
    """What names crops by their embeddings.

    Attributes:
        mean: (512,) of the embeddings that it learnt from.
        scale: (512,) their standard deviations.
        weights: (C, 512).
        bias: (C,).
    """

    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    weights: NDArray[np.float64]
    bias: NDArray[np.float64]

    def probabilities(self, embeddings: NDArray[np.float32]) -> NDArray[np.float64]:
        """Probabilities of the classes, (N, C), of embeddings (N, 512)."""
        from scipy.special import softmax  # noqa: PLC0415  as in `fit`

        features = (embeddings - self.mean) / self.scale
        return np.asarray(softmax(features @ self.weights.T + self.bias, axis=1))


def fit(embeddings: NDArray[np.float32], labels: NDArray[np.intp], *, classes: int, ridge: float) -> Head:
    """Learns to tell classes apart.

    Minimises the mean negative log likelihood plus `ridge` / 2 times the squared weights of the standardised features,
    by L-BFGS (Liu and Nocedal 1989). The bias is not held back. The mean is over classes, not over crops: a name is not
    to be doubted because it is rare.

    Args:
        embeddings: (N, 512).
        labels: (N,) from 0 to `classes` - 1, each of them once at least.
        classes: How many classes there are.
        ridge: How much small weights are preferred.
    """
    # Two thirds of a second to load, which `review --help` and a review of few documents need not wait for.
    from scipy.optimize import minimize  # noqa: PLC0415
    from scipy.special import log_softmax  # noqa: PLC0415

    mean = embeddings.mean(axis=0, dtype=np.float64)
    spread = embeddings.std(axis=0, dtype=np.float64)
    scale = np.where(spread > 0, spread, 1.0)
    features = (embeddings - mean) / scale
    truth, share = np.eye(classes)[labels], evenly(labels)

    def loss(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        table = flat.reshape(classes, -1)
        weights, bias = table[:, :-1], table[:, -1]
        logs = log_softmax(features @ weights.T + bias, axis=1)
        wrong = (np.exp(logs) - truth) * share[:, None]
        slope = np.column_stack([wrong.T @ features + ridge * weights, wrong.sum(axis=0)])
        value = -(logs * truth).sum(axis=1) @ share + ridge / 2 * (weights**2).sum()
        return float(value), slope.ravel()

    start = np.zeros(classes * (features.shape[1] + 1))
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": _ROUNDS})
    table = np.asarray(found.x, np.float64).reshape(classes, -1)
    return Head(mean=mean, scale=scale, weights=table[:, :-1], bias=table[:, -1])


def evenly(labels: NDArray[np.intp]) -> NDArray[np.float64]:
    """Shares, (N,), that sum to 1, to the same for each class that occurs."""
    counts = np.bincount(labels)
    return np.asarray(1.0 / (counts[labels] * np.count_nonzero(counts)))


class Examples:
    """Embeddings with their class and the number of their document.

    If more than `_MOST` of a class come, a uniform sample of them stays (reservoir sampling, algorithm R, Vitter 1985).
    The same order gives the same sample.
    """

    def __init__(self) -> None:
        self._embeddings = np.zeros((len(CLASSES), _MOST, EMBEDDING), np.float32)
        self._documents = np.zeros((len(CLASSES), _MOST), np.intp)
        self._came = [0] * len(CLASSES)
        self._rng = np.random.default_rng(_SEED)

    def add(self, embeddings: NDArray[np.float32], labels: NDArray[np.intp], *, document: int) -> None:
        """Takes crops of a document: embeddings (N, 512), labels (N,) over `CLASSES`."""
        for embedding, label in zip(embeddings, labels.tolist(), strict=True):
            came = self._came[label]
            self._came[label] += 1
            place = came if came < _MOST else int(self._rng.integers(came + 1))
            if place < _MOST:
                self._embeddings[label, place] = embedding
                self._documents[label, place] = document

    def of(self, label: int) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
        """Embeddings (N, 512) of a class, and their documents (N,)."""
        kept = min(self._came[label], _MOST)
        return self._embeddings[label, :kept], self._documents[label, :kept]


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
