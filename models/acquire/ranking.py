"""The data list: series ranked by what better accuracy in each of them would be worth, the most valuable first.

The value of a series is its traffic share x (target - accuracy): what the accuracy of all traffic gains when the series
reaches its target. It is negative above the target. Time grows with `DRAWS` x D, memory with D, the number of series.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from driftgauge.models.arrays import Float64s
from driftgauge.models.outputs import Estimate, Priority

TOP = 3
DRAWS = 2_000

_UNLABELLED = (0.05, 0.9)
"""Bounds of ``p_top3`` without labels: no measurement in the domain itself supports its interval then.

Among more than 60 series the lower bound is 3 / D, what chance alone would give.
"""

_DRAWS_AT_ONCE = 100  # so that their values stay in the cache of the processor

_REACH = 5.0
"""Standard deviations: a series that gets among the most valuable only beyond them is left out of the draws."""

_SURE = 1e-4  # accuracies are kept this far from 0 and 1, where the logit is infinite


@dataclass(frozen=True, slots=True)
class Candidate:
    """A series that may be listed.

    Attributes
    ----------
    estimate : its newest estimate
    traffic : its responses in the newest period
    target : the accuracy wanted, in [0, 1]
    accuracy_before : the estimate of the window one period before; None: unknown
    is_new : whether its domain was first seen in the newest period
    """

    estimate: Estimate
    traffic: int
    target: float
    accuracy_before: float | None = None
    is_new: bool = False


def rank(candidates: Sequence[Candidate], seed: int) -> tuple[Priority, ...]:
    """Rank series by value; those without an estimate come last, in the order of their traffic.

    Ties are broken by domain and fingerprint. ``seed`` decides the draws behind ``p_top3``: the same candidates and
    seed give the same list, whatever the order of the candidates.
    """
    candidates = sorted(candidates, key=lambda candidate: candidate.estimate.series)
    total = sum(candidate.traffic for candidate in candidates) or 1
    shares = [candidate.traffic / total for candidate in candidates]
    chances = _chances(candidates, shares, seed)
    listed = sorted(zip(candidates, shares, chances, strict=True), key=lambda row: _order(*row[:2]))
    return tuple(_priority(i, *row) for i, row in enumerate(listed, start=1))


def _chances(candidates: Sequence[Candidate], shares: Sequence[float], seed: int) -> list[float | None]:
    """``p_top3`` of each candidate; None without an estimate."""
    chances: list[float | None] = [None] * len(candidates)
    at = [i for i, candidate in enumerate(candidates) if _interval(candidate.estimate)]
    if not at:
        return chances
    estimates = [candidates[i].estimate for i in at]
    accuracy, low, high = _logit(np.array([_interval(estimate) for estimate in estimates])).T
    z = np.array([NormalDist().inv_cdf((1 + estimate.confidence_level) / 2) for estimate in estimates])
    share, target = np.array([(shares[i], candidates[i].target) for i in at]).T
    found = _probability_of_top(accuracy, (accuracy - low) / z, (high - accuracy) / z, share, target, seed)
    is_labelled = np.array([estimate.n_labels > 0 for estimate in estimates])
    least, most = _UNLABELLED
    found = np.where(is_labelled, found, np.clip(found, min(least, TOP / len(at)), most))
    for i, chance in zip(at, found.tolist(), strict=True):
        chances[i] = chance
    return chances


def _probability_of_top(
    middle: Float64s, lower: Float64s, upper: Float64s, share: Float64s, target: Float64s, seed: int
) -> Float64s:
    """(D,) share of the draws in which a series is among the `TOP` most valuable.

    ``middle`` (D,) are medians of the accuracies on the logit scale, ``lower`` and ``upper`` (D,) the standard
    deviations below and above them: a draw is normal on either side, as wide as the interval there. The errors of two
    series are taken as independent.
    """
    highest = share * (target - _expit(middle - _REACH * lower))
    lowest = share * (target - _expit(middle + _REACH * upper))
    counts = np.zeros(len(middle), dtype=np.int64)
    able = np.flatnonzero(highest >= np.sort(lowest)[-TOP:][0])
    centre, below, above, part, aim = (each[able].astype(np.float32) for each in (middle, lower, upper, share, target))
    rng, rows = np.random.default_rng(seed), np.arange(_DRAWS_AT_ONCE)
    for _ in range(DRAWS // _DRAWS_AT_ONCE):
        half = rng.standard_normal((_DRAWS_AT_ONCE // 2, len(able)), dtype=np.float32)
        noise = np.concatenate((half, -half))  # half the time, and a smaller error than that of independent draws
        values = part * (aim - _expit(centre + noise * np.where(noise < 0, below, above)))
        for _ in range(min(TOP, len(able))):
            best = values.argmax(axis=1)
            counts += np.bincount(able[best], minlength=len(counts))
            values[rows, best] = -np.inf
    return counts / DRAWS


def _interval(estimate: Estimate) -> tuple[float, float, float] | None:
    """Accuracy and the ends of its interval; None unless all are known."""
    if estimate.accuracy is None or estimate.ci_low is None or estimate.ci_high is None:
        return None
    return estimate.accuracy, estimate.ci_low, estimate.ci_high


def _value(candidate: Candidate, share: float) -> float | None:
    accuracy = candidate.estimate.accuracy
    return None if accuracy is None else share * (candidate.target - accuracy)


def _order(candidate: Candidate, share: float) -> tuple[bool, float]:
    """The highest value first; without a value last, the most traffic first."""
    value = _value(candidate, share)
    return value is None, -share if value is None else -value


def _priority(rank: int, candidate: Candidate, share: float, chance: float | None) -> Priority:
    estimate = candidate.estimate
    trend = None
    if estimate.accuracy is not None and candidate.accuracy_before is not None:
        trend = estimate.accuracy - candidate.accuracy_before
    return Priority(
        rank=rank,
        domain=estimate.domain,
        fingerprint=estimate.fingerprint,
        value=_value(candidate, share),
        traffic_share=share,
        target=candidate.target,
        accuracy=estimate.accuracy,
        ci_low=estimate.ci_low,
        ci_high=estimate.ci_high,
        trend=trend,
        p_top3=chance,
        n_events=estimate.n_events,
        n_labels=estimate.n_labels,
        is_new=candidate.is_new,
        why=_why(candidate, share, trend, chance),
    )


def _why(candidate: Candidate, share: float, trend: float | None, chance: float | None) -> str:
    """The reason for the place in the list, as one sentence."""
    estimate, target = candidate.estimate, candidate.target
    traffic = f"{share:.1%} of traffic" + (", new in this period" if candidate.is_new else "")
    interval, value = _interval(estimate), _value(candidate, share)
    if interval is None or value is None:
        return f"{traffic}, no estimate yet: {estimate.status_reason}"
    accuracy, low, high = interval
    gain = f"{100 * value:.1f} points to gain" if value > 0 else "nothing to gain"
    moved = "" if trend is None else f", {trend:+.2f} since the period before"
    labels = f"{estimate.n_labels} label{'' if estimate.n_labels == 1 else 's'}" if estimate.n_labels else "no labels"
    return (
        f"{gain}: {traffic}, accuracy {accuracy:.2f} ({low:.2f} to {high:.2f}) against a target of {target:.2f}"
        f"{moved}, {labels}, among the first {TOP} with probability {chance:.2f}"
    )


def _logit(probability: Float64s) -> Float64s:
    kept = np.clip(probability, _SURE, 1 - _SURE)
    return np.asarray(np.log(kept / (1 - kept)))


def _expit(logit: Any) -> Any:
    """Of float32 as float32, which halves the time of the draws."""
    return 1 / (1 + np.exp(-logit))
