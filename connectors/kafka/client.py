"""The Kafka client: its options, and its errors.

Every consumer, producer and administration client of this package is made here, and their errors become
`ConnectorError` here.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, TypeVar

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.errors import (
    AuthorizationError,
    IllegalArgumentError,
    InvalidReplicationFactorError,
    InvalidTopicError,
    KafkaConfigurationError,
    KafkaError,
    SaslAuthenticationFailedError,
    UnsupportedCodecError,
    UnsupportedVersionError,
)
from kafka.net.sasl import get_sasl_mechanism

from driftgauge.connectors.base import ConnectorError
from driftgauge.connectors.kafka.connection import KafkaConnection
from driftgauge.connectors.kafka.probe import Login, probe
from driftgauge.connectors.kafka.sockets import DIRECT_URL, LargeTlsReads

log = logging.getLogger(__name__)

Client = TypeVar("Client", KafkaAdminClient, KafkaConsumer, KafkaProducer)

MIB = 1 << 20
CLOSE_TIMEOUT_S = 5.0

PERMANENT_ERRORS = (
    AuthorizationError,
    IllegalArgumentError,
    InvalidReplicationFactorError,
    InvalidTopicError,
    KafkaConfigurationError,
    SaslAuthenticationFailedError,
    UnsupportedCodecError,
    UnsupportedVersionError,
)
"""Errors that no retry can cure. Every other error is retried until the agent's ``patience_s`` is used up."""


@dataclass
class KafkaStats:
    """Counters of one source or sink, from its creation on.

    Attributes
    ----------
    lost_records : records that retention deleted before they were read (``on_lost`` is ``earliest``)
    stalls : times a client stopped reading a partition without raising an error
    reconnects : times a client was replaced by a new one, for any reason
    oversized : messages that were not published because they are larger than the broker accepts
    """

    lost_records: int = 0
    stalls: int = 0
    reconnects: int = 0
    oversized: int = 0


def check_connection(connection: KafkaConnection) -> None:
    """Return when a broker accepts the connection; otherwise raise a `ConnectorError` that names the cause."""
    probe(connection, _login(connection))


def connect(make: Callable[..., Client], connection: KafkaConnection, **options: Any) -> Client:
    """Make a client that has reached its broker; otherwise raise a `ConnectorError` that names the cause."""
    check_connection(connection)
    try:
        return new_client(make, connection, **options)
    except KafkaError as error:
        raise explained(error, connection) from error


def new_client(make: Callable[..., Client], connection: KafkaConnection, **options: Any) -> Client:
    """Make a client without probing the connection first."""
    tls = connection.tls_context()
    if tls is not None:
        tls.sslsocket_class = LargeTlsReads
    return make(
        bootstrap_servers=list(connection.bootstrap_servers),
        bootstrap_timeout_ms=int(connection.connect_timeout_s * 1000),
        client_id=connection.client_id,
        reconnect_backoff_max_ms=1_000,
        security_protocol=connection.security_protocol,
        ssl_context=tls,
        proxy_url=DIRECT_URL,
        **_credentials(connection),
        **options,
    )


def explained(error: Exception, connection: KafkaConnection) -> ConnectorError:
    """Explain an error of a client: by what a new probe finds, otherwise by the client's own text."""
    try:
        check_connection(connection)
    except ConnectorError as found:
        return found
    return ConnectorError(f"Kafka: {error}", retriable=not isinstance(error, PERMANENT_ERRORS))


@cache
def warn_about_slow_checksums() -> None:
    """Log once when the package is missing that makes the client's checksums fast."""
    if importlib.util.find_spec("crc32c") is None:
        log.warning("the package crc32c is missing: reading from Kafka is 10 to 20 times slower without it")


def _credentials(connection: KafkaConnection) -> dict[str, str]:
    if not connection.has_login:
        return {}
    return {
        "sasl_mechanism": connection.sasl_mechanism,
        "sasl_plain_username": connection.sasl_username,
        "sasl_plain_password": connection.sasl_password,
    }


def _login(connection: KafkaConnection) -> Callable[[], Login] | None:
    if not connection.has_login:
        return None
    try:
        mechanism = get_sasl_mechanism(connection.sasl_mechanism)
    except KeyError:
        raise ConnectorError(f"unknown SASL mechanism {connection.sasl_mechanism}", retriable=False) from None
    return partial(mechanism, **_credentials(connection))
