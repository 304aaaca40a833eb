"""Estimators that assume one kind of shift are right under it, and say so or are silent where they cannot know."""

from __future__ import annotations

import numpy as np
import pytest

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
def test_importance_weighting_is_silent_without_overlap_or_labels(n: int, centre: float, reason: str) -> None:
    found = importance_weighted(*traffic(n, 0.0, 0), traffic(500, centre, 1)[0])
    assert found.accuracy is None
    assert reason in (found.problem or "")


def test_importance_weighting_takes_missing_features() -> None:
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
def test_label_shift_estimators_are_right_when_only_the_share_of_right_ones_moves(accuracy: float) -> None:
    p, _ = shifted(accuracy, 4000, 1)
    assert label_shift_em(p, 0.5) == pytest.approx(accuracy, abs=0.03)
    assert label_shift_bbse(p, *shifted(0.5, 4000, 0)) == pytest.approx(accuracy, abs=0.03)


def test_label_shift_says_nothing_where_probabilities_do_not_tell_right_from_wrong() -> None:
    assert np.isnan(label_shift_bbse(np.full(5, 0.5), np.full(4, 0.5), np.array([0.0, 1.0, 0.0, 1.0])))
