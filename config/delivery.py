"""Settings of delivery: which receivers get alerts, and with what patience."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import Field, field_validator, model_validator

from driftgauge.config.gateway import ADDRESS_RULE, is_address
from driftgauge.config.section import LISTED, Names, Port, PositiveSeconds, Seconds, Section, is_variable

Severities: TypeAlias = Annotated[tuple[Literal["info", "warning", "alarm"], ...], LISTED]

PAGERDUTY_URL = "https://events.pagerduty.com/v2/enqueue"

_FIELDS = {
    "webhook": ({"url", "url_from"}, {"secret_from", "authorization_from", "cafile"}),
    "slack": ({"url_from"}, {"cafile"}),
    "apprise": ({"url_from"}, {"attempts"}),
    "pagerduty": ({"secret_from"}, {"url", "cafile"}),
    "alertmanager": ({"url", "url_from"}, {"authorization_from", "cafile", "interval_s"}),
    "email": ({"host", "sender", "to"}, {"port", "security", "username", "secret_from", "cafile"}),
}  # of each type: what it needs (of url and url_from one), and what it may have besides
_ALL = {"severities", "kinds", "domains", "timeout_s", "type"}


class SinkSettings(Section):
    """A receiver of alerts."""

    type: Literal["webhook", "slack", "pagerduty", "email", "alertmanager", "apprise"]
    """Kind of the receiver."""

    url: str = ""
    """Address that alerts are posted to (webhook, pagerduty), or of the Alertmanager."""

    url_from: str = ""
    """Environment variable with the address, where the address itself is a secret (webhook, slack, alertmanager,
    apprise)."""

    secret_from: str = ""
    """Environment variable with the secret: of signatures (webhook), the integration key (pagerduty), the password
    (email)."""

    authorization_from: str = ""
    """Environment variable with what the header Authorization holds, such as `Bearer 5f3c` (webhook, alertmanager)."""

    host: str = ""
    """Mail server (email)."""

    port: Port = 587
    """Port of the mail server."""

    security: Literal["none", "starttls", "tls"] = "starttls"
    """How the connection to the mail server is encrypted."""

    username: str = ""
    """User name at the mail server; empty: none."""

    sender: str = ""
    """Address that mail comes from."""

    to: Names = ()
    """Addresses that mail goes to."""

    cafile: str = ""
    """PEM file with the certificates to trust; empty: the certificates of the system."""

    timeout_s: PositiveSeconds = 10.0
    """Seconds that an attempt may take to be answered."""

    interval_s: PositiveSeconds = 30.0
    """Seconds between two posts of what fires (alertmanager)."""

    attempts: Annotated[int, Field(ge=1, le=100_000)] = 100
    """Failed attempts after which a message is given up (apprise, which cannot tell why an attempt failed)."""

    severities: Severities = ()
    """Severities that this sink gets; empty: all."""

    kinds: Names = ()
    """Kinds of alerts that this sink gets; empty: all."""

    domains: Names = ()
    """Domains whose alerts this sink gets; empty: all."""

    @model_validator(mode="after")
    def _has_what_its_type_needs(self) -> Self:
        needed, possible = _FIELDS[self.type]
        given = {name for name in self.model_fields_set if getattr(self, name)}
        problems = [f"{name} is needed" for name in sorted(needed - {"url", "url_from"} - given)]
        addresses = sorted(needed & {"url", "url_from"})
        if addresses and len(given & set(addresses)) != 1:
            problems.append(f"{' or '.join(addresses)} is needed")
        problems += [f"{name} is no setting of this type" for name in sorted(given - needed - possible - _ALL)]
        if self.url and not is_address(self.url):
            problems.append(f"url {ADDRESS_RULE}")
        for name in ("url_from", "secret_from", "authorization_from"):
            if (value := getattr(self, name)) and not is_variable(value):
                problems.append(f"{name} must be the name of an environment variable")
        if self.username and not self.secret_from:
            problems.append("username needs secret_from")
        if any(not address.isascii() or not re.fullmatch(r"[^\s@,<>]+@[^\s@,<>]+", address)
               for address in (*self.to, self.sender) if address):  # fmt: skip
            problems.append("sender and to must be addresses like name@example.com")
        if problems:
            raise ValueError("; ".join(problems))
        return self


class DeliverySettings(Section):
    """Delivery of alerts to people and their tools, `driftgauge deliver`. See docs/alerts_delivery.md."""

    sinks: Annotated[dict[str, SinkSettings], LISTED] = Field(default_factory=dict, max_length=50)
    """Receivers by name: `{ops: {type: slack, url_from: SLACK_URL}}`. A new name starts with the next alert."""

    cursors: Path = Path("delivery.cursors")
    """File that keeps how far each sink is."""

    allow_private: bool = False
    """Whether sinks may be at loopback or in a private network."""

    poll_s: PositiveSeconds = 5.0
    """Seconds between two looks at the store for new alerts."""

    longest_wait_s: PositiveSeconds = 300.0
    """Longest wait between two attempts in seconds; the first is 1 second, each further one twice as long."""

    group_wait_s: Seconds = 10.0
    """Seconds to wait for further alerts that one message can be about (slack, email); 0: none."""

    status_port: Port = 0
    """Port of the pages `/metrics`, `/healthz` and `/readyz`, on `server.host`; 0: none."""

    unready_after_s: PositiveSeconds = 600.0
    """Seconds that a sink may fail until `/readyz` says so."""

    @field_validator("sinks")
    @classmethod
    def _names_are_plain(cls, sinks: dict[str, SinkSettings]) -> dict[str, SinkSettings]:
        if not all(re.fullmatch(r"[a-z][a-z0-9_]{0,39}", name) for name in sinks):
            raise ValueError("the name of a sink is up to 40 of a-z, 0-9 and _, and begins with a letter")
        return sinks
