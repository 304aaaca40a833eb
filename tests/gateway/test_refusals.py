"""Refusals of the upstream, and answers that are not what they seem."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace

import pytest

from driftgauge.agent.gateway.breaker import Breaker
from tests.gateway.test_proxy import BODY, CHAT, plain, post
from tests.gateway.upstream import ALL, Hit, Line, answer_of, gateway, honest, run, says

# --- refusals ------------------------------------------------------------------------------------------------------


async def refuses(hit: Hit, line: Line) -> None:
    if hit.asks:
        await line.whole(b'{"error":{"code":"unsupported_parameter"}}', status=400)
    else:
        await honest(hit, line)


def test_a_refusal_is_answered_with_the_clients_own_bytes_once_and_remembered() -> None:
    async def work() -> None:
        async with gateway(refuses) as there:
            for _ in range(3):
                assert (await post(there))[:2] == (200, plain(CHAT, BODY))
            assert [hit.asks for hit in there.upstream.hits] == [True, False, False, False]
            assert {hit.body for hit in there.upstream.hits[1:]} == {json.dumps(BODY).encode()}
            await post(there, {**BODY, "stream": True})  # another combination
            assert there.upstream.hits[-2].asks
            assert there.counts.sent_again == 2
            assert there.counts.asked == {"refused": 2}
            assert there.counts.passed == {"paused": 2}
            assert there.records == []

    run(work())


def test_a_request_that_is_wrong_anyway_is_not_a_refusal_to_be_asked() -> None:
    async def work() -> None:
        async with gateway(says(b'{"error":"no messages"}', 422)) as there:
            for _ in range(2):
                assert (await post(there))[:2] == (422, b'{"error":"no messages"}')
            assert [hit.asks for hit in there.upstream.hits] == [True, False, True, False]
            assert there.counts.asked == {}

    run(work())


@pytest.mark.parametrize("status", [401, 404, 429, 500, 503])
def test_no_other_status_is_sent_again(status: int) -> None:
    async def work() -> None:
        async with gateway(says(b"{}", status, retry_after="7")) as there:
            got, body, headers = await post(there)
            assert (got, body, headers["retry-after"]) == (status, b"{}", "7")
            assert len(there.upstream.hits) == 1
            assert there.counts.lost == {"error_status": 1}
            assert there.counts.asked == ({"failed": 1} if status >= 500 else {})

    run(work())


def test_an_upstream_that_ignores_being_asked_is_no_longer_asked() -> None:
    async def work() -> None:
        async with gateway(says(plain(CHAT, BODY))) as there:
            for _ in range(25):
                assert (await post(there))[1] == plain(CHAT, BODY)
            assert sum(hit.asks for hit in there.upstream.hits) == 20
            assert there.counts.lost == {"no_logprobs": 20}

    run(work())


def test_asking_begins_again_after_the_pause() -> None:
    async def work() -> None:
        async with gateway(refuses, breaker=Breaker(pause_s=1e-9)) as there:
            await post(there)
            await post(there)
            assert [hit.asks for hit in there.upstream.hits] == [True, False, True, False]

    run(work())


# --- answers that are not what they seem ---------------------------------------------------------------------------


@pytest.mark.parametrize("is_stream", [False, True])
def test_a_compressed_answer_passes_unread(is_stream: bool) -> None:
    async def compresses(hit: Hit, line: Line) -> None:
        kind = "text/event-stream" if is_stream else "application/json"
        await line.whole(gzip.compress(answer_of(hit)), content_type=kind, content_encoding="gzip")

    async def work() -> None:
        async with gateway(compresses) as there:
            _, answer, headers = await post(there, {**BODY, "stream": is_stream})
            assert headers["content-encoding"] == "gzip"
            assert gzip.decompress(answer) == answer_of(there.upstream.hits[0])
            assert there.counts.lost == {"compressed": 1}

    run(work())


@pytest.mark.parametrize("body", [b"", b"{}", b"{broken", b"\xff\xfe", b"[" * 50_000, b'{"choices":1}', b"null"])
def test_a_body_that_cannot_be_read_passes_as_it_is(body: bytes) -> None:
    async def work() -> None:
        async with gateway(says(body)) as there:
            assert (await post(there))[:2] == (200, body)
            assert there.records == []
            assert there.counts.lost.total() == 1

    run(work())


def test_a_body_beyond_the_bound_passes_whole_and_costs_the_event() -> None:
    async def work() -> None:
        async with gateway(rules=replace(ALL, max_body_bytes=500)) as there:
            status, answer, _ = await post(there)
            assert (status, answer) == (200, answer_of(there.upstream.hits[0]))
            assert there.counts.lost == {"too_large": 1}

    run(work())


def test_a_body_of_a_server_that_leaves_the_key_out_leaves_it_out_again() -> None:
    async def work() -> None:
        async with gateway(rules=replace(ALL, omits_key=frozenset({"chat"}))) as there:
            answer = json.loads((await post(there))[1])
            assert "logprobs" not in answer["choices"][0]
            assert len(there.events()) == 1

    run(work())
