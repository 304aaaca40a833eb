"""The signal gate: whether the entropy signal of a model tells right responses from wrong ones at all.

A check on domains left out: the classifier ranks the responses of domains that its fit left out. The signal is invalid
when the upper bound of the AUROC lies below a configured bound, within domains as well as over all domains together.
With too few labels to decide, the gate stays open.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from driftgauge.models.arrays import Float64s
from driftgauge.models.estimate.estimators import Sample


@dataclass(frozen=True, slots=True)
class GateCheck:
    """Result of the check.

    Attributes
    ----------
    auroc : over all responses together, each scored by a fit that left its domain out
    auroc_within : within domains, averaged with the number of (right, wrong) pairs as weights
    auroc_upper : upper 95 % bound of the larger of the two
    n_labels, n_domains : labels and domains that took part
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


def domains_left_out(left_out: Iterable[tuple[Sample, Float64s]], min_labels: int = 20) -> GateCheck | None:
    """Check the signal on labelled rows of domains; None when fewer than two domains can take part.

    A domain takes part when it has ``min_labels`` labels, two of them right and two wrong.

    Parameters
    ----------
    left_out : of every domain the n labelled rows, and (n,) probabilities by the fit without it, as from
        `FoldFits.all_left_out`

    Examples
    --------
    >>> right = np.tile([1.0, 0.0], 20)
    >>> rows = Sample(np.zeros((40, 17), np.float32), np.full(40, np.nan), right, np.ones(40))
    >>> ranked = [(rows, right)] * 2  # every right response before every wrong one
    >>> domains_left_out(ranked).auroc, domains_left_out(ranked[:1]) is None
    (1.0, True)
    """
    checked = [(p, sample.correct) for sample, p in left_out if _has_enough(sample.correct, min_labels)]
    return _summarised(checked) if len(checked) > 1 else None


def _has_enough(correct: Float64s, min_labels: int) -> bool:
    right = correct.sum()
    return len(correct) >= min_labels and bool(min(right, len(correct) - right) >= 2)


def _summarised(checked: list[tuple[Float64s, Float64s]]) -> GateCheck:
    scores, labels = (np.concatenate(parts) for parts in zip(*checked, strict=True))
    pooled, pooled_error = auroc(scores, labels)
    within = [auroc(p, correct) for p, correct in checked]
    pairs = np.array([correct.sum() * (1 - correct).sum() for _, correct in checked])
    share = pairs / pairs.sum()
    mean = float(sum(s * value for s, (value, _) in zip(share, within, strict=True)))
    error = math.sqrt(sum((s * e) ** 2 for s, (_, e) in zip(share, within, strict=True)))
    upper = min(max(pooled + 1.645 * pooled_error, mean + 1.645 * error), 1.0)
    return GateCheck(pooled, mean, upper, len(labels), len(checked))


def auroc(scores: Float64s, correct: Float64s) -> tuple[float, float]:
    """Area under the ROC curve and its standard error (Hanley and McNeil 1982), from (n,) scores and (n,) labels.

    Labels lie in [0, 1]; one between counts in part as right and in part as wrong.

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
