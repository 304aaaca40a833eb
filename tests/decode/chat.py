"""Chat bodies and chunks with made-up log-probabilities, and the events that the decoder makes of them."""

from __future__ import annotations

import json
from typing import Any

from driftgauge.connectors.base import Record
from driftgauge.connectors.decoding.decoder import Decoder
from driftgauge.models.events import Chunk, Event, Generation, Rejected, Signal

Alternatives = list[tuple[str, float | None]]
USUAL: Alternatives = [("a", -0.5), ("b", -1.5), ("c", -2.5)]
OTHER: Alternatives = [("a", -0.6), ("b", -1.4), ("c", -2.6)]


def entry(token: str, logprob: float | None, top: Alternatives | None = None, **more: Any) -> dict[str, Any]:
    listed = [{"token": text, "logprob": value} for text, value in (top or [])]
    return {"token": token, "logprob": logprob, "top_logprobs": listed, **more}


def body(*entries: dict[str, Any], **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": {"content": "…"}, "finish_reason": "stop", "logprobs": {"content": [*entries]}}
    usage = {"prompt_tokens": 5, "completion_tokens": len(entries)}
    return {"id": "r", "created": 1_760_000_000, "model": "m", "choices": [choice], "usage": usage, **more}


def chunk(*entries: dict[str, Any], finish: str | None = None, **more: Any) -> dict[str, Any]:
    delta = {"content": "".join(e["token"] for e in entries)}
    choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": {"content": [*entries]}}
    return {"id": "r", "object": "chat.completion.chunk", "created": 1_760_000_000, "model": "m", "choices": [choice],
            **more}  # fmt: skip


def record(value: object, *, key: bytes | None = b"key", **more: Any) -> Record:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    headers = tuple((name, text.encode()) for name, text in more.items())
    return Record("t", 0, 0, key, raw, headers, 1.8e9)


def events(*values: object, decoder: Decoder | None = None, **more: Any) -> list[Event]:
    return (decoder or Decoder()).decode([record(value, **more) for value in values])


def generation(value: object, **more: Any) -> Generation:
    (found,) = events(value, **more)
    assert isinstance(found, Generation), found
    return found


def signal(*entries: dict[str, Any]) -> Signal:
    return generation(body(*entries)).signal


def chunks(*values: object, **more: Any) -> list[Chunk]:
    found = events(*values, **more)
    assert all(isinstance(event, Chunk) for event in found), found
    return [event for event in found if isinstance(event, Chunk)]


def reason(value: object, **more: Any) -> str:
    (found,) = events(value, **more)
    assert isinstance(found, Rejected), found
    return found.reason
