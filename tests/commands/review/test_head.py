"""Multinomial logistic regression: it learns, it is held back, it knows nothing where there is nothing to know."""

from __future__ import annotations

import numpy as np
import pytest

from backend.commands.review.held_out import fit
from backend.vision.engine import EMBEDDING

RNG = np.random.default_rng(1)


def clouds(each: int, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings around one centre for each class."""
    centres = np.random.default_rng(0).normal(size=(classes, EMBEDDING))
    labels = np.repeat(np.arange(classes), each)
    return (centres[labels] + RNG.normal(size=(len(labels), EMBEDDING))).astype(np.float32), labels


def test_it_tells_clouds_apart_that_it_has_not_seen() -> None:
    head = fit(*clouds(30), classes=3, ridge=0.1)
    embeddings, labels = clouds(10)
    said = head.probabilities(embeddings)
    np.testing.assert_allclose(said.sum(axis=1), 1)
    assert (said.argmax(axis=1) == labels).all()
    assert said.max(axis=1).min() > 0.8


def test_a_ridge_without_end_leaves_nothing_to_choose_however_rare_a_class_is() -> None:
    embeddings, labels = clouds(4, classes=2)
    head = fit(embeddings[:5], labels[:5], classes=2, ridge=1e7)
    np.testing.assert_allclose(head.probabilities(embeddings), [[0.5, 0.5]] * 8, atol=1e-3)


def test_it_is_where_no_small_step_is_better() -> None:
    embeddings, labels = clouds(6)
    embeddings, labels = embeddings[3:], labels[3:]  # three of the first class, six of the others
    head, ridge = fit(embeddings, labels, classes=3, ridge=0.3), 0.3

    def loss(weights: np.ndarray) -> float:
        scores = ((embeddings - head.mean) / head.scale) @ weights.T + head.bias
        logs = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
        own = -logs[np.arange(len(labels)), labels]
        return float(np.mean([own[labels == one].mean() for one in range(3)]) + ridge / 2 * (weights**2).sum())

    best = loss(head.weights)
    for _ in range(20):
        step = RNG.normal(size=head.weights.shape)
        assert loss(head.weights + 0.05 * step / np.linalg.norm(step)) > best


def test_features_that_never_change_do_no_harm() -> None:
    embeddings, labels = clouds(10)
    embeddings[:, 7] = 3.0
    said = fit(embeddings, labels, classes=3, ridge=0.1).probabilities(embeddings)
    assert np.isfinite(said).all()
    assert said[np.arange(len(labels)), labels].min() == pytest.approx(1, abs=0.2)
