"""LiteLLM before a server of recorded answers: each answer becomes one event, sync and async, whole and streamed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import litellm
import pytest

from driftgauge.connectors.base import Record
from driftgauge.connectors.capture.litellm import event_logger
from driftgauge.connectors.capture.openai_client import capture
from driftgauge.connectors.capture.tap import Tap
from driftgauge.connectors.decoding.decoder import Decoder
from driftgauge.models.events import Generation
from tests.capture.upstream import Upstream, upstream
from tests.deadline import until
from tests.decode.payloads import FOLDER

BODY, STREAM = (FOLDER / "openai" / name for name in ("chat.json", "chat_stream.sse"))
HEADERS = (("content-type", b"application/msgpack"),)


@pytest.fixture
def server() -> Iterator[Upstream]:
    with upstream() as running:
        running.answer = BODY.read_bytes()
        yield running
    litellm.callbacks = []
    litellm.client_session = litellm.aclient_session = None


def asked(server: Upstream, **more: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": "secret"}]
    return {"model": "openai/m", "api_base": server.url, "api_key": "k", "messages": messages, "logprobs": True,
            "top_logprobs": 3, **more}  # fmt: skip


def n_answers(tap: Tap) -> int:
    return sum(tap.counts.values())


def test_the_logger_makes_one_event_of_a_whole_answer_and_none_of_a_stream(server: Upstream) -> None:
    events: list[tuple[bytes, bytes]] = []
    tap = Tap(lambda key, value: events.append((key, value)))
    litellm.callbacks = [event_logger(tap)]
    litellm.completion(**asked(server, metadata={"domain": "billing"}))
    until(lambda: n_answers(tap) == 1)

    async def ask() -> None:
        await litellm.acompletion(**asked(server))
        for _ in range(1000):
            await asyncio.sleep(0.01)
            if n_answers(tap) == 2:
                return

    asyncio.run(ask())
    assert tap.counts == {"published": 2}
    assert b"secret" not in events[0][1]
    records = [Record("t", 0, i, key, value, HEADERS) for i, (key, value) in enumerate(events)]
    first, second = (event for event in Decoder().decode(records) if isinstance(event, Generation))
    assert (first.context.k, first.signal.n_tokens, first.id) == (3, 7, "chatcmpl-D1aX")
    assert (second.signal.n_tokens, first.domain) == (7, "billing")
    server.answer = STREAM.read_bytes()
    assert [*litellm.completion(**asked(server, stream=True))]
    until(lambda: n_answers(tap) == 3)
    assert tap.counts == {"published": 2, "no_logprobs": 1}


def test_a_captured_session_of_litellm_makes_events_of_streams_too(server: Upstream) -> None:
    tap = Tap(lambda *_: None)
    litellm.client_session = capture(httpx.Client(), tap)
    litellm.aclient_session = capture(httpx.AsyncClient(), tap)
    litellm.completion(**asked(server))
    server.answer = STREAM.read_bytes()
    assert [*litellm.completion(**asked(server, stream=True))]

    async def ask() -> None:
        async for _ in await litellm.acompletion(**asked(server, stream=True)):
            pass

    asyncio.run(ask())
    assert tap.counts == {"published": 3}
