"""How often nominal 90 % intervals cover the true accuracy of a domain; all seeded.

Three kinds of worlds. In the first, domains shift exactly as the prior expects, which checks the computation. The
others are unknown to the estimator: `CorrectedMean` with its default prior where domains shift otherwise, and the
default estimator, which learns from three labelled domains and estimates a fourth. Where 90 % is not reached, the
tables here record what is reached today; a better estimator changes them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from scipy.special import expit, logit
from scipy.stats import binom

from driftgauge.models.arrays import Float64s
from driftgauge.models.estimate.default_estimator import fit_default
from driftgauge.models.estimate.estimators import CorrectedMean, Estimator, Sample
from driftgauge.models.estimate.recalibration import ShiftPrior
from tests.statistics.worlds import N_ROWS, Draw, covariate, label_shift, noisy_features, sample, style

N_DOMAINS, N_EVENTS = 150, 300
PRIOR = ShiftPrior(scale=0.5, freedom=6)
NOMINAL = 0.90


def is_plausible(n_covered: int, n: int, low: float, high: float) -> bool:
    """Whether a true coverage between ``low`` and ``high`` explains the count; wrongly False with probability .002."""
    return bool(binom.sf(n_covered - 1, n, high) > 1e-3 and binom.cdf(n_covered, n, low) > 1e-3)


def covers(estimator: Estimator, made: Sample, truth: float, level: float = NOMINAL) -> tuple[bool, float]:
    """Whether the interval holds the truth, and its width."""
    estimate = estimator.estimate(made, level)
    assert estimate.ci_low is not None
    assert estimate.ci_high is not None
    return estimate.ci_low <= truth <= estimate.ci_high, estimate.ci_high - estimate.ci_low


# --- a world that shifts as the prior expects: the computation is right


def coverage(accuracy: float, n_labels: int, *, graded: bool = False, slope: float = 1.0) -> tuple[int, float]:
    """Domains whose interval holds their truth, and the mean width of the intervals."""
    rng = np.random.default_rng(7)
    dispersion = 0.3 if graded else 1.0
    estimator = CorrectedMean(ShiftPrior(PRIOR.scale, PRIOR.freedom, dispersion=dispersion))
    inside, widths = [], []
    for _ in range(N_DOMAINS):
        logits = logit(accuracy) + rng.normal(0, 1.2, N_EVENTS)
        true = expit(slope * logits + (1 - slope) * logit(accuracy) + rng.standard_t(PRIOR.freedom) * PRIOR.scale)
        right = (rng.random(N_EVENTS) < true).astype(float)
        if graded:  # a share 0.3 of the variance of a label that is 0 or 1
            right = true + np.sqrt(dispersion) * (right - true)
        is_inside, width = covers(estimator, responses(logits, right, n_labels), right.mean())
        inside.append(is_inside)
        widths.append(width)
    return sum(inside), float(np.mean(widths))


def responses(logits: Float64s, right: Float64s, n_labels: int) -> Sample:
    """Responses with these logits of p(correct), of which the first ``n_labels`` have labels."""
    labels = np.where(np.arange(len(right)) < n_labels, right, np.nan)
    return Sample(np.zeros((len(right), 17), np.float32), expit(logits), labels, np.ones(len(right)))


@pytest.mark.parametrize("accuracy", [0.5, 0.93, 0.98])
@pytest.mark.parametrize("n_labels", [0, 5, 20, 50])
def test_intervals_cover_nominally_where_domains_shift_as_the_prior_expects(accuracy: float, n_labels: int) -> None:
    covered, _ = coverage(accuracy, n_labels)
    assert is_plausible(covered, N_DOMAINS, 0.88, 0.94), covered


@pytest.mark.parametrize("n_labels", [5, 50])
def test_intervals_from_graded_labels_cover_nominally_where_domains_shift_as_the_prior_expects(n_labels: int) -> None:
    covered, _ = coverage(0.7, n_labels, graded=True)
    assert is_plausible(covered, N_DOMAINS, 0.88, 0.94), covered


def test_intervals_cover_nominally_where_the_signal_is_useless_inside_the_domain() -> None:
    covered, _ = coverage(0.7, 50, slope=0.0)
    assert is_plausible(covered, N_DOMAINS, 0.88, 0.94), covered


def test_labels_narrow_intervals() -> None:
    widths = [coverage(0.7, n)[1] for n in (0, 20, 50)]
    assert widths[0] > widths[1] > widths[2]


# --- worlds with other shifts than the prior of CorrectedMean expects

SHIFTS: Mapping[str, Callable[[np.random.Generator], float]] = {
    "no shift": lambda _: 0.0,
    "downwards": lambda rng: -rng.exponential(1.0),
    "two groups": lambda rng: rng.choice([0.3, -2.5], p=[0.8, 0.2]) + rng.normal(0, 0.2),
    "uniform": lambda rng: rng.uniform(-3, 3),
}
"""Shifts of a domain on the logit scale, as far as -3 to 3; the prior is a Student t of scale 1."""

SLOPES = (0.1, 0.4, 0.9, 1.2)
"""Slopes between those that the model of recalibration lists."""


def n_covered_under(shift: str, n_labels: int, n: int = N_DOMAINS) -> int:
    """Of n domains of accuracy around .8, those whose interval by `CorrectedMean` holds their truth."""
    rng, estimator, found = np.random.default_rng(1), CorrectedMean(), 0
    for _ in range(n):
        logits = logit(0.8) + rng.normal(0, 1.2, N_EVENTS)
        slope = rng.choice(SLOPES)
        right = (rng.random(N_EVENTS) < expit(slope * logits + (1 - slope) * logit(0.8) + SHIFTS[shift](rng))).astype(
            float
        )
        found += covers(estimator, responses(logits, right, n_labels), right.mean())[0]
    return found


REACHED_UNDER: Mapping[str, Mapping[int, float]] = {
    "no shift": {0: 1.00, 5: 0.98, 20: 0.94, 50: 0.91},
    "downwards": {0: 0.87, 5: 0.91, 20: 0.90, 50: 0.90},
    "two groups": {0: 0.82, 5: 0.94, 20: 0.92, 50: 0.91},
    "uniform": {0: 0.69, 5: 0.84, 20: 0.88, 50: 0.89},
}
"""Coverage by number of labels, over 1,000 domains. Without labels it depends on the prior alone: shifts beyond its
scale of 1, as in the last two worlds, are covered too rarely."""


@pytest.mark.parametrize("n_labels", [0, 5, 20, 50])
@pytest.mark.parametrize("shift", SHIFTS)
def test_intervals_of_the_corrected_mean_cover_unknown_shifts_as_often_as_recorded(shift: str, n_labels: int) -> None:
    covered, reached = n_covered_under(shift, n_labels), REACHED_UNDER[shift][n_labels]
    assert is_plausible(covered, N_DOMAINS, reached - 0.02, min(reached + 0.02, 1.0)), covered


# --- worlds that the default estimator learns from three labelled domains

KINDS: Mapping[str, Draw] = {
    "covariate": covariate, "noisy features": noisy_features, "label shift": label_shift, "style": style
}  # fmt: skip
N_LABELS: tuple[int, ...] = (0, 5, 20, 50)
N_WORLDS = 100

REACHED_IN: Mapping[str, Mapping[int, float]] = {
    "covariate": {0: 0.99, 5: 0.99, 20: 0.95, 50: 0.92},
    "noisy features": {0: 0.97, 5: 0.95, 20: 0.93, 50: 0.92},
    "label shift": {0: 0.92, 5: 0.92, 20: 0.90, 50: 0.90},
    "style": {0: 0.87, 5: 0.85, 20: 0.89, 50: 0.88},
}
"""Coverage by number of labels, over 650 worlds. Under style the errors are about twice the spread of the candidates,
from which the width follows, and three labelled domains correct that only in part."""

LEVELS: Mapping[float, float] = {0.5: 0.53, 0.8: 0.82, 0.95: 0.96}
"""Coverage with 20 labels at other levels, over all kinds together."""


@cache
def covered_in(kind: str, n: int = N_WORLDS) -> Mapping[tuple[int, float], int]:
    """Of n worlds, each with three labelled domains and one to estimate: those covered, by labels and level."""
    wanted = [*((n_labels, NOMINAL) for n_labels in N_LABELS), *((20, level) for level in LEVELS)]
    found = dict.fromkeys(wanted, 0)
    for seed in range(n):
        rng = np.random.default_rng(seed)
        labelled = {f"d{i}": sample(KINDS[kind](rng), rng, f"d{i}", is_labelled=True) for i in range(3)}
        estimator = fit_default(labelled, seed=0)
        domain = KINDS[kind](rng)
        made, right = sample(domain, rng), domain[1]
        for n_labels, level in wanted:
            labels = np.where(np.arange(N_ROWS) < n_labels, right, np.nan)
            found[n_labels, level] += covers(estimator, replace(made, correct=labels), right.mean(), level)[0]
    return found


@pytest.mark.xdist_group("worlds")  # so that one worker makes the worlds of `covered_in`, once
@pytest.mark.parametrize("n_labels", N_LABELS)
@pytest.mark.parametrize("kind", KINDS)
def test_intervals_of_the_default_estimator_cover_new_domains_as_often_as_recorded(kind: str, n_labels: int) -> None:
    covered, reached = covered_in(kind)[n_labels, NOMINAL], REACHED_IN[kind][n_labels]
    assert is_plausible(covered, N_WORLDS, reached - 0.02, min(reached + 0.02, 1.0)), covered


@pytest.mark.xdist_group("worlds")
@pytest.mark.parametrize("level", LEVELS)
def test_intervals_of_other_levels_cover_new_domains_as_often_as_recorded(level: float) -> None:
    covered = sum(covered_in(kind)[20, level] for kind in KINDS)
    assert is_plausible(covered, N_WORLDS * len(KINDS), LEVELS[level] - 0.02, LEVELS[level] + 0.02), covered


# --- one labelled domain: the labels make the fit, the level and the likelihood

REACHED_ALONE, N_ALONE = 0.88, 150
"""Coverage of the only labelled domain with 60 labels, over 480 worlds."""


def test_intervals_of_the_only_labelled_domain_cover_as_often_as_recorded() -> None:
    covered = 0
    for seed in range(N_ALONE):
        rng, draw = np.random.default_rng(seed), list(KINDS.values())[seed % len(KINDS)]
        domain = draw(rng)
        labels = np.where(np.arange(N_ROWS) < 60, domain[1], np.nan)
        made = replace(sample(domain, rng, "only"), correct=labels)
        covered += covers(fit_default({"only": made}, seed=0), made, domain[1].mean())[0]
    assert is_plausible(covered, N_ALONE, REACHED_ALONE - 0.01, REACHED_ALONE + 0.02), covered


def test_graded_labels_of_a_domain_count_where_only_one_other_domain_has_labels() -> None:
    rng = np.random.default_rng(4)
    source, target = covariate(rng), covariate(rng)
    labelled = replace(sample(source, rng, "source", is_labelled=True), correct=0.4 + 0.2 * source[1])
    estimator = fit_default({"source": labelled}, seed=0)
    widths = []
    for spread in (0.2, 1.0):  # the target's own labels vary as those of the source, and much more
        labels = np.where(np.arange(N_ROWS) < 60, 0.5 + spread * (target[1] - 0.5), np.nan)
        widths.append(covers(estimator, replace(sample(target, rng), correct=labels), 0.5)[1])
    assert widths[1] > 1.5 * widths[0]
