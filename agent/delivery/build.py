"""From settings to the couriers of all sinks: the only module of this package that knows settings."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry

from driftgauge.agent.delivery.courier import Courier
from driftgauge.agent.delivery.metrics import DeliveryMetrics
from driftgauge.agent.delivery.readiness import Readiness
from driftgauge.agent.delivery.repeater import Repeater
from driftgauge.agent.delivery.silenced import Silenced, Unsilenced
from driftgauge.agent.delivery.wanted import Wanted
from driftgauge.agent.environment import variable
from driftgauge.agent.outlets.http import metrics_route, status_pages
from driftgauge.config.delivery import PAGERDUTY_URL, DeliverySettings, SinkSettings
from driftgauge.config.gateway import is_address
from driftgauge.config.load import title_of
from driftgauge.config.settings import Settings
from driftgauge.connectors.base import ConnectorError, WrongSettingError
from driftgauge.connectors.delivery import alertmanager
from driftgauge.connectors.delivery.alertmanager import Alertmanager
from driftgauge.connectors.delivery.apprise_target import AppriseTarget
from driftgauge.connectors.delivery.cursors import Cursors
from driftgauge.connectors.delivery.mail import Mail, MailServer
from driftgauge.connectors.delivery.receiver import Receiver
from driftgauge.connectors.delivery.web import PagerDuty, Place, Slack, Webhook
from driftgauge.connectors.http_exchange import is_public
from driftgauge.connectors.store.queries import StoreQueries
from driftgauge.models.alerts.guide import ACTIONS

log = logging.getLogger(__name__)


def receivers(settings: DeliverySettings) -> dict[str, Receiver | Alertmanager]:
    """The receiver of each sink, by its name.

    Raises
    ------
    WrongSettingError
        There are no sinks; or with every sink that cannot be made, such as one whose environment variable is not set.
    """
    if not settings.sinks:
        raise WrongSettingError("there is no sink: delivery.sinks names the receivers")
    made, problems = dict[str, Receiver | Alertmanager](), list[str]()
    for name, sink in settings.sinks.items():
        if unknown := sorted({*sink.kinds} - {*ACTIONS}):
            problems.append(f"delivery.sinks.{name}.kinds: no such kind of alert: {', '.join(unknown)}")
        try:
            made[name] = _receiver(sink, allow_private=settings.allow_private)
        except ConnectorError as error:
            problems.append(f"delivery.sinks.{name}{error}")
    if problems:
        raise WrongSettingError("\n  ".join([title_of(problems, "delivery"), *problems]))
    return made


def couriers(
    settings: DeliverySettings,
    made: Mapping[str, Receiver | Alertmanager],
    queries: StoreQueries,
    cursors: Cursors,
    pause: Callable[[float], bool],
    *,
    from_start: bool = False,
) -> list[Courier | Repeater]:
    """A thread for each sink.

    Parameters
    ----------
    made : the receiver of each sink (`receivers`)
    pause : see `SinkThread`
    from_start : a sink without a cursor gets every alert of the store; else those from now on

    Raises
    ------
    ConnectorError
        When the store cannot be read.
    """
    newest, silenced = queries.newest_alert_number(), Silenced(queries, time.time)
    found = list[Courier | Repeater]()
    for name, receiver in made.items():
        start, passes = 0 if from_start else newest, Unsilenced(wanted(settings.sinks[name]), silenced)
        found.append(
            Repeater(name, receiver, queries, cursors, wanted=passes, start=start, pause=pause, now=time.time)
            if isinstance(receiver, Alertmanager)
            else Courier(
                name, receiver, queries, cursors, wanted=passes, start=start, pause=pause,
                poll_s=settings.poll_s, longest_wait_s=settings.longest_wait_s, group_wait_s=settings.group_wait_s,
            )
        )  # fmt: skip
    for courier in found:
        log.info("%s goes on after alert number %s", courier.name, courier.cursor)
        if courier.cursor > newest:
            log.warning(
                "%s: got alerts up to number %s, and the newest of the store is %s: was the store replaced? No "
                "alert up to that number is sent; move the file %s away to send them",
                courier.name, courier.cursor, newest, settings.cursors,
            )  # fmt: skip
    return found


def page(
    settings: Settings, sinks: Sequence[Courier | Repeater], queries: StoreQueries
) -> AbstractContextManager[None]:
    """The pages with metrics, health and readiness, where the settings ask for them.

    Raises
    ------
    ConnectorError
        When they cannot listen on their port.
    """
    registry = CollectorRegistry()
    registry.register(DeliveryMetrics(sinks, queries))
    ready = Readiness(sinks, settings.delivery.unready_after_s)
    routes = {"/metrics": metrics_route(registry), "/healthz": ready.healthz, "/readyz": ready.readyz}
    return status_pages(settings.server.host, settings.delivery.status_port, routes)


def wanted(sink: SinkSettings) -> Wanted:
    """Which alerts a sink gets."""
    return Wanted(frozenset(sink.severities), frozenset(sink.kinds), frozenset(sink.domains))


def _receiver(sink: SinkSettings, *, allow_private: bool) -> Receiver | Alertmanager:
    secret = variable(sink.secret_from, ".secret_from")
    if sink.type == "email":
        _check_host(sink.host, allow_private=allow_private)
        server = MailServer(
            sink.host,
            sink.port,
            sink.security,
            sink.username,
            secret,
            cafile=sink.cafile,
            allow_private=allow_private,
            timeout_s=sink.timeout_s,
        )
        return Mail(server, sink.sender, sink.to)
    if sink.type == "apprise":
        return _apprise(variable(sink.url_from, ".url_from"), sink, allow_private=allow_private)
    place = _place(sink, allow_private=allow_private)
    if sink.type == "pagerduty":
        return PagerDuty(place, secret)
    if sink.type == "alertmanager":
        base = place.url.rstrip("/").removesuffix(alertmanager.PATH)
        return Alertmanager(replace(place, url=base + alertmanager.PATH), interval_s=sink.interval_s)
    if sink.type == "slack":
        return Slack(place)
    try:
        return Webhook(place, secret)
    except ConnectorError as error:
        raise ConnectorError(f".secret_from: {error}", retriable=False) from None


def _apprise(url: str, sink: SinkSettings, *, allow_private: bool) -> Receiver:
    """What stands for a host in an address of Apprise is one for some services only; only a host can be private."""
    _check_host(urlsplit(url).hostname or "", allow_private=allow_private)
    try:
        return AppriseTarget(url, attempts=sink.attempts, timeout_s=sink.timeout_s)
    except ConnectorError as error:
        raise ConnectorError(f".url_from: {error}", retriable=False) from None


def _place(sink: SinkSettings, *, allow_private: bool) -> Place:
    url = variable(sink.url_from, ".url_from") or sink.url or PAGERDUTY_URL
    if not is_address(url.partition("?")[0]):
        raise ConnectorError(".url_from: the variable must hold an address, https://host/path", retriable=False)
    _check_host(urlsplit(url).hostname or "", allow_private=allow_private)
    authorization = variable(sink.authorization_from, ".authorization_from")
    if not (authorization.isascii() and authorization.isprintable()):
        raise ConnectorError(".authorization_from: the variable must hold one line of ASCII text", retriable=False)
    return Place(url, allow_private, sink.timeout_s, sink.cafile, authorization)


def _check_host(host: str, *, allow_private: bool) -> None:
    """Refuse an address of a private network at once; a name is looked up at every connection."""
    try:
        is_refused = not allow_private and not is_public(host)
    except ValueError:
        is_refused = not allow_private and host == "localhost"
    if is_refused:
        text = ": the address is inside a private network: set delivery.allow_private if it is meant"
        raise ConnectorError(text, retriable=False)
