"""Who may do what: every operation with every kind of token, and the door that is open on loopback only."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import closing
from itertools import product
from pathlib import Path

import pytest
from typer.testing import CliRunner

from driftgauge.agent.api.access import ROLES, Access, new_token
from driftgauge.agent.api.guard import Guard
from driftgauge.agent.api.operations import OTHERS, READS, Operation
from driftgauge.agent.api.rate import MAX_CLIENTS, RateLimit
from driftgauge.agent.cli import app
from driftgauge.agent.outlets.http import Server, json_response, listen, pages
from driftgauge.config.load import ConfigError, load_settings
from driftgauge.connectors.publishing.encode import Topics
from driftgauge.connectors.store.sql_store import open_store
from tests.api.serving import api_on, ask

TOKENS = {role: new_token() for role in ROLES}
OPERATIONS = (*READS, *OTHERS)
WITHOUT_TOKEN = ("/", "/openapi.json")


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("api") / "empty.db"
    open_store(f"sqlite:///{path}", topics=Topics()).close()
    return path


@pytest.fixture(scope="module")
def guarded(empty_store: Path) -> Iterator[int]:
    digests = {f"server__tokens__{role}": [digest] for role, (_, digest) in TOKENS.items()}
    with api_on(empty_store, **digests) as port:
        yield port


@pytest.fixture(scope="module")
def unguarded(empty_store: Path) -> Iterator[int]:
    with api_on(empty_store) as port:
        yield port


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def asked(port: int, operation: Operation, headers: Mapping[str, str] | None = None) -> int:
    """The status; a body is never right, so that nothing is published, and the question to the stream is wrong."""
    path = f"{operation.path}?no=1" if operation.answer is None else operation.path
    body = b"?" if operation.method == "POST" else None
    return ask(
        port, path, {"content-type": "application/json", **(headers or {})}, method=operation.method, body=body
    ).status


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.path)
def test_an_operation_needs_a_token_with_its_role(guarded: int, operation: Operation) -> None:
    assert asked(guarded, operation) == 401
    assert asked(guarded, operation, bearer("wrong")) == 401
    assert asked(guarded, operation, {"authorization": f"Basic {TOKENS[operation.role][0]}"}) == 401
    for role in ROLES:
        status = asked(guarded, operation, bearer(TOKENS[role][0]))
        assert (status == 403) == (role != operation.role)
        assert status != 401


def test_a_digest_is_no_token(guarded: int) -> None:
    assert ask(guarded, READS[0].path, bearer(TOKENS["read"][1])).status == 401


@pytest.mark.parametrize("path", WITHOUT_TOKEN)
def test_what_holds_no_data_needs_no_token(guarded: int, path: str) -> None:
    assert ask(guarded, path).status == 200


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.path)
def test_without_tokens_a_name_of_another_host_is_refused(unguarded: int, operation: Operation) -> None:
    assert asked(unguarded, operation) not in (401, 403)
    for host in ("gauge.example", "127.0.0.1.example", "localhost.example:80", "[::2]", "[", "[::1", "[x]"):
        assert asked(unguarded, operation, {"host": host}) == 403


@pytest.mark.parametrize("path", ["/", "/openapi.json", "/nothing"])
def test_a_page_of_another_site_reads_nothing_under_its_own_name(unguarded: int, path: str) -> None:
    assert ask(unguarded, path, {"host": "evil.example"}).status == 403


def test_without_tokens_nothing_is_served_on_other_addresses(
    empty_store: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with api_on(empty_store), api_on(empty_store, server__host="0.0.0.0", server__tokens__read=["0" * 64]):
        assert "server.tokens" not in caplog.text
    with api_on(empty_store, server__host="0.0.0.0") as port:
        assert ask(port, READS[0].path).status == 401
        assert ask(port, "/").status == 200
    assert "nobody can use the dashboard and the API on 0.0.0.0: server.tokens has no token" in caplog.text


def test_every_answer_protects_browsers(guarded: int) -> None:
    for path in ("/", "/openapi.json", READS[0].path, "/nothing"):
        headers = ask(guarded, path).headers
        assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self';")
        assert headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in headers
        assert "server" not in headers


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_what_a_page_of_another_site_may_send_is_refused(unguarded: int, kind: str) -> None:
    for operation in OTHERS:
        if operation.method == "POST":
            reply = ask(unguarded, operation.path, method="POST", body=b"{}", headers={"content-type": kind})
            assert reply.status == 415
            assert "with the header Content-Type: application/json" in reply.json["detail"]


def test_no_log_has_a_token(guarded: int, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        for role, path in product(ROLES, ("/v1/domains", "/nothing")):
            ask(guarded, path, bearer(TOKENS[role][0]))
    assert not any(token in caplog.text for token, _ in TOKENS.values())


def test_settings_refuse_a_token_itself_without_repeating_it() -> None:
    token, digest = new_token()
    assert load_settings(overrides={"server.tokens.read": digest.upper()}).server.tokens.read == (digest,)
    with pytest.raises(ConfigError, match="its SHA-256, 64 hexadecimal digits: see `driftgauge token`") as raised:
        load_settings(overrides={"server.tokens.read": token})
    assert token not in str(raised.value)


def test_the_command_prints_a_token_and_its_digest() -> None:
    lines = CliRunner().invoke(app, ["token"]).output.splitlines()
    settings = load_settings(overrides={"server.tokens.read": lines[1].split()[1]})
    assert len(lines[0].split()[1]) >= 43
    assert settings.server.tokens.read


def test_a_client_that_asks_too_often_is_told_when_to_come_back() -> None:
    app = Guard(pages({"/page": lambda: json_response({})}), RateLimit(1, now=lambda: 0.0), Access({}, "127.0.0.1"))
    with closing(Server(app, listen("127.0.0.1", 0))) as server:
        first, second = (ask(server.port, "/page") for _ in range(2))
    assert (first.status, second.status, second.headers["retry-after"]) == (200, 429, "1")
    assert second.json["detail"] == "too many requests"


def test_the_rates_of_clients_are_separate_and_bounded_in_number() -> None:
    time = 0.0
    limit = RateLimit(1, now=lambda: time)
    assert limit.wait_s("a") == 0 < limit.wait_s("a")
    assert limit.wait_s("b") == 0
    time = 1.0
    assert limit.wait_s("a") == 0
    for number in range(MAX_CLIENTS):
        limit.wait_s(str(number))
    assert limit.wait_s("a") == 0  # forgotten, so it starts again
