"""What was found, and in which part of the traffic: evidence for an alert."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import Any, NamedTuple

from driftgauge.models.links import link_to
from driftgauge.models.series import SeriesKey


class Identity(NamedTuple):
    """What makes two pieces of evidence one alert: the kind, and the series with its slice.

    >>> str(Identity("weak_segment", SeriesKey("law", "f1", "language=de")))
    'weak_segment/law/f1/language=de'
    """

    kind: str
    series: SeriesKey

    def __str__(self) -> str:
        return f"{self.kind}/{self.series}"


@dataclass(frozen=True, slots=True)
class Evidence:
    """A change that was found.

    Attributes
    ----------
    kind : one of `ALERTS`
    series : the domain, context and slice that changed; ``ALL_DOMAINS`` for all domains
    what : what moved
    message : one sentence without a full stop
    since : event time of the first response after the change; None: unknown
    before, after : mean of what moved, before and after the change; None: unknown
    n : responses or labels behind the evidence; None: unknown
    rows : ids of some of these responses, the newest first
    """

    kind: str
    series: SeriesKey
    what: str
    message: str
    since: float | None = None
    before: float | None = None
    after: float | None = None
    n: int | None = None
    rows: tuple[str, ...] = ()

    @property
    def identity(self) -> Identity:
        """What makes two pieces of evidence one alert."""
        return Identity(self.kind, self.series)

    def link(self, template: str) -> str | None:
        """The address that opens the rows behind the evidence, by a template with the names below; None without one.

        >>> evidence = Evidence("drift", SeriesKey("law & tax", "f1"), "p_correct", "it fell", since=60.0)
        >>> evidence.link("https://gauge.example/rows?domain={domain}&context={fingerprint}&from={since}")
        'https://gauge.example/rows?domain=law%20%26%20tax&context=f1&from=60'
        """
        since = "" if self.since is None else f"{self.since:.0f}"
        names = {"kind": self.kind, "domain": self.series.domain, "fingerprint": self.series.fingerprint}
        return link_to(template, {**names, "slice": self.series.slice, "since": since})

    def snapshot(self) -> list[Any]:
        """The fields as plain values; `restore` takes it."""
        return [*astuple(self)]

    @classmethod
    def restore(cls, saved: list[Any]) -> Evidence:
        """The evidence that gave this snapshot."""
        kind, series, what, message, since, before, after, n, rows = saved
        return cls(kind, SeriesKey(*series), what, message, since, before, after, n, tuple(rows))
