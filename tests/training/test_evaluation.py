"""The temperature, against one that was put in."""

from __future__ import annotations

import numpy as np
import pytest

from backend.evaluation.rates import calibration_error, softmax
from backend.training.classifier_publishing import fit_temperature, likelihood


def error(probabilities: np.ndarray, truth: np.ndarray) -> float:
    return calibration_error(probabilities.max(axis=1), probabilities.argmax(axis=1) == truth)


def test_temperature_undoes_a_known_overconfidence() -> None:
    rng = np.random.default_rng(1)
    honest = rng.normal(0, 1.5, (4000, 4))
    truth = (softmax(honest).cumsum(axis=1) > rng.random((4000, 1))).argmax(axis=1)
    temperature = fit_temperature(3 * honest, truth)
    assert temperature == pytest.approx(3, rel=0.08)
    assert likelihood(3 * honest, truth, temperature) < likelihood(3 * honest, truth)
    assert error(softmax(3 * honest, temperature), truth) < 0.5 * error(softmax(3 * honest), truth)
