"""The command ``driftgauge gateway`` as people run it: events in a real Kafka, drain, workers, sudden death."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from driftgauge.connectors.base import Record
from driftgauge.connectors.decoding.decoder import Decoder
from driftgauge.models.events import Generation, Label
from tests.deadline import until
from tests.gateway.gateway_process import GatewayProcess
from tests.gateway.upstream import Hit, Line, Script, Upstream, answer_of, honest, run
from tests.kafka.agent_process import children
from tests.kafka.conftest import everything_in

pytestmark = pytest.mark.kafka

CHAT = "/v1/chat/completions"
BODY = {"model": "m", "messages": [{"role": "user", "content": "planted prompt"}]}


@asynccontextmanager
async def started(
    folder: Path, broker: str, script: Script = honest, **more: Any
) -> AsyncIterator[tuple[GatewayProcess, Upstream, aiohttp.ClientSession]]:
    upstream = Upstream(script)
    async with (
        upstream.listening() as url,
        GatewayProcess(folder, url, broker, **more) as there,
        aiohttp.ClientSession(there.url) as client,
    ):
        yield there, upstream, client


def events_in(broker: str, topic: str) -> list[Any]:
    found = [
        Record(topic, 0, record.offset, record.key, record.value, tuple(record.headers))
        for record in everything_in(broker, topic)
    ]
    return Decoder().decode(found)


def plain(body: Any) -> bytes:
    return answer_of(Hit("POST", CHAT, [], json.dumps(body).encode()))


def test_answers_and_labels_reach_kafka_and_the_gateway_ends_in_order(tmp_path: Path, broker: str) -> None:
    async def work() -> list[str]:
        async with started(tmp_path, broker, labels_token="let me") as (there, _, client):
            ids = []
            for is_stream in (False, True):
                body = {**BODY, "stream": is_stream}
                async with client.post("/d/law" + CHAT, json=body) as answer:
                    assert await answer.read() == plain(body)
                    ids.append(answer.headers["x-driftgauge-response-id"])
            label = {"response_id": ids[0], "correct": True}
            async with client.post("/v1/labels", json=label, headers={"Authorization": "Bearer let me"}) as answer:
                assert answer.status == 202
            assert await there.stop() == 0
            assert "it asks every model for log-probabilities" in there.log.read_text()
            assert "planted" not in there.log.read_text()
            return ids

    ids = run(work(), timeout_s=90.0)
    generations = [event for event in events_in(broker, f"g-{tmp_path.name}") if isinstance(event, Generation)]
    assert sorted(alias for event in generations for alias in event.aliases) == sorted(ids)
    assert {(event.id, event.domain, event.signal.n_tokens) for event in generations} == {("r", "law", 3)}
    [label] = events_in(broker, f"l-{tmp_path.name}")
    assert isinstance(label, Label)
    assert label.response_id == ids[0]


def test_open_streams_are_finished_after_sigterm(tmp_path: Path, broker: str) -> None:
    async def work() -> None:
        goes_on = asyncio.Event()

        async def waits(hit: Hit, line: Line) -> None:
            answer = answer_of(hit)
            await line.stream_head()
            await line.chunk(answer[:500])
            await goes_on.wait()
            await line.chunk(answer[500:])
            await line.send(b"0\r\n\r\n")

        body = {**BODY, "stream": True}
        async with started(tmp_path, broker, waits) as (there, _, client), client.post(CHAT, json=body) as answer:
            first = await answer.content.readany()
            there.process.send_signal(signal.SIGTERM)
            await asyncio.to_thread(until, lambda: there.readiness().get("reason") == "draining")
            with pytest.raises(aiohttp.ClientConnectorError):
                await client.post(CHAT, json=body)
            goes_on.set()
            assert first + await answer.read() == plain(body)
            assert await asyncio.to_thread(there.process.wait, 60) == 0

    run(work(), timeout_s=90.0)
    assert len(events_in(broker, f"g-{tmp_path.name}")) == 1


def test_workers_share_a_port_and_one_that_dies_is_replaced(tmp_path: Path, broker: str) -> None:
    async def work() -> None:
        async with started(tmp_path, broker, workers=2) as (there, _, client):
            await asyncio.to_thread(until, lambda: len(there.ports()) == 2, 60.0)
            assert len({port for port, _ in there.ports()}) == 1
            for _n in range(20):
                async with client.post(CHAT, json=BODY, headers={"Connection": "close"}) as answer:
                    assert await answer.read() == plain(BODY)
            workers = [pid for pid in children(there.process.pid) if b"spawn_main" in _command_line(pid)]
            os.kill(workers[0], signal.SIGKILL)
            await asyncio.to_thread(until, lambda: len(there.ports()) == 3, 60.0)
            async with client.post(CHAT, json=BODY, headers={"Connection": "close"}) as answer:
                assert await answer.read() == plain(BODY)
            assert await there.stop() == 0

    run(work(), timeout_s=120.0)


def _command_line(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def test_a_gateway_that_is_killed_breaks_the_stream_and_ends_it_upstream(tmp_path: Path, broker: str) -> None:
    async def work() -> None:
        ended = asyncio.Event()

        async def never_ends(hit: Hit, line: Line) -> None:
            await line.stream_head()
            await line.chunk(answer_of(hit)[:500])
            with suppress(ConnectionError):
                await line.reader.read()
            ended.set()

        async with started(tmp_path, broker, never_ends) as (there, upstream, client):
            async with client.post(CHAT, json={**BODY, "stream": True}) as answer:
                assert await answer.content.readany()
                there.process.kill()
                with pytest.raises(aiohttp.ClientPayloadError):
                    await answer.read()
            await ended.wait()
            assert len(upstream.hits) == 1

    run(work(), timeout_s=90.0)
