"""Tries what a model server does when it is asked for log-probabilities: one small request for each kind.

The request is changed, and its answer read, by the code with which the gateway does it. What a server does is found out
by comparison with the same request that does not ask.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias

import msgspec

from driftgauge.agent.gateway.wire.collect import Collected, Facts, collect_body
from driftgauge.agent.gateway.wire.plan import Api, read_request, rewrite
from driftgauge.agent.gateway.wire.stream import Memory, StreamCollector
from driftgauge.agent.gateway.wire.strip import StreamStrip, strip_body
from driftgauge.connectors.decoding.formats.own import GenerationEvent, parse, to_signal
from driftgauge.connectors.decoding.formats.payload import RequestParameters
from driftgauge.connectors.http_exchange import MAX_ANSWER_BYTES, Reply
from driftgauge.connectors.model_server import (
    CHAT,
    ModelServer,
    read_chat_answer,
    shown,
)

PATHS: Mapping[Api, str] = {
    "chat": CHAT,
    "completions": "/v1/completions",
    "responses": "/v1/responses",
}
MAX_TOKENS = 16
PROMPT = "Name three colours."
_TOOL = {
    "name": "weather",
    "description": "The weather of a city",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
_STREAM = {"stream": True, "stream_options": {"include_usage": True}}
"""With the token counts, so that missing log-probabilities are seen."""

_SCHEMA = {"type": "object", "properties": {"colour": {"type": "string"}}, "required": ["colour"]}

Verdict: TypeAlias = Literal["works", "partly", "ignored", "refused", "not offered", "failed"]
"""``partly``: some choices or tokens lack log-probabilities. ``not offered``: the request fails without asking, too."""


class Probe(NamedTuple):
    """A kind of request. ``fields`` are those beside model, prompt and bound on tokens."""

    name: str
    api: Api
    fields: Mapping[str, Any] = {}
    k: int | None = None

    def body(self, model: str, *, max_tokens: int = MAX_TOKENS) -> bytes:
        """The request as a client would send it."""
        prompt: dict[str, Any] = {"completions": {"prompt": PROMPT}, "responses": {"input": PROMPT}}.get(
            self.api, {"messages": [{"role": "user", "content": PROMPT}]}
        )
        bound = {"max_output_tokens" if self.api == "responses" else "max_tokens": max_tokens}
        return msgspec.json.encode({"model": model, **prompt, **bound, **self.fields})


PROBES = (
    Probe("chat", "chat"),
    Probe("chat, stream", "chat", _STREAM),
    Probe("chat, tools", "chat", {"tools": [{"type": "function", "function": _TOOL}]}),
    Probe("chat, tools, stream", "chat", {"tools": [{"type": "function", "function": _TOOL}], "stream": True}),
    Probe(
        "chat, JSON schema",
        "chat",
        {"response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": _SCHEMA}}},
    ),
    Probe("chat, n = 2", "chat", {"n": 2}),
    Probe("chat, k = 1", "chat", k=1),
    Probe("chat, k = 20", "chat", k=20),
    Probe("completions", "completions"),
    Probe("completions, stream", "completions", _STREAM),
    Probe("responses", "responses"),
    Probe("responses, stream", "responses", {"stream": True}),
)


@dataclass(frozen=True, slots=True)
class Finding:
    """What a server did with one kind of request that asked."""

    probe: Probe
    k: int
    verdict: Verdict
    detail: str


def check_server(server: ModelServer, model: str, *, k: int) -> Iterator[Finding]:
    """Try each kind of request, one after the other; ends early when the server no longer answers."""
    for probe in PROBES:
        plain = probe.body(model)
        path, asked_k = PATHS[probe.api], probe.k or k
        before = server.exchange("POST", path, plain)
        if before.status != 200:
            verdict: Verdict = "not offered" if before.status else "failed"
            yield Finding(probe, asked_k, verdict, f"not asked: {shown(before)}")
            if not before.status:
                return
            continue
        reply = server.exchange("POST", path, rewrite(read_request(probe.api, plain), asked_k))
        yield judged(probe, asked_k, reply)


def judged(probe: Probe, k: int, reply: Reply) -> Finding:
    """What the answer to a request that asked shows.

    >>> judged(PROBES[0], 5, Reply(400, b"logprobs is not supported")).verdict
    'refused'
    """
    if reply.status != 200:
        verdict: Verdict = "refused" if 400 <= reply.status < 500 else "failed"
        return Finding(probe, k, verdict, shown(reply))
    try:
        client, collected = _through_gateway(probe, k, reply.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Finding(probe, k, "failed", "the answer cannot be read")
    if not collected.events:
        reasons = ", ".join(collected.dropped) or "no answer"
        return Finding(probe, k, "ignored" if "no_logprobs" in collected.dropped else "failed", reasons)
    counts = [_counts(event.value) for event in collected.events]
    n_tokens, widths = sum(count.tokens for count in counts), {count.k for count in counts}
    expected = [count.expected for count in counts if count.expected is not None]
    text = f"{n_tokens} tokens" + (f" of {sum(expected)}" if expected else "")
    text += f", k = {', '.join(map(str, sorted(widths)))}, {len(reply.body) / max(len(client), 1):.1f} x the bytes"
    is_partial = bool(collected.dropped) or (bool(expected) and n_tokens < sum(expected))
    return Finding(probe, k, "partly" if is_partial or min(widths) < k else "works", text)


def _through_gateway(probe: Probe, k: int, body: bytes) -> tuple[bytes, Collected]:
    """The bytes for the client, and the events of an answer."""
    facts = Facts("check", probe.api, time.time(), "", parameters=RequestParameters(k=k))
    if not probe.fields.get("stream"):
        return strip_body(probe.api, body), collect_body(facts, body)
    collector = StreamCollector(facts, Memory(MAX_ANSWER_BYTES))
    strip = StreamStrip(probe.api, collector, takes_out=True)
    return strip.feed(body) + strip.end(), collector.finish()


class _Counts(NamedTuple):
    tokens: int
    expected: int | None
    k: int


def _counts(value: bytes) -> _Counts:
    event = parse(value, "msgpack")
    assert isinstance(event, GenerationEvent)  # noqa: S101 - the gateway makes no others
    signal = to_signal(event.signal)
    k = 0 if signal.top_logprobs is None else signal.top_logprobs.shape[1]
    return _Counts(signal.n_tokens, event.usage.completion_tokens, k)


class Cost(NamedTuple):
    """Generated tokens per second without and with asking; medians of the rounds."""

    plain: float
    asked: float


def measured_cost(
    server: ModelServer, model: str, *, k: int, n_parallel: int = 8, rounds: int = 3, max_tokens: int = 64
) -> Cost | None:
    """Speed of chat answers with and without asking, in alternating rounds; None where a request fails."""
    plain = PROBES[0].body(model, max_tokens=max_tokens)
    asked = rewrite(read_request("chat", plain), k)
    speeds: dict[bytes, list[float]] = {plain: [], asked: []}

    def tokens_of(body: bytes) -> int | None:
        return _completion_tokens(server.exchange("POST", PATHS["chat"], body))

    with ThreadPoolExecutor(n_parallel) as pool:
        for body in (plain, asked) * (rounds + 1):
            begun = time.perf_counter()
            found = [n for n in pool.map(tokens_of, [body] * n_parallel) if n is not None]
            if len(found) < n_parallel:
                return None
            speeds[body].append(sum(found) / (time.perf_counter() - begun))
    # the first round warms the server up
    return Cost(statistics.median(speeds[plain][1:]), statistics.median(speeds[asked][1:]))


def _completion_tokens(reply: Reply) -> int | None:
    answer = read_chat_answer(reply.body) if reply.status == 200 else None
    return answer and answer.n_completion_tokens
