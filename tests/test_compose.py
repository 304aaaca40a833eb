"""The broker for those with Docker is the one the tests run against, where the agent looks for it."""

from pathlib import Path

import yaml

from driftgauge.config.settings import Settings
from driftgauge.connectors.kafka.local_broker import KAFKA

BROKER = yaml.safe_load((Path(__file__).parents[1] / "compose.yaml").read_text())["services"]["kafka"]
VARIABLES = BROKER["environment"]


def test_it_is_the_same_version_of_kafka() -> None:
    assert BROKER["image"] == f"apache/kafka:{KAFKA.partition('+')[0].rpartition(':')[2]}"


def test_it_answers_where_the_agent_looks_and_to_this_machine_alone() -> None:
    (address,) = Settings().kafka.bootstrap_servers
    host, port = address.split(":")
    assert host == "localhost"
    assert BROKER["ports"] == [f"127.0.0.1:{port}:{port}"]
    assert VARIABLES["KAFKA_ADVERTISED_LISTENERS"] == f"PLAINTEXT://{address}"


def test_its_listeners_fit_together() -> None:
    names = {listener.partition("://")[0] for listener in VARIABLES["KAFKA_LISTENERS"].split(",")}
    protocols = dict(pair.split(":") for pair in VARIABLES["KAFKA_LISTENER_SECURITY_PROTOCOL_MAP"].split(","))
    assert protocols.keys() == names
    assert VARIABLES["KAFKA_CONTROLLER_LISTENER_NAMES"] in names
    node, controller = VARIABLES["KAFKA_CONTROLLER_QUORUM_VOTERS"].split("@")
    assert int(node) == VARIABLES["KAFKA_NODE_ID"]
    assert f":{controller.rpartition(':')[2]}" in VARIABLES["KAFKA_LISTENERS"]


def test_it_keeps_its_data_in_the_volume() -> None:
    volume, folder = BROKER["volumes"][0].split(":")
    assert volume == "kafka"
    assert VARIABLES["KAFKA_LOG_DIRS"] == folder
