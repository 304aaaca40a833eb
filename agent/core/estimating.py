"""From a window to an `Estimate`: its usable rows, its status, and its revision."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from driftgauge.agent.core.context_state import ContextState
from driftgauge.agent.core.domain_state import DomainState
from driftgauge.agent.core.settings import PipelineSettings
from driftgauge.agent.core.state import State
from driftgauge.models.arrays import Bools, Float32s, Float64s
from driftgauge.models.estimate.estimators import AccuracyEstimate, Sample, widened
from driftgauge.models.memory import Memory
from driftgauge.models.outputs import Estimate, Status, estimate_key
from driftgauge.models.series import SeriesKey
from driftgauge.models.signals.feature_sets import in_width
from driftgauge.models.windows import Window, usable


def estimate_live(state: State, memory: Memory, domain: DomainState, end: float) -> Estimate:
    """The accuracy of a live domain over the window that ends at ``end``.

    The rows come from the buffer of the domain. A busy domain with much allowed lateness has rows of a later window
    there; those of this one then come from the store.
    """
    last = domain.last_estimate
    revision = last.revision + 1 if last is not None and last.window_end == end else 1
    series, context = domain.series, state.contexts[domain.series.fingerprint]
    sample = _window_sample(state, memory, context, series, domain.window, end)
    low, high = domain.watch.interval or (None, None)
    return replace(_estimate(state, context, series, end, revision, sample), anytime_low=low, anytime_high=high)


def _buffered_sample(context: ContextState, series: SeriesKey, window: Window, end: float) -> Sample:
    span = window.span(end)
    scores = window.scores_of(span, context.estimator, series.domain)
    rows = window.features[span], window.correct[span], window.weight[span]
    return _sample(context, series, window.is_usable[span], *rows, scores)


def estimate_past(
    state: State, memory: Memory, context: ContextState,
    previous: Callable[[str], Estimate | None], series: SeriesKey, ends: Sequence[float],
) -> list[Estimate]:  # fmt: skip
    """The accuracy over windows of one series that were closed earlier, as new revisions of the previous estimates.

    Neighbouring windows share most of their rows: these are read and scored once. A window has no estimate when all its
    rows were deleted since it was marked (``store.retention_s``).

    Parameters
    ----------
    context : of the series; live or retired
    previous : returns the newest estimate with a key
    ends : in ascending order
    """
    spec, estimates = state.settings.windows, list[Estimate]()
    window = Window(spec, state.settings.features.width)
    is_loaded = False
    for end in reversed(ends):
        if not (is_loaded and window.covers(end)):
            window.load(memory.window(series, ends[0] - spec.window_s, end, window.capacity + 1))
            is_loaded = True
        if window.has_rows(end - spec.window_s, end):
            last = previous(estimate_key(series, end))
            revision = 1 if last is None else last.revision + 1
            sample = _window_sample(state, memory, context, series, window, end)
            estimates.append(_estimate(state, context, series, end, revision, sample))
    return estimates[::-1]


def _window_sample(
    state: State, memory: Memory, context: ContextState, series: SeriesKey, window: Window, end: float
) -> Sample:
    """The rows of a window, from a buffer; from the store where the buffer does not hold them all."""
    if window.covers(end):
        return _buffered_sample(context, series, window, end)
    return _stored_sample(state, memory, context, series, end)


def _stored_sample(state: State, memory: Memory, context: ContextState, series: SeriesKey, end: float) -> Sample:
    spec = state.settings.windows
    rows = memory.window(series, end - spec.window_s, end, spec.window_events)
    features = in_width(rows.features, state.settings.features.width)
    return _sample(context, series, usable(features), features, rows.correct, rows.weight)


def _sample(
    context: ContextState, series: SeriesKey, is_usable: Bools,
    features: Float32s, correct: Float64s, weight: Float64s, scores: Float32s | None = None,
) -> Sample:  # fmt: skip
    """The usable rows, with what the estimator of the context reads."""
    if not is_usable.all():
        features, correct, weight = features[is_usable], correct[is_usable], weight[is_usable]
        scores = None if scores is None else scores[is_usable]
    correct = np.where(weight > 0, correct, np.nan)  # weight 0: a label that may teach but not count
    p_correct = np.full(len(features), np.nan)
    if context.estimator.reads_p_correct:
        p_correct = context.committee.predict_proba(features, series.domain)
    return Sample(features, p_correct, correct, weight, scores, series.domain)


def _estimate(
    state: State, context: ContextState, series: SeriesKey, end: float, revision: int, sample: Sample
) -> Estimate:
    settings = state.settings
    found = widened(_judge(settings, context, sample), state.annotator_pairs.error_rate, settings.confidence_level)
    return Estimate(
        domain=series.domain,
        fingerprint=series.fingerprint,
        model=context.model,
        window_start=end - settings.windows.window_s,
        window_end=end,
        watermark=state.watermark,
        revision=revision,
        status=found.status,
        status_reason=found.status_reason,
        accuracy=found.accuracy,
        ci_low=found.ci_low,
        ci_high=found.ci_high,
        confidence_level=settings.confidence_level,
        estimator=found.estimator,
        n_events=len(sample),
        n_labels=int(sample.is_labelled.sum()),
        effective_sample_size=found.effective_sample_size,
        accuracy_labelled=found.accuracy_labelled,
        classifier_version=context.committee.classifier_version,
        components=found.components,
        spread=found.spread,
        interval_parts=found.interval_parts,
    )


def _judge(settings: PipelineSettings, context: ContextState, sample: Sample) -> AccuracyEstimate:
    """The estimate of the rows, or the reason why there is none."""
    if len(sample) == 0:
        return _nothing("no_data", "no usable response in this window", context)
    if len(sample) < settings.min_events:
        return _nothing("insufficient_data", f"{len(sample)} of {settings.min_events} responses", context)
    if problem := context.committee.signal_problem():
        return _nothing("signal_invalid", problem, context)
    return context.estimator.estimate(sample, settings.confidence_level)


def _nothing(status: Status, reason: str, context: ContextState) -> AccuracyEstimate:
    return AccuracyEstimate(
        accuracy=None, ci_low=None, ci_high=None, status=status, status_reason=reason,
        estimator=context.estimator.name, n_events=0, n_labels=0, effective_sample_size=0.0, accuracy_labelled=None,
    )  # fmt: skip
