"""Dead letters can be listed and sent again while the agent has the store open."""

from __future__ import annotations

import base64
import json
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from driftgauge.agent.cli import app
from driftgauge.connectors.base import Record
from driftgauge.connectors.decoding.decoder import Decoder
from driftgauge.connectors.kafka.connection import KafkaConnection
from driftgauge.connectors.kafka.topics import create_topics
from driftgauge.connectors.publishing.encode import Topics
from driftgauge.connectors.store.dead_letters import find_dead_letters
from driftgauge.connectors.store.sql_store import SqlStore, open_store
from driftgauge.models.events import Label, Rejected
from tests.kafka.conftest import everything_in

HEADERS = (("content-type", b"application/json"), ("trace", b"\xff\x00"))
LATE = Label("l-1", "r-1", 60.0, 1.0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqlStore]:
    """An open store with three dead letters."""
    with closing(open_store(f"sqlite:///{path}", topics=Topics())) as opened:
        with opened.transaction() as transaction:
            transaction.emit(
                [
                    Rejected("malformed", "not JSON", "generations", 1, 7, b"k", b"{\xff", HEADERS),
                    Rejected("malformed", "from elsewhere", "other", 0, 3, None, b"x"),
                    Rejected("unmatched_label", "no response came", key=b"l-1", event=LATE),
                ]
            )
        yield opened


def run(*arguments: str) -> str:
    done = CliRunner().invoke(app, ["dead-letters", *arguments], catch_exceptions=False)
    assert done.exit_code == 0
    return done.output


def test_the_list_shows_reason_and_position_of_each_dead_letter(store: SqlStore, path: Path) -> None:  # noqa: ARG001 - an agent has it open
    printed = run("list", "--store", str(path))
    assert [printed.count(word) for word in ("malformed", "generations/1/7", "unmatched_label")] == [2, 1, 1]


def test_the_json_list_holds_the_original_record(store: SqlStore, path: Path) -> None:  # noqa: ARG001 - an agent has it open
    lines = run("list", "--store", str(path), "--json", "--reason", "malformed").splitlines()
    first, second = map(json.loads, lines)
    assert (first["topic"], first["partition"], first["offset"]) == ("generations", 1, 7)
    assert base64.b64decode(first["value"]) == b"{\xff"
    assert {name: base64.b64decode(value) for name, value in first["headers"].items()} == dict(HEADERS)
    assert second["key"] is None


def test_a_limited_list_shows_the_newest_dead_letters(store: SqlStore, path: Path) -> None:  # noqa: ARG001 - an agent has it open
    (line,) = run("list", "--store", str(path), "--json", "--limit", "1").splitlines()
    assert json.loads(line)["reason"] == "unmatched_label"


def test_an_event_that_became_a_dead_letter_can_be_decoded_again(store: SqlStore, path: Path) -> None:  # noqa: ARG001 - an agent has it open
    (letter,) = find_dead_letters(f"sqlite:///{path}", reason="unmatched_label")
    record = Record("labels", 0, 0, None, letter.rejected.value, letter.rejected.headers)
    assert Decoder().decode([record]) == [LATE]


@pytest.mark.kafka
def test_a_retry_publishes_the_original_records_and_removes_those_acknowledged(
    broker: str, store: SqlStore, path: Path
) -> None:
    generations, labels = (f"t-{uuid.uuid4().hex[:12]}" for _ in range(2))
    create_topics(KafkaConnection((broker,)), [generations, labels], 1, 1)
    with store.transaction() as transaction:
        transaction.emit([Rejected("malformed", "not JSON", generations, 0, 9, b"k", b"{\xff", HEADERS)])
    topics = {"generations": generations, "labels": labels}
    flags = [f"--set=kafka.topics.{name}={topic}" for name, topic in topics.items()]
    printed = run("retry", "--store", str(path), f"--set=kafka.bootstrap_servers={broker}", *flags)
    assert "2 sent again, 2 left" in printed
    (record,) = everything_in(broker, generations)
    assert (record.key, record.value, tuple(record.headers)) == (b"k", b"{\xff", HEADERS)
    (label,) = everything_in(broker, labels)
    as_read = Record(labels, 0, 0, label.key, label.value, tuple(label.headers))
    assert Decoder().decode([as_read]) == [LATE]
    assert [letter.rejected.topic for letter in find_dead_letters(f"sqlite:///{path}")] == ["generations", "other"]
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT value FROM meta WHERE name = 'dead_letters_retried'").fetchone() == (2,)
