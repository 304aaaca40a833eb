"""Secrets in prompt, answer, key, cookie and path reach the upstream and the client, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from driftgauge.agent.gateway.labels_door import LabelsDoor
from driftgauge.connectors.kafka.local_broker import free_ports
from tests.deadline import until
from tests.decode.strategies import Token
from tests.gateway.gateway_process import GatewayProcess
from tests.gateway.upstream import Hit, Line, Upstream, answer_of, run
from tests.kafka.agent_process import children, is_alive
from tests.kafka.conftest import everything_in

CHAT = "/v1/chat/completions"
TOKEN = "planted-token"
TOKENS = [Token("planted-answer", 4242, -0.5, (("planted-answer", 4242, -0.5), ("planted-other", 7, -3.0)))] * 3
HEADERS = {"Authorization": "Bearer planted-key", "Cookie": "planted-cookie", "x-api-key": "planted-api-key"}


def asking(**more: Any) -> dict[str, Any]:
    message = {"role": "user", "content": "planted-prompt"}
    return {"model": "m", "messages": [message], "user": "planted-user", **more}


async def upstream_script(hit: Hit, line: Line) -> None:
    """Answers as asked for; errors for requests without messages, for another path and, broken, for another model."""
    if "messages" not in hit.json:
        await line.whole(b'{"error": {"message": "planted-error"}}', 400)
    elif "planted-path" in hit.target:
        await line.whole(b"no planted-path", 404, content_type="text/plain")
    elif hit.json["model"] == "broken":
        await line.whole(b'{"choices": [planted-body')
    elif hit.json.get("stream"):
        await line.stream([planted(hit)])
    else:
        await line.whole(planted(hit))


def planted(hit: Hit) -> bytes:
    """An honest answer with a text."""
    return answer_of(hit, TOKENS).replace(rb"\u2026", b"planted-text")


@pytest.mark.kafka
def test_no_event_log_metric_or_error_of_ours_contains_a_secret(
    tmp_path: Path, broker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each secret is its own, so that a leak shows where it comes from."""
    monkeypatch.setenv("DRIFTGAUGE_LOGGING__LEVEL", "debug")
    found: dict[str, bytes] = {}

    async def work() -> None:
        upstream = Upstream(upstream_script)
        async with (
            upstream.listening() as url,
            GatewayProcess(tmp_path, url, broker, labels_token=TOKEN, connect_timeout_s=1.0) as there,
            aiohttp.ClientSession(there.url) as client,
        ):

            async def post(path: str, document: Any, **headers: str) -> bytes:
                async with client.post(path, json=document, headers={**HEADERS, **headers}) as answer:
                    return await answer.read()

            answers = [
                await post(CHAT, asking()),
                await post(f"{CHAT}?planted-query", asking(stream=True)),
                await post(CHAT, asking(logprobs=True, top_logprobs=2)),
                await post(CHAT, {**asking(), "model": "broken"}),
                await post(CHAT, {"model": "m", "planted-field": 1}),
                await post("/v1/planted-path", asking()),
            ]
            assert all(b"planted" in answer for answer in answers)
            assert {hit.header("Authorization") for hit in upstream.hits} == {HEADERS["Authorization"]}
            labels = LabelsDoor.path
            refused = [
                await post(labels, {"planted-label": 1}, Authorization="Bearer planted-wrong-token"),
                await post(labels, {"response_id": "r", "correct": "planted-label"}, Authorization=f"Bearer {TOKEN}"),
            ]
            until(lambda: there.metric("events_published_total") == 3)
            found["metrics"] = there.status("/metrics").encode()
            found["errors"] = b"".join(refused)
            assert await there.stop() == 0
            found["log"] = there.log.read_bytes()

    run(work(), timeout_s=90.0)
    events = everything_in(broker, f"g-{tmp_path.name}")
    found["events"] = b"".join(record.key + record.value + repr(record.headers).encode() for record in events)
    assert len(events) == 3
    assert len(found["metrics"]) > 1_000
    assert len(found["log"]) > 100
    for what, text in found.items():
        assert not re.findall(rb"planted[a-z-]*", text), what
    assert (4242).to_bytes(2, "big") not in found["events"]  # the id of a token, in MessagePack


def test_without_a_broker_requests_are_served_and_a_kill_leaves_no_process_behind(tmp_path: Path) -> None:
    (port,) = free_ports(1)

    async def work() -> int:
        async with (
            Upstream(upstream_script).listening() as url,
            GatewayProcess(tmp_path, url, f"127.0.0.1:{port}") as there,
            aiohttp.ClientSession(there.url) as client,
        ):
            until(lambda: there.readiness()["publishing"] != "ok")
            assert there.readiness()["status"] == "ready"
            for n in range(20):
                async with client.post(CHAT, json=asking(stream=n % 2 == 0)) as answer:
                    assert answer.status == 200
                    await answer.read()
            until(lambda: there.metric("events_captured_total") == there.metric("events_queued") == 20)
            [parser] = children(there.process.pid)
            return parser  # leaving the context kills the gateway

    parser = run(work(), timeout_s=60.0)
    until(lambda: not is_alive(parser))
    assert (tmp_path / "gateway.log").read_text().count("events are not published") == 1
