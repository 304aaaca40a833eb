"""The protocol of accuracy estimators: one window of one domain in, one estimate with an interval out.

Owns the types that every estimator shares, and the simplest estimator. An estimator is a pure function over arrays: it
reads no clock, its random draws depend only on the seed, and its only state comes from its fit. Memory per row is
constant.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from statistics import NormalDist
from typing import Protocol

import numpy as np
import numpy.typing as npt

from driftgauge.models.arrays import Bools, Float32s, Float64s
from driftgauge.models.estimate.recalibration import Recalibrated, ShiftPrior, recalibrate
from driftgauge.models.outputs import Status

MIN_EVENTS = 10
"""Responses a window needs for an estimate; without predictions, labels it needs."""


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """The responses of one domain in one window, n rows; arrays of one length.

    Attributes
    ----------
    features : (n, d) float32, NaN = absent
    p_correct : (n,) float64 in [0, 1] from the current classifier; NaN while it is not ready, or when the estimator
        does not read it
    correct : (n,) float64 labels in [0, 1]; NaN = no label
    weight : (n,) float64, 1 / inclusion probability of the label; 1 when unknown; 0, in training rows only: the label
        teaches the classifier and does not count in estimates
    scores : (n, m) float32, `Estimator.row_scores` of these features, kept since the rows came; None: `estimate`
        computes them
    domain : the domain of the responses; an estimator that was fitted on labels of this domain uses a fit without
        them, so that the labels of the sample do not count twice
    """

    features: Float32s
    p_correct: Float64s
    correct: Float64s
    weight: Float64s
    scores: Float32s | None = None
    domain: str = ""

    def __len__(self) -> int:
        return len(self.correct)

    def at(self, rows: npt.NDArray[np.intp]) -> Sample:
        """Some of the rows."""
        scores = None if self.scores is None else self.scores[rows]
        return Sample(
            self.features[rows], self.p_correct[rows], self.correct[rows], self.weight[rows], scores, self.domain
        )

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
    interval_parts : standard errors behind the interval, on the accuracy scale
    effective_sample_size : Kish's (sum w)^2 / sum w^2 of the labels
    accuracy_labelled : weighted mean of the labels alone; None without labels
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


def widened(estimate: AccuracyEstimate, error_rate: float, confidence_level: float) -> AccuracyEstimate:
    """The estimate with an interval that allows for wrong labels.

    Labels of which a share ``error_rate`` is wrong move the accuracy by at most that share, in a direction that nobody
    knows. The shift counts as uniform in [-error_rate, error_rate], whose standard deviation is error_rate / sqrt(3);
    it is independent of the other errors.

    Parameters
    ----------
    error_rate : in [0, 0.5]; `models.labels.AnnotatorPairs.error_rate`

    Examples
    --------
    >>> plain = AccuracyEstimate(0.8, 0.7, 0.9, "ok", None, "e", 100, 20, 20.0, None)
    >>> wide = widened(plain, 0.1, 0.9)
    >>> round(wide.ci_low, 3), round(wide.interval_parts["annotators"], 3), widened(plain, 0.0, 0.9) is plain
    (0.662, 0.058, True)
    """
    accuracy, low, high = estimate.accuracy, estimate.ci_low, estimate.ci_high
    if not error_rate or accuracy is None or low is None or high is None:
        return estimate
    error = error_rate / math.sqrt(3)
    half = NormalDist().inv_cdf((1 + confidence_level) / 2) * error
    return replace(
        estimate,
        ci_low=max(accuracy - math.hypot(accuracy - low, half), 0.0),
        ci_high=min(accuracy + math.hypot(high - accuracy, half), 1.0),
        interval_parts={**estimate.interval_parts, "annotators": error},
    )


class Estimator(Protocol):
    """Estimates the accuracy of a window. Fitted once on labelled domains, constant afterwards."""

    @property
    def name(self) -> str:
        """Its name in results and in the table of estimators."""
        ...

    @property
    def reads_p_correct(self) -> bool:
        """Whether `estimate` uses ``Sample.p_correct``."""
        ...

    def row_scores(self, features: Float32s, domain: str = "") -> Float32s:
        """(n, m) numbers that `estimate` needs, each row from its features alone; n and m may be 0."""
        ...

    def estimate(self, sample: Sample, confidence_level: float = 0.9) -> AccuracyEstimate:
        """The accuracy of these responses; missing data gives a status with a reason, never an exception."""
        ...


class CorrectedMean:
    """The mean of the classifier's probabilities, recalibrated by the labels of the domain.

    Assumes that the error of the probabilities in the domain is mostly one shift on the logit scale, of a size that
    ``prior`` expects. Without labels the interval comes from that prior alone and is wide.

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
        """(n, 0): `estimate` needs only ``p_correct``."""
        del domain
        return np.empty((len(features), 0), dtype=np.float32)

    def estimate(self, sample: Sample, confidence_level: float = 0.9) -> AccuracyEstimate:
        """The recalibrated mean of ``p_correct``."""
        p = sample.p_correct
        components = {} if np.isnan(p).all() else {"mean_probability": float(np.nanmean(p))}
        return summarized(sample, p, components, self.name, self.prior, confidence_level)


class LabelsOnly(CorrectedMean):
    """The mean of labels, where every prediction rests on labels that do not count in estimates.

    Such labels (thumbs, judges) are no fair sample or have errors of their own, and so have predictions from them. With
    fewer than `MIN_EVENTS` labels of the window there is no estimate.
    """

    def estimate(self, sample: Sample, confidence_level: float = 0.9) -> AccuracyEstimate:
        """The mean of labels; ``p_correct`` is not looked at."""
        nothing = np.full(len(sample), np.nan)
        return summarized(sample, nothing, {}, self.name, self.prior, confidence_level)


def summarized(
    sample: Sample,
    p: Float64s,
    components: Mapping[str, float],
    name: str,
    prior: ShiftPrior,
    confidence_level: float,
    level: float | None = None,
) -> AccuracyEstimate:
    """The estimate of a sample from probabilities and labels, or a status with a reason.

    Parameters
    ----------
    p : (n,) probabilities of being correct before the labels; NaN = none
    components, name : the values of single estimators, and the name of the one that is used
    level : the label-free estimate of the accuracy, in [0, 1]; None: the mean of ``p``
    """
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
        return (
            f"no prediction from labels that count yet, and {n_labels} such labels in the window; "
            f"an estimate from labels alone needs {MIN_EVENTS}"
        )
    if n_events < MIN_EVENTS:
        return f"{n_events} responses; an estimate needs {MIN_EVENTS}"
    return None


def _interval(result: Recalibrated | None) -> dict[str, float | None]:
    if result is None or not math.isfinite(result.accuracy):
        return {"accuracy": None, "ci_low": None, "ci_high": None}
    return {"accuracy": result.accuracy, "ci_low": result.ci_low, "ci_high": result.ci_high}
