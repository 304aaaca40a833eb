"""Outputs of the core: estimates, alerts, acquisition lists, predictions and dead letters.

Every type is a plain immutable value. Times are UTC seconds since the epoch (float); unknown is ``None``, never zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from driftgauge.models.events import Rejected
from driftgauge.models.series import SeriesKey

Status: TypeAlias = Literal["ok", "insufficient_data", "signal_invalid", "no_data"]


@dataclass(frozen=True, slots=True)
class Estimate:
    """The accuracy of one domain over one window ``[window_start, window_end)``, with an interval.

    ``accuracy`` and the interval are None unless ``status`` is ``ok``; ``status_reason`` then says why. The key is
    (domain, fingerprint, window_end); a higher ``revision`` of the same key replaces the lower one.
    ``components`` holds the single estimators' values, ``interval_parts`` the standard errors the interval is made of.
    ``anytime_low`` and ``anytime_high`` bound the accuracy by the domain's labels alone, since its last alarm came or
    went, and may be looked at after every label; None without such labels and for past windows.
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
        """The stable key: what a compacted topic keeps one of."""
        return estimate_key(self.series, self.window_end)

    @property
    def series(self) -> SeriesKey:
        """The series it belongs to."""
        return SeriesKey(self.domain, self.fingerprint)


def estimate_key(series: SeriesKey, window_end: float) -> str:
    """The key of the estimate of one series over the window that ends then.

    >>> estimate_key(SeriesKey("law", "0a1b"), 3600.0)
    'law/0a1b/3600'
    """
    return f"{series}/{window_end:.0f}"


@dataclass(frozen=True, slots=True)
class Alert:
    """Something changed, and a person may want to know.

    ``kind``: ``drift`` (a signal moved), ``accuracy_gap`` (labels contradict the estimate), ``below_target`` (labels
    prove accuracy below the target), ``back_on_target`` (that alarm is over), ``new_context`` (a fingerprint never
    seen), ``refused_context``. ``severity`` is ``alarm`` for what labels prove, ``warning`` for what a signal shows,
    ``info`` for the rest.
    """

    kind: str
    severity: Literal["info", "warning", "alarm"]
    domain: str
    fingerprint: str
    event_time: float
    since: float | None
    what: str
    before: float | None
    after: float | None
    message: str
    number: int

    @property
    def key(self) -> str:
        """The stable key: alerts are numbered over the life of the store."""
        return f"{self.domain}/{self.kind}/{self.number}"

    @property
    def series(self) -> SeriesKey:
        """The series it belongs to."""
        return SeriesKey(self.domain, self.fingerprint)


@dataclass(frozen=True, slots=True)
class Priority:
    """One row of an acquisition list: a domain, how much labelling it next would help, and why."""

    rank: int
    domain: str
    fingerprint: str
    priority: float
    traffic_share: float
    shortfall: float
    uncertainty: float
    n_events: int
    n_labels: int
    why: str

    @property
    def series(self) -> SeriesKey:
        """The series it belongs to."""
        return SeriesKey(self.domain, self.fingerprint)


@dataclass(frozen=True, slots=True)
class Acquisition:
    """What to label next, ranked: one list per emission boundary."""

    event_time: float
    priorities: tuple[Priority, ...]
    revision: int = 1

    @property
    def key(self) -> str:
        """The stable key: the boundary the list was made at."""
        return f"{self.event_time:.0f}"


@dataclass(frozen=True, slots=True)
class Prediction:
    """The probability that one response is correct: when it completes or, ``is_final`` false, while it grows."""

    response_id: str
    domain: str
    fingerprint: str
    event_time: float
    p_correct: float | None
    n_tokens: int
    classifier_version: int
    is_final: bool

    @property
    def key(self) -> str:
        """The stable key: the response; the last one published is the newest."""
        return self.response_id


Output: TypeAlias = Estimate | Alert | Acquisition | Prediction | Rejected
