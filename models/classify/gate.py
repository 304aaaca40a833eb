"""The signal gate: whether the entropy signal of a model tells right responses from wrong ones at all.

A check on domains left out: a logistic regression ranks the responses of domains that it did not learn from. Domains
are left out in at most `MAX_FOLDS` groups, so the cost does not grow with their number. The signal is invalid when the
upper bound of the AUROC lies below a configured bound, within domains as well as over all domains together. With too
few labels to decide, the gate stays open.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from driftgauge.models.arrays import Float32s, Float64s, Strings
from driftgauge.models.classify.classifier import ClassifierSettings
from driftgauge.models.classify.refitted import SparseLogisticRegression

MAX_FOLDS = 8
"""Groups of domains that are left out together, each at the cost of one logistic regression."""

_SETTINGS = ClassifierSettings(min_labels=2, memory_labels=None)


@dataclass(frozen=True, slots=True)
class GateCheck:
    """Result of the check.

    Attributes
    ----------
    auroc : over all responses together, each scored by a model that was not trained on its domain
    auroc_within : within domains, averaged with the number of (right, wrong) pairs as weights
    auroc_upper : upper 95 % bound of the larger of the two
    n_labels, n_domains : labels and domains that were judged
    """

    auroc: float
    auroc_within: float
    auroc_upper: float
    n_labels: int
    n_domains: int

    def problem(self, bound: float) -> str | None:
        """Why the signal must not be used; None when it may be used."""
        if self.auroc_upper >= bound:
            return None
        return (
            f"the signal does not tell right from wrong in domains left out: AUROC {self.auroc:.2f} overall, "
            f"{self.auroc_within:.2f} within domains, at most {self.auroc_upper:.2f}, bound {bound:g} "
            f"({self.n_labels} labels, {self.n_domains} domains)"
        )


def domains_left_out(
    features: Float32s, correct: Float64s, weight: Float64s, domain: Strings, min_labels: int = 20
) -> GateCheck | None:
    """Check the signal on n labelled rows, oldest first; None when fewer than two domains can be judged.

    A domain is judged when it has ``min_labels`` labels, two of them right and two wrong; other domains only train.
    With at most `MAX_FOLDS` domains to judge, each is left out alone. Cost: one logistic regression a group (some 40 ms
    with 5,000 rows).
    """
    _, number = np.unique(domain, return_inverse=True)
    order = np.argsort(number, kind="stable")
    by_domain = np.split(order, np.flatnonzero(np.diff(number[order])) + 1)
    judged = [rows for rows in by_domain if _can_be_judged(correct[rows], min_labels)]
    scores = np.full(len(correct), np.nan)
    for group in (judged[fold::MAX_FOLDS] for fold in range(min(len(judged), MAX_FOLDS))):
        left_out = np.concatenate(group)
        rest = np.setdiff1d(order, left_out)
        classifier = SparseLogisticRegression(_SETTINGS)
        classifier.refit(features[rest], correct[rest], weight[rest])
        if classifier.not_ready() is None:
            scores[left_out] = classifier.predict_proba(features[left_out])
    scored = [rows for rows in judged if not np.isnan(scores[rows[0]])]
    return _summarised(scores, correct, scored) if len(scored) > 1 else None


def _can_be_judged(correct: Float64s, min_labels: int) -> bool:
    right = correct.sum()
    return len(correct) >= min_labels and bool(min(right, len(correct) - right) >= 2)


def _summarised(scores: Float64s, correct: Float64s, judged: list[npt.NDArray[np.intp]]) -> GateCheck:
    everything = np.concatenate(judged)
    pooled, pooled_error = auroc(scores[everything], correct[everything])
    within = [auroc(scores[here], correct[here]) for here in judged]
    pairs = np.array([correct[here].sum() * (1 - correct[here]).sum() for here in judged])
    share = pairs / pairs.sum()
    mean = float(sum(s * value for s, (value, _) in zip(share, within, strict=True)))
    error = math.sqrt(sum((s * e) ** 2 for s, (_, e) in zip(share, within, strict=True)))
    upper = min(max(pooled + 1.645 * pooled_error, mean + 1.645 * error), 1.0)
    return GateCheck(pooled, mean, upper, len(everything), len(judged))


def auroc(scores: Float64s, correct: Float64s) -> tuple[float, float]:
    """Area under the ROC curve and its standard error (Hanley and McNeil 1982); labels may be soft.

    >>> auroc(np.array([0.1, 0.4, 0.35, 0.8]), np.array([0.0, 0.0, 1.0, 1.0]))[0]
    0.75
    """
    values, place = np.unique(scores, return_inverse=True)
    right_at = np.bincount(place, correct, len(values))
    wrong_at = np.bincount(place, 1 - correct, len(values))
    right, wrong = float(right_at.sum()), float(wrong_at.sum())
    value = float((right_at * (np.cumsum(wrong_at) - wrong_at / 2)).sum()) / (right * wrong)
    q1, q2 = value / (2 - value), 2 * value**2 / (1 + value)
    square = value * (1 - value) + (right - 1) * (q1 - value**2) + (wrong - 1) * (q2 - value**2)
    return value, math.sqrt(max(square, 0.0) / (right * wrong))
