"""The seeds of fuzzing: every payload of the fixtures, event by event, whole streams, own events, and wrappings."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from driftgauge.connectors.decoding.formats.own import parse
from tests.decode.payloads import fixtures

MSGPACK = (("content-type", b"application/msgpack"),)
CASES = Path(__file__).parents[1] / "decode" / "cases"
_LARGEST_STREAM = 24_000  # bytes: mutations of longer ones mostly repeat those of shorter ones

_TOP = [[-0.5, -1.5, -2.5], [-0.6, -1.4, None], [-0.7, -9999.0, -3.0]]
_CHOSEN = [-0.5, 0.0, -9999.0]
_PACKED = {
    dtype: {
        "dtype": dtype,
        "k": 3,
        "top_logprobs": base64.b64encode(np.array(_TOP, dtype=dtype).tobytes()).decode(),
        "chosen_logprobs": base64.b64encode(np.array(_CHOSEN, dtype=dtype).tobytes()).decode(),
    }
    for dtype in ("float16", "float32")
}
SIGNALS: tuple[dict[str, Any], ...] = (
    {"top_logprobs": _TOP, "chosen_logprobs": _CHOSEN, "n_reasoning": 1},
    {"top_logprobs": [[-0.5], [-0.25]], "chosen_logprobs": [-0.5, -0.25]},
    {"packed": _PACKED["float16"]},
    {"packed": _PACKED["float32"], "n_reasoning": 2},
    {"chosen_logprobs": _CHOSEN},
    {"entropy": [0.0, 0.5, None], "chosen_logprobs": _CHOSEN},
    {"features": [0.5, None, *[float(i) for i in range(15)]]},
    {},
)
"""Every form of the signal of an own event."""


@dataclass(frozen=True)
class Seed:
    """Bytes of one record with its headers, and the format they are of."""

    format: str
    body: bytes
    headers: tuple[tuple[str, bytes], ...] = ()


def seeds() -> list[Seed]:
    """All of them, in a fixed order."""
    found = [
        Seed(fixture.expected["format"] or "none", body, fixture.headers)
        for fixture in fixtures()
        for body in fixture.bodies()
    ]
    streams = [
        Seed(fixture.expected["format"] or "none", fixture.path.read_bytes(), fixture.headers)
        for fixture in fixtures()
        if fixture.is_stream and fixture.path.stat().st_size <= _LARGEST_STREAM
    ]
    cases = [Seed("none", path.read_bytes()) for path in sorted(CASES.iterdir())]
    own = [Seed("driftgauge", _bytes(event)) for event in _own_events()]
    packed = [
        Seed("driftgauge", msgspec.msgpack.encode(parse(seed.body, "json")), MSGPACK)
        for seed in (*found, *own)
        if seed.format == "driftgauge" and not seed.headers
    ]
    chat = next(seed.body for seed in found if seed.format == "openai")
    return [*found, *streams, *cases, *own, *packed, *(Seed("none", body) for body in _wrapped(chat))]


def _own_events() -> Iterator[dict[str, Any]]:
    whole = {
        "version": 1, "id": "r", "event_time": 1.7e9, "model": "m", "domain": " law ", "slices": {"language": "en"},
        "context": {"model_revision": 7, "temperature": 0.7, "top_p": 0.9, "logprobs_mode": "raw_logprobs", "k": 3},
        "finish_reason": "stop", "usage": {"prompt_tokens": 5, "completion_tokens": 3, "reasoning_tokens": 1},
        "token_ids": [1, 2, 3], "text": "…",
    }  # fmt: skip
    for signal in SIGNALS:
        yield {"type": "generation", **whole, "signal": signal}
        yield {"type": "generation.chunk", **whole, "signal": signal, "sequence": 0, "is_last": True}
    label = {"type": "label", "version": 1, "label_id": "l", "response_id": "r", "event_time": "2026-01-01T00:00:00Z"}
    for correct in (True, 0.5, "false", None):
        yield {**label, "correct": correct, "annotator_kind": "model", "annotator_id": "a", "supersedes": "k",
               "inclusion_probability": 0.05}  # fmt: skip


def _wrapped(chat: bytes) -> Iterator[bytes]:
    body, text = json.loads(chat), chat.decode()
    row = {"before": None, "after": {"id": 1, "body": text}, "op": "c", "ts_ms": 1, "source": {"db": "x"}}
    for document in (
        {"schema": {"type": "struct"}, "payload": body},
        {"schema": {"type": "bytes"}, "payload": base64.b64encode(chat).decode()},
        row,
        {"schema": None, "payload": row},
        {"@timestamp": "2026-01-01T00:00:00Z", "message": text},
        {"response": body, "app": "x"},
        text,
        {"custom_id": "c", "id": "b", "response": {"status_code": 200, "body": body}},
    ):
        yield _bytes(document)
    yield b"\x00\x00\x00\x00\x07" + chat
    yield text.encode("utf-16")
    yield chat + chat
    yield json.dumps(body, indent=1).encode() * 2


def _bytes(document: Any) -> bytes:
    return json.dumps(document).encode()
