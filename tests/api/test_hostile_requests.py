"""Requests that no client sends by mistake, and clients that go away: refused, at once, and without noise."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from starlette.requests import Request

from driftgauge.agent.api.app import asked
from driftgauge.agent.api.problem import Problem
from driftgauge.agent.api.shapes import Question
from driftgauge.agent.outlets.http import MAX_HEADER_BYTES
from driftgauge.connectors.publishing.encode import Topics
from driftgauge.connectors.store.sql_store import open_store
from tests.api.serving import api_on, ask
from tests.deadline import until


@pytest.fixture
def path(tmp_path: Path) -> Path:
    open_store(f"sqlite:///{tmp_path / 'empty.db'}", topics=Topics()).close()
    return tmp_path / "empty.db"


@pytest.fixture
def port(path: Path) -> Iterator[int]:
    with api_on(path) as port:
        yield port


@pytest.mark.timeout(60)
def test_very_many_parameters_are_refused_at_once() -> None:
    request = Request({"type": "http", "query_string": b"a&" * 100_000, "headers": []})
    with pytest.raises(Problem) as raised:
        asked(Question, request)
    assert raised.value.errors == ("a: given more than once",)


def test_headers_that_come_in_one_piece_are_bounded_too(port: int) -> None:
    assert ask(port, "/v1/domains", {"x": "a" * (MAX_HEADER_BYTES - 1_000)}).status == 200
    assert ask(port, "/v1/domains", {"x": "a" * (MAX_HEADER_BYTES + 10_000)}).status == 400


@pytest.mark.parametrize("path", ["/v1/domains/", "/v1/labels/", "/assets/main.js/"])
def test_no_answer_sends_a_client_to_the_host_that_it_named(port: int, path: str) -> None:
    reply = ask(port, path, {"host": "gauge.example"})
    assert reply.status == 403
    assert "location" not in reply.headers
    assert ask(port, path).status == 404


def test_a_question_for_the_headers_of_a_stream_ends(port: int) -> None:
    reply = ask(port, "/v1/stream", method="HEAD")
    assert (reply.status, reply.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    with closing(socket.create_connection(("127.0.0.1", port), timeout=60)) as client:
        head = b"HEAD /v1/stream HTTP/1.1\r\nhost: localhost\r\n"
        client.sendall(head + b"\r\n" + head + b"connection: close\r\n\r\n")
        assert _all(client).count(b"HTTP/1.1 200") == 2


def test_a_client_that_leaves_within_its_body_is_no_error(port: int, caplog: pytest.LogCaptureFixture) -> None:
    with closing(socket.create_connection(("127.0.0.1", port), timeout=60)) as client:
        headers = b"host: localhost\r\ncontent-type: application/json\r\ncontent-length: 9\r\n"
        client.sendall(b"POST /v1/labels HTTP/1.1\r\n" + headers + b"\r\n{")
        client.shutdown(socket.SHUT_WR)
        _all(client)
    assert ask(port, "/v1/domains").status == 200
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_no_answer_is_kept_while_the_store_is_away(path: Path) -> None:
    with api_on(path) as port:
        with closing(socket.create_connection(("127.0.0.1", port), timeout=60)) as client:
            client.sendall(b"GET /v1/stream HTTP/1.1\r\nhost: localhost\r\n\r\n")
            seen = b""
            while b'"version":1' not in seen:  # the server has looked at the store
                seen += client.recv(65_536)
        assert ask(port, "/v1/domains").status == 200
        path.rename(path.with_suffix(".away"))
        until(lambda: ask(port, "/v1/domains").status == 503)
        path.with_suffix(".away").rename(path)
        until(lambda: ask(port, "/v1/domains").status == 200)


def _all(client: socket.socket) -> bytes:
    parts = []
    while part := client.recv(65_536):
        parts.append(part)
    return b"".join(parts)
