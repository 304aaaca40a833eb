"""The clients of the openai package, captured: the caller gets the same, and each answer becomes an event."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from openai import AsyncOpenAI, BadRequestError, OpenAI

from driftgauge.connectors.base import Record
from driftgauge.connectors.capture.openai_client import capture
from driftgauge.connectors.capture.tap import Tap
from driftgauge.connectors.decoding.decoder import Decoder
from driftgauge.models.events import Generation
from tests.capture.upstream import Upstream, upstream
from tests.decode.payloads import FOLDER

HEADERS = (("content-type", b"application/msgpack"),)
ASKED: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "secret"}], "logprobs": True}
BODY, STREAM = FOLDER / "openai" / "chat.json", FOLDER / "openai" / "chat_stream.sse"


@pytest.fixture(scope="module")
def running() -> Iterator[Upstream]:
    with upstream() as server:
        yield server


@pytest.fixture
def server(running: Upstream) -> Upstream:
    running.status, running.compresses, running.stops_after = 200, False, 0
    running.requests.clear()
    return running


class Captured:
    """Clients of a server, and the events of what they were answered."""

    def __init__(self, server: Upstream, **options: Any) -> None:
        self.events: list[tuple[bytes, bytes]] = []
        self.tap = Tap(lambda key, value: self.events.append((key, value)), **options)
        arguments: dict[str, Any] = {"base_url": server.url, "api_key": "k", "max_retries": 0}
        self.plain, self.sync = OpenAI(**arguments), capture(OpenAI(**arguments), self.tap)
        self.awaited = capture(AsyncOpenAI(**arguments), self.tap)

    def responses(self) -> list[Generation]:
        """What the agent reads of the events."""
        records = [Record("t", 0, i, key, value, HEADERS) for i, (key, value) in enumerate(self.events)]
        return [event for event in Decoder().decode(records) if isinstance(event, Generation)]


def raw_body(client: Any) -> object:
    return client.chat.completions.with_raw_response.create(**ASKED).parse()


def streamed_bytes(client: Any) -> object:
    with client.chat.completions.with_streaming_response.create(**ASKED) as response:
        return [*response.iter_lines()]


def events_of_helper(client: Any) -> object:
    with client.chat.completions.stream(**ASKED) as stream:
        return [event.type for event in stream], stream.get_final_completion()


CALLS: list[tuple[Path, Callable[[Any], object]]] = [
    (BODY, lambda client: client.chat.completions.create(**ASKED)),
    (BODY, lambda client: client.with_options(timeout=30).chat.completions.create(**ASKED)),
    (BODY, raw_body),
    (BODY, streamed_bytes),
    (FOLDER / "openai" / "chat_two_choices.json", lambda client: client.chat.completions.create(**ASKED, n=2)),
    (FOLDER / "openai" / "chat_tool_call.json", lambda client: client.chat.completions.create(**ASKED)),
    (STREAM, lambda client: [*client.chat.completions.create(**ASKED, stream=True)]),
    (STREAM, events_of_helper),
    (FOLDER / "openai" / "completions.json", lambda client: client.completions.create(model="m", prompt="p")),
    (FOLDER / "openai" / "responses.json", lambda client: client.responses.create(model="m", input="p")),
    (
        FOLDER / "openai" / "responses_stream.sse",
        lambda client: [*client.responses.create(model="m", input="p", stream=True)],
    ),
]


@pytest.mark.parametrize(("path", "call"), CALLS)
@pytest.mark.parametrize("compresses", [False, True])
def test_the_caller_gets_the_same_and_the_answer_becomes_events(
    server: Upstream, path: Path, call: Callable[[Any], object], compresses: bool
) -> None:
    server.answer, server.compresses = path.read_bytes(), compresses
    captured = Captured(server)
    assert call(captured.sync) == call(captured.plain)
    expected = json.loads((path.parent / "expected.json").read_bytes())[path.name]["choices"]
    n_tokens = [one["n_logprobs"] + one["n_missing"] for one in expected]
    assert [one.signal.n_tokens for one in captured.responses()] == [n for n in n_tokens if n]
    assert captured.tap.counts == {"published": len(expected)} if all(n_tokens) else {"no_logprobs": len(expected)}
    assert b"secret" not in b"".join(value for _, value in captured.events)


def test_async_clients_are_captured_as_well(server: Upstream) -> None:
    captured = Captured(server)

    async def ask() -> None:
        server.answer = BODY.read_bytes()
        await captured.awaited.chat.completions.create(**ASKED)
        server.answer = STREAM.read_bytes()
        async for _ in await captured.awaited.chat.completions.create(**ASKED, stream=True):
            pass
        await captured.awaited.close()

    asyncio.run(ask())
    assert captured.tap.counts == {"published": 2}


def test_a_stream_that_the_caller_leaves_gives_no_event(server: Upstream) -> None:
    server.answer = STREAM.read_bytes()
    server.stops_after = server.answer.index(b"\n\n") + 2
    captured = Captured(server)
    with captured.sync.chat.completions.create(**ASKED, stream=True) as stream:
        next(iter(stream))
    server.goes_on.set()
    assert (captured.events, captured.tap.counts) == ([], {"incomplete": 1})


def test_the_context_and_the_domain_come_from_the_request(server: Upstream) -> None:
    server.answer = BODY.read_bytes()
    captured = Captured(server)
    captured.sync.chat.completions.create(
        **ASKED, top_logprobs=3, temperature=0.5, extra_headers={"driftgauge-domain": "billing"}
    )
    captured.sync.chat.completions.create(**ASKED, metadata={"domain": "law"})
    first, second = captured.responses()
    assert (first.domain, first.context.k, first.context.temperature) == ("billing", 3, 0.5)
    assert second.domain == "law"
    assert all("driftgauge-domain" not in headers for headers, _ in server.requests)


def test_errors_and_other_routes_pass(server: Upstream) -> None:
    captured = Captured(server)
    server.answer = b'{"object": "list", "data": [], "model": "m", "usage": {"prompt_tokens": 1, "total_tokens": 1}}'
    with pytest.raises(ValueError, match="No embedding data"):
        captured.sync.embeddings.create(model="m", input="x")
    server.answer, server.status = b'{"error": {"message": "logprobs are not supported"}}', 400
    with pytest.raises(BadRequestError):
        captured.sync.chat.completions.create(**ASKED)
    assert (captured.events, captured.tap.counts) == ([], {})


def test_a_publisher_that_fails_does_not_reach_the_caller(server: Upstream) -> None:
    def fails(*_: object) -> None:
        raise OSError

    server.answer = BODY.read_bytes()
    tap = Tap(fails)
    client = capture(OpenAI(base_url=server.url, api_key="k"), tap)
    assert client.chat.completions.create(**ASKED).choices
    assert tap.counts == {"failed": 1}


def test_an_answer_beyond_the_bound_passes_and_is_counted(server: Upstream) -> None:
    server.answer = BODY.read_bytes()
    captured = Captured(server, max_bytes=100)
    assert captured.sync.chat.completions.create(**ASKED).choices
    assert captured.tap.counts == {"too_large": 1}


def test_only_clients_of_the_package_are_taken() -> None:
    with pytest.raises(TypeError, match="object is no client of the openai package"):
        capture(object(), Tap(lambda *_: None))
