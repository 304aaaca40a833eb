"""``driftgauge labels listen``: webhooks and polling to the topic of labels, over a real broker."""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaConsumer, TopicPartition

from driftgauge.agent.annotation import build
from driftgauge.agent.annotation.listening import listen
from driftgauge.config.load import load_settings
from driftgauge.config.settings import Settings
from driftgauge.connectors.base import ConnectorError, Record
from driftgauge.connectors.decoding.decoder import Decoder
from driftgauge.connectors.labels.presets import PRESETS
from driftgauge.models.events import Label
from tests.annotation.agents import Agent, label_list, responses
from tests.annotation.conftest import Server
from tests.annotation.label_studio import TOKEN
from tests.annotation.test_hooks import ARGILLA, BEARER, LABEL_STUDIO, SECRET, signed
from tests.annotation.test_label_studio import Annotators, Commands
from tests.deadline import until
from tests.service.test_cli import driftgauge

VARIABLES = {"LS_TOKEN": TOKEN, "LS_SECRET": "planted", "ARGILLA_SECRET": SECRET}


@pytest.fixture(autouse=True)
def _variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**VARIABLES, "LABEL_STUDIO_TOKEN": TOKEN}.items():
        monkeypatch.setenv(name, value)


def settings_of(broker: str, topic: str, **more: object) -> Settings:
    given = {
        "kafka.bootstrap_servers": broker,
        "kafka.topics.labels": topic,
        "kafka.create_topics": True,
        "kafka.partitions": 1,
        "annotation.port": 0,
        "annotation.label_studio.webhook_secret_from": "LS_SECRET",
        "annotation.argilla.webhook_secret_from": "ARGILLA_SECRET",
    }
    return load_settings(overrides={**given, **{name.replace("__", "."): value for name, value in more.items()}})


@contextmanager
def listening(settings: Settings, **more: Any) -> Iterator[int]:
    """The port of a listener."""
    stopping, ports = threading.Event(), list[int]()
    thread = threading.Thread(target=lambda: listen(settings, stopping, started=ports.append, **more))
    thread.start()
    try:
        until(lambda: ports or not thread.is_alive())
        yield ports[0]
    finally:
        stopping.set()
        thread.join()


def post(port: int, path: str, body: bytes, headers: dict[str, str]) -> int:
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    with closing(client):
        client.request("POST", path, body, headers)
        return client.getresponse().status


def labels_on(broker: str, topic: str, n: int) -> list[Label]:
    """The first ``n`` labels of a topic."""
    partition, read = TopicPartition(topic, 0), list[Any]()
    with closing(KafkaConsumer(bootstrap_servers=broker, enable_auto_commit=False)) as consumer:
        consumer.assign([partition])
        consumer.seek_to_beginning(partition)

        def is_read() -> bool:
            read.extend(one for found in consumer.poll(500).values() for one in found)
            return len(read) >= n

        until(is_read)
    records = [Record(topic, 0, one.offset, one.key, one.value, tuple(one.headers)) for one in read]
    return [one for one in Decoder().decode(records) if isinstance(one, Label)]


@pytest.mark.kafka
def test_webhooks_of_both_tools_arrive_on_the_topic(broker: str) -> None:
    topic = f"labels-{uuid.uuid4().hex}"
    with listening(settings_of(broker, topic)) as port:
        assert post(port, "/label-studio", LABEL_STUDIO[1], BEARER) == 200
        assert post(port, "/argilla", ARGILLA[1], signed(ARGILLA[1], now=time.time())) == 200
        assert post(port, "/argilla", ARGILLA[1], signed(ARGILLA[1])) == 401
    expected = [
        *PRESETS["label-studio"].read(json.loads(LABEL_STUDIO[1])),
        *PRESETS["argilla"].read(json.loads(ARGILLA[1])),
    ]
    assert labels_on(broker, topic, 2) == expected


@pytest.mark.kafka
def test_polling_finds_what_webhooks_did_not_tell_and_a_deletion_starts_a_pass(
    broker: str, label_studio: Server, tmp_path: Path
) -> None:
    agent = Agent(f"sqlite:///{tmp_path / 'agent.db'}")
    agent.take(responses("law", 10))
    agent.emit([label_list("law", 3)])
    assert Commands(label_studio, agent, tmp_path).acquire("--create") == 0
    annotators = Annotators(label_studio)
    deleted = annotators.annotate("law-0", "wrong")
    topic = f"labels-{uuid.uuid4().hex}"
    at = {"url": label_studio.url, "project": label_studio.title, "token_from": "LS_TOKEN"}
    named = {f"annotation__label_studio__{name}": value for name, value in at.items()}
    with (
        closing(agent.queries()) as queries,
        listening(settings_of(broker, topic, **named), poll_s=3_600.0, queries=queries) as port,
    ):
        agent.take(labels_on(broker, topic, 1))
        annotators.send_webhooks_to(port)
        annotators.delete(deleted)
        found = labels_on(broker, topic, 2)
    assert [(one.response_id, one.correct) for one in found] == [("law-0", 0.0), ("law-0", None)]


@pytest.mark.parametrize(
    ("changes", "poll_s", "message"),
    [
        ({"annotation__label_studio__webhook_secret_from": "UNSET_"}, 0.0, "UNSET_ is not set"),
        (
            {
                "annotation__label_studio__webhook_secret_from": "",
                "annotation__argilla__webhook_secret_from": "",
            },
            0.0,
            "no tool has webhooks",
        ),
        ({}, 1.0, "no tool has an address to poll"),
    ],
)
def test_a_listener_that_could_do_nothing_does_not_start(
    changes: dict[str, object], poll_s: float, message: str
) -> None:
    with pytest.raises(ConnectorError, match=message):
        listen(settings_of("127.0.0.1:9", "labels", **changes), threading.Event(), poll_s=poll_s)


def test_the_command_ends_in_order_on_a_signal_while_no_broker_is_there() -> None:
    options: Sequence[str] = ("annotation.label_studio.webhook_secret_from=LS_SECRET", "annotation.port=0")
    settings = [part for option in options for part in ("--set", option)]
    command = [sys.executable, "-m", "driftgauge.agent.cli", "labels", "listen", *settings]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    lines = iter(process.stderr.readline, "")
    assert any("webhooks are taken on 127.0.0.1" in line for line in lines)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 0


def test_a_mapping_that_starts_from_the_tool_reads_its_webhooks_too() -> None:
    taken = list[Label]()

    def put(labels: Sequence[Label]) -> bool:
        taken.extend(labels)
        return True

    own = {"labels.mapping.preset": "label-studio", "labels.mapping.names": "verdict"}
    [hook, _] = build.hooks(settings_of("127.0.0.1:9", "labels", **own), put)
    renamed = LABEL_STUDIO[1].replace(b'"correct", "to_name"', b'"verdict", "to_name"')
    assert [hook.answer(BEARER, body, 0.0).status for body in (renamed, LABEL_STUDIO[1])] == [200, 200]
    assert [label.response_id for label in taken] == ["r-1"]


def test_a_tool_that_does_not_exist_is_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    assert driftgauge("labels", "sync", "--from", "cvat") == 2
    assert "must be label-studio or argilla" in capfd.readouterr().err
