"""From settings to the served API: the only module of this package that knows settings."""

from __future__ import annotations

import socket

from driftgauge.agent.api.access import ROLES, Access
from driftgauge.agent.api.agent_pages import Ask
from driftgauge.agent.api.app import Api
from driftgauge.agent.api.rate import RateLimit
from driftgauge.agent.api.reading import StoreReader
from driftgauge.agent.api.views.context import Known
from driftgauge.agent.outlets.http import Server
from driftgauge.config.settings import Settings


def open_server(settings: Settings, listener: socket.socket, ask: Ask | None = None) -> Server:
    """Serve the API and the dashboard on the store of the settings.

    Parameters
    ----------
    ask : asks the agent that runs; None: there is none
    """
    reader = StoreReader(settings.store.url.get_secret_value())
    api = Api(reader, access(settings), known(settings), RateLimit(settings.server.requests_per_s), ask)
    return Server(api.app, listener, reader.close)


def access(settings: Settings) -> Access:
    """Who may do what."""
    tokens = settings.server.tokens
    return Access({role: getattr(tokens, role) for role in ROLES}, settings.server.host)


def known(settings: Settings) -> Known:
    """What views know besides the store."""
    return Known(
        targets=settings.targets.domains,
        default_target=settings.targets.default,
        confidence_level=settings.estimates.confidence_level,
        period_s=settings.report.period_s,
    )
