"""Administration of topics: which exist, and creating those that do not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from typing import Literal
from uuid import UUID

from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import KafkaError, TopicAlreadyExistsError

from driftgauge.connectors.base import ConnectorError
from driftgauge.connectors.kafka.client import connect, explained
from driftgauge.connectors.kafka.connection import KafkaConnection

CREATE_TIMEOUT_S = 60.0
_NO_ID = str(UUID(int=0))


def create_topics(connection: KafkaConnection, names: Sequence[str], partitions: int, replication: int) -> None:
    """Create the topics that do not exist, and wait until they can be used.

    Parameters
    ----------
    partitions, replication : of each new topic; existing topics are not changed

    Raises
    ------
    ConnectorError
        The broker is unavailable, or refuses a topic.
    """
    settings = {"num_partitions": partitions, "replication_factor": replication}
    with _admin_client(connection) as admin:
        missing = sorted(set(names) - set(admin.list_topics()))
        for name in missing:
            with suppress(TopicAlreadyExistsError):  # another agent was faster
                admin.create_topics({name: settings})
        if missing:
            admin.wait_for_topics(missing, timeout_ms=int(CREATE_TIMEOUT_S * 1000))


def missing_topics(names: Sequence[str], access: Literal["read", "write to", "see"]) -> ConnectorError:
    """The error for topics that do not exist, or that are hidden from this user.

    >>> print(missing_topics(["generations", "labels"], "read"))
    Kafka topics generations, labels do not exist, or this user may not read them; with kafka.create_topics the agent creates missing ones
    """  # noqa: E501 - the line of an error
    one = len(names) == 1
    exist = f"Kafka topic {names[0]} does not exist" if one else f"Kafka topics {', '.join(names)} do not exist"
    hint = "with kafka.create_topics the agent creates missing ones"
    text = f"{exist}, or this user may not {access} {'it' if one else 'them'}; {hint}"
    return ConnectorError(text, retriable=False)


def existing_topics(connection: KafkaConnection) -> set[str]:
    """Topics that exist and that this user is allowed to see."""
    with _admin_client(connection) as admin:
        return set(admin.list_topics())


def topic_ids(connection: KafkaConnection, names: Sequence[str]) -> dict[str, str]:
    """The ids that these topics got when they were created, by name.

    A topic that this user does not see is absent, and so are all in a cluster that gives no ids (Kafka before 2.8).
    """
    with _admin_client(connection) as admin:
        found = {topic["name"]: topic.get("topic_id") for topic in admin.describe_topics(list(names))}
    return {name: str(topic_id) for name, topic_id in found.items() if topic_id not in (None, _NO_ID)}


def largest_message(connection: KafkaConnection, topic: str) -> int:
    """Bytes of the largest batch of messages that a topic takes; an error where it does not exist."""
    resource, name = ConfigResource(ConfigResourceType.TOPIC, topic), "max.message.bytes"
    with _admin_client(connection) as admin:
        found = admin.describe_configs([resource], config_filter="all")["topic"].get(topic)
    if not found:
        raise missing_topics([topic], "see")
    return int(found[name]["value"])


@contextmanager
def _admin_client(connection: KafkaConnection) -> Iterator[KafkaAdminClient]:
    with closing(connect(KafkaAdminClient, connection)) as admin:
        try:
            yield admin
        except KafkaError as error:
            raise explained(error, connection) from error
