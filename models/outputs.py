"""Outputs: estimates, alerts, lists of data, labels and weak segments, predictions, reports and dead letters.

Every type is an immutable value without behaviour. Times are UTC seconds since the epoch (float). An unknown value is
``None``, never zero. Every output that is kept has a ``key``: a later output with the same key replaces it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from driftgauge.models.events import Rejected
from driftgauge.models.series import SeriesKey

Severity: TypeAlias = Literal["info", "warning", "alarm"]
"""``alarm`` when labels prove a change, ``warning`` when a signal shows it, ``info`` otherwise."""

ALERTS: Mapping[str, Severity] = {
    "below_target": "alarm",
    "accuracy_gap": "warning",
    "drift": "warning",
    "served_model": "warning",
    "estimate_below_target": "warning",
    "traffic_mix": "warning",
    "coverage": "warning",
    "label_delay": "warning",
    "vanished_domain": "warning",
    "new_domain": "info",
    "wrong_clock": "warning",
    "new_context": "info",
    "returned_context": "info",
    "refused_context": "info",
    "labels_out_of_scale": "warning",
    "id_conflict": "warning",
    "weak_segment": "warning",
    "new_topic": "info",
    "topics_merged": "info",
    "topic_split": "info",
}
"""Every kind of alert, and its severity."""

Status: TypeAlias = Literal["ok", "insufficient_data", "signal_invalid", "no_data"]
"""Whether an estimate has a value, and in what way it lacks one; ``status_reason`` has the details."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """The accuracy of one series over one window ``[window_start, window_end)``, with an interval.

    ``accuracy`` and the interval are None unless ``status`` is ``ok``; ``status_reason`` then has the reason. The key
    is (domain, fingerprint, window_end); a higher ``revision`` of the same key replaces a lower one. ``components`` has
    the values of the single estimators by name, ``spread`` the difference of the largest and the smallest of them,
    ``interval_parts`` the standard errors that make up the interval. ``anytime_low`` and ``anytime_high`` are an
    interval from the labels of the domain alone, since an alarm was last raised or resolved. It may be read after every
    label; None without such labels and for past windows. ``classifier_version`` is the number of the stored version
    that the estimate was made with; 0 before the first fit.
    """

    domain: str
    fingerprint: str
    model: str
    window_start: float
    window_end: float
    watermark: float
    revision: int
    status: Status
    status_reason: str | None
    accuracy: float | None
    ci_low: float | None
    ci_high: float | None
    confidence_level: float
    estimator: str
    n_events: int
    n_labels: int
    effective_sample_size: float
    accuracy_labelled: float | None
    classifier_version: int
    components: Mapping[str, float] = field(default_factory=dict)
    spread: float | None = None
    interval_parts: Mapping[str, float] = field(default_factory=dict)
    anytime_low: float | None = None
    anytime_high: float | None = None

    @property
    def key(self) -> str:
        """The stable key, of which a compacted topic keeps the newest estimate: the series and the window end."""
        return estimate_key(self.series, self.window_end)

    @property
    def series(self) -> SeriesKey:
        """The series whose accuracy is estimated."""
        return SeriesKey(self.domain, self.fingerprint)


def estimate_key(series: SeriesKey, window_end: float) -> str:
    """The key of the estimate of one series over the window with this end.

    >>> estimate_key(SeriesKey("law", "0a1b"), 3600.0)
    'law/0a1b/3600'
    """
    return f"{series}/{boundary_name(window_end)}"


def boundary_name(boundary: float) -> str:
    """The event time of a boundary as text: two boundaries never have the same.

    >>> boundary_name(3600.0), boundary_name(0.5)
    ('3600', '0.5')
    """
    return f"{boundary:.0f}" if boundary.is_integer() else repr(float(boundary))


AlertState: TypeAlias = Literal["pending", "firing", "no_data", "resolved", "ok"]
"""``pending``: not sustained yet, or too few responses; ``ok``: it ended before anybody was told that it fired;
``no_data``: the series that it is about fell silent while it fired."""


@dataclass(frozen=True, slots=True)
class Alert:
    """A change that a person may want to know, and what became of it.

    The same change gives several alerts over time, one for each ``state`` that it enters and one for each repeat. They
    have the same `identity` (kind, domain, context, slice), and ``began`` is the number of the first of them. An alert
    of severity ``info`` only fires.

    ``kind`` is one of `ALERTS`; ``docs/operating.md`` says what each means. ``severity``: ``alarm`` when labels prove
    the change, ``warning`` when a signal shows it, ``info`` otherwise. ``since`` is the event time of the first
    response after the change; ``before`` and ``after`` are the means of ``what`` before and after it. All three are
    None where unknown. ``n`` responses or labels are behind it, and ``rows`` are ids of some of them. ``link`` opens
    them in a tool of the user; None without a template. ``inhibited_by`` is the identity of a firing alert that makes
    this one superfluous; empty: there is none.
    """

    kind: str
    severity: Severity
    domain: str
    fingerprint: str
    event_time: float
    since: float | None
    what: str
    before: float | None
    after: float | None
    message: str
    number: int
    state: AlertState = "firing"
    began: int = 0
    slice: str = ""
    n: int | None = None
    rows: tuple[str, ...] = ()
    link: str | None = None
    inhibited_by: str = ""

    @property
    def key(self) -> str:
        """The stable key: domain, kind and number."""
        return f"{self.domain}/{self.kind}/{self.number}"

    @property
    def identity(self) -> str:
        """What the alerts about one change have in common, and those about the next change of the same kind too."""
        return f"{self.kind}/{self.series}"

    @property
    def series(self) -> SeriesKey:
        """The series that changed."""
        return SeriesKey(self.domain, self.fingerprint, self.slice)


@dataclass(frozen=True, slots=True, kw_only=True)
class Priority:
    """One row of a data list: what better accuracy in one series would be worth, and why.

    ``value`` is ``traffic_share`` x (``target`` - ``accuracy``), negative above the target and None without an
    estimate. ``traffic_share`` is the share in [0, 1] of all responses of the newest period that belong to the series.
    ``trend`` is the accuracy less that of the window one period before, None where either is unknown. ``p_top3`` is the
    probability that the series is among the three most valuable. ``is_new`` says that the domain was first seen in the
    newest period. ``worst`` are ids of responses in the window: those labelled wrong, then those that are most likely
    wrong; the first rows of a list have them. ``target`` is None in stored lists that are older than version 0.2.0.
    """

    rank: int
    domain: str
    fingerprint: str
    value: float | None = None
    traffic_share: float
    target: float | None = None
    accuracy: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None
    trend: float | None = None
    p_top3: float | None = None
    n_events: int
    n_labels: int
    is_new: bool = False
    worst: tuple[str, ...] = ()
    why: str

    @property
    def series(self) -> SeriesKey:
        """The series to get data for."""
        return SeriesKey(self.domain, self.fingerprint)


@dataclass(frozen=True, slots=True)
class Acquisition:
    """The data list: for which series to get data. One ranked list for each boundary; made again: ``revision`` + 1."""

    event_time: float
    priorities: tuple[Priority, ...]
    revision: int = 1

    @property
    def key(self) -> str:
        """The stable key: the boundary at which the list was made."""
        return boundary_name(self.event_time)


@dataclass(frozen=True, slots=True)
class LabelRequest:
    """One response that a person should label.

    ``rank`` counts from 1 within its list: with fewer labels than asked for, label the lowest ranks, which are a fair
    sample too. ``inclusion_probability`` belongs into the label. ``p_correct`` was predicted when the response arrived,
    and is None without a prediction. ``aliases`` are further ids that a label may name the response by. ``link`` opens
    the response in a tool of the user; None without a template.
    """

    rank: int
    response_id: str
    event_time: float
    inclusion_probability: float
    p_correct: float | None
    aliases: tuple[str, ...] = ()
    slices: Mapping[str, str] = field(default_factory=dict)
    link: str | None = None


@dataclass(frozen=True, slots=True)
class LabelList:
    """The responses of one series that should be labelled: a random sample of those of ``[period_start, period_end)``.

    Of ``n_responses`` in the period ``n_labelled`` have a label that counts already; the sample is drawn from the
    others. ``rank`` orders the lists of one period, the most useful first. Labels that come after ``expires`` count as
    well, but newer responses were asked for in their place.

    ``n_asked`` are the requests of the series that expired since its list before, ``n_answered`` those of them with a
    label that counts. ``p_answered`` and ``p_unanswered`` are the mean ``p_correct`` of the ones and the others, None
    where unknown: where they differ, the labels that came are no fair sample.
    """

    domain: str
    fingerprint: str
    model: str
    period_start: float
    period_end: float
    expires: float
    rank: int
    plan: str
    reason: str
    n_responses: int
    n_labelled: int
    n_asked: int
    n_answered: int
    p_answered: float | None
    p_unanswered: float | None
    requests: tuple[LabelRequest, ...]

    @property
    def key(self) -> str:
        """The stable key: the series and the end of the period."""
        return estimate_key(self.series, self.period_end)

    @property
    def series(self) -> SeriesKey:
        """The series to label."""
        return SeriesKey(self.domain, self.fingerprint)


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceEstimate:
    """The accuracy of one slice of a series, such as ``language=de``; the fields are those of `Estimate`."""

    slice: str
    status: Status
    status_reason: str | None
    accuracy: float | None
    ci_low: float | None
    ci_high: float | None
    n_events: int
    n_labels: int
    accuracy_labelled: float | None


@dataclass(frozen=True, slots=True)
class SliceEstimates:
    """The accuracy of slices of one series over one window: beside its `Estimate`, of the same key and revision.

    ``slices`` are the slices with enough responses, the largest first; ``n_left_out`` further ones are too many.
    """

    domain: str
    fingerprint: str
    model: str
    window_start: float
    window_end: float
    revision: int
    confidence_level: float
    estimator: str
    slices: tuple[SliceEstimate, ...]
    n_left_out: int

    @property
    def key(self) -> str:
        """The stable key: that of the estimate of the whole series."""
        return estimate_key(SeriesKey(self.domain, self.fingerprint), self.window_end)


Basis: TypeAlias = Literal["labels", "predictions"]
"""What says that a segment is weak: labels prove it, predictions only suggest it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WeakSegment:
    """A slice of a domain where responses are wrong more often than in the rest of the domain.

    With the basis ``labels``, ``accuracy`` and ``accuracy_outside`` are weighted means of the labels; with
    ``predictions``, means of ``p_correct``, and labels do not prove it. ``n`` labels or responses are in the segment,
    without those in a segment that is listed before it. ``p_value`` is corrected for all segments of the search.
    ``worst`` are ids of responses in the segment: the newest of those labelled wrong, or those most likely wrong.
    """

    rank: int
    domain: str
    fingerprint: str
    slice: str
    basis: Basis
    accuracy: float
    accuracy_outside: float
    n: int
    p_value: float
    worst: tuple[str, ...] = ()
    why: str

    @property
    def series(self) -> SeriesKey:
        """The segment."""
        return SeriesKey(self.domain, self.fingerprint, self.slice)


@dataclass(frozen=True, slots=True)
class WeakSegments:
    """The weak segments that a search found at the end of a period, those that labels prove first.

    The labels are those of responses since ``since``, the predictions those of the period. ``n_segments`` of domains
    were compared by labels, ``n_suggesting`` by predictions.
    """

    event_time: float
    since: float
    false_alarms: float
    n_labels: int
    n_segments: int
    n_suggesting: int
    segments: tuple[WeakSegment, ...]

    @property
    def key(self) -> str:
        """The stable key: the end of the period."""
        return boundary_name(self.event_time)


@dataclass(frozen=True, slots=True)
class Prediction:
    """The probability that one response is correct.

    ``is_final`` is false for a prediction that was made while the response was generated. ``p_correct`` is None where
    the classifier could not predict. ``number`` grows with each prediction of any response.
    """

    response_id: str
    domain: str
    fingerprint: str
    event_time: float
    p_correct: float | None
    n_tokens: int
    classifier_version: int
    is_final: bool
    number: int = 1

    @property
    def key(self) -> str:
        """The stable key: the id of the response. Of several predictions, the one with the highest number counts."""
        return self.response_id


@dataclass(frozen=True, slots=True)
class ReportWritten:
    """A report on ``[period_start, period_end)`` that was written, and how many domains it counts by verdict.

    ``files`` are paths on the machine of the agent, or URLs, in the order of the formats. ``timezone`` is the IANA name
    of the time zone whose calendar the period belongs to.
    """

    period_start: float
    period_end: float
    timezone: str
    files: tuple[str, ...]
    n_domains: int
    n_below_target: int
    n_unclear: int
    n_no_estimate: int
    n_meets_target: int

    @property
    def key(self) -> str:
        """The stable key: the period."""
        return f"{boundary_name(self.period_start)}/{boundary_name(self.period_end)}"


Output: TypeAlias = (
    Estimate | SliceEstimates | Alert | Acquisition | LabelList | WeakSegments | Prediction | ReportWritten | Rejected
)
"""Everything that is published: what the core emits, with rejected events as dead letters, and written reports."""
