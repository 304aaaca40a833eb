"""check-config shows what counts without secrets, tries everything, and changes nothing."""

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
    check_kafka,
    check_report,
    check_server,
    check_store,
    effective,
    results,
)
from driftgauge.config.load import load_settings
from driftgauge.config.settings import Settings
from driftgauge.connectors.base import ConnectorError
from driftgauge.connectors.kafka.client import KafkaConnection, create_topics, existing_topics
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


def test_the_effective_settings_can_be_read_back_and_hold_no_secret() -> None:
    given = settings(
        kafka__sasl_password=SECRET, kafka__ssl_key_password=SECRET, windows__hop_s=60,
        store__url=f"postgresql://me:{SECRET}@db.example/gauge?sslpassword={SECRET}",
    )  # fmt: skip
    said = effective(given)
    assert SECRET not in said
    tree = yaml.safe_load(said)
    assert tree["windows"]["hop_s"] == 60
    assert tree["store"]["url"] == "postgresql://db.example/gauge"
    assert tree["kafka"]["sasl_password"] == "**********"
    assert set(tree) == set(Settings.model_fields)


def test_a_url_that_cannot_be_read_is_not_shown() -> None:
    given = settings(store__url=f"{SECRET} {SECRET}")
    assert SECRET not in effective(given)
    with pytest.raises(ConnectorError) as caught:
        check_store(given)
    assert SECRET not in str(caught.value)


def test_a_store_that_is_not_there_yet_is_not_made(url: str, tmp_path: Path) -> None:
    assert "is made at the first start" in check_store(settings(store__url=url))
    assert list(tmp_path.iterdir()) == []


def test_a_store_is_looked_at_while_an_agent_writes_to_it(url: str) -> None:
    store = open_store(url, topics=Topics())
    epoch = store.epoch
    assert "has schema version" in check_store(settings(store__url=url))
    assert store.epoch == epoch
    with store.transaction():
        pass
    store.close()


def test_a_file_that_is_no_database_fails(url: str, tmp_path: Path) -> None:
    (tmp_path / "store.db").write_text("no database at all, " * 100)
    with pytest.raises(ConnectorError, match="not a database"):
        check_store(settings(store__url=url))


def test_a_store_of_a_newer_version_fails(url: str) -> None:
    open_store(url, topics=Topics()).close()
    with create_engine(url).begin() as connection:
        connection.execute(text("UPDATE meta SET value = 99 WHERE name = 'schema_version'"))
    with pytest.raises(ConnectorError, match="use a newer one"):
        check_store(settings(store__url=url))


def test_a_folder_below_a_file_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConnectorError, match="cannot be written"):
        check_report(settings(report__folder=str(tmp_path / "file" / "reports"), report__interval_s=60))
    assert "can be written" in check_report(settings(report__folder=str(tmp_path / "a" / "b"), report__interval_s=60))
    assert check_report(settings(report__folder=str(tmp_path / "file"))) == "none on schedule"


def test_a_taken_port_fails() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(ConnectorError, match="cannot listen"):
        check_server(settings(server__port=taken.getsockname()[1]))
    assert check_server(settings(server__enabled=False)) == "off"


def test_everything_is_tried_although_the_broker_is_away(url: str) -> None:
    port = free_port()
    given = settings(
        kafka__bootstrap_servers=f"127.0.0.1:{port}", kafka__connect_timeout_s=1, store__url=url,
        server__port=free_port(),
    )  # fmt: skip
    found = {name: (passed, said) for name, passed, said in results(given)}
    assert list(found) == list(CHECKS)
    assert [name for name, (passed, _) in found.items() if not passed] == ["kafka"]
    assert f"127.0.0.1:{port}" in found["kafka"][1]


def test_the_verdict_is_printed_and_returned(url: str) -> None:
    console = Console(record=True, width=80)
    given = settings(kafka__bootstrap_servers=f"127.0.0.1:{free_port()}", kafka__connect_timeout_s=1, store__url=url)
    assert check(given, console) is False
    said = console.export_text()
    assert "FAILED kafka: " in said
    assert "ok     store: " in said


@pytest.mark.kafka
@pytest.mark.xdist_group("kafka")
def test_missing_topics_are_named_and_not_made(broker: str) -> None:
    name = f"check-{uuid.uuid4().hex[:12]}"
    create_topics(KafkaConnection((broker,)), [f"{name}-in"], partitions=1, replication=1)
    written = {f"kafka__topics__{kind}": "" for kind in ("estimates", "alerts", "priorities", "dead_letters")}
    given = {**written, "kafka__bootstrap_servers": broker, "kafka__topics__generations": f"{name}-in"}
    assert "all topics exist" in check_kafka(settings(**given, kafka__topics__labels=""))
    with pytest.raises(ConnectorError, match=f"do not exist: {name}-labels "):
        check_kafka(settings(**given, kafka__topics__labels=f"{name}-labels"))
    said = check_kafka(settings(**given, kafka__topics__labels=f"{name}-labels", kafka__create_topics=True))
    assert said.endswith(f"made at the first start: {name}-labels")
    assert f"{name}-labels" not in existing_topics(KafkaConnection((broker,)))
