"""What an accuracy estimator takes and gives: one window of one domain in, one estimate with an interval out.

Owns the types every estimator shares and the simplest honest estimator. Estimators are pure functions over arrays: no
clock, no random draw that a seed does not fix, no state but what they were fitted with. A row needs constant memory.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from driftgauge.models.arrays import Bools, Float32s, Float64s
from driftgauge.models.estimate.recalibration import Recalibrated, ShiftPrior, recalibrate
from driftgauge.models.outputs import Status

MIN_EVENTS = 10
"""Responses a window needs before an estimate without labels is published."""


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """The responses of one domain in one window, n rows; arrays of one length.

    Attributes
    ----------
    features : (n, d) float32, NaN = absent
    p_correct : (n,) float64 in [0, 1] from the current classifier; NaN while it is not ready, and for estimators that
        do not read it
    correct : (n,) float64 labels in [0, 1]; NaN = no label
    weight : (n,) float64, 1 / inclusion probability of the label; 1 when unknown
    scores : (n, m) float32, `Estimator.row_scores` of these features, kept from when the rows came; None: computed
        when needed
    domain : whose responses these are; an estimator that has learned from labels of this domain then leaves them
        out, so that they can speak for themselves
    """

    features: Float32s
    p_correct: Float64s
    correct: Float64s
    weight: Float64s
    scores: Float32s | None = None
    domain: str = ""

    def __len__(self) -> int:
        return len(self.correct)

    @property
    def is_labelled(self) -> Bools:
        """(n,) which rows have a label."""
        return ~np.isnan(self.correct)


@dataclass(frozen=True, slots=True)
class AccuracyEstimate:
    """The accuracy of the responses of one window, with an interval; None where ``status`` is not ``ok``.

    Attributes
    ----------
    components : the values of single estimators, in [0, 1]
    spread : largest minus smallest component; None with fewer than two
    interval_parts : standard errors the interval is made of, on the accuracy scale
    effective_sample_size : Kish's (sum w)^2 / sum w^2 of the labels
    accuracy_labelled : what the labels alone say (weighted mean); None without labels
    """

    accuracy: float | None
    ci_low: float | None
    ci_high: float | None
    status: Status
    status_reason: str | None
    estimator: str
    n_events: int
    n_labels: int
    effective_sample_size: float
    accuracy_labelled: float | None
    components: Mapping[str, float] = field(default_factory=dict)
    spread: float | None = None
    interval_parts: Mapping[str, float] = field(default_factory=dict)


class Estimator(Protocol):
    """From a window to an accuracy. Fitted once on labelled domains, then only read."""

    @property
    def name(self) -> str:
        """What to call it in results."""
        ...

    @property
    def reads_p_correct(self) -> bool:
        """Whether `estimate` looks at ``Sample.p_correct``."""
        ...

    def row_scores(self, features: Float32s, domain: str = "") -> Float32s:
        """(n, m) what `estimate` needs to know about each row of this domain, row by row; n and m may be 0."""
        ...

    def estimate(self, sample: Sample, confidence_level: float = 0.9) -> AccuracyEstimate:
        """The accuracy of these responses; never raises for missing data, gives a status with a reason."""
        ...


class CorrectedMean:
    """The mean of the classifier's probabilities, recalibrated inside the domain by the labels it has.

    Assumes that the probabilities rank responses of the domain somewhat, and that their level is off by an unknown
    shift as large as ``prior`` expects. Without labels the interval is that prior: wide.

    Examples
    --------
    >>> import numpy as np
    >>> p, nothing = np.full(200, 0.8), np.full(200, np.nan)
    >>> sample = Sample(np.zeros((200, 17), np.float32), p, nothing, np.ones(200))
    >>> estimate = CorrectedMean().estimate(sample)
    >>> round(estimate.accuracy, 2), estimate.ci_low < 0.6
    (0.8, True)
    """

    name = "corrected_mean"
    reads_p_correct = True

    def __init__(self, prior: ShiftPrior | None = None) -> None:
        self.prior = prior or ShiftPrior()

    def row_scores(self, features: Float32s, domain: str = "") -> Float32s:
        """(n, 0): everything needed is in ``p_correct``."""
        del domain
        return np.empty((len(features), 0), dtype=np.float32)

    def estimate(self, sample: Sample, confidence_level: float = 0.9) -> AccuracyEstimate:
        """The recalibrated mean of ``p_correct``."""
        p = sample.p_correct
        components = {} if np.isnan(p).all() else {"mean_probability": float(np.nanmean(p))}
        return summarized(sample, p, components, self.name, self.prior, confidence_level)


def summarized(
    sample: Sample,
    p: Float64s,
    components: Mapping[str, float],
    name: str,
    prior: ShiftPrior,
    confidence_level: float,
    level: float | None = None,
) -> AccuracyEstimate:
    """What probabilities ``p`` (n,), their ``level`` and the labels say together, or why nothing can be said."""
    labelled = sample.is_labelled
    n_labels, n_events = int(labelled.sum()), len(sample)
    weight = sample.weight[labelled]
    problem = _problem(n_events, n_labels, bool(np.isnan(p).all()))
    result = None if problem else recalibrate(p, sample.correct, sample.weight, prior, confidence_level, level)
    return AccuracyEstimate(
        **_interval(result),
        status="no_data" if not n_events else "insufficient_data" if problem else "ok",
        status_reason=problem,
        estimator=name,
        n_events=n_events,
        n_labels=n_labels,
        effective_sample_size=float(weight.sum() ** 2 / (weight**2).sum()) if n_labels else 0.0,
        accuracy_labelled=float(np.average(sample.correct[labelled], weights=weight)) if n_labels else None,
        components=components,
        spread=max(components.values()) - min(components.values()) if len(components) > 1 else None,
        interval_parts={} if result is None else result.parts,
    )


def _problem(n_events: int, n_labels: int, is_unpredicted: bool) -> str | None:
    if not n_events:
        return "no responses in the window"
    if is_unpredicted and n_labels < MIN_EVENTS:
        return f"no prediction yet, and {n_labels} labels of the {MIN_EVENTS} an estimate from labels alone needs"
    if n_events < MIN_EVENTS:
        return f"{n_events} responses of at least {MIN_EVENTS}"
    return None


def _interval(result: Recalibrated | None) -> dict[str, float | None]:
    if result is None or not math.isfinite(result.accuracy):
        return {"accuracy": None, "ci_low": None, "ci_high": None}
    return {"accuracy": result.accuracy, "ci_low": result.ci_low, "ci_high": result.ci_high}
