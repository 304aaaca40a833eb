"""``driftgauge acquire``: which rows go to files and topics, and what ends it with a message."""

from __future__ import annotations

import csv
import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaConsumer, TopicPartition

from driftgauge.connectors.annotation.rows import write_tasks
from driftgauge.connectors.annotation.tasks import Task, Texts
from driftgauge.connectors.kafka.connection import KafkaConnection
from driftgauge.connectors.kafka.topics import create_topics
from driftgauge.models.events import Label
from driftgauge.models.outputs import LabelList
from tests.annotation.agents import HOUR_S, PERIOD_END, Agent, decoded, label_list, responses
from tests.annotation.label_studio import TOKEN
from tests.copying import replace
from tests.service.test_cli import driftgauge


def before(found: LabelList, periods: int) -> LabelList:
    """The same list of an earlier period."""
    return replace(found, period_end=found.period_end - periods * HOUR_S, expires=found.expires - periods * HOUR_S)


@pytest.fixture
def agent(tmp_path: Path) -> Agent:
    """An agent with lists of two domains, one of them in earlier periods too."""
    made = Agent(f"sqlite:///{tmp_path / 'agent.db'}")
    made.take(responses("law", 20))
    law, tax = label_list("law", 4, rank=2), label_list("tax", 2)
    made.emit([law, tax, before(label_list("old", 1), 1), before(label_list("expired", 1), 24)])
    return made


def rows(agent: Agent, folder: Path, *arguments: object) -> list[dict[str, Any]]:
    out = folder / "rows.jsonl"
    assert driftgauge("acquire", "--to", "jsonl", "--out", out, "--store", agent.url, *arguments) == 0
    return [json.loads(line) for line in out.read_text().splitlines()]


def ids(found: list[dict[str, Any]]) -> list[str]:
    return [row["response_id"] for row in found]


def test_the_lists_of_the_newest_period_are_taken_row_by_row(agent: Agent, tmp_path: Path) -> None:
    assert ids(rows(agent, tmp_path)) == ["tax-0", "law-0", "tax-1", "law-1", "law-2", "law-3"]
    found = rows(agent, tmp_path, "--budget", 3)
    assert ids(found) == ["tax-0", "law-0", "tax-1"]
    assert [row["inclusion_probability"] for row in found] == pytest.approx([0.02, 0.01, 0.02])


def test_lists_of_earlier_periods_are_taken_while_they_have_not_expired(agent: Agent, tmp_path: Path) -> None:
    assert "old-0" in ids(rows(agent, tmp_path, "--since", "2020-01-01T00:00:00Z"))
    assert "expired-0" not in ids(rows(agent, tmp_path, "--since", "2020-01-01T00:00:00Z"))
    assert len(rows(agent, tmp_path, "--since", PERIOD_END - HOUR_S)) == 6


def test_a_table_that_was_filled_in_comes_back_as_labels(agent: Agent, tmp_path: Path) -> None:
    table, texts, out = (tmp_path / name for name in ("table.csv", "texts.jsonl", "labels.jsonl"))
    texts.write_text(json.dumps({"response_id": "law-0", "prompt": "=1+1", "response": 'a,\n"b"'}))
    arguments = ("acquire", "--to", "csv", "--out", table, "--store", agent.url, "--text", texts)
    assert driftgauge(*arguments) == 0
    before_again = table.read_bytes()
    assert driftgauge(*arguments) == 0
    assert table.read_bytes() == before_again
    with table.open(newline="") as file:
        filled = [*csv.DictReader(file)]
    assert (filled[1]["prompt"], filled[1]["response"]) == ("'=1+1", 'a,\n"b"')
    filled[0]["correct"], filled[1]["correct"], filled[1]["annotator_id"] = "wrong", "correct", "ann"
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, filled[0].keys())
        writer.writeheader()
        writer.writerows(filled)
    answered = table.read_bytes()
    assert driftgauge(*arguments) == 1
    assert table.read_bytes() == answered
    time = ("--time", "2026-01-26T09:00:00Z")
    assert driftgauge("labels", "import", table, "--from", "csv", "--to", out, *time) == 0
    first, second = (one for one in decoded(out.read_bytes().splitlines()) if isinstance(one, Label))
    assert (first.response_id, first.correct, first.inclusion_probability) == ("tax-0", 0.0, 0.02)
    assert (second.response_id, second.correct, second.annotator_id) == ("law-0", 1.0, "ann")
    assert {first.event_time, second.event_time} == {1769418000.0}


ODD_IDS = ["=cmd|'/C calc'!A0", "-Kx1", "+1", "@a", "'=1", "''-1", "'plain", "plain"]
NUMBERS = ["17", "007", "123456789012", "1e5", "3-4", "17.0", "'007"]


@pytest.mark.parametrize("name", [*ODD_IDS, *NUMBERS])
def test_an_id_is_no_formula_and_no_long_number_in_a_table_and_comes_back_unchanged(name: str, tmp_path: Path) -> None:
    made = label_list("law", 1)
    task = Task(1, replace(made.requests[0], response_id=name), "law", "m", PERIOD_END, Texts(response="r" * 200_000))
    table, out = tmp_path / "table.csv", tmp_path / "labels.jsonl"
    write_tasks(table, [task], "csv")
    text = table.read_text()
    assert not text.splitlines()[1].startswith(tuple("=+-@"))
    assert name in ("17", "plain") or text.splitlines()[1].startswith("'")
    table.write_text(text.replace("r,,,", "r,correct,,"))
    time = ("--time", "2026-01-26T09:00:00Z")
    assert driftgauge("labels", "import", table, "--from", "csv", "--to", out, *time) == 0
    (label,) = decoded(out.read_bytes().splitlines())
    assert isinstance(label, Label)
    assert label.response_id == name


def test_texts_in_the_store_are_shown_unless_the_file_has_others(tmp_path: Path) -> None:
    agent = Agent(f"sqlite:///{tmp_path / 'agent.db'}")
    agent.take([replace(one, text=f"text of {one.id}") for one in responses("law", 2)])
    agent.emit([label_list("law", 3)])
    texts = tmp_path / "texts.jsonl"
    texts.write_text(json.dumps([{"response_id": "trace-law-1", "response": "other"}, {"response_id": "elsewhere"}]))
    assert [row["response"] for row in rows(agent, tmp_path, "--text", texts)] == ["text of law-0", "other", ""]


def test_without_lists_nothing_is_delivered(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    agent = Agent(f"sqlite:///{tmp_path / 'agent.db'}")
    agent.take(responses("law", 2))
    assert rows(agent, tmp_path) == []
    assert "no label list yet" in capsys.readouterr().out


@pytest.mark.kafka
def test_a_topic_gets_a_message_for_each_response(broker: str, agent: Agent) -> None:
    topic = "requests-for-labels"
    create_topics(KafkaConnection((broker,)), [topic], 1, 1)
    settings = ("--set", f"kafka.bootstrap_servers={broker}", "--set", f"annotation.topic={topic}")
    assert driftgauge("acquire", "--to", "topic", "--store", agent.url, *settings) == 0
    partition = TopicPartition(topic, 0)
    with closing(KafkaConsumer(bootstrap_servers=broker, enable_auto_commit=False)) as consumer:
        consumer.assign([partition])
        consumer.seek_to_beginning(partition)
        read = list[Any]()
        while len(read) < 6:
            read += [one for found in consumer.poll(1_000).values() for one in found]
    assert [one.key.decode() for one in read] == ["tax-0", "law-0", "tax-1", "law-1", "law-2", "law-3"]
    assert json.loads(read[0].value)["inclusion_probability"] == 0.02


NAMED = ("--set", "annotation.label_studio.url=http://127.0.0.1:9", "--set", "annotation.label_studio.token_from=T")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("csv",), 2, "those need it"),
        (("label-studio", "--out", "x"), 2, "goes with --to csv or jsonl"),
        (("jsonl", "--out", "x", "--since", "yesterday"), 2, "must be a time"),
        (("label-studio",), 2, "annotation.label_studio.url is empty"),
        (("argilla",), 2, "annotation.argilla.url is empty"),
        (("topic",), 2, "annotation.topic must name a topic that is not read"),
        (("topic", "--set", "annotation.topic=labels"), 2, "annotation.topic must name a topic that is not read"),
        (("label-studio", *NAMED[:2]), 2, "token_from is needed: it names the environment variable"),
        (("label-studio", *NAMED, "--set", "annotation.label_studio.token_from=UNSET_"), 2, "UNSET_ is not set"),
        (("label-studio", *NAMED), 1, "http://127.0.0.1:9/api/projects cannot be read"),
    ],
)
def test_what_cannot_be_delivered_ends_with_a_message_and_no_token(
    agent: Agent,
    arguments: tuple[object, ...],
    code: int,
    message: str,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("T", TOKEN)
    assert driftgauge("acquire", "--store", agent.url, "--to", *arguments) == code
    error = " ".join(capfd.readouterr().err.replace("│", " ").split())
    assert message in error
    assert TOKEN not in error


def test_a_token_that_http_does_not_allow_is_not_shown(
    agent: Agent, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("T", "planted\nsecret")
    assert driftgauge("acquire", "--store", agent.url, "--to", "label-studio", *NAMED) == 1
    error = capfd.readouterr().err
    assert "the token has characters that HTTP does not allow" in error
    assert "planted" not in error
