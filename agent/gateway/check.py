"""Tries what a model server does when it is asked for log-probabilities: one small request for each kind.

The request is changed, and its answer read, by the code with which the gateway does it. What a server does is found out
by comparison with the same request that does not ask.
"""

from __future__ import annotations

import http.client
import ssl
import statistics
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeAlias
from urllib.parse import urlsplit

import msgspec

from driftgauge.agent.gateway.wire.collect import Collected, Facts, collect_body
from driftgauge.agent.gateway.wire.plan import Api, read_request, rewrite
from driftgauge.agent.gateway.wire.stream import Memory, StreamCollector
from driftgauge.agent.gateway.wire.strip import StreamStrip, strip_body
from driftgauge.connectors.base import ConnectorError
from driftgauge.connectors.decoding.formats.own import GenerationEvent, parse, to_signal
from driftgauge.connectors.decoding.formats.payload import RequestParameters

PATHS: Mapping[Api, str] = {
    "chat": "/v1/chat/completions",
    "completions": "/v1/completions",
    "responses": "/v1/responses",
}
MAX_TOKENS = 16
MAX_ANSWER_BYTES = 16 << 20
"""Largest answer that is read: a server that sends more is not one that was asked for 16 tokens."""

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


class Reply(NamedTuple):
    """The answer of a server; ``status`` 0 and an explanation as ``body`` where there is none."""

    status: int
    body: bytes


@dataclass(frozen=True)
class ModelServer:
    """A model server. An API key is in no text made from it.

    Raises
    ------
    ConnectorError
        `models` raises it when the server does not answer as one of its kind.
    """

    address: str
    api_key: str = field(default="", repr=False)
    cafile: str = ""
    connect_timeout_s: float = 5.0
    timeout_s: float = 120.0

    def exchange(self, method: str, path: str, body: bytes | None = None) -> Reply:
        """Send a request and read its answer. Raises no error."""
        headers = {"content-type": "application/json", "accept-encoding": "identity"}
        if self.api_key:
            headers["authorization"] = f"Bearer {self.api_key}"
        try:
            with closing(self._connection()) as connection:
                connection.connect()
                connection.sock.settimeout(self.timeout_s)
                connection.request(method, urlsplit(self.address).path.rstrip("/") + path, body, headers)
                response = connection.getresponse()
                return Reply(response.status, response.read(MAX_ANSWER_BYTES))
        except (OSError, http.client.HTTPException) as error:
            return Reply(0, (getattr(error, "strerror", None) or type(error).__name__).encode())
        except ValueError:  # its text quotes the header
            return Reply(0, b"the API key has characters that no header can have")

    def _connection(self) -> http.client.HTTPConnection:
        parts = urlsplit(self.address)
        host, timeout_s = parts.hostname or "", self.connect_timeout_s
        if parts.scheme == "http":
            return http.client.HTTPConnection(host, parts.port, timeout=timeout_s)
        tls = ssl.create_default_context(cafile=self.cafile or None)
        return http.client.HTTPSConnection(host, parts.port, timeout=timeout_s, context=tls)

    def models(self) -> list[str]:
        """The models that the server lists."""
        reply = self.exchange("GET", "/v1/models")
        try:
            listed = msgspec.json.decode(reply.body, type=_Models).data if reply.status == 200 else None
        except (msgspec.DecodeError, UnicodeDecodeError):
            listed = None
        if listed is None:
            text = f"{self.address} does not list its models ({_shown(reply)}): name one with --model"
            raise ConnectorError(text, retriable=False)
        return [model.id for model in listed]


class _Model(msgspec.Struct):
    id: str


class _Models(msgspec.Struct):
    data: list[_Model]


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
            yield Finding(probe, asked_k, verdict, f"not asked: {_shown(before)}")
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
        return Finding(probe, k, verdict, _shown(reply))
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


def _shown(reply: Reply) -> str:
    """Status and the beginning of an answer to a request of ours, in which nothing is secret, on one line."""
    text = " ".join(reply.body[:300].decode("utf-8", "replace").split())
    printable = "".join(character if character.isprintable() else "\ufffd" for character in text)
    return f"{reply.status}: {printable}" if reply.status else f"no answer ({printable})"


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
    try:
        return msgspec.json.decode(reply.body, type=_Answer).usage.completion_tokens if reply.status == 200 else None
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


class _Usage(msgspec.Struct):
    completion_tokens: int


class _Answer(msgspec.Struct):
    usage: _Usage
