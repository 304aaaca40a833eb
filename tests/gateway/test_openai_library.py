"""The openai library gives the same objects with and without the gateway."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from openai import AsyncOpenAI
from pydantic import BaseModel

from tests.decode.strategies import Token, entry
from tests.gateway.answers import Style, unasked
from tests.gateway.upstream import TOKENS, Hit, Line, answer_of, gateway, honest, run

ASK: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "?"}]}
TOOL = {"type": "function", "function": {"name": "find", "parameters": {"type": "object", "properties": {}}}}
TOKEN: Token = TOKENS[0]


class City(BaseModel):
    name: str


def chunk(delta: Any, *, reason: str | None = None, index: int = 0, has_tokens: bool = True) -> Any:
    logprobs = {"content": [entry(TOKEN)], "refusal": None} if has_tokens else None
    choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": reason}
    return {"id": "c-1", "object": "chat.completion.chunk", "created": 1760000000, "model": "m", "choices": [choice]}


def body(message: Any, *, n: int = 1, reason: str = "stop") -> Any:
    message = {"role": "assistant", "refusal": None, **message}
    choice = {"message": message, "logprobs": {"content": [entry(TOKEN)]}, "finish_reason": reason}
    choices = [{"index": i, **choice} for i in range(n)]
    return {
        "id": "c-1", "object": "chat.completion", "created": 1760000000, "model": "m", "choices": choices,
        "usage": {"prompt_tokens": 3, "completion_tokens": n, "total_tokens": 3 + n},
    }  # fmt: skip


CALL = {"id": "call_1", "type": "function", "function": {"name": "find", "arguments": '{"a":1}'}}
STREAMED_CALL = [
    chunk({"role": "assistant", "content": None}, has_tokens=False),
    chunk({"tool_calls": [{"index": 0, **CALL, "function": {"name": "find", "arguments": ""}}]}),
    chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"a":'}}]}),
    chunk({"tool_calls": [{"index": 0, "function": {"arguments": "1}"}}]}),
    chunk({}, reason="tool_calls"),
    "[DONE]",
]
TWO = [
    *(chunk({"role": "assistant", "content": ""}, index=i, has_tokens=False) for i in (0, 1)),
    *(chunk({"content": f"{i}{part}"}, index=i) for part in "ab" for i in (1, 0)),
    *(chunk({}, reason="stop", index=i, has_tokens=False) for i in (0, 1)),
    "[DONE]",
]


async def serve(hit: Hit, line: Line) -> None:
    """A server with an answer for each use of the library."""
    asked = hit.json
    if asked.get("user") == "leaves":
        await line.stream_head()
        await line.chunk(answer_of(hit)[:700])
        assert await line.reader.read() == b""
        return None
    if "responses" in hit.target:
        return await honest(hit, line)
    streams = {"tools": STREAMED_CALL, "n": TWO}
    bodies = {
        "tools": body({"content": None, "tool_calls": [CALL]}, reason="tool_calls"),
        "n": body({"content": "a"}, n=2),
        "response_format": body({"content": '{"name":"Paris"}'}),
    }
    name = next((name for name in bodies if name in asked), None)
    if name is None:
        return await honest(hit, line)
    if asked.get("stream"):
        documents = streams[name]
        data = Style().stream(documents if hit.asks else [unasked(each) for each in documents])
        return await line.stream([data[i : i + 50] for i in range(0, len(data), 50)])
    return await line.whole(json.dumps(bodies[name] if hit.asks else unasked(bodies[name])).encode())


async def chat(client: AsyncOpenAI, **more: Any) -> Any:
    answer = await client.chat.completions.create(**ASK, **more)
    if not more.get("stream"):
        return answer.model_dump()
    return [each.model_dump() async for each in answer]


async def helper(client: AsyncOpenAI) -> Any:
    async with client.chat.completions.stream(**ASK, tools=[TOOL]) as stream:  # type: ignore[list-item]
        events = [event.type async for event in stream]
        return events, (await stream.get_final_completion()).model_dump()


async def parsed(client: AsyncOpenAI) -> Any:
    return (await client.chat.completions.parse(**ASK, response_format=City)).model_dump()


async def cancelled(client: AsyncOpenAI) -> Any:
    stream = await client.chat.completions.create(**ASK, stream=True, user="leaves")
    first = await anext(stream)
    await stream.close()
    return first.model_dump()


async def completion(client: AsyncOpenAI) -> Any:
    return (await client.completions.create(model="m", prompt="?")).model_dump()


async def response(client: AsyncOpenAI) -> Any:
    return (await client.responses.create(model="m", input="?")).model_dump()


async def response_stream(client: AsyncOpenAI) -> Any:
    return [each.model_dump() async for each in await client.responses.create(model="m", input="?", stream=True)]


USES: dict[str, Callable[[AsyncOpenAI], Awaitable[Any]]] = {
    "plain": chat,
    "stream": lambda client: chat(client, stream=True),
    "tools": lambda client: chat(client, tools=[TOOL]),
    "tools, stream": lambda client: chat(client, tools=[TOOL], stream=True),
    "tools, helper of the library": helper,
    "n = 2": lambda client: chat(client, n=2),
    "n = 2, stream": lambda client: chat(client, n=2, stream=True),
    "parsed": parsed,
    "cancelled": cancelled,
    "logprobs": lambda client: chat(client, logprobs=True, top_logprobs=1),
    "completion": completion,
    "response": response,
    "response, stream": response_stream,
}
N_EVENTS = {"n = 2": 2, "n = 2, stream": 2, "cancelled": 0}


@pytest.mark.parametrize("use", USES)
def test_the_library_gives_the_same_objects_with_and_without_the_gateway(use: str) -> None:
    async def work() -> None:
        async with gateway(serve) as there, there.upstream.listening() as direct:
            found = []
            for url in (direct, there.url):
                async with AsyncOpenAI(base_url=f"{url}/v1", api_key="sk-1", max_retries=0) as client:
                    found.append(await USES[use](client))
            assert found[0] == found[1]
            assert found[0]
            await there.settled()
            assert len(there.events()) == N_EVENTS.get(use, 1)

    run(work())
