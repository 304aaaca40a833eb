"""Probes are sent, and each answer becomes one response with one label, whatever fails on the way."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from driftgauge.agent.commands.produce import message_of
from driftgauge.agent.labelling.build import UNCAPTURED
from driftgauge.agent.labelling.checks import by_function, numeric
from driftgauge.agent.labelling.probes import Asking, Probe, Prober, ProbeRun, Step
from driftgauge.config.load import load_settings
from driftgauge.connectors.base import ConnectorError, Message, Record
from driftgauge.connectors.decoding.decoder import Decoder
from driftgauge.connectors.files.journal import Journal
from driftgauge.connectors.kafka.connection import KafkaConnection
from driftgauge.connectors.kafka.local_broker import free_ports
from driftgauge.connectors.kafka.topics import create_topics
from driftgauge.connectors.model_server import ModelServer
from driftgauge.models.events import Generation, Label
from tests.gateway.upstream import gateway, run
from tests.kafka.conftest import everything_in
from tests.labelling.model_server import Answer, Server, chat_answer, serving
from tests.pipeline.stepping import Agent
from tests.service.test_cli import driftgauge

AT = 1_767_225_600.0  # 2026-01-01T00:00:00Z
PROBES = [Probe("sums", f"p{n}", (("user", f"What is {n} + {n}?"),), numeric(2 * n)) for n in range(1, 5)]


def doubled(request: dict[str, Any]) -> str:
    """Right for every sum but that of 3."""
    n = int(request["messages"][-1]["content"].split()[2])
    return f"It is {2 * n if n != 3 else 7}"


class Broker:
    """Keeps what is published; refuses from the message of number ``fails_at`` on."""

    def __init__(self, fails_at: float = float("inf")) -> None:
        self.fails_at = fails_at
        self.messages: list[Message] = []

    def publish(self, messages: Sequence[Message]) -> None:
        if len(self.messages) >= self.fails_at:
            raise ConnectorError("away", retriable=True)
        self.messages += messages

    def events(self) -> list[Generation | Label]:
        records = [Record(m.topic, 0, i, m.key, m.value, m.headers) for i, m in enumerate(self.messages)]
        found = Decoder().decode(records)
        assert all(isinstance(event, Generation | Label) for event in found)
        return found  # type: ignore[return-value]  # checked above


def ran(
    server: Server | str,
    broker: Broker,
    folder: Path,
    *,
    at: float = AT,
    probes: Sequence[Probe] = PROBES,
    pause: Callable[[float], bool] = lambda _: False,
    now: float = AT + 5,
) -> ProbeRun:
    address = server if isinstance(server, str) else server.address
    with closing(Journal(folder / "journal", Step)) as journal:
        asking = Asking(ModelServer(address, timeout_s=10, headers=UNCAPTURED), "m", temperature=0.5)
        messages = lambda event: message_of(event, load_settings())  # noqa: E731
        return Prober(probes, asking, journal, messages, broker.publish, pause, lambda: now).run(at)


def test_each_answer_becomes_a_response_and_its_label(tmp_path: Path) -> None:
    broker = Broker()
    with serving(doubled) as server:
        found = ran(server, broker, tmp_path)
    assert (found.answered, found.right, found.errors) == (4, 3, {})
    assert str(found) == "4 probes answered, 3 right"
    request = server.requests[0]
    assert (request["logprobs"], request["top_logprobs"], request["model"]) == (True, 5, "m")
    assert (request["temperature"], request["max_tokens"]) == (0.5, 256)
    response, label = broker.events()[:2]
    assert isinstance(response, Generation)
    assert isinstance(label, Label)
    assert (response.id, response.domain, response.slices) == (
        "probe:sums/p1@2026-01-01T00:00:00Z",
        "probe:sums",
        {"probe_id": "p1"},
    )
    assert (response.context.model, response.context.temperature, response.context.k) == ("served-model", 0.5, 5)
    assert (response.signal.n_tokens, response.event_time, response.text) == (3, AT + 5, None)
    assert "served-1" in response.aliases
    assert (label.response_id, label.correct, label.annotator_kind) == (response.id, 1.0, "code")
    assert (label.source, label.inclusion_probability, label.event_time) == ("probe", 1.0, AT + 5)
    assert [event.correct for event in broker.events() if isinstance(event, Label)] == [1.0, 1.0, 0.0, 1.0]


def test_the_agent_estimates_the_set_from_its_labels(tmp_path: Path) -> None:
    broker, agent = Broker(), Agent()
    with serving(doubled) as server:
        for n in range(3):
            ran(server, broker, tmp_path, at=AT + 60 * n, now=AT + 60 * n)
    assert len((tmp_path / "journal").read_bytes().splitlines()) == 2 * len(PROBES)  # those of the last run
    agent.take(*broker.events())
    row = agent.row("probe:sums/p3@2026-01-01T00:01:00Z")
    assert (row.correct, row.weight, row.domain) == (0.0, 1.0, "probe:sums")
    assert row.fingerprint.startswith("probe-")
    assert agent.state.counters["labels"] == agent.state.counters["responses"] == 12


@pytest.mark.parametrize("fails_at", range(0, 8, 2))
def test_after_a_crash_the_run_goes_on_and_no_answer_counts_twice(fails_at: int, tmp_path: Path) -> None:
    before, after = Broker(fails_at), Broker()
    with serving(doubled) as server:
        with pytest.raises(ConnectorError):
            ran(server, before, tmp_path)
        assert len(server.requests) == fails_at // 2 + 1
        ran(server, after, tmp_path, now=AT + 99)
        assert server.prompts() == [probe.messages[0][1] for probe in PROBES]
        again = ran(server, after, tmp_path)
        assert (again.answered, again.known, len(server.requests)) == (0, 4, 4)
    ids = [event.id for broker in (before, after) for event in broker.events() if isinstance(event, Generation)]
    assert ids == [probe.response_id(AT) for probe in PROBES]


def test_what_was_published_but_not_noted_is_published_again_with_the_same_bytes(tmp_path: Path) -> None:
    broker, agent = Broker(), Agent()
    with serving(doubled) as server:
        ran(server, broker, tmp_path, probes=PROBES[:2])
        journal = tmp_path / "journal"
        journal.write_bytes(b"".join(journal.read_bytes().splitlines(keepends=True)[:-1]))  # the note is lost
        ran(server, broker, tmp_path, probes=PROBES[:2])
    assert broker.messages[2:4] == broker.messages[4:]
    agent.take(*broker.events())
    counters = agent.state.counters
    assert (counters["responses"], counters["duplicate_responses"], counters["duplicate_labels"]) == (2, 1, 1)
    assert counters["dead_letters"] == 0


def test_answers_of_a_run_that_failed_are_published_before_those_of_the_next(tmp_path: Path) -> None:
    before, after = Broker(0), Broker()
    with serving(doubled) as server:
        with pytest.raises(ConnectorError):
            ran(server, before, tmp_path)
        ran(server, after, tmp_path, at=AT + 3600)
    ids = [event.id for event in after.events() if isinstance(event, Generation)]
    assert ids == [PROBES[0].response_id(AT), *(probe.response_id(AT + 3600) for probe in PROBES)]


def test_what_gives_no_label_is_counted_and_the_others_go_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    answers: list[Callable[[object], Answer | str]] = [
        lambda _: Answer(b'{"error": "PROMPT OR SECRET"}', 400),
        lambda _: Answer(chat_answer("It is 4", {}), 200),
        lambda _: Answer(b"<html>", 200),
        lambda _: "It is 8",
    ]

    def script(request: dict[str, Any]) -> Answer | str:
        return answers[int(request["messages"][-1]["content"].split()[2]) - 1](request)

    def broken(text: str) -> bool:
        raise RuntimeError(text)

    broker = Broker()
    probes = [*PROBES, Probe("sums", "own", PROBES[3].messages, by_function(broken))]
    with serving(script) as server, caplog.at_level(logging.INFO):
        found = ran(server, broker, tmp_path, probes=probes)
    assert found.errors == {"status_400": 1, "no_logprobs": 1, "unreadable": 1, "check_failed": 1}
    assert found.answered == 1
    assert len(broker.messages) == 2
    assert "probe sums/p1 gave no label: status_400" in caplog.text
    assert "SECRET" not in caplog.text
    assert "It is 8" not in caplog.text


def test_a_busy_server_is_asked_again_after_the_time_it_names(tmp_path: Path) -> None:
    waits: list[float] = []

    def waited(seconds: float) -> bool:
        waits.append(seconds)
        return False

    busy = [Answer(b"", 429, {"retry-after": "7"}), Answer(b"", 503)]
    with serving(lambda request: busy.pop(0) if busy else doubled(request)) as server:
        found = ran(server, Broker(), tmp_path, probes=PROBES[:1], pause=waited)
    assert (found.answered, waits) == (1, [7.0, 2.0])


def test_a_server_that_is_away_ends_the_run_and_a_later_one_asks_the_rest(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    probes = [Probe("sums", f"p{n}", (("user", f"What is {n} + {n}?"),), numeric(2 * n)) for n in range(10)]
    found = ran(f"http://127.0.0.1:{port}", Broker(), tmp_path, probes=probes)
    assert found.errors == {"no_answer": 5, "not_sent": 5}
    with serving(doubled) as server:
        assert ran(server, Broker(), tmp_path, probes=probes).answered == 10


def test_a_redirect_is_not_followed_and_the_key_stays_here(tmp_path: Path) -> None:
    with serving(doubled) as other:
        moved = Answer(b"", 307, {"location": f"{other.address}/v1/chat/completions"})
        with serving(lambda _: moved) as server:
            found = ran(server, Broker(), tmp_path, probes=PROBES[:1])
    assert found.errors == {"status_307": 1}
    assert other.requests == []


def test_a_run_that_is_stopped_goes_on_later(tmp_path: Path) -> None:
    pauses = iter([False, True])
    with serving(doubled) as server:
        found = ran(server, Broker(), tmp_path, pause=lambda _: next(pauses))
        assert (found.answered, found.errors) == (2, {"not_sent": 2})
        assert ran(server, Broker(), tmp_path).answered == 2


def test_two_processes_do_not_use_one_journal(tmp_path: Path) -> None:
    with closing(Journal(tmp_path / "journal", Step)), pytest.raises(ConnectorError, match="in use by another process"):
        Journal(tmp_path / "journal", Step)


def test_the_gateway_passes_probes_on_and_makes_no_event_of_them(tmp_path: Path) -> None:
    broker = Broker()

    async def through() -> ProbeRun:
        async with gateway() as opened:
            found = await asyncio.to_thread(ran, opened.url, broker, tmp_path, probes=PROBES[:2])
            assert (opened.records, opened.counts.passed) == ([], {"never": 2})
        return found

    assert run(through()).answered == 2
    assert len(broker.events()) == 4


FILE = """
sets:
  sums:
    prompts:
      - {id: p1, prompt: 'What is 1 + 1 ?', answer: {numeric: 2}}
      - {id: p3, prompt: 'What is 3 + 3 ?', answer: {numeric: 6}}
"""


def flags_of(broker: str, topics: tuple[str, str], server: Server, folder: Path) -> list[str]:
    create_topics(KafkaConnection((broker,)), topics, 1, 1)
    (folder / "probes.yaml").write_text(FILE)
    given = {
        "kafka.bootstrap_servers": broker,
        "kafka.topics.generations": topics[0],
        "kafka.topics.labels": topics[1],
        "probes.file": folder / "probes.yaml",
        "probes.url": server.address,
        "probes.journal": folder / "journal",
        "probes.pause_s": 0,
        "probes.cron": "@yearly",
    }
    return [part for name, value in given.items() for part in ("--set", f"{name}={value}")]


@pytest.mark.kafka
def test_the_command_publishes_to_the_topics_of_the_settings_once(
    broker: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(doubled) as server:
        flags = flags_of(broker, ("probes-g", "probes-l"), server, tmp_path)
        assert driftgauge("probe", "--once", *flags) == 0
        assert driftgauge("probe", "--once", *flags) == 0
    assert capsys.readouterr().out.splitlines() == [
        "2 probes answered, 1 right",
        "0 probes answered, 0 right; 2 answered before",
    ]
    assert {request["model"] for request in server.requests} == {"served-model"}
    assert len(everything_in(broker, "probes-g")) == len(everything_in(broker, "probes-l")) == 2


@pytest.mark.kafka
def test_the_command_finishes_the_newest_run_when_it_starts_and_ends_on_sigterm(broker: str, tmp_path: Path) -> None:
    def only_the_first(request: dict[str, Any]) -> Answer | str:
        return doubled(request) if "1 + 1" in request["messages"][-1]["content"] else Answer(b"", 400)

    asked = threading.Event()

    def noted(request: dict[str, Any]) -> str:
        asked.set()
        return doubled(request)

    with serving(only_the_first) as server:
        flags = flags_of(broker, ("probes-rest-g", "probes-rest-l"), server, tmp_path)
        assert driftgauge("probe", "--once", *flags) == 1
        server.script, before = noted, len(server.requests)
        process = subprocess.Popen([sys.executable, "-m", "driftgauge.agent.cli", "probe", *flags])
        try:
            assert asked.wait(60)
        finally:
            process.terminate()
            assert process.wait(60) == 0
    assert server.prompts()[before:] == ["What is 3 + 3 ?"]
    assert len(everything_in(broker, "probes-rest-g")) == len(everything_in(broker, "probes-rest-l")) == 2


def test_without_a_file_the_command_says_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    assert driftgauge("probe", "--once") == 2
    assert "probes.file" in capsys.readouterr().err
