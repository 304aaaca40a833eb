"""Which domains of a later recording differ from the earlier one: the truth that drift alerts are judged by.

Every response of both recordings counts, with its label. All tests of a pair of recordings share the level
(Bonferroni), so the probability that any domain is called different and is not is at most `LEVEL`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from scipy.stats import ks_2samp, norm

from driftgauge.agent.evaluation.compositions import MIN_ROWS
from driftgauge.connectors.files.recordings import Recording
from driftgauge.models.arrays import Float64s, Floats

LEVEL = 0.05
RULE = (
    f"accuracy: it differs beyond binomial noise; features: the distribution of a feature differs "
    f"(Kolmogorov-Smirnov); all tests of a pair of recordings share the level {LEVEL}"
)

Differs: TypeAlias = Literal["accuracy", "features", "nothing", "new"]
"""What differs most of a domain: its accuracy, only its features, nothing, or everything: it is a new domain."""


@dataclass(frozen=True, slots=True)
class DomainTruth:
    """One domain of the later recording; accuracies are means of all labels, None without."""

    domain: str
    differs: Differs
    accuracy_before: float | None
    accuracy_after: float | None
    n_before: int
    n_after: int


def domain_truths(before: Recording, after: Recording) -> list[DomainTruth]:
    """Compare every domain of the later recording with the earlier one, in alphabetical order.

    Domains with fewer than `MIN_ROWS` labels in one of them can only differ in features.
    """
    names, features = [str(name) for name in np.unique(after.domain)], (before.features(), after.features())
    level, truths = LEVEL / 2 / len(names), []
    for name in names:
        first, then = before.domain == name, after.domain == name
        labels = _known(before.labels[first]), _known(after.labels[then])
        differs: Differs = "nothing"
        if not first.any():
            differs = "new"
        elif min(map(len, labels)) >= MIN_ROWS and accuracy_p_value(*labels) < level:
            differs = "accuracy"
        elif smallest_p_value(features[0][first].T, features[1][then].T) < level:
            differs = "features"
        truths.append(DomainTruth(name, differs, _mean(labels[0]), _mean(labels[1]), int(first.sum()), int(then.sum())))
    return truths


def accuracy_p_value(before: Float64s, after: Float64s) -> float:
    """Of the two-sided test that two samples of labels in [0, 1] have one mean, with the binomial variance.

    Graded labels vary less, so for them the value is an upper bound.

    >>> round(accuracy_p_value(np.array([1.0] * 80 + [0.0] * 20), np.array([1.0] * 60 + [0.0] * 40)), 4)
    0.002
    """
    mean = float(np.concatenate([before, after]).mean())
    error = np.sqrt(mean * (1 - mean) * (1 / len(before) + 1 / len(after)))
    return 1.0 if error == 0 else float(2 * norm.sf(abs(before.mean() - after.mean()) / error))


def smallest_p_value(before: Float64s, after: Float64s) -> float:
    """Of the two-sample Kolmogorov-Smirnov tests of the rows of (features, n) arrays, times their number; at most 1."""
    known = [(_known(one), _known(other)) for one, other in zip(before, after, strict=True)]
    values = [ks_2samp(one, other).pvalue for one, other in known if len(one) and len(other)]
    return min(1.0, len(values) * min(values, default=1.0))


def _mean(labels: Float64s) -> float | None:
    return float(labels.mean()) if len(labels) else None


def _known(values: Floats) -> Float64s:
    return np.asarray(values[~np.isnan(values)], dtype=np.float64)
