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
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import msgspec

from driftgauge.connectors.base import ConnectorError
from driftgauge.connectors.delivery.receiver import SOURCE, Outcome, outcome
from driftgauge.connectors.http_exchange import exchange
from driftgauge.connectors.publishing.kinds import OUTPUT_KINDS
from driftgauge.connectors.publishing.payload import payload, rfc3339
from driftgauge.models.alert_guide import RESOLVES, action, sentence
from driftgauge.models.outputs import Alert

MAX_DEDUP_KEY, MAX_SUMMARY = 255, 1024
"""Bounds of PagerDuty, in characters."""

_SEVERITIES = {"alarm": "critical", "warning": "warning", "info": "info"}
_SLACK = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


@dataclass(frozen=True)
class Place:
    """Where requests go, and their bounds. The address is in no text made from it, because it may be a secret."""

    url: str = field(repr=False)
    allow_private: bool = False
    timeout_s: float = 10.0
    cafile: str = ""

    def post(self, body: bytes, headers: Mapping[str, str]) -> Outcome:
        """Send one request with JSON in its body."""
        reply = exchange(
            "POST", self.url, body, {"content-type": "application/json", "user-agent": SOURCE, **headers},
            timeout_s=self.timeout_s, cafile=self.cafile, allow_private=self.allow_private,
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

    def __init__(self, place: Place, secret: str = "", now: Callable[[], float] = time.time) -> None:
        self._place, self._now = place, now
        try:
            self._key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
        except (binascii.Error, ValueError):
            raise ConnectorError("the secret of a webhook must be base64 text", retriable=False) from None

    def send(self, alert: Alert) -> Outcome:
        """Post one alert; every attempt has the same ``webhook-id``."""
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
    """Posts each alert as a message to an incoming webhook of Slack."""

    def __init__(self, place: Place) -> None:
        self._place = place

    def send(self, alert: Alert) -> Outcome:
        """Post one alert."""
        text = f"{sentence(alert)} What to do: {action(alert)}."
        return self._place.post(msgspec.json.encode({"text": text.translate(_SLACK)}), {})


class PagerDuty:
    """Sends each alert as an event; `back_on_target` resolves the incident of `below_target`."""

    def __init__(self, place: Place, routing_key: str) -> None:
        self._place, self._routing_key = place, routing_key

    def send(self, alert: Alert) -> Outcome:
        """Send one alert."""
        event: dict[str, Any] = {
            "routing_key": self._routing_key,
            "event_action": "resolve" if alert.kind in RESOLVES else "trigger",
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
    """One key for an alarm and its end, from domain and context; any other alert has its own.

    >>> from types import SimpleNamespace
    >>> raised = SimpleNamespace(kind="below_target", domain="law", fingerprint="f1", key="law/below_target/3")
    >>> resolved = SimpleNamespace(kind="back_on_target", domain="law", fingerprint="f1", key="law/back_on_target/9")
    >>> dedup_key(raised) == dedup_key(resolved)
    True
    """
    kind = RESOLVES.get(alert.kind, alert.kind)
    has_an_end = kind in RESOLVES.values()
    text = f"{SOURCE}/{alert.domain}/{alert.fingerprint}/{kind}" if has_an_end else f"{SOURCE}/{alert.key}"
    return text if len(text) <= MAX_DEDUP_KEY else f"{SOURCE}/{hashlib.sha256(text.encode()).hexdigest()}"
