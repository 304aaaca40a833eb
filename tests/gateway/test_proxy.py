"""The proxy before a scripted upstream: what the client gets, what the upstream gets, and the events."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
from dataclasses import replace
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from driftgauge.agent.gateway.exchange import CaptureRules
from driftgauge.agent.gateway.naming import NamingRules
from driftgauge.connectors.base import Record
from driftgauge.connectors.decoding.decoder import Decoder
from driftgauge.models.events import Generation
from tests.decode.payloads import FOLDER
from tests.gateway.upstream import ALL, Gateway, Hit, Line, Upstream, answer_of, gateway, run, says

CHAT, COMPLETIONS, RESPONSES = "/v1/chat/completions", "/v1/completions", "/v1/responses"
BODY = {"model": "m", "messages": [{"role": "user", "content": "secret question"}]}


async def post(to: Gateway, body: Any = BODY, path: str = CHAT, **headers: str) -> tuple[int, bytes, Any]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    given = {"Content-Type": "application/json", **headers}
    async with (
        aiohttp.ClientSession(auto_decompress=False) as client,
        client.post(to.url + path, data=data, headers=given) as answer,
    ):
        return answer.status, await answer.read(), answer.headers


def plain(path: str, body: Any) -> bytes:
    """What a server that nobody asks would answer."""
    return answer_of(Hit("POST", path, [], json.dumps(body).encode()))


@pytest.mark.parametrize("is_stream", [False, True])
def test_the_span_and_the_trace_of_a_request_are_further_ids(is_stream: bool) -> None:
    async def work() -> None:
        async with gateway() as there:
            sent = {"traceparent": "00-5b8efff798038103d269b633813fc60c-eee19b7ec3c1b174-01"}
            _, _, headers = await post(there, {**BODY, "stream": is_stream}, CHAT, **sent)
            [event] = there.events()
            ids = (headers["x-driftgauge-response-id"], "eee19b7ec3c1b174", "5b8efff798038103d269b633813fc60c")
            assert event.aliases == ids
            assert there.upstream.hits[0].header("traceparent") == sent["traceparent"]

    run(work())


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS, RESPONSES])
@pytest.mark.parametrize("is_stream", [False, True])
def test_a_request_is_asked_and_its_client_sees_nothing_of_it(path: str, is_stream: bool) -> None:
    async def work() -> None:
        async with gateway() as there:
            body = {**BODY, "stream": is_stream, "temperature": 0.5}
            status, answer, headers = await post(there, body, path)
            assert (status, answer) == (200, plain(path, body))
            [hit] = there.upstream.hits
            assert hit.asks
            assert hit.json["model"] == "m"
            assert hit.header("Accept-Encoding") == "identity"
            [event] = there.events()
            assert event.id == "r"
            assert event.aliases == (headers["x-driftgauge-response-id"],)
            assert event.signal.n_tokens == 3
            assert (event.context.model, event.context.k, event.context.temperature) == ("m", 5, 0.5)
            assert there.counts.requests == {"captured": 1}
            assert there.counts.asked == {"got": 1}
            assert there.counts.stripped_bytes > 0

    run(work())


@pytest.mark.parametrize("is_stream", [False, True])
def test_a_client_that_asks_itself_gets_every_byte_and_still_gives_an_event(is_stream: bool) -> None:
    async def work() -> None:
        async with gateway() as there:
            body = {**BODY, "stream": is_stream, "logprobs": True, "top_logprobs": 2}
            _, answer, _ = await post(there, body)
            assert answer == plain(CHAT, body)
            assert there.upstream.hits[0].body == json.dumps(body).encode()
            [event] = there.events()
            assert (event.context.k, event.signal.n_tokens) == (2, 3)
            assert there.counts.requests == {"observed": 1}
            assert there.counts.asked == {}

    run(work())


@pytest.mark.parametrize(
    ("rules", "headers", "reason"),
    [
        (replace(ALL, models=frozenset()), {}, "model"),
        (replace(ALL, models=frozenset({"other"})), {}, "model"),
        (replace(ALL, sampling=0.0), {}, "not_sampled"),
        (replace(ALL, domain_sampling={"law": 0.0}), {"driftgauge-domain": "law"}, "not_sampled"),
        (replace(ALL, endpoints=frozenset({"responses"})), {}, "endpoint"),
        (ALL, {"driftgauge-capture": "never"}, "never"),
    ],
)
def test_a_request_that_is_not_to_be_asked_passes_as_it_is(
    rules: CaptureRules, headers: dict[str, str], reason: str
) -> None:
    async def work() -> None:
        async with gateway(rules=rules) as there:
            status, answer, got = await post(there, BODY, **headers)
            assert (status, answer) == (200, plain(CHAT, BODY))
            [hit] = there.upstream.hits
            assert hit.body == json.dumps(BODY).encode()
            assert not [name for name, _ in hit.headers if name.lower().startswith("driftgauge")]
            assert "x-driftgauge-response-id" not in got
            assert there.records == []
            assert there.counts.requests == {"passed": 1}
            assert there.counts.passed == {reason: 1}

    run(work())


@pytest.mark.parametrize("path", ["", "/", "/v1", "/v1/"])
def test_the_address_of_the_upstream_may_end_as_that_of_its_clients_does(path: str) -> None:
    async def work() -> None:
        upstream = Upstream()
        async with upstream.listening() as url, gateway(address={"url": url + path}) as there:
            assert (await post(there))[0] == 200
            assert upstream.hits[0].target == CHAT

    run(work())


def test_a_header_overrules_sampling() -> None:
    async def work() -> None:
        async with gateway(rules=replace(ALL, sampling=0.0)) as there:
            await post(there, BODY, **{"driftgauge-capture": "always"})
            assert there.upstream.hits[0].asks
            assert there.upstream.hits[0].header("driftgauge-capture") is None

    run(work())


@pytest.mark.parametrize(
    ("path", "headers", "domain"),
    [
        (CHAT, {"driftgauge-domain": "law"}, "law"),
        ("/d/tax%20office" + CHAT, {}, "tax office"),
        (CHAT, {}, "meta"),
        (CHAT, {"Authorization": "Bearer sk-secret"}, "meta"),
    ],
)
def test_the_domain_of_a_request_becomes_that_of_its_event(path: str, headers: dict[str, str], domain: str) -> None:
    async def work() -> None:
        async with gateway() as there:
            await post(there, {**BODY, "metadata": {"domain": "meta"}}, path, **headers)
            assert there.upstream.hits[0].target == CHAT
            assert [event.domain for event in there.events()] == [domain]

    run(work())


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_a_domain_in_a_header_is_read_as_clients_write_it(encoding: str) -> None:
    async def work() -> None:
        async with gateway() as there:
            head = b"POST %s HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nConnection: close\r\n" % CHAT.encode()
            await there.raw(b"%sdriftgauge-domain: %s\r\n\r\n{}" % (head, "Zürich".encode(encoding)))
            assert [event.domain for event in there.events()] == ["Zürich"]

    run(work())


def test_a_model_may_name_the_domain() -> None:
    async def work() -> None:
        async with gateway(names=NamingRules(models={"m": "support"})) as there:
            await post(there)
            assert [event.domain for event in there.events()] == ["support"]

    run(work())


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"not json", {}),
        (b"[1]", {}),
        (gzip.compress(json.dumps(BODY).encode()), {"Content-Encoding": "gzip"}),
        (json.dumps({**BODY, "x": "y" * 3_000_000}).encode(), {}),
        (b"", {}),
    ],
    ids=["text", "array", "compressed", "large", "empty"],
)
def test_a_body_that_is_not_read_reaches_the_upstream_unchanged(body: bytes, headers: dict[str, str]) -> None:
    async def work() -> None:
        async with gateway(says(b'{"ok":1}'), max_request_bytes=2_000_000) as there:
            assert (await post(there, body, **headers))[1] == b'{"ok":1}'
            [hit] = there.upstream.hits
            assert hit.body == body
            assert hit.header("Content-Length") == str(len(body))

    run(work())


def test_a_large_body_without_a_length_streams_on_from_where_reading_stopped() -> None:
    async def work() -> None:
        async with gateway(says(b"{}"), max_request_bytes=50_000) as there:

            async def pieces() -> Any:
                for number in range(100):
                    yield bytes([65 + number % 26]) * 1_000

            async with aiohttp.ClientSession() as client, client.post(there.url + CHAT, data=pieces()) as answer:
                assert answer.status == 200
            assert there.upstream.hits[0].body == b"".join([bytes([65 + i % 26]) * 1_000 for i in range(100)])
            assert there.counts.passed == {"too_large": 1}

    run(work())


@pytest.mark.parametrize(
    "target",
    [
        "GET /v1/models?a=%2F%20b",
        "DELETE /v1/files/%C3%A9",
        "POST /v1/embeddings",
        "PUT //x//y",
        "POST /v1/audio/speech",
    ],
)
def test_other_routes_pass_with_their_very_target_body_and_headers(target: str) -> None:
    said = says(b"abc", 207, x_one="1", Set_Cookie="a=1", set_cookie="b=2", etag='"e"')

    async def work() -> None:
        async with gateway(said) as there:
            given = "Host: me\r\nX-A: 1\r\nX-A: 2\r\nContent-Length: 2\r\nConnection: close"
            answer = await there.raw(f"{target} HTTP/1.1\r\n{given}\r\n\r\nhi".encode())
            [hit] = there.upstream.hits
            assert (f"{hit.method} {hit.target}", hit.body) == (target, b"hi")
            assert [value for name, value in hit.headers if name == "X-A"] == ["1", "2"]
            assert answer.startswith(b"HTTP/1.1 207 Said\r\n")
            assert answer.endswith(b"\r\n\r\nabc")
            assert answer.lower().count(b"set-cookie: ") == 2
            assert b'etag: "e"' in answer.lower()
            assert b"server: driftgauge" in answer.lower()
            assert there.counts.requests == {"passed": 1}

    run(work())


@pytest.mark.parametrize("is_stream", [False, True])
def test_responses_of_a_server_that_repeats_its_ids_stay_apart(is_stream: bool) -> None:
    async def as_ollama_does(hit: Hit, line: Line) -> None:
        body = re.sub(rb'"id": ?"r"', b'"id":"chatcmpl-520"', answer_of(hit))
        await line.whole(body, content_type="text/event-stream" if is_stream else "application/json")

    async def work() -> None:
        async with gateway(as_ollama_does) as there:
            for _ in range(2):
                assert (await post(there, {**BODY, "stream": is_stream}))[0] == 200
            first, second = there.events()
            assert first.id != second.id
            assert first.aliases == second.aliases == ("chatcmpl-520",)

    run(work())


@pytest.mark.parametrize("keeps", [False, True])
def test_text_and_token_ids_are_in_events_only_where_they_are_wanted(keeps: bool) -> None:
    async def work() -> None:
        async with gateway(rules=replace(ALL, keep_text=keeps, keep_token_ids=keeps)) as there:
            await post(there)
            await post(there, {**BODY, "stream": True})
            assert [b"token_ids" in value for _, value in there.records] == [keeps, keeps]
            assert ["…".encode() in value for _, value in there.records] == [keeps, keeps]
            assert not [value for _, value in there.records if b"secret question" in value]

    run(work())


def test_labels_go_to_the_labels_door() -> None:
    async def work() -> None:
        async with gateway(token="let me") as there:
            label = {"response_id": "r", "correct": True}
            assert (await post(there, label, "/v1/labels", Authorization="Bearer let me"))[0] == 202
            assert (await post(there, label, "/v1/labels", Authorization="Bearer other"))[0] == 401
            assert (await post(there, b"x" * 3_000_000, "/v1/labels", Authorization="Bearer let me"))[0] == 413
            assert len(there.labels) == 1
            assert there.upstream.hits == []

    run(work())


def test_payloads_of_litellm_go_to_the_events_door() -> None:
    payload, failure, streamed = (
        json.loads((FOLDER / "litellm" / f"logging{kind}.json").read_bytes()) for kind in ("", "_failure", "_streamed")
    )
    label = {"type": "label", "label_id": "l", "response_id": "r", "event_time": 1.7e9, "correct": True}
    (expected,) = Decoder().decode([Record("t", 0, 0, b"", json.dumps(payload).encode())])
    assert isinstance(expected, Generation)
    key = {"Authorization": "Bearer let me"}

    async def work() -> None:
        async with gateway(token="let me") as there:
            body = [payload, failure, label, streamed, {**payload, "response": {**payload["response"], "id": "r-2"}}]
            assert (await post(there, body, "/v1/events", Authorization="Bearer other"))[0] == 401
            assert (await post(there, body, "/v1/events", **key))[0] == 202
            assert (await post(there, b"no JSON", "/v1/events", **key))[0] == 202
            assert (await post(there, b" " * (2**22 + 1), "/v1/events", **key))[0] == 413
            assert there.counts.events == {"unauthorized": 1, "queued": 2, "too_large": 1}
            assert there.upstream.hits == []
            first, second = there.events()
            assert (first.id, first.context, second.id) == (expected.id, expected.context, "r-2")
            assert first.signal.n_tokens == expected.signal.n_tokens > 0
            assert there.counts.lost == {"error_response": 1, "no_logprobs": 1, "wrong_format": 1, "malformed": 1}

    run(work())


def test_websockets_pass_in_both_directions() -> None:
    async def echo(request: web.BaseRequest) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(protocols=["realtime"])
        await socket.prepare(request)
        async for message in socket:
            if message.data == "bye":
                await socket.close(code=4001)
            elif message.type == aiohttp.WSMsgType.TEXT:
                await socket.send_str(f"{request.rel_url.raw_path_qs} {message.data}")
            else:
                await socket.send_bytes(message.data)
        return socket

    async def work() -> None:
        runner = web.ServerRunner(web.Server(echo))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        async with (
            gateway(address={"url": url}) as there,
            aiohttp.ClientSession() as client,
            client.ws_connect(there.url + "/v1/realtime?model=m", protocols=["realtime"]) as socket,
        ):
            assert socket.protocol == "realtime"
            await socket.send_str("hello")
            assert await socket.receive_str() == "/v1/realtime?model=m hello"
            await socket.send_bytes(b"\x00" * 3_000_000)
            assert await socket.receive_bytes() == b"\x00" * 3_000_000
            await socket.send_str("bye")
            await socket.receive()
            assert socket.close_code == 4001
        await runner.cleanup()

    run(work())


def test_many_streams_at_once_keep_to_themselves() -> None:
    async def work() -> None:
        async with gateway() as there:
            body = {**BODY, "stream": True}
            answers = await asyncio.gather(*(post(there, body) for _ in range(100)))
            assert {answer for _, answer, _ in answers} == {plain(CHAT, body)}
            assert len(there.events()) == 100
            assert len({event.aliases for event in there.events()}) == 100

    run(work())
