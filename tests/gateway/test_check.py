"""``driftgauge gateway check`` against servers that accept, refuse, ignore, cut short and die of being asked."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from driftgauge.agent.commands.gateway_check import check
from driftgauge.agent.gateway.check import PROBES, Finding, check_server, measured_cost
from driftgauge.connectors.base import ConnectorError
from driftgauge.connectors.kafka.local_broker import free_ports
from driftgauge.connectors.model_server import ModelServer
from tests.gateway.chat_server import Document, Server, k_of, serving

KEY = "planted-sk-123"


def found(server: Server, k: int = 5) -> dict[str, Finding]:
    return {finding.probe.name: finding for finding in check_server(ModelServer(server.address), "served", k=k)}


def test_each_kind_of_request_is_sent_once_without_and_once_with_asking() -> None:
    with serving() as server:
        findings = found(server)
    chats = [document for document in server.requests if "messages" in document]
    asked = [k_of(document) for document in chats]
    assert asked == [k for probe in PROBES if probe.api == "chat" for k in (None, probe.k or 5)]
    assert {name: finding.verdict for name, finding in findings.items()} == {
        probe.name: "works" if probe.api == "chat" else "not offered" for probe in PROBES
    }
    assert findings["chat"].detail.startswith("4 tokens of 4, k = 5, ")
    assert findings["chat, n = 2"].detail.startswith("8 tokens of 8, ")
    assert "404" in findings["responses"].detail


def test_what_a_server_refuses_ignores_and_cuts_short_is_told_apart() -> None:
    def behaviour(document: Document) -> str | None:
        if document.get("tools"):
            return "refuse" if document.get("stream") else "ignore"
        if k_of(document) == 20:
            return "refuse"
        if document.get("response_format"):
            return "fewer"
        return "first" if document.get("stream") or document.get("n") else None

    with serving(behaviour) as server:
        findings = found(server)
    expected = {
        "chat": "works", "chat, stream": "partly", "chat, tools": "ignored", "chat, tools, stream": "refused",
        "chat, JSON schema": "partly", "chat, n = 2": "partly", "chat, k = 1": "works", "chat, k = 20": "refused",
    }  # fmt: skip
    assert {name: findings[name].verdict for name in expected} == expected
    assert "k = 1" in findings["chat, JSON schema"].detail
    assert "logprobs is not supported here" in findings["chat, k = 20"].detail


def test_the_check_stops_at_the_first_kind_that_ends_the_server() -> None:
    with serving(lambda document: "die" if document.get("stream") else None) as server:
        findings = list(found(server).values())
    assert [finding.verdict for finding in findings] == ["works", "failed", "failed"]
    assert [finding.probe.name for finding in findings][1:] == ["chat, stream", "chat, tools"]


def test_the_cost_compares_alternating_rounds() -> None:
    with serving() as server:
        cost = measured_cost(ModelServer(server.address), "served", k=5, n_parallel=2, rounds=1)
    assert cost is not None
    assert cost.plain > 0
    assert cost.asked > 0
    assert sorted(k_of(document) or 0 for document in server.requests) == [0] * 4 + [5] * 4


def test_the_cost_of_a_server_that_refuses_is_unknown() -> None:
    with serving(lambda _: "refuse") as server:
        assert measured_cost(ModelServer(server.address), "served", k=5, n_parallel=1, rounds=1) is None


def test_a_server_that_is_away_is_one_clear_error() -> None:
    (port,) = free_ports(1)
    with pytest.raises(ConnectorError, match=rf"127\.0\.0\.1:{port} does not list its models .*Connection refused"):
        ModelServer(f"http://127.0.0.1:{port}").models()


def run(*arguments: str, **environment: str) -> Any:
    app = typer.Typer()
    app.command()(check)
    return CliRunner().invoke(app, list(arguments), env=environment)


def test_the_command_prints_a_table_and_the_cost_and_shows_no_key(caplog: pytest.LogCaptureFixture) -> None:
    with serving() as server, caplog.at_level(logging.DEBUG):
        done = run("--set", f"gateway.upstream={server.address}", "--yes", "--key-from", "MY_KEY", MY_KEY=KEY)
    assert done.exit_code == 0, done.output
    assert "served" in done.stderr
    assert "do not survive" in " ".join(done.stderr.split())
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["request", "k", "asking", "what", "came", "back"]
    assert len(lines) == len(PROBES) + 2
    assert "tokens per second" in lines[-1]
    assert server.keys == {f"Bearer {KEY}"}
    assert KEY not in done.output + caplog.text


def test_the_command_sends_nothing_before_it_was_confirmed() -> None:
    with serving() as server:
        done = run("--set", f"gateway.upstream={server.address}", "--model", "served")
    assert done.exit_code == 1
    assert server.requests == []


@pytest.mark.parametrize(("does", "text"), [("refuse", "gives no log-probabilities"), ("die", "the server failed")])
def test_the_command_fails_where_asking_is_of_no_use_or_harmful(does: str, text: str) -> None:
    with serving(lambda _: does) as server:
        done = run("--set", f"gateway.upstream={server.address}", "--yes", "--no-cost")
    assert done.exit_code == 1
    assert text in done.stderr


def test_an_api_key_that_is_not_set_is_wrong_usage_and_a_broken_one_is_not_shown() -> None:
    assert run("--key-from", "NOT_SET_ANYWHERE").exit_code == 2
    with serving() as server:
        done = run("--set", f"gateway.upstream={server.address}", "--yes", "--key-from", "MY_KEY", MY_KEY=f"{KEY}\nx")
    assert done.exit_code == 1
    assert KEY not in f"{done.output}{done.exception!r}"
