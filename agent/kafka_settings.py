"""From the settings of Kafka to objects: for the agent and for the gateway."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from driftgauge.config.connections import KafkaSettings
from driftgauge.connectors.kafka.connection import KafkaConnection
from driftgauge.connectors.kafka.topics import create_topics


def connection(kafka: KafkaSettings) -> KafkaConnection:
    """The address of the Kafka cluster and the credentials for it."""
    return KafkaConnection(
        bootstrap_servers=kafka.bootstrap_servers,
        security_protocol=kafka.security_protocol,
        sasl_mechanism=kafka.sasl_mechanism,
        sasl_username=kafka.sasl_username,
        sasl_password=kafka.sasl_password.get_secret_value(),
        ssl_cafile=kafka.ssl_cafile,
        ssl_certfile=kafka.ssl_certfile,
        ssl_keyfile=kafka.ssl_keyfile,
        ssl_key_password=kafka.ssl_key_password.get_secret_value(),
        ssl_check_hostname=kafka.ssl_check_hostname,
        client_id=kafka.client_id,
        connect_timeout_s=kafka.connect_timeout_s,
    )


def topic_creation(kafka: KafkaSettings, topics: Sequence[str]) -> Callable[[], None]:
    """The call that creates those of these topics that do not exist yet."""
    return partial(create_topics, connection(kafka), topics, partitions=kafka.partitions, replication=kafka.replication)
