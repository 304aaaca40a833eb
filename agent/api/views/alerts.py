"""Alerts: those that fire now, and everything that was said about them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from driftgauge.agent.api.shapes import Name, Page, Paged, Span, as_carried, carried, cursor, place_of
from driftgauge.agent.api.views.context import Known
from driftgauge.connectors.store.alerts import AlertFilter, newest_alerts, open_alerts
from driftgauge.connectors.store.queries import StoreQueries
from driftgauge.connectors.store.schema import Whole
from driftgauge.models.outputs import Severity


class AlertsQuestion(Paged, Span):
    """Which alerts to give."""

    state: Literal["open", "all"] = "all"
    """`open`: the newest message about each alert that still fires; `all`: every message."""
    domain: Name | None = None
    """Only of this domain."""
    severity: Severity | None = None
    """Only of this severity."""
    kind: Name | None = None
    """Only of this kind, such as `below_target`."""


class Alerts(Page[Annotated[Any, carried("alert")]]):
    """Alerts, the newest first."""


def alerts(queries: StoreQueries, question: AlertsQuestion, _: Known) -> Alerts:
    """Alerts, the newest first."""
    before = place_of(question.after, tuple[Whole])[0] if question.after else None
    domains = None if question.domain is None else [question.domain]
    wanted = AlertFilter(
        domains, question.severity, question.kind, question.start, question.end, before, question.limit + 1
    )
    found = (open_alerts if question.state == "open" else newest_alerts)(queries, wanted)
    page = found[: question.limit]
    return Alerts(
        items=[as_carried(alert) for alert in page],
        next=cursor(page[-1].number) if len(found) > question.limit else None,
    )
