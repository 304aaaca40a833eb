"""A topic is deleted and created again under its name: its records are not taken for those that were read before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from driftgauge.agent.service.agent import open_agent
from driftgauge.connectors.base import ConnectorError
from driftgauge.connectors.decoding.formats.own import encode_generation
from driftgauge.connectors.kafka.connection import KafkaConnection
from driftgauge.connectors.kafka.topics import create_topics, topic_ids
from tests.deadline import until
from tests.kafka.agents import running, settings_for, wait_for
from tests.kafka.conftest import fill
from tests.pipeline.stepping import T0, response

pytestmark = pytest.mark.kafka


def numbered(first: int, last: int) -> list[bytes]:
    return [encode_generation(response(i, T0 + i), dtype="float32") for i in range(first, last)]


@pytest.mark.parametrize("readers", [0, 1])
def test_a_topic_that_was_created_again_stops_the_agent_or_is_read_from_its_beginning(
    broker: str, connection: KafkaConnection, producer: Any, admin: Any, tmp_path: Path, readers: int
) -> None:
    settings = settings_for(broker, tmp_path, decode__encoding="msgpack", kafka__readers=readers)
    topic = settings.kafka.topics.generations[0]
    with running(settings) as agent:
        until(lambda: agent.has_served, 60)
        fill(producer, topic, numbered(0, 3))
        wait_for(agent, {topic: 3})
    admin.delete_topics([topic])
    until(lambda: topic not in admin.list_topics())
    create_topics(connection, [topic], 1, 1)
    fill(producer, topic, numbered(1, 8))  # more than were read of the old one, and two of them again
    with pytest.raises(ConnectorError, match=f"{topic}: created anew") as caught, open_agent(settings) as agent:
        agent.run()
    assert not caught.value.retriable
    lenient = settings.model_copy(update={"kafka": settings.kafka.model_copy(update={"on_lost": "earliest"})})
    with running(lenient) as agent:
        wait_for(agent, {topic: 7})
        with agent.store.transaction() as transaction:
            assert len(transaction.responses([f"r{i}" for i in range(8)])) == 8
    with running(settings) as agent:
        until(lambda: agent.has_served, 60)


def test_a_topic_that_does_not_exist_has_no_id(connection: KafkaConnection, new_topic: Any) -> None:
    topic = new_topic()
    assert topic_ids(connection, [topic, "nowhere"]).keys() == {topic}
