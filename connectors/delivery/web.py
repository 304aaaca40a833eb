"""Receivers by HTTP: signed webhooks, Slack and PagerDuty. Each is a request made from an alert.

Sources: CloudEvents 1.0 (JSON, structured mode), `Standard Webhooks <https://www.standardwebhooks.com>`_, incoming
webhooks of Slack, Events API v2 of PagerDuty.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar
from urllib.parse import quote

import msgspec

from driftgauge.connectors.base import ConnectorError
from driftgauge.connectors.delivery.receiver import SOURCE, Outcome, outcome, without_mentions
from driftgauge.connectors.http_exchange import exchange
from driftgauge.connectors.publishing.kinds import OUTPUT_KINDS
from driftgauge.connectors.publishing.payload import payload, rfc3339
from driftgauge.models.alerts.guide import action, is_over, listed, sentence, summary
from driftgauge.models.outputs import Alert

MAX_DEDUP_KEY, MAX_SUMMARY = 255, 1024
"""Bounds of PagerDuty, in characters."""

_SEVERITIES = {"alarm": "critical", "warning": "warning", "info": "info"}
_SLACK = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


@dataclass(frozen=True)
class Place:
    """Where requests go, and their bounds. The address is in no text made from it, because it may be a secret.

    ``authorization`` : the value of the header ``Authorization``; empty: there is none
    """

    url: str = field(repr=False)
    allow_private: bool = False
    timeout_s: float = 10.0
    cafile: str = ""
    authorization: str = field(default="", repr=False)

    def post(self, body: bytes, headers: Mapping[str, str]) -> Outcome:
        """Send one request with JSON in its body."""
        own = {"content-type": "application/json", "user-agent": SOURCE}
        if self.authorization:
            own["authorization"] = self.authorization
        reply = exchange(
            "POST", self.url, body, {**own, **headers},
            timeout_s=self.timeout_s, cafile=self.cafile, allow_private=self.allow_private, reads_body=False,
        )  # fmt: skip
        return outcome(reply)


class Webhook:
    """Posts each alert as a CloudEvent, signed where there is a secret.

    Parameters
    ----------
    secret : base64 text, perhaps after ``whsec_``; empty: requests are not signed
    now : UTC seconds

    Raises
    ------
    ConnectorError
        When the secret is not base64 text.
    """

    takes_groups: ClassVar[bool] = False

    def __init__(self, place: Place, secret: str = "", now: Callable[[], float] = time.time) -> None:
        self._place, self._now = place, now
        try:
            self._key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
        except (binascii.Error, ValueError):
            raise ConnectorError("the secret of a webhook must be base64 text", retriable=False) from None

    def send(self, alerts: Sequence[Alert]) -> Outcome:
        """Post one alert; every attempt has the same ``webhook-id``."""
        (alert,) = alerts
        body = cloud_event(alert)
        headers = {"content-type": "application/cloudevents+json; charset=utf-8", "webhook-id": webhook_id(alert)}
        if self._key:
            headers |= signature(self._key, webhook_id(alert), int(self._now()), body)
        return self._place.post(body, headers)


def webhook_id(alert: Alert) -> str:
    """The key of the alert in ASCII, as a header must be.

    >>> from types import SimpleNamespace
    >>> webhook_id(SimpleNamespace(key="law/drift/7")), webhook_id(SimpleNamespace(key="a é/drift/8"))
    ('law/drift/7', 'a%20%C3%A9/drift/8')
    """
    return quote(alert.key, safe="/")


def signature(key: bytes, name: str, seconds: int, body: bytes) -> dict[str, str]:
    """The two further headers of Standard Webhooks.

    >>> signature(b"key", "m-1", 1767607200, b"{}")["webhook-signature"]
    'v1,TIQCeI2KtulgDg7hCCNuKmirJNY7eGfLKooa1WP+RV8='
    """
    signed = hmac.digest(key, f"{name}.{seconds}.".encode() + body, hashlib.sha256)
    return {"webhook-timestamp": str(seconds), "webhook-signature": f"v1,{base64.b64encode(signed).decode()}"}


def cloud_event(alert: Alert) -> bytes:
    """The alert as a CloudEvent; ``data`` is the payload of the topic of alerts, ``action`` what to do."""
    event: dict[str, Any] = {
        "specversion": "1.0",
        "id": alert.key,
        "source": SOURCE,
        "type": OUTPUT_KINDS[Alert].event_type,
        "time": rfc3339(alert.event_time),
        "subject": alert.domain,
        "datacontenttype": "application/json",
        "action": action(alert),
        "data": payload(alert),
    }
    return msgspec.json.encode({name: value for name, value in event.items() if value not in (None, "")})


class Slack:
    """Posts messages to an incoming webhook of Slack."""

    takes_groups: ClassVar[bool] = True

    def __init__(self, place: Place) -> None:
        self._place = place

    def send(self, alerts: Sequence[Alert]) -> Outcome:
        """Post one message."""
        lines = [f"{summary(alerts)} What to do: {action(alerts[0])}.", *(f"• {line}" for line in listed(alerts))]
        text = without_mentions("\n".join(lines)).translate(_SLACK)
        return self._place.post(msgspec.json.encode({"text": text}), {})


class PagerDuty:
    """Sends each alert as an event: one incident from its first message to its end."""

    takes_groups: ClassVar[bool] = False

    def __init__(self, place: Place, routing_key: str) -> None:
        self._place, self._routing_key = place, routing_key

    def send(self, alerts: Sequence[Alert]) -> Outcome:
        """Send one alert."""
        (alert,) = alerts
        event: dict[str, Any] = {
            "routing_key": self._routing_key,
            "event_action": "resolve" if is_over(alert) else "trigger",
            "dedup_key": dedup_key(alert),
            "payload": {
                "summary": sentence(alert)[:MAX_SUMMARY],
                "source": SOURCE,
                "severity": _SEVERITIES[alert.severity],
                "timestamp": rfc3339(alert.event_time),
                "custom_details": {"action": action(alert), **payload(alert)},
            },
        }
        return self._place.post(msgspec.json.encode(event), {})


def dedup_key(alert: Alert) -> str:
    """One key for an alert from its first message to its end.

    >>> from types import SimpleNamespace
    >>> dedup_key(SimpleNamespace(identity="below_target/law/f1", began=3))
    'driftgauge/below_target/law/f1/3'
    """
    text = f"{SOURCE}/{alert.identity}/{alert.began}"
    return text if len(text) <= MAX_DEDUP_KEY else f"{SOURCE}/{hashlib.sha256(text.encode()).hexdigest()}"
