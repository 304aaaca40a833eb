"""Estimators that assume one kind of shift are right under it, and give no value where it cannot be estimated."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from driftgauge.agent.evaluation.entropy_sentinel import (
    SENTINEL_10,
    Fit,
    fit_constant,
    fit_sentinel_forest,
    fit_sentinel_regression,
)
from driftgauge.agent.evaluation.importance import importance_weighted
from driftgauge.agent.evaluation.label_shift import label_shift_bbse, label_shift_em


def traffic(n: int, centre: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Features around a centre; responses with a larger first one are right more often, everywhere alike."""
    draw = np.random.default_rng(seed)
    features = draw.normal(centre, 1.0, (n, 3)).astype(np.float32)
    return features, (draw.random(n) < 1 / (1 + np.exp(-2 * features[:, 0]))).astype(np.float64)


def test_importance_weighting_is_right_under_covariate_shift() -> None:
    source, correct = traffic(3000, 0.0, 0)
    window, truth = traffic(3000, 0.5, 1)
    found = importance_weighted(source, correct, window)
    assert found.accuracy == pytest.approx(truth.mean(), abs=0.04)
    assert abs(correct.mean() - truth.mean()) > 0.1
    assert 50 < found.effective_sample_size < 3000


@pytest.mark.parametrize(("n", "centre", "reason"), [(2000, 5.0, "unlike"), (60, 0.7, "effective labels")])
def test_importance_weighting_gives_no_value_without_overlap_or_enough_labels(
    n: int, centre: float, reason: str
) -> None:
    found = importance_weighted(*traffic(n, 0.0, 0), traffic(500, centre, 1)[0])
    assert found.accuracy is None
    assert reason in (found.problem or "")


def test_importance_weighting_accepts_missing_features() -> None:
    source, correct = traffic(500, 0.0, 0)
    window = traffic(500, 0.0, 1)[0]
    source[::3, 1], window[:, 2] = np.nan, np.nan
    assert importance_weighted(source, correct, window).accuracy is not None


def shifted(accuracy: float, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Calibrated probabilities of a source of accuracy one half, from a window with more or fewer right ones."""
    draw = np.random.default_rng(seed)
    correct = (draw.random(n) < accuracy).astype(np.float64)
    score = draw.normal(2 * correct - 1, 1.0)
    return 1 / (1 + np.exp(-2 * score)), correct


@pytest.mark.parametrize("accuracy", [0.2, 0.5, 0.9])
def test_label_shift_estimators_are_right_when_only_the_share_of_right_responses_changes(accuracy: float) -> None:
    p, _ = shifted(accuracy, 4000, 1)
    assert label_shift_em(p, 0.5) == pytest.approx(accuracy, abs=0.03)
    assert label_shift_bbse(p, *shifted(0.5, 4000, 0)) == pytest.approx(accuracy, abs=0.03)


def test_bbse_is_nan_when_right_and_wrong_responses_have_equal_probabilities() -> None:
    assert np.isnan(label_shift_bbse(np.full(5, 0.5), np.full(4, 0.5), np.array([0.0, 1.0, 0.0, 1.0])))


SENTINELS: dict[str, Fit] = {
    "forest": fit_sentinel_forest,
    "forest of ten features": partial(fit_sentinel_forest, names=SENTINEL_10),
    "regression": fit_sentinel_regression,
}


@pytest.mark.parametrize("name", SENTINELS)
def test_the_published_baselines_predict_better_than_the_constant(name: str) -> None:
    draw = np.random.default_rng(0)
    features = draw.normal(size=(600, 17)).astype(np.float32)
    correct = (draw.random(600) < 1 / (1 + np.exp(-2 * features[:, 0]))).astype(np.float64)
    features[::5, 3], features[:, 5] = np.nan, np.nan
    brier = {
        fit: np.mean((fit(features[:400], correct[:400], 0)(features[400:]) - correct[400:]) ** 2)
        for fit in (SENTINELS[name], fit_constant)
    }
    assert brier[SENTINELS[name]] < 0.9 * brier[fit_constant]


@pytest.mark.parametrize("name", SENTINELS)
def test_the_published_baselines_are_the_constant_with_fewer_than_three_wrong_labels(name: str) -> None:
    features = np.random.default_rng(0).normal(size=(100, 17)).astype(np.float32)
    correct = np.where(np.arange(100) < 2, 0.0, 1.0)
    assert SENTINELS[name](features, correct, 0)(features).tolist() == [0.98] * 100
