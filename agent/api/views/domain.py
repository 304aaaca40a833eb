"""One domain: its row, its newest estimate, and what stands behind it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple

import numpy as np

from driftgauge.agent.api.shapes import Ratio, Row, Shape, as_carried, carried
from driftgauge.agent.api.views.context import Known
from driftgauge.agent.api.views.distributions import Distribution, distribution
from driftgauge.agent.api.views.domains import rows
from driftgauge.agent.api.views.estimates import SeriesQuestion, no_domain
from driftgauge.agent.outlets.domain_report import DomainReport
from driftgauge.connectors.store.columns import stack
from driftgauge.connectors.store.newest import newest_estimate, newest_label_list, slices_beside
from driftgauge.connectors.store.queries import StoreQueries
from driftgauge.connectors.store.responses import newest_signals, newest_since
from driftgauge.models.arrays import Float64s
from driftgauge.models.classify.reliability import ReliabilityBin
from driftgauge.models.outputs import Estimate, WeakSegments
from driftgauge.models.signals.feature_sets import LAYOUTS

MAX_NOW = 10_000
MAX_BEFORE = 2_000
MAX_COMPARED = 100_000
SHOWN_FEATURES = ("entropy_mean", "entropy_max", "nll_mean", "tail_mass_mean")


class CalibrationBin(Shape):
    """Labelled responses with about the same prediction."""

    n: int
    """Labels."""
    predicted: Ratio
    """The weighted mean of `p_correct`."""
    correct: Ratio
    """The weighted mean of the labels."""
    ci_low: Ratio
    ci_high: Ratio


class Domain(Row):
    """A series, and what stands behind its newest estimate."""

    estimate: Annotated[Any, carried("estimate")]
    calibration: list[CalibrationBin]
    """Predictions of the period up to the window end, of at most the newest 100,000 responses, against the labels that
    came; empty without labels."""
    features: list[Distribution]
    """The newest window against at most 2,000 responses before it; without quantities that no response has."""
    n_now: int
    """Responses of the window."""
    n_before: int
    """Responses before the window."""
    slices: list[Annotated[Any, carried("slice_estimates.SliceEstimate")]]
    """The slices of the newest window."""
    weak_segments: list[Annotated[Any, carried("weak_segments.WeakSegment")]]
    """Those of this series that the newest search found."""
    priority: Annotated[Any, carried("priorities.Priority")] | None
    """Its row of the newest data list; null: it is not on the list."""
    label_list: Annotated[Any, carried("label_list")] | None
    """Its newest label list; null without one."""


def domain(queries: StoreQueries, question: SeriesQuestion, known: Known) -> Domain:
    """One series."""
    made = newest_estimate(queries, question.domain, question.fingerprint)
    if made is None:
        raise no_domain()
    (row,) = rows(queries, [DomainReport(made, None, known.target(made.domain))])
    end = made.window_end
    start = newest_since(queries, end - known.period_s, end, MAX_COMPARED, made.series)
    calibration = queries.reliability(start, end, known.confidence_level, made.series)
    slices = slices_beside(queries, made)
    now, before = _signals(queries, made)
    label_list = newest_label_list(queries, made.series)
    return Domain(
        **dict(row),
        estimate=as_carried(made),
        calibration=[calibration_bin(found) for found in calibration],
        features=_distributions(now, before),
        n_now=now.n,
        n_before=before.n,
        slices=[as_carried(found) for found in (slices.slices if slices else ())],
        weak_segments=_weak_segments(queries, made),
        priority=_priority(queries, made),
        label_list=None if label_list is None else as_carried(label_list),
    )


def calibration_bin(found: ReliabilityBin) -> CalibrationBin:
    """A bin as the API gives it."""
    return CalibrationBin(
        n=found.n, predicted=found.predicted, correct=found.observed, ci_low=found.ci_low, ci_high=found.ci_high
    )


def _weak_segments(queries: StoreQueries, made: Estimate) -> list[Any]:
    newest = queries.newest(WeakSegments, 1)
    found = newest[0].segments if newest else ()
    return [as_carried(s) for s in found if (s.domain, s.fingerprint) == (made.domain, made.fingerprint)]


def _priority(queries: StoreQueries, made: Estimate) -> Any:
    newest = queries.latest_acquisition()
    found = newest.priorities if newest else ()
    return next((as_carried(row) for row in found if row.series == made.series), None)


class _Signals(NamedTuple):
    """What is compared of n responses: (n,) values by name, NaN where unknown."""

    n: int
    values: dict[str, Float64s]


def _signals(queries: StoreQueries, made: Estimate) -> tuple[_Signals, _Signals]:
    """The responses of the window of an estimate, and those before it."""
    n_window = min(made.n_events, MAX_NOW)
    found = newest_signals(queries, made.series, made.window_end, n_window + MAX_BEFORE)
    n_now = sum(row.event_time >= made.window_start for row in found[:n_window])
    return _columns(found[:n_now]), _columns(found[n_now : n_now + MAX_BEFORE])


def _columns(found: Sequence[Any]) -> _Signals:
    features = stack([row.features for row in found])
    place = {name: column for column, name in enumerate(LAYOUTS[features.shape[1]])}
    values = {
        "p_correct": np.array([row.p_correct for row in found], dtype=np.float64),  # None becomes NaN
        "n_tokens": np.array([row.n_tokens for row in found], dtype=np.float64),
        **{name: features[:, place[name]].astype(np.float64) for name in SHOWN_FEATURES if name in place},
    }
    return _Signals(len(found), values)


def _distributions(now: _Signals, before: _Signals) -> list[Distribution]:
    extents = {"p_correct": (0.0, 1.0)}
    none = np.empty(0)
    found = (
        distribution(name, now.values.get(name, none), before.values.get(name, none), extents.get(name))
        for name in ("p_correct", "n_tokens", *SHOWN_FEATURES)
    )
    return [made for made in found if made is not None]
