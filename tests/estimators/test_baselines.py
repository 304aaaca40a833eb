"""Baselines that use labels, against the formulas of their papers, and what they promise as seeded simulations."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import binom, norm

from driftgauge.agent.evaluation.label_trials import chosen, labels_alone
from driftgauge.models.arrays import Bools, Float64s
from driftgauge.models.estimate.atc import fit_threshold
from driftgauge.models.estimate.ppi import ppi_mean

RUNS, LEVEL = 300, 0.9
FEWEST, MOST = binom.ppf(1e-4, RUNS, LEVEL), binom.ppf(1 - 1e-4, RUNS, LEVEL)


def responses(rng: np.random.Generator, n: int) -> tuple[Float64s, Float64s]:
    """Probabilities that are off by domain, and whether each response is right."""
    logits = rng.normal(0.5, 1.5, n)
    return expit(logits + 0.7), (rng.random(n) < expit(logits)).astype(float)


def labelled(correct: Float64s, at: Bools) -> Float64s:
    """The labels of these rows; NaN for the others."""
    return np.where(at, correct, np.nan)


def by_the_paper(y: Float64s, p: Float64s, others: Float64s, *, tuned: bool) -> tuple[float, float, float]:
    """PPI++ for a mean as its paper writes it: n labelled rows, and N others without a label."""
    n, total = len(y), len(others)
    variance = np.var(np.concatenate([p, others]), ddof=1)
    factor = np.clip(np.cov(y, p)[0, 1] / ((1 + n / total) * variance), 0, 1) if tuned else 1.0
    middle = factor * others.mean() + (y - factor * p).mean()
    error = np.sqrt(np.var(y - factor * p, ddof=1) / n + factor**2 * np.var(others) / total)
    half = norm.ppf((1 + LEVEL) / 2) * error
    return middle, middle - half, middle + half


@pytest.mark.parametrize("tuned", [False, True])
@pytest.mark.parametrize("n", [60, 400])
def test_ppi_of_labels_drawn_evenly_is_that_of_the_paper(n: int, tuned: bool) -> None:
    p, correct = responses(np.random.default_rng(2), 600)
    found = ppi_mean(p, labelled(correct, np.arange(600) < n), np.full(600, 3.0), LEVEL, tuned=tuned)
    expected = by_the_paper(correct[:n], p[:n], p[n:], tuned=tuned)
    # the paper takes the mean of p over labelled rows and that over others as independent: equal up to O(1 / n)
    assert found[0] == pytest.approx(expected[0], abs=1e-12)
    assert found[2] - found[1] == pytest.approx(expected[2] - expected[1], rel=0.03)


@pytest.mark.parametrize("tuned", [False, True])
@pytest.mark.parametrize("unequal", [False, True])
def test_ppi_is_unbiased_and_covers_where_labelled_rows_are_among_the_others(unequal: bool, tuned: bool) -> None:
    rng = np.random.default_rng(3)
    truth = float(expit(rng.normal(0.5, 1.5, 1_000_000)).mean())
    errors, covered, naive = [], 0, []
    for _ in range(RUNS):
        p, correct = responses(rng, 600)
        at, weight = chosen(p, 150, rng) if unequal else (rng.choice(600, 150, replace=False), np.full(600, 4.0))
        given = labelled(correct, np.isin(np.arange(600), at))
        middle, low, high = ppi_mean(p, given, weight, LEVEL, tuned=tuned)
        errors.append(middle - truth)
        naive.append(np.nanmean(given) - truth)
        covered += low <= truth <= high
    assert abs(np.mean(errors)) < 4 * np.std(errors) / np.sqrt(RUNS)
    assert np.std(errors) < 1.02 * np.std(naive)
    assert covered >= FEWEST
    if unequal:
        assert abs(np.mean(naive)) > 4 * np.std(naive) / np.sqrt(RUNS)  # without weights: hard responses are labelled


@pytest.mark.parametrize(("n", "accuracy"), [(10, 0.5), (20, 0.8), (50, 0.93)])
def test_labels_alone_cover(n: int, accuracy: float) -> None:
    rng, covered = np.random.default_rng(4), 0
    for _ in range(RUNS):
        _, low, high = labels_alone((rng.random(n) < accuracy).astype(float), LEVEL)
        covered += low <= accuracy <= high
    assert covered >= binom.ppf(1e-4, RUNS, 0.88)  # Jeffreys' interval covers 90 % on average over accuracies


def test_atc_is_unbiased_where_one_threshold_separates_right_from_wrong_however_labels_were_chosen() -> None:
    rng, errors = np.random.default_rng(5), []
    for _ in range(RUNS):
        source, target = rng.normal(0.3, 1, 400), rng.normal(-0.4, 1, 400)
        probability = np.where(source > 0.8, 0.15, 0.9)
        at = rng.random(400) < probability
        threshold = fit_threshold(source[at], (source[at] > 0).astype(float), 1 / probability[at])
        assert threshold
        errors.append(threshold.share(target) - float((target > 0).mean()))
    assert abs(np.mean(errors)) < 0.01


def test_a_threshold_of_weighted_labels_passes_the_weighted_share_of_right_ones() -> None:
    rng = np.random.default_rng(6)
    score = rng.normal(size=3_000)
    right = (rng.random(3_000) < expit(2 * score)).astype(float)
    weight = np.where(score > 0, 1.0, 5.0)
    threshold = fit_threshold(score, right, weight)
    assert threshold
    passes = (score >= threshold.value).astype(float)
    assert np.average(passes, weights=weight) == pytest.approx(np.average(right, weights=weight), abs=0.002)
    unweighted = fit_threshold(score, right)
    assert unweighted
    assert abs(unweighted.value - threshold.value) > 0.05
