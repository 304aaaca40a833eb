"""check-config shows the effective settings without secrets, runs every check, and changes nothing."""

from __future__ import annotations

import socket
import uuid
from pathlib import Path

import pytest
import yaml
from rich.console import Console
from sqlalchemy import create_engine, text

from driftgauge.agent.commands.check_config import (
    CHECKS,
    check,
    check_decode,
    check_kafka,
    check_report,
    check_server,
    check_store,
    effective,
    results,
)
from driftgauge.agent.service import build_decoding
from driftgauge.config.load import load_settings
from driftgauge.config.settings import Settings
from driftgauge.connectors.base import ConnectorError
from driftgauge.connectors.kafka.connection import KafkaConnection
from driftgauge.connectors.kafka.topics import create_topics, existing_topics
from driftgauge.connectors.publishing.encode import Topics
from driftgauge.connectors.store.sql_store import open_store

SECRET = "hunter2"


def settings(**changed: object) -> Settings:
    return load_settings(overrides={name.replace("__", "."): value for name, value in changed.items()})


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'store.db'}"


def test_the_effective_settings_are_yaml_without_secrets() -> None:
    given = settings(
        kafka__sasl_password=SECRET, kafka__ssl_key_password=SECRET, windows__hop_s=60,
        store__url=f"postgresql://me:{SECRET}@db.example/gauge?sslpassword={SECRET}",
    )  # fmt: skip
    shown = effective(given)
    assert SECRET not in shown
    tree = yaml.safe_load(shown)
    assert tree["windows"]["hop_s"] == 60
    assert tree["store"]["url"] == "postgresql://db.example/gauge"
    assert tree["kafka"]["sasl_password"] == "**********"
    assert set(tree) == set(Settings.model_fields)


def test_checking_a_store_that_does_not_exist_does_not_create_it(url: str, tmp_path: Path) -> None:
    assert "is made at the first start" in check_store(settings(store__url=url))
    assert list(tmp_path.iterdir()) == []


def test_the_check_of_a_store_fails_when_its_folder_does_not_exist(tmp_path: Path) -> None:
    given = settings(store__url=f"sqlite:///{tmp_path / 'missing' / 'store.db'}")
    with pytest.raises(ConnectorError, match="missing does not exist"):
        check_store(given)
    assert list(tmp_path.iterdir()) == []


def test_a_store_can_be_checked_while_an_agent_writes_to_it(url: str) -> None:
    store = open_store(url, topics=Topics())
    epoch = store.epoch
    assert "has schema version" in check_store(settings(store__url=url))
    assert store.epoch == epoch
    with store.transaction():
        pass
    store.close()


def test_the_check_of_a_store_fails_when_the_file_is_not_a_database(url: str, tmp_path: Path) -> None:
    (tmp_path / "store.db").write_text("no database at all, " * 100)
    with pytest.raises(ConnectorError, match="not a database"):
        check_store(settings(store__url=url))


def test_the_check_of_a_store_fails_when_its_schema_is_newer(url: str) -> None:
    open_store(url, topics=Topics()).close()
    with create_engine(url).begin() as connection:
        connection.execute(text("UPDATE meta SET value = 99 WHERE name = 'schema_version'"))
        connection.execute(text("UPDATE meta SET value = 10203 WHERE name = 'oldest_reader'"))
    with pytest.raises(ConnectorError, match=r"schema version 99, .*: use 1\.2\.3 or newer"):
        check_store(settings(store__url=url))


def test_the_check_of_reports_fails_when_the_folder_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConnectorError, match="cannot be written"):
        check_report(settings(report__folder=str(tmp_path / "file" / "reports"), report__interval_s=60))
    with pytest.raises(ConnectorError, match="does not exist"):
        check_report(settings(report__folder=str(tmp_path / "a" / "b"), report__interval_s=60))
    assert "is made with" in check_report(settings(report__folder=str(tmp_path / "a"), report__interval_s=60))
    assert "can be written" in check_report(settings(report__folder=str(tmp_path), report__interval_s=60))
    assert check_report(settings(report__folder=str(tmp_path / "file"))) == "no reports are scheduled"


def test_a_format_that_does_not_exist_fails_the_check_and_stops_the_start() -> None:
    given = settings(decode__format="opnai", decode__topic_formats="{t: vllm, u: olama}")
    for start in (check_decode, build_decoding.decoder):
        with pytest.raises(ConnectorError, match=r"decode\.format: no format .* decode\.topic_formats\.u: no format"):
            start(given)
    assert check_decode(settings(decode__format="tgi")) == "formats: tgi"


def test_the_check_of_the_server_fails_when_the_port_is_in_use() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(ConnectorError, match="another process uses this port"),
    ):
        check_server(settings(server__port=taken.getsockname()[1]))
    assert check_server(settings(server__enabled=False)) == "off"


def test_every_check_runs_also_when_the_broker_does_not_answer(url: str) -> None:
    port = free_port()
    given = settings(
        kafka__bootstrap_servers=f"127.0.0.1:{port}", kafka__connect_timeout_s=1, store__url=url,
        server__port=free_port(),
    )  # fmt: skip
    found = {name: (passed, text) for name, passed, text in results(given)}
    assert list(found) == list(CHECKS)
    assert [name for name, (passed, _) in found.items() if not passed] == ["kafka"]
    assert f"127.0.0.1:{port}" in found["kafka"][1]


def test_the_result_of_every_check_is_printed(url: str) -> None:
    console = Console(record=True, width=80)
    given = settings(kafka__bootstrap_servers=f"127.0.0.1:{free_port()}", kafka__connect_timeout_s=1, store__url=url)
    assert check(given, console) is False
    printed = console.export_text()
    assert "FAILED kafka: " in printed
    assert "ok     store: " in printed


@pytest.mark.kafka
def test_missing_topics_are_named_and_not_created(broker: str) -> None:
    name = f"check-{uuid.uuid4().hex[:12]}"
    create_topics(KafkaConnection((broker,)), [f"{name}-in"], partitions=1, replication=1)
    kinds = (
        "estimates", "slice_estimates", "alerts", "priorities", "label_lists", "weak_segments", "reports",
        "dead_letters",
    )  # fmt: skip
    written = {f"kafka__topics__{kind}": "" for kind in kinds}
    given = {**written, "kafka__bootstrap_servers": broker, "kafka__topics__generations": f"{name}-in"}
    assert "all topics exist" in check_kafka(settings(**given, kafka__topics__labels=""))
    with pytest.raises(ConnectorError, match=f"do not exist: {name}-labels "):
        check_kafka(settings(**given, kafka__topics__labels=f"{name}-labels"))
    found = check_kafka(settings(**given, kafka__topics__labels=f"{name}-labels", kafka__create_topics=True))
    assert found.endswith(f"these topics are made at the first start: {name}-labels")
    assert f"{name}-labels" not in existing_topics(KafkaConnection((broker,)))
    extracted = {"kafka__topics__labels": "", "extract__to": f"{name}-in", "extract__topics": f"{name}-raw"}
    with pytest.raises(ConnectorError, match=f"do not exist: {name}-raw "):
        check_kafka(settings(**given, **extracted))
