"""The rules of HTTP that a proxy must keep, and what must not leave it."""

from __future__ import annotations

import json
import logging

import pytest

from tests.gateway.test_proxy_faults import PLAIN, closing, opened, request
from tests.gateway.upstream import Hit, Line, answer_of, gateway, run, says


def test_headers_of_one_connection_do_not_pass() -> None:
    hops = ("Connection: close, X-Hop", "X-Hop: 1", "Keep-Alive: 5", "TE: trailers", "Proxy-Authorization: Basic eA==")
    said = says(b"{}", 404, **{"Connection": "X-Back", "X-Back": "1", "Keep-Alive": "timeout=9", "Upgrade": "h2c"})

    async def work() -> None:
        async with gateway(said) as there:
            answer = await there.raw(request(PLAIN, *hops, "Authorization: Bearer sk-1", "X-Request-Id: 7"))
            names = {name.lower() for name, _ in there.upstream.hits[0].headers}
            assert names.isdisjoint({"x-hop", "keep-alive", "te", "proxy-authorization", "upgrade"})
            assert there.upstream.hits[0].header("Authorization") == "Bearer sk-1"
            assert there.upstream.hits[0].header("X-Request-Id") == "7"
            assert there.upstream.hits[0].header("Host") != "gateway"
            assert b"x-back" not in answer.lower()
            assert b"timeout=9" not in answer
            assert b"h2c" not in answer

    run(work())


SMUGGLED = b"GET /admin HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize(
    "head",
    [
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding:\x0bchunked",
        "Content-Length: 5\r\nContent-Length: 50",
        "Content-Length: +5",
        "Content-Length: 5, 5",
        "Content-Length: -1",
        "Content-Length: 0x5",
        "X: a\r\n Content-Length: 5",
        "X: a\nContent-Length: 5",
        "X: a\x00b",
        "Connection: Content-Length\r\nContent-Length: 5",
    ],
)
def test_no_request_is_smuggled_past_the_gateway(head: str) -> None:
    async def work() -> None:
        async with gateway(says(b"{}")) as there:
            data = f"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\n{head}\r\n\r\n".encode("latin-1")
            reader, writer = await opened(there, data + b"0\r\n\r\n" + SMUGGLED)
            writer.write_eof()
            answer = await reader.read()
            writer.close()
            first = [hit for hit in there.upstream.hits if hit.target != "/admin"]
            assert len(first) <= 1
            # where the rest reaches the upstream it is a request of its own, with an answer of its own
            assert answer.count(b"HTTP/1.1 200") == len(there.upstream.hits)
            assert not [hit for hit in there.upstream.hits if SMUGGLED in hit.body and len(there.upstream.hits) > 1]

    run(work())


def test_the_gateway_is_no_forward_proxy() -> None:
    async def work() -> None:
        async with gateway(says(b"{}")) as there:
            await there.raw(
                b"GET http://elsewhere.example/x?y=1 HTTP/1.1\r\nHost: elsewhere.example\r\nConnection: close\r\n\r\n"
            )
            assert [hit.target for hit in there.upstream.hits] == ["/x?y=1"]
            answer = await there.raw(b"CONNECT elsewhere.example:443 HTTP/1.1\r\nHost: elsewhere.example\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 400 ")
            answer = await there.raw(b"OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 400 ")
            await there.raw(b"GET @elsewhere.example/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            await there.raw(b"GET //elsewhere.example/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert [hit.target for hit in there.upstream.hits[1:]] == ["//elsewhere.example/x"]

    run(work())


@pytest.mark.parametrize("path", ["/d/a%0d%0aX-Evil:%201/v1/chat/completions", "/d/a%00b/v1/chat/completions"])
def test_a_domain_cannot_inject_headers(path: str) -> None:
    async def work() -> None:
        async with gateway() as there:
            answer = await there.raw(request(PLAIN, "Connection: close", path=path))
            assert b"Evil" not in answer
            assert [hit.header("X-Evil") for hit in there.upstream.hits] == [None]

    run(work())


def test_credentials_and_prompts_reach_the_upstream_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    secrets = ("sk-planted-key", "planted prompt", "planted answer")

    async def tells(hit: Hit, line: Line) -> None:
        await line.whole(answer_of(hit).replace("…".encode(), b"planted answer").replace(rb"\u2026", b"planted answer"))

    async def work() -> None:
        async with gateway(tells) as there:
            body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "planted prompt"}]}).encode()
            answer = await there.raw(closing(body, "Authorization: Bearer sk-planted-key"))
            assert b"planted answer" in answer
            assert b"planted prompt" in there.upstream.hits[0].body
            assert len(there.records) == 1
            given = [*(key + value for key, value in there.records), caplog.text.encode(), repr(there.counts).encode()]
            assert not [text for text in given for secret in secrets if secret.encode() in text]

    run(work())


@pytest.mark.parametrize("n_bytes", [60_000, 70_000])
def test_a_header_of_64_kib_passes_and_a_longer_one_is_refused_without_a_word_in_the_log(
    n_bytes: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    key = "sk-planted-key" * (n_bytes // 14)

    async def echoes(hit: Hit, line: Line) -> None:
        await line.send(
            f"HTTP/1.1 404 No\r\nX-Echo: {hit.header('Authorization')}\r\nContent-Length: 0\r\n\r\n".encode()
        )

    async def work() -> None:
        async with gateway(echoes) as there:
            answer = await there.raw(closing(PLAIN, f"Authorization: Bearer {key}"))
            if n_bytes < 2**16:
                assert f"X-Echo: Bearer {key}".encode() in answer
            else:
                assert answer.startswith(b"HTTP/1.0 400 ")
            assert "planted" not in caplog.text

    run(work())


def test_nothing_of_ours_that_fails_reaches_the_client(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("planted")

    async def work() -> None:
        async with gateway() as there:
            monkeypatch.setattr(there.capture.naming, "names", broken)
            assert (await there.raw(closing(PLAIN))).startswith(b"HTTP/1.1 200 ")
            assert there.upstream.hits[0].body == PLAIN
            assert there.counts.errors == 1
            there.counts.errors = 0

    run(work())
