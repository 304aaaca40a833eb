"""Events of a program to a real topic: published when the program ends, within a bound while the broker is away."""

from __future__ import annotations

import subprocess
import sys
import uuid

import pytest

from driftgauge.connectors.base import Record
from driftgauge.connectors.capture.kafka_topic import KafkaTopic
from driftgauge.connectors.decoding.decoder import Decoder
from driftgauge.connectors.kafka.connection import KafkaConnection
from driftgauge.connectors.kafka.local_broker import free_ports
from driftgauge.connectors.kafka.topics import create_topics
from driftgauge.models.events import Generation
from tests.capture.upstream import upstream
from tests.deadline import until
from tests.decode.payloads import FOLDER
from tests.kafka.conftest import everything_in

pytestmark = pytest.mark.kafka

PROGRAM = """
import sys
from openai import OpenAI
from driftgauge.connectors.capture.kafka_topic import KafkaTopic
from driftgauge.connectors.capture.openai_client import capture
from driftgauge.connectors.capture.tap import Tap
from driftgauge.connectors.kafka.connection import KafkaConnection

broker, topic, url = sys.argv[1:]
tap = Tap(KafkaTopic(KafkaConnection((broker,)), topic), domain="billing")
client = capture(OpenAI(base_url=url, api_key="k"), tap)
client.chat.completions.create(model="m", messages=[{"role": "user", "content": "?"}], logprobs=True)
assert tap.counts == {"published": 1}
"""


def test_a_program_that_just_ends_has_published_its_events(broker: str) -> None:
    topic = f"t-{uuid.uuid4().hex[:12]}"
    create_topics(KafkaConnection((broker,)), [topic], 1, 1)
    with upstream() as server:
        server.answer = (FOLDER / "openai" / "chat.json").read_bytes()
        program = [sys.executable, "-c", PROGRAM, broker, topic, server.url]
        done = subprocess.run(program, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    [record] = everything_in(broker, topic)
    [event] = Decoder().decode([Record(topic, 0, 0, record.key, record.value, tuple(record.headers))])
    assert isinstance(event, Generation)
    assert (event.domain, event.signal.n_tokens) == ("billing", 7)


def test_a_missing_topic_is_named_before_the_first_event(broker: str) -> None:
    missing = f"t-{uuid.uuid4().hex[:12]}"
    with KafkaTopic(KafkaConnection((broker,)), missing, close_s=0.0) as topic:
        until(lambda: topic.problem)
        assert missing in topic.problem


def test_without_a_broker_events_beyond_the_bound_are_dropped_and_all_are_accounted_for() -> None:
    (port,) = free_ports(1)
    with KafkaTopic(KafkaConnection((f"127.0.0.1:{port}",)), max_bytes=2_000, close_s=0.0) as topic:
        accepted = [topic(b"r", b"x" * 500) for _ in range(10)]
        assert accepted == [True] * 2 + [False] * 8
    counts = topic.counts()
    assert (counts.captured, counts.dropped) == (10, {"outbox_full": 8, "shutdown": 2})
