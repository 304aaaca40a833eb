"""The round trip with Argilla, before what was recorded of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from driftgauge.connectors.annotation import argilla as argilla_tool
from driftgauge.models.events import Label
from tests.annotation.agents import Agent, decoded, label_list, responses
from tests.annotation.argilla import API_KEY, Recorded, recorded_argilla
from tests.service.test_cli import driftgauge


class Commands:
    """Commands with the settings of one server and store."""

    def __init__(self, url: str, agent: Agent, folder: Path) -> None:
        at = {"url": url, "dataset": "checks", "workspace": "team", "token_from": "ARGILLA_KEY"}
        settings = [f"annotation.argilla.{name}={value}" for name, value in at.items()]
        self.more = [*(part for text in settings for part in ("--set", text)), "--store", agent.url]
        self.out = folder / "synced.jsonl"

    def acquire(self, *arguments: object) -> int:
        return driftgauge("acquire", "--to", "argilla", *self.more, *arguments)

    def sync(self) -> list[Label]:
        """The labels that a synchronisation publishes."""
        assert driftgauge("labels", "sync", "--from", "argilla", "--to", self.out, *self.more) == 0
        return [one for one in decoded(self.out.read_bytes().splitlines()) if isinstance(one, Label)]


@pytest.fixture
def argilla() -> Iterator[tuple[str, Recorded]]:
    with recorded_argilla() as made:
        yield made


@pytest.fixture
def server(argilla: tuple[str, Recorded]) -> Recorded:
    return argilla[1]


@pytest.fixture
def agent(tmp_path: Path) -> Agent:
    made = Agent(f"sqlite:///{tmp_path / 'agent.db'}")
    made.take(responses("law", 100))
    made.emit([label_list("law", 10)])
    return made


@pytest.fixture
def commands(argilla: tuple[str, Recorded], agent: Agent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    monkeypatch.setenv("ARGILLA_KEY", API_KEY)
    return Commands(argilla[0], agent, tmp_path)


def test_more_records_than_a_page_holds_are_all_found(
    server: Recorded, commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PAGE", "UPSERTED"):
        monkeypatch.setattr(argilla_tool, name, 3)
    for _ in range(2):
        assert commands.acquire("--create") == 0
    assert len(server.records) == 10
    for number in range(10):
        server.answer(f"law-{number}", "correct")
    assert len(commands.sync()) == 10


def test_a_list_becomes_records_once(
    server: Recorded, commands: Commands, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = tmp_path / "texts.csv"
    texts.write_text("response_id,prompt,response\nlaw-0,2+2?,5\n")
    for budget in (4, 4, 10):
        assert commands.acquire("--create", "--text", texts, "--budget", budget) == 0
    assert capsys.readouterr().out.splitlines()[1::2] == [
        "4 new, 0 with another probability, 0 known",
        "0 new, 0 with another probability, 4 known",
        "6 new, 4 with another probability, 0 known",
    ]
    [dataset] = server.datasets.values()
    assert (dataset["workspace_id"], dataset["status"]) == ("w-1", "ready")
    assert [one["external_id"] for one in server.records.values()] == [f"law-{i}" for i in range(10)]
    first = server.record("law-0")
    assert first is not None
    assert first["fields"] == {"prompt": "2+2?", "response": "5"}
    assert first["metadata"]["inclusion_probability"] == pytest.approx(0.1)
    assert not any("p_correct" in name or value == 0.25 for name, value in first["metadata"].items())


def test_answers_come_back_changed_discarded_and_deleted(server: Recorded, commands: Commands, agent: Agent) -> None:
    assert commands.acquire("--create") == 0
    for number in range(4):
        server.answer(f"law-{number}", "wrong")
    server.answer("law-4", "wrong", status="draft")
    agent.take(commands.sync())
    assert agent.truths() == dict.fromkeys([f"law-{number}" for number in range(4)], (0.0, 10.0))
    server.answer("law-0", "correct")
    server.answer("law-1", "wrong", status="discarded")
    server.delete("law-2")
    server.answer("law-3", "correct", user="u-2")
    synced = commands.sync()
    assert len(synced) == 4
    agent.take(synced)
    assert agent.truths() == {"law-0": (1.0, 10.0), "law-3": (1.0, 10.0)}
    assert commands.sync() == []


def test_a_dataset_that_is_not_there_is_an_error_and_nothing_is_made(
    server: Recorded, commands: Commands, capfd: pytest.CaptureFixture[str]
) -> None:
    assert commands.acquire() == 1
    assert "no dataset has the name checks; --create makes one" in capfd.readouterr().err
    assert commands.acquire("--create", "--set", "annotation.argilla.workspace=") == 1
    assert "name the workspace" in capfd.readouterr().err
    assert not server.datasets
