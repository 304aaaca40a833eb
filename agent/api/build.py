"""From settings to the served API: the only module of this package that knows settings."""

from __future__ import annotations

import logging
import socket
from functools import partial
from typing import TYPE_CHECKING

from driftgauge.agent.api.access import ROLES, Access
from driftgauge.agent.api.agent_pages import Ask
from driftgauge.agent.api.app import Api
from driftgauge.agent.api.posting import Posting
from driftgauge.agent.api.publishing import Publishing
from driftgauge.agent.api.rate import RateLimit
from driftgauge.agent.api.reading import StoreReader
from driftgauge.agent.api.views.context import Known
from driftgauge.agent.outlets.http import Server
from driftgauge.config.settings import Settings
from driftgauge.connectors.decoding.decoder import Decoder
from driftgauge.connectors.decoding.label_scale import LabelScale

if TYPE_CHECKING:
    from driftgauge.connectors.kafka.sink import KafkaSink


log = logging.getLogger(__name__)


def open_server(settings: Settings, listener: socket.socket, ask: Ask | None = None) -> Server:
    """Serve the API and the dashboard on the store of the settings.

    Parameters
    ----------
    ask : asks the agent that runs; None: there is none
    """
    reader = StoreReader(settings.store.url.get_secret_value())
    publishing = Publishing(partial(_open_sink, settings))

    def closing() -> None:
        reader.close()
        publishing.close()

    allowed = access(settings)
    if allowed.is_closed:
        log.warning(
            "nobody can use the dashboard and the API on %s: server.tokens has no token; driftgauge token makes one",
            settings.server.host,
        )
    api = Api(reader, posting(settings, publishing), allowed, known(settings), rate_limit(settings), ask)
    return Server(api.app, listener, closing)


def _open_sink(settings: Settings) -> KafkaSink:
    # the Kafka client takes half a second to import, and most processes need none
    from driftgauge.agent.kafka_settings import connection
    from driftgauge.connectors.kafka.sink import KafkaSink

    return KafkaSink(connection(settings.kafka))


def posting(settings: Settings, publishing: Publishing) -> Posting:
    """What takes labels and events."""

    def make_decoder() -> Decoder:
        from driftgauge.agent.service.build_decoding import decoder  # imports the whole agent, in some seconds

        return decoder(settings)

    topics = settings.kafka.topics
    return Posting(
        publishing,
        labels_topic=next(iter(topics.labels), ""),
        events_topic=settings.events_topic,
        scale=LabelScale(settings.labels.scale),
        make_decoder=make_decoder,
    )


def rate_limit(settings: Settings) -> RateLimit:
    """How many requests a client may send."""
    return RateLimit(settings.server.requests_per_s)


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
