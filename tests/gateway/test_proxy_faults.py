"""Faults of the upstream and of clients."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import aiohttp
import pytest

from tests.gateway.upstream import ALL, Gateway, Hit, Line, Script, answer_of, gateway, run, says

CHAT = "/v1/chat/completions"
PLAIN = json.dumps({"model": "m", "messages": []}).encode()
STREAM = json.dumps({"model": "m", "messages": [], "stream": True}).encode()


def request(body: bytes, *headers: str, path: str = CHAT, version: str = "1.1") -> bytes:
    lines = (f"POST {path} HTTP/{version}", "Host: gateway", f"Content-Length: {len(body)}", *headers)
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def closing(body: bytes, *headers: str) -> bytes:
    return request(body, "Connection: close", *headers)


async def opened(there: Gateway, data: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection(*there.address)
    writer.write(data)
    return reader, writer


# --- the upstream --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [PLAIN, STREAM, b"unread"])
def test_an_upstream_that_is_not_there_gives_a_502_of_the_gateway(body: bytes) -> None:
    async def work() -> None:
        async with gateway(address={"url": "http://127.0.0.1:1"}) as there:
            answer = await there.raw(closing(body))
            assert answer.startswith(b"HTTP/1.1 502 ")
            assert b"x-driftgauge-error: upstream_unreachable" in answer
            assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == "upstream_unreachable"
            assert there.counts.asked == ({} if body == b"unread" else {"failed": 1})

    run(work())


def test_an_upstream_that_is_not_there_is_in_the_log_once(caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        async with gateway(address={"url": "http://127.0.0.1:1"}) as there:
            for _ in range(3):
                await there.raw(closing(PLAIN))

    run(work())
    [line] = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert "the model server cannot be reached" in line
    assert "127.0.0.1:1" in line


def test_an_upstream_that_hangs_gives_a_504_after_the_time_for_reading() -> None:
    async def hangs(_: Hit, line: Line) -> None:
        await line.reader.read()

    async def work() -> None:
        async with gateway(hangs, address={"read_timeout_s": 0.1}) as there:
            answer = await there.raw(closing(PLAIN))
            assert answer.startswith(b"HTTP/1.1 504 ")
            assert there.counts.lost == {"no_answer": 1}
            assert len(there.upstream.hits) == 1

    run(work())


async def resets_before_the_head(_: Hit, line: Line) -> None:
    line.reset()


async def resets_in_the_head(_: Hit, line: Line) -> None:
    await line.send(b"HTTP/1.1 200 OK\r\nContent-Le")
    line.reset()


@pytest.mark.parametrize("script", [resets_before_the_head, resets_in_the_head])
def test_a_request_is_not_sent_again_after_a_reset(script: Script) -> None:
    async def work() -> None:
        async with gateway(script) as there:
            assert (await there.raw(closing(PLAIN))).startswith(b"HTTP/1.1 502 ")
            assert len(there.upstream.hits) == 1

    run(work())


def breaks(n_bytes: int, *, body: bytes = STREAM, ends: bool = False) -> Script:
    """The answer of an honest server up to this byte, and then a reset or the end of the connection."""

    async def script(hit: Hit, line: Line) -> None:
        answer = answer_of(hit)
        if body == STREAM:
            await line.stream_head()
            await line.chunk(answer[:n_bytes])
        else:
            length = {"Content-Type": "application/json", "Content-Length": str(len(answer))}
            await line.head(200, length)
            await line.send(answer[:n_bytes])
        if ends:
            line.writer.write_eof()
            await line.reader.read()
        line.reset()

    return script


@pytest.mark.parametrize("ends", [False, True])
@pytest.mark.parametrize("n_bytes", [10, 300, 700])
@pytest.mark.parametrize("body", [PLAIN, STREAM])
def test_an_answer_that_breaks_off_breaks_off_for_the_client_too(body: bytes, n_bytes: int, ends: bool) -> None:
    async def work() -> None:
        async with gateway(breaks(n_bytes, body=body, ends=ends)) as there:
            answer = await there.raw(request(body))
            assert not answer.endswith(b"0\r\n\r\n")
            assert body == STREAM or answer == b""  # a body is held back until it is whole
            assert there.records == []
            assert there.counts.lost == {"upstream_broken": 1}

    run(work())


@pytest.mark.parametrize("body", [PLAIN, STREAM])
def test_answers_that_break_off_are_one_line_of_the_log_a_minute(body: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        async with gateway(breaks(300, body=body)) as there:
            for script in (breaks(300, body=body), resets_before_the_head) * 2:
                there.upstream.script = script
                await there.raw(closing(body))

    run(work())
    lines = [record.getMessage() for record in caplog.records if record.levelname in ("WARNING", "ERROR")]
    assert len(lines) == 2
    assert lines[0] == "the model server breaks off its answers: ClientPayloadError"


def test_an_error_inside_a_stream_reaches_the_client_and_costs_the_event() -> None:
    error = b'data: {"error":{"message":"out of memory","code":500}}\n\n'

    async def fails(hit: Hit, line: Line) -> None:
        await line.stream([answer_of(hit)[:400] + b"\n\n", error])

    async def work() -> None:
        async with gateway(fails) as there:
            assert error in await there.raw(closing(STREAM))
            assert there.records == []
            assert there.counts.lost.total() == 1

    run(work())


def test_a_stream_of_100_000_tokens_is_stripped_to_its_end_within_the_memory() -> None:
    line = 'data: {"choices":[{"index":0,"delta":{"content":"a"},"logprobs":%s}]}' + "\n\n"
    entry = '{"token":"a","logprob":-0.5,"top_logprobs":[{"token":"a","logprob":-0.5}]}'
    asked, expected = (line % ('{"content":[' + entry + "]}")).encode(), (line % "null").encode()

    async def long(_: Hit, line: Line) -> None:
        await line.stream([asked * 1_000] * 100)

    async def work() -> None:
        async with gateway(long, rules=replace(ALL, max_tokens=20_000)) as there:
            async with aiohttp.ClientSession() as client, client.post(there.url + CHAT, data=STREAM) as answer:
                assert await answer.read() == expected * 100_000
            assert there.counts.lost == {"too_many_tokens": 1}

    run(work())


def test_a_body_of_64_mb_passes() -> None:
    body = b'{"choices":[],"x":"' + b"y" * 2**26 + b'"}'

    async def work() -> None:
        async with gateway(says(body)) as there:
            async with aiohttp.ClientSession() as client, client.post(there.url + CHAT, data=PLAIN) as answer:
                assert await answer.read() == body
            assert there.counts.lost == {"too_large": 1}

    run(work())


def test_bodies_that_do_not_fit_the_memory_pass() -> None:
    async def work() -> None:
        async with gateway(max_bytes=100) as there:
            answer = await there.raw(closing(PLAIN))
            assert b'"top_logprobs"' in answer  # it could not be held back to take them out
            assert there.counts.lost == {"memory": 1}

    run(work())


@pytest.mark.parametrize(("status", "headers"), [(204, {}), (302, {"Location": "http://elsewhere/"}), (304, {})])
def test_answers_without_a_body_and_redirects_pass(status: int, headers: dict[str, str]) -> None:
    async def bare(_: Hit, line: Line) -> None:
        length = {"Content-Length": "0"} if status == 302 else {}
        await line.head(status, {**headers, **length})

    async def work() -> None:
        async with gateway(bare) as there:
            answer = await there.raw(closing(PLAIN))
            assert answer.startswith(b"HTTP/1.1 %d Said\r\n" % status)
            assert answer.endswith(b"\r\n\r\n")
            assert all(f"{name}: {value}".encode() in answer for name, value in headers.items())
            assert len(there.upstream.hits) == 1

    run(work())


def test_interim_answers_and_trailers_do_not_confuse() -> None:
    async def chatty(hit: Hit, line: Line) -> None:
        await line.send(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n")
        await line.stream_head(Trailer="X-T")
        await line.chunk(answer_of(hit))
        await line.send(b"0\r\nX-T: 1\r\n\r\n")

    async def work() -> None:
        async with gateway(chatty) as there:
            answer = await there.raw(closing(STREAM))
            assert answer.startswith(b"HTTP/1.1 200 ")
            assert b"Trailer" not in answer
            assert len(there.events()) == 1

    run(work())


# --- clients -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [PLAIN, STREAM, b"unread"])
def test_a_client_that_leaves_before_the_first_byte_ends_the_request_upstream(body: bytes) -> None:
    async def work() -> None:
        started, ended = asyncio.Event(), asyncio.Event()

        async def thinks(_: Hit, line: Line) -> None:
            started.set()
            assert await line.reader.read() == b""
            ended.set()

        async with gateway(thinks) as there:
            _, writer = await opened(there, request(body))
            await started.wait()
            writer.close()
            await ended.wait()
            await there.settled()
            assert there.counts.lost == ({} if body == b"unread" else {"client_gone": 1})

    run(work())


@pytest.mark.parametrize("body", [PLAIN, STREAM])
def test_a_client_that_leaves_in_the_middle_ends_the_request_upstream(body: bytes) -> None:
    async def work() -> None:
        ended = asyncio.Event()

        async def never_ends(hit: Hit, line: Line) -> None:
            await line.stream_head("text/event-stream" if body == STREAM else "application/json")
            await line.chunk(answer_of(hit)[:400])
            assert await line.reader.read() == b""
            ended.set()

        async with gateway(never_ends) as there:
            reader, writer = await opened(there, request(body))
            if body == STREAM:
                assert await reader.readuntil(b"data: ")
            else:
                while not there.upstream.hits:
                    await asyncio.sleep(0)
            writer.close()
            await ended.wait()
            await there.settled()
            assert there.records == []
            assert there.counts.lost == {"client_gone": 1}

    run(work())


@pytest.mark.parametrize(("leaves_at", "others"), [(b"[DONE]", []), (b'"finish_reason":"stop"', []), (b"[DONE]", [1])])
def test_a_choice_that_has_ended_gives_its_event_though_its_client_leaves(leaves_at: bytes, others: list[int]) -> None:
    async def work() -> None:
        async def stays_open(hit: Hit, line: Line) -> None:
            answer = answer_of(hit)
            first = answer[: answer.index(b"\n\n") + 2]
            await line.stream_head()
            for other in others:  # these go on
                await line.chunk(first.replace(b'"index":0', b'"index":%d' % other))
            await line.chunk(answer[: answer.index(leaves_at) + len(leaves_at) + 20])
            assert await line.reader.read() == b""

        async with gateway(stays_open) as there:
            reader, writer = await opened(there, request(STREAM))
            await reader.readuntil(leaves_at)
            writer.close()
            await there.settled()
            [event] = there.events()
            assert event.signal.n_tokens == 3
            assert there.counts.lost == ({"no_logprobs": 1} if others else {})
            assert there.counts.asked == {"got": 1}

    run(work())


def test_a_client_that_does_not_read_slows_the_upstream_down() -> None:
    async def work() -> None:
        line_of = b'data: {"choices":[{"index":0,"delta":{"content":"%s"}}]}\n\n' % (b"x" * 10_000)
        n_sent = 0
        is_blocked = asyncio.Event()

        async def floods(_: Hit, line: Line) -> None:
            nonlocal n_sent
            await line.stream_head()
            for _n in range(5_000):
                sending = asyncio.ensure_future(line.chunk(line_of))
                done, _pending = await asyncio.wait([sending], timeout=0.5)
                if not done:
                    is_blocked.set()
                await sending
                n_sent += 1
            await line.send(b"0\r\n\r\n")

        async with gateway(floods) as there:
            reader, writer = await opened(there, closing(STREAM))
            await is_blocked.wait()
            assert n_sent < 3_000  # of 10 kB each; what the kernel holds for two connections
            assert (await reader.read()).count(b"x" * 10_000) == 5_000
            writer.close()

    run(work())


def test_requests_on_one_connection_are_answered_in_order() -> None:
    async def work() -> None:
        async with gateway() as there:
            answer = await there.raw(request(STREAM) + request(PLAIN) + closing(STREAM))
            assert answer.count(b"HTTP/1.1 200 ") == 3
            assert answer.count(b"data: [DONE]") == 2
            assert b"top_logprobs" not in answer
            assert len(there.events()) == 3

    run(work())


def test_a_client_of_http_1_0_gets_a_stream_until_the_connection_closes() -> None:
    async def work() -> None:
        async with gateway() as there:
            answer = await there.raw(request(STREAM, version="1.0"))
            assert answer.endswith(b"data: [DONE]\n\n")
            assert b"chunked" not in answer.lower()

    run(work())


def test_a_client_that_waits_for_100_continue_gets_it() -> None:
    async def work() -> None:
        async with gateway() as there:
            head, _, body = request(PLAIN, "Expect: 100-continue", "Connection: close").partition(b"\r\n\r\n")
            reader, writer = await opened(there, head + b"\r\n\r\n")
            assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            writer.write(body)
            assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
            writer.close()
            assert (await there.raw(closing(PLAIN, "Expect: tea"))).startswith(b"HTTP/1.1 417 ")
            assert [hit.header("Expect") for hit in there.upstream.hits] == [None]

    run(work())
