"""The gateway before a real model server: clients see what they see without it, and every choice becomes an event.

``DRIFTGAUGE_MODEL_SERVER`` is the address of a server that runs, with one model; without it llama.cpp's server starts
with a small model.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from openai import AsyncOpenAI
from pydantic import BaseModel

from driftgauge.connectors.kafka.local_broker import free_ports
from tests.deadline import until
from tests.gateway.gateway_process import COMMAND, GatewayProcess

NO_BROKER = "127.0.0.1:1"
VARIABLE = "DRIFTGAUGE_MODEL_SERVER"
DIFFERS = ("id", "created", "timings", "system_fingerprint", "prompt_tokens_details")
"""Fields that differ from request to request, such as the tokens that the server found in its cache."""

ASK: dict[str, Any] = {
    "messages": [{"role": "user", "content": "Name three colours."}],
    "temperature": 0.0, "seed": 0, "max_tokens": 24,
}  # fmt: skip
TOOL: Any = {
    "type": "function",
    "function": {"name": "find", "parameters": {"type": "object", "properties": {"name": {"type": "string"}}}},
}


class Colour(BaseModel):
    name: str


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the model server."""
    if VARIABLE in os.environ:
        yield os.environ[VARIABLE].rstrip("/")
        return
    (port,) = free_ports(1)
    log = (tmp_path_factory.mktemp("llama") / "log").open("wb")
    process = subprocess.Popen(
        [sys.executable, "-m", "driftgauge.agent.demo.model_server", str(port)], stdout=log, stderr=log
    )
    try:
        until(lambda: is_ready(port), 120.0)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health") as answer:
            return bool(answer.status == 200)
    except OSError:  # refused, or an error status while it loads
        return False


def capture_of(server: str) -> dict[str, Any]:
    """llama.cpp leaves the field out of an answer that was not asked; vLLM sends null."""
    omits: list[str] = [] if VARIABLE in os.environ else ["chat"]
    return {"upstream": server, "broker": NO_BROKER, "capture": {"models": ["*"], "omits_logprobs": omits}}


def without_what_differs(tree: Any) -> Any:
    if isinstance(tree, list):
        return [without_what_differs(each) for each in tree]
    if isinstance(tree, dict):
        return {name: without_what_differs(value) for name, value in tree.items() if name not in DIFFERS}
    return tree


async def chat(client: AsyncOpenAI, model: str, **more: Any) -> Any:
    answer = await client.chat.completions.create(model=model, **{**ASK, **more})
    return [each.model_dump() async for each in answer] if more.get("stream") else answer.model_dump()


async def parsed(client: AsyncOpenAI, model: str) -> Any:
    asked = {**ASK, "max_tokens": 100}
    return (await client.chat.completions.parse(model=model, response_format=Colour, **asked)).model_dump()


async def two(client: AsyncOpenAI, model: str) -> Any:
    """Two choices, which servers draw at random: all but what they say."""
    answer = await chat(client, model, n=2, temperature=0.7)
    for choice in answer["choices"]:
        assert choice["message"].pop("content")
    del answer["usage"]
    return answer


async def completion(client: AsyncOpenAI, model: str) -> Any:
    asked: dict[str, Any] = {"prompt": "Red, green and", "temperature": 0.0, "seed": 0, "max_tokens": 8}
    return (await client.completions.create(model=model, **asked)).model_dump()


USES: dict[str, Callable[[AsyncOpenAI, str], Awaitable[Any]]] = {
    "plain": chat,
    "stream": lambda client, model: chat(client, model, stream=True),
    "stream with usage": lambda client, model: chat(client, model, stream=True, stream_options={"include_usage": True}),
    "tools": lambda client, model: chat(client, model, tools=[TOOL]),
    "n = 2": two,
    "parsed": parsed,
    "completion": completion,
}


@pytest.mark.parametrize("use", USES)
def test_the_library_gives_the_same_objects_with_and_without_the_gateway(use: str, server: str, tmp_path: Path) -> None:
    async def compare() -> None:
        async with GatewayProcess(tmp_path, **capture_of(server)) as gateway:
            direct = AsyncOpenAI(base_url=f"{server}/v1", api_key="none", max_retries=0)
            through = AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0)
            model = (await direct.models.list()).data[0].id
            expected, found = await USES[use](direct, model), await USES[use](through, model)
            assert without_what_differs(found) == without_what_differs(expected)
            n = 2 if use == "n = 2" else 1
            await asyncio.to_thread(until, lambda: gateway.metric("events_captured_total") == n)

    asyncio.run(compare())


def test_a_client_that_leaves_halfway_gives_no_event_and_the_server_goes_on(server: str, tmp_path: Path) -> None:
    async def leave() -> None:
        async with GatewayProcess(tmp_path, **capture_of(server)) as gateway:
            client = AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0)
            model = (await client.models.list()).data[0].id
            stream = await client.chat.completions.create(model=model, **{**ASK, "max_tokens": 200}, stream=True)
            await anext(stream)
            await stream.close()
            assert (await chat(client, model))["choices"]
            await asyncio.to_thread(until, lambda: gateway.metric("events_captured_total") == 1)

    asyncio.run(leave())


def test_gateway_check_says_that_chats_and_streams_work(server: str) -> None:
    given = (f"gateway.upstream={server}", "gateway.capture.models=*")
    sets = [part for text in given for part in ("--set", text)]
    done = subprocess.run([*COMMAND, "check", "--yes", *sets], capture_output=True, text=True, check=False)
    rows = [line.split() for line in done.stdout.splitlines()]
    assert sum("works" in row for row in rows) >= 4, done.stdout + done.stderr
    assert done.returncode == 0
