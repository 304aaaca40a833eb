"""``driftgauge gateway check`` against servers that accept, refuse, ignore, cut short and die of being asked."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias

import pytest
import typer
from typer.testing import CliRunner

from driftgauge.agent.commands.gateway_check import check
from driftgauge.agent.gateway.check import PROBES, Finding, ModelServer, check_server, measured_cost
from driftgauge.connectors.base import ConnectorError
from driftgauge.connectors.kafka.local_broker import free_ports

N_TOKENS = 4
KEY = "planted-sk-123"
Document: TypeAlias = dict[str, Any]
Refusal: TypeAlias = Callable[[Document], "str | None"]
"""What a server does with a request that asks: ``refuse``, ``ignore``, ``first`` (only the first token), ``die``; None:
it does as it is asked."""


def k_of(document: Document) -> int | None:
    """The k that a chat request asks for."""
    return document["top_logprobs"] if document.get("logprobs") else None


def entries(k: int, n: int) -> list[Document]:
    top = [{"token": f"t{i}", "bytes": None, "logprob": -0.1 - i} for i in range(k)]
    return [{"token": "t0", "bytes": None, "logprob": -0.1, "top_logprobs": top}] * n


class Server(ThreadingHTTPServer):
    """A chat server; it does not know the other endpoints."""

    daemon_threads = True

    def __init__(self, behaviour: Refusal) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.behaviour = behaviour
        self.requests: list[Document] = []
        self.keys: set[str | None] = set()
        self.is_dead = False

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def answer(self, document: Document) -> tuple[int, bytes]:
        k, does = k_of(document), None
        if k is not None:
            does = self.behaviour(document)
        if does == "refuse":
            return 400, b'{"error": {"message": "logprobs is not supported here"}}'
        n_logprobs = {"ignore": 0, "first": 1}.get(does or "", N_TOKENS if k is not None else 0)
        logprobs = {"content": entries(k or 0, n_logprobs)} if n_logprobs else None
        head = {"id": "c-1", "created": 1_767_607_200, "model": document["model"]}
        usage = {"prompt_tokens": 3, "completion_tokens": N_TOKENS * document.get("n", 1)}
        if not document.get("stream"):
            message = {"role": "assistant", "content": "Red, green, blue"}
            choices = [
                {"index": i, "message": message, "logprobs": logprobs, "finish_reason": "stop"}
                for i in range(document.get("n", 1))
            ]
            return 200, json.dumps({**head, "object": "chat.completion", "choices": choices, "usage": usage}).encode()
        choice = {"index": 0, "delta": {"content": "Red"}, "logprobs": logprobs, "finish_reason": "stop"}
        chunks = [{**head, "object": "chat.completion.chunk", "choices": [choice], "usage": usage}, "[DONE]"]
        lines = [chunk if isinstance(chunk, str) else json.dumps(chunk) for chunk in chunks]
        return 200, "".join(f"data: {line}\n\n" for line in lines).encode()


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.keys.add(self.headers["authorization"])
        self._send(200, b'{"object": "list", "data": [{"id": "served"}, {"id": "other"}]}')

    def do_POST(self) -> None:
        document = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.requests.append(document)
        self.server.keys.add(self.headers["authorization"])
        if k_of(document) is not None and self.server.behaviour(document) == "die":
            self.server.is_dead = True
        if self.server.is_dead:
            self.connection.close()
        elif self.path != "/v1/chat/completions":
            self._send(404, b'{"detail": "Not Found"}')
        else:
            self._send(*self.server.answer(document))

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the library's
        pass


@contextmanager
def serving(behaviour: Refusal = lambda _: None) -> Iterator[Server]:
    with Server(behaviour) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.02])
        thread.start()
        yield server
        server.shutdown()
        thread.join()


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
        return "first" if document.get("stream") or document.get("n") else None

    with serving(behaviour) as server:
        findings = found(server)
    expected = {
        "chat": "works", "chat, stream": "partly", "chat, tools": "ignored", "chat, tools, stream": "refused",
        "chat, JSON schema": "works", "chat, n = 2": "partly", "chat, k = 1": "works", "chat, k = 20": "refused",
    }  # fmt: skip
    assert {name: findings[name].verdict for name in expected} == expected
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
