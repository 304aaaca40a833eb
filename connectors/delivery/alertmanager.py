"""Alerts to Prometheus Alertmanager, API v2: what fires is posted again and again, as it keeps alerts in memory only.

An alert that is posted is one label set. Numbers that change are annotations, so that a repeat is the same alert. It
fires until its ``endsAt``, which each post moves ahead; it is resolved by ``endsAt`` = now.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from driftgauge.connectors.delivery.receiver import Outcome
from driftgauge.connectors.delivery.web import Place
from driftgauge.connectors.publishing.payload import rfc3339
from driftgauge.models.alerts.guide import action, is_over, sentence
from driftgauge.models.outputs import Alert

PATH = "/api/v2/alerts"
LIVES_FOR = 4
"""Intervals after which Alertmanager resolves an alert that is not posted again."""


class Alertmanager:
    """Posts the present state of alerts.

    Parameters
    ----------
    place : its address with `PATH`
    interval_s : seconds between two posts
    """

    def __init__(self, place: Place, *, interval_s: float) -> None:
        self.interval_s = interval_s
        self._place = place

    def post(self, alerts: Sequence[Alert], now: float) -> Outcome:
        """Post alerts that fire and ends of alerts at once; ``now`` is UTC seconds."""
        posted = [posted_alert(alert, now, self.interval_s) for alert in alerts]
        return self._place.post(msgspec.json.encode(posted), {})


def posted_alert(alert: Alert, now: float, interval_s: float) -> dict[str, Any]:
    """An alert that fires, or its end.

    >>> from driftgauge.models.outputs import Alert
    >>> values = dict(fingerprint="f", event_time=0.0, since=None, what="accuracy", before=0.9, after=0.7, number=1)
    >>> alert = Alert(kind="below_target", severity="alarm", domain="law", message="it fell", **values)
    >>> found = posted_alert(alert, 100.0, 30.0)
    >>> found["labels"]
    {'alertname': 'DriftgaugeBelowTarget', 'domain': 'law', 'context': 'f', 'severity': 'alarm'}
    >>> found["startsAt"], found["endsAt"]
    ('1970-01-01T00:00:00Z', '1970-01-01T00:03:40Z')
    """
    labels = {
        "alertname": "Driftgauge" + "".join(word.capitalize() for word in alert.kind.split("_")),
        "domain": alert.domain,
        "context": alert.fingerprint,
        "slice": alert.slice,
        "severity": alert.severity,
    }
    ends = now if is_over(alert) else now + LIVES_FOR * interval_s
    details = {"before": alert.before, "after": alert.after, "since": rfc3339(alert.since), "state": alert.state}
    known = {
        name: f"{value:.4g}" if isinstance(value, float) else value
        for name, value in details.items()
        if value is not None
    }
    return {
        "labels": {name: value for name, value in labels.items() if value},
        "annotations": {"summary": sentence(alert), "action": action(alert), "alert": alert.key, **known},
        "startsAt": rfc3339(min(alert.event_time, now)) or rfc3339(now),
        "endsAt": rfc3339(ends),
    }
