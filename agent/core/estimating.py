"""From a window to an `Estimate`: its usable rows, its status, and its revision."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from driftgauge.agent.core.context_state import ContextState
from driftgauge.agent.core.domain_state import DomainState
from driftgauge.agent.core.settings import PipelineSettings
from driftgauge.agent.core.state import State
from driftgauge.models.estimate.estimators import AccuracyEstimate, Sample, widened
from driftgauge.models.memory import Memory
from driftgauge.models.outputs import Estimate, SliceEstimate, SliceEstimates, Status, estimate_key
from driftgauge.models.rows import Rows
from driftgauge.models.series import SeriesKey
from driftgauge.models.slices.grouping import slices_of
from driftgauge.models.windows import Window

_RIGHT = 0.5  # a graded label below this says wrong


def estimate_live(state: State, memory: Memory, domain: DomainState, end: float) -> Estimate:
    """The accuracy of a live domain over the window that ends at ``end``.

    The rows come from the buffer of the domain. A busy domain with much allowed lateness has rows of a later window
    there; those of this one then come from the store.
    """
    last = domain.last_estimate
    revision = last.revision + 1 if last is not None and last.window_end == end else 1
    series, context = domain.series, state.contexts[domain.series.fingerprint]
    sample = _sample(context, series, _holding(state, memory, series, domain.window, end), end)
    low, high = domain.watch.interval or (None, None)
    return replace(_estimate(state, context, series, end, revision, sample), anytime_low=low, anytime_high=high)


def worst_responses(state: State, memory: Memory, domain: DomainState, end: float, limit: int) -> tuple[str, ...]:
    """Ids of the responses in a window that are most likely wrong: those labelled wrong, then those without a label.

    Each group is in the order of the probability that the estimator gives them, the lowest first. Without a probability
    a response is left out unless it is labelled.
    """
    series, context = domain.series, state.contexts[domain.series.fingerprint]
    window = _holding(state, memory, series, domain.window, end)
    sample, span = _sample(context, series, window, end), window.span(end)
    is_usable, p = window.is_usable[span], sample.p_correct
    if not context.estimator.reads_p_correct:
        p = window.scores_of(span, context.estimator, series.domain)[is_usable, 0].astype(np.float64)
    ids = np.array(window.ids[span])[is_usable]
    is_wrong = sample.correct < _RIGHT
    # when the next boundary is open already, the buffer may have forgotten what its window does not hold
    is_held = window.event_time[span][is_usable] >= state.boundary - state.settings.windows.window_s
    listed = np.flatnonzero(is_held & (is_wrong | (~sample.is_labelled & ~np.isnan(p))))
    order = listed[np.lexsort((p[listed], ~is_wrong[listed]))]
    return tuple(str(ids[at]) for at in order[:limit])


def estimate_slices(
    state: State, memory: Memory, context: ContextState, buffer: Window | None, estimate: Estimate
) -> SliceEstimates | None:
    """The accuracy of the slices of a window that is estimated, by the same estimator; None without any.

    Parameters
    ----------
    buffer : of the series, where it is live and the window is its newest; it has the scores of the rows
    estimate : of the whole window
    """
    settings, series, end = state.settings, estimate.series, estimate.window_end
    stored = memory.window(series, estimate.window_start, end, settings.windows.window_events)
    carried = dict(zip(stored.id.tolist(), stored.slices, strict=True))
    window = buffer if buffer is not None and buffer.covers(end) else _loaded(state, stored)
    span = window.span(end)
    ids = [name for name, is_usable in zip(window.ids[span], window.is_usable[span], strict=True) if is_usable]
    found, n_left_out = slices_of([carried.get(name, {}) for name in ids], settings.slices, settings.min_events)
    if not found:
        return None
    sample = _sample(context, series, window, end)
    slices = [_of_slice(state, context, name, sample.at(rows)) for name, rows in found.items()]
    return SliceEstimates(
        domain=series.domain,
        fingerprint=series.fingerprint,
        model=estimate.model,
        window_start=estimate.window_start,
        window_end=end,
        revision=estimate.revision,
        confidence_level=estimate.confidence_level,
        estimator=estimate.estimator,
        slices=tuple(slices),
        n_left_out=n_left_out,
    )


def _of_slice(state: State, context: ContextState, name: str, sample: Sample) -> SliceEstimate:
    found = _found(state, context, sample)
    return SliceEstimate(
        slice=name,
        status=found.status,
        status_reason=found.status_reason,
        accuracy=found.accuracy,
        ci_low=found.ci_low,
        ci_high=found.ci_high,
        n_events=len(sample),
        n_labels=int(sample.is_labelled.sum()),
        accuracy_labelled=found.accuracy_labelled,
    )


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
            sample = _sample(context, series, _holding(state, memory, series, window, end), end)
            estimates.append(_estimate(state, context, series, end, revision, sample))
    return estimates[::-1]


def _holding(state: State, memory: Memory, series: SeriesKey, window: Window, end: float) -> Window:
    """A buffer with all rows of the window with this end: the one given, or one that is read from the store."""
    if window.covers(end):
        return window
    spec = state.settings.windows
    return _loaded(state, memory.window(series, end - spec.window_s, end, spec.window_events))


def _loaded(state: State, rows: Rows) -> Window:
    window = Window(state.settings.windows, state.settings.features.width)
    window.load(rows)
    return window


def _sample(context: ContextState, series: SeriesKey, window: Window, end: float) -> Sample:
    """The usable rows of a window, with what the estimator of the context reads."""
    span = window.span(end)
    scores = window.scores_of(span, context.estimator, series.domain)
    features, correct, weight = window.features[span], window.correct[span], window.weight[span]
    is_usable = window.is_usable[span]
    if not is_usable.all():
        features, correct, weight = features[is_usable], correct[is_usable], weight[is_usable]
        scores = scores[is_usable]
    correct = np.where(weight > 0, correct, np.nan)  # weight 0: a label that may teach but not count
    p_correct = np.full(len(features), np.nan)
    if context.estimator.reads_p_correct:
        p_correct = context.committee.predict_proba(features, series.domain)
    return Sample(features, p_correct, correct, weight, scores, series.domain)


def _estimate(
    state: State, context: ContextState, series: SeriesKey, end: float, revision: int, sample: Sample
) -> Estimate:
    settings, found = state.settings, _found(state, context, sample)
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


def _found(state: State, context: ContextState, sample: Sample) -> AccuracyEstimate:
    settings = state.settings
    return widened(_estimated(settings, context, sample), state.annotator_pairs.error_rate, settings.confidence_level)


def _estimated(settings: PipelineSettings, context: ContextState, sample: Sample) -> AccuracyEstimate:
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
