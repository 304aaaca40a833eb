"""Label trials: error, width and coverage of every method with a few labels from a domain outside the training set.

Every method gets the same labels. They are drawn at random or, for methods that end in ``_chosen``, with probabilities
that follow the uncertainty of the forest and that the method gets as weights. ``averaged_alone`` is the default
estimator where the estimated domain is the only one with labels: the fit has these labels and no others.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import beta, t

from driftgauge.agent.evaluation.compositions import Bench, Domains
from driftgauge.models.arrays import Float32s, Float64s
from driftgauge.models.estimate.averaged import Averaged
from driftgauge.models.estimate.default_estimator import fit_default
from driftgauge.models.estimate.estimators import MIN_EVENTS, Estimator, Sample
from driftgauge.models.estimate.ppi import ppi_mean

Interval = tuple[float, float, float]  # accuracy, low, high

_DRAWS_ALONE = 5
"""Draws of labels for each domain and number of labels in `LabelTrials.run_alone`."""

_CHOICE_FLOOR = 0.3  # share of the labels that is drawn evenly, in case the forest misjudges its uncertainty


class LabelTrials:
    """Collects one draw of labels for every composition, domain outside it and number of labels."""

    def __init__(self, bench: Bench, labels: Sequence[int]) -> None:
        self.bench = bench
        self.labels = labels
        self.draw = np.random.default_rng(bench.seed)
        self.found: dict[tuple[str, int, int], list[Float64s]] = defaultdict(list)

    def run(self, composition: Domains, estimator: Averaged, p: Float32s) -> None:
        """Try every number of labels on every domain outside a composition; ``p`` (rows of the target,)."""
        errors: dict[tuple[str, int], list[Float64s]] = defaultdict(list)
        for domain, rows in self.bench.target.rows.items():
            if domain in composition:
                continue
            sample = self.bench.target.sample("", rows, p[rows, None])
            for n in self.labels:
                for method, interval in self._tried(sample, estimator, min(n, len(rows) // 2)).items():
                    errors[method, n].append(outcome(interval, float(sample.correct.mean())))
        for (method, n), outcomes in errors.items():
            self.found[method, len(composition), n].append(np.nanmean(outcomes, axis=0))

    def run_alone(self, domain: str) -> None:
        """Try every number of labels on a domain that alone has labels, several times; fewer than ten give nothing."""
        sample = self.bench.target.sample(domain, self.bench.target.rows[domain])
        truth, seed = float(sample.correct.mean()), self.bench.seed
        for n in [n for n in self.labels if n >= MIN_EVENTS] * _DRAWS_ALONE:
            at = self.draw.choice(len(sample), min(n, len(sample) // 2), replace=False)
            given = replace(sample, correct=only(sample.correct, at))
            interval = of_estimator(fit_default({domain: given}, seed=seed), given, self.bench.confidence_level)
            self.found[f"{Averaged.name}_alone", 1, n].append(outcome(interval, truth))

    def cells(self) -> list[dict[str, Any]]:
        """One cell for every method, k and number of labels."""
        return [
            {"method": method, "k": k, "n_labels": n, **summary(np.array(found))}
            for (method, k, n), found in sorted(self.found.items())
        ]

    def _tried(self, sample: Sample, estimator: Averaged, n: int) -> dict[str, Interval]:
        name, level = estimator.name, self.bench.confidence_level
        blank = replace(sample, correct=np.full(len(sample), np.nan))
        if n == 0:
            found = {name: of_estimator(estimator, blank, level)}
            return found | ({"lodo_t": _lodo_t(found[name], estimator, level)} if len(estimator.residuals) else {})
        at = self.draw.choice(len(sample), n, replace=False)
        given = replace(blank, correct=only(sample.correct, at))
        p = np.asarray(sample.scores, dtype=np.float64)[:, 0]
        at, weight = chosen(p, n, self.draw)
        picked = replace(blank, correct=only(sample.correct, at), weight=weight)
        found = {
            name: of_estimator(estimator, given, level),
            "labels_alone": labels_alone(given.correct[given.is_labelled], level),
            "ppi": ppi_mean(p, given.correct, given.weight, level, tuned=False),
            "ppi_plus_plus": ppi_mean(p, given.correct, given.weight, level),
        }
        if len(at) > 1:
            found |= {
                f"{name}_chosen": of_estimator(estimator, picked, level),
                "labels_alone_chosen": ppi_mean(np.zeros(len(p)), picked.correct, weight, level),
                "ppi_plus_plus_chosen": ppi_mean(p, picked.correct, weight, level),
            }
        return found


def chosen(p: Float64s, n: int, draw: np.random.Generator) -> tuple[npt.NDArray[np.intp], Float64s]:
    """About n rows, each drawn with a probability that follows sqrt(p (1 - p)), and (rows,) 1 / those probabilities."""
    doubt = np.sqrt(p * (1 - p)) + 1e-6
    probability = np.minimum(1.0, n * ((1 - _CHOICE_FLOOR) * doubt / doubt.sum() + _CHOICE_FLOOR / len(p)))
    return np.flatnonzero(draw.random(len(p)) < probability), 1 / probability


def labels_alone(correct: Float64s, confidence_level: float = 0.9) -> Interval:
    """Mean of the labels with Jeffreys' interval (graded labels: as many successes as their sum)."""
    n, right = len(correct), float(correct.sum())
    tails = ((1 - confidence_level) / 2, (1 + confidence_level) / 2)
    low, high = (float(beta.ppf(tail, right + 0.5, n - right + 0.5)) for tail in tails)
    return right / n, low, high


def _lodo_t(estimate: Interval, estimator: Averaged, confidence_level: float) -> Interval:
    """Student's interval from the errors on left-out domains."""
    n = len(estimator.residuals)
    if n < 2:
        return estimate[0], 0.0, 1.0
    half = t.ppf((1 + confidence_level) / 2, n - 1) * estimator.residuals.std(ddof=1) * np.sqrt(1 + 1 / n)
    return estimate[0], max(estimate[0] - half, 0.0), min(estimate[0] + half, 1.0)


def of_estimator(estimator: Estimator, sample: Sample, confidence_level: float) -> Interval:
    """The estimate of a sample; NaN where it has none."""
    estimate = estimator.estimate(sample, confidence_level)
    if estimate.accuracy is None or estimate.ci_low is None or estimate.ci_high is None:
        return np.nan, np.nan, np.nan
    return estimate.accuracy, estimate.ci_low, estimate.ci_high


def only(correct: Float64s, at: npt.NDArray[np.intp]) -> Float64s:
    """(n,) these labels, NaN elsewhere."""
    given = np.full(len(correct), np.nan)
    given[at] = correct[at]
    return given


def outcome(interval: Interval, truth: float) -> Float64s:
    """(3,) the error, whether the interval covers the truth (0 or 1), and its width."""
    accuracy, low, high = interval
    return np.array([abs(accuracy - truth), low <= truth <= high, high - low], dtype=np.float64)


def summary(found: Float64s) -> dict[str, float | int]:
    """What a cell says of (n, 3) outcomes, one for each composition or replay."""
    errors, covered, widths = found.T
    return {
        "median_mae": float(np.median(errors)),
        "iqr": float(np.subtract(*np.percentile(errors, [75, 25]))),
        "median_mae_outside": float(np.median(errors)),
        "coverage": float(covered.mean()),
        "mean_width": float(widths.mean()),
        "n_compositions": len(found),
    }
