"""Answers of servers, asked and not asked, as bytes in the ways that servers write JSON; and where bytes are cut."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from driftgauge.agent.gateway.wire.collect import Collected, Facts, collect_body
from driftgauge.agent.gateway.wire.plan import Api
from driftgauge.agent.gateway.wire.stream import Memory, StreamCollector
from driftgauge.agent.gateway.wire.strip import StreamStrip, strip_body
from driftgauge.connectors.base import Record
from driftgauge.connectors.decoding.decoder import Decoder
from driftgauge.connectors.decoding.inspection import choices_of
from tests.decode.payloads import Fixture, fixtures

FORMATS: dict[str, Api] = {"openai": "chat", "openai_responses": "responses"}
UNREADABLE = {
    "streams/doubled_events.sse",  # every event twice: only a record of the whole stream shows it
    "vllm_recorded/completions_stream_echo.sse",  # requests with an echo are never asked
    "openai/chat_stream_aborted.sse",  # breaks off
    "streams/error_inside.sse",
}


@dataclass(frozen=True)
class Style:
    """How a server writes JSON and ends its lines."""

    separators: tuple[str, str] = (",", ":")
    ascii: bool = True
    end: str = "\n"
    data: str = "data: "
    comment: bool = False
    indent: int | None = None

    def dump(self, tree: Any) -> str:
        return json.dumps(tree, separators=self.separators, ensure_ascii=self.ascii, indent=self.indent)

    def stream(self, documents: Sequence[Any]) -> bytes:
        lines = []
        for document in documents:
            if isinstance(document, dict) and str(document.get("type", "")).startswith("response."):
                lines.append(f"event: {document['type']}{self.end}")
            if self.comment:
                lines.append(f': "logprobs":{{}}{self.end}')
            if document is None:
                continue
            text = document if isinstance(document, str) else self.dump(document)
            text = text.replace("\n", f"{self.end}{self.data}")
            lines.append(f"{self.data}{text}{self.end}{self.end}")
        return "".join(lines).encode()


STYLES = (
    Style(),
    Style((", ", ": "), ascii=False, end="\r\n", comment=True),
    Style((" , ", " :  "), data="data:", end="\r"),
    Style(indent=1),
)


def unasked(tree: Any, *, omits_key: bool = False, inside: str = "") -> Any:
    """The same answer of a server that was not asked, made in the simplest way."""
    if isinstance(tree, list):
        return [unasked(item, omits_key=omits_key, inside=inside) for item in tree]
    if not isinstance(tree, dict):
        return tree
    is_responses = inside == "response" or str(tree.get("type", "")).startswith("response.")
    is_responses = is_responses or tree.get("object") == "response"
    found = {}
    for key, value in tree.items():
        if key == "logprobs" and (is_responses or inside == "choices"):
            if is_responses:
                found[key] = value and []
            elif value is None or not omits_key:
                found[key] = None
        elif key == "top_logprobs" and is_responses:
            found[key] = 0
        elif is_responses or key == "choices":
            inner = "response" if is_responses else key
            found[key] = unasked(value, omits_key=omits_key, inside=inner) if key != "metadata" else value
        else:
            found[key] = value
    return found


def unasked_stream(documents: Sequence[Any], *, omits_key: bool = False) -> list[Any]:
    """The documents of a server that was not asked; None for a chunk that vLLM sends for log-probabilities alone."""
    return [None if _says_nothing(each) else unasked(each, omits_key=omits_key) for each in documents]


def _says_nothing(document: Any) -> bool:
    choices = [] if not isinstance(document, dict) or document.get("usage") else document.get("choices") or []
    return bool(choices) and all(
        choice.get("delta") == {} and {name for name, value in choice.items() if value} <= {"index", "logprobs"}
        for choice in choices
    )


def recorded(suffix: str) -> list[Fixture]:
    """The recorded answers that the gateway reads."""
    return [
        fixture
        for fixture in fixtures()
        if fixture.expected["format"] in FORMATS
        and fixture.path.suffix == suffix
        and str(fixture) not in UNREADABLE
        and fixture.server not in ("cloudevents", "kserve")
    ]


def api_of(fixture: Fixture) -> Api:
    return FORMATS[fixture.expected["format"]]


def documents(fixture: Fixture) -> list[Any]:
    """The documents of a stream; the mark of its end as text."""
    return [body.decode() if body == b"[DONE]" else json.loads(body) for body in fixture.bodies()]


def cut(data: bytes, places: Sequence[int]) -> Iterator[bytes]:
    """The bytes in pieces, cut there."""
    at = 0
    for place in sorted(places):
        yield data[at:place]
        at = place
    yield data[at:]


def facts(api: Api) -> Facts:
    return Facts("gw-1", api, received=1.76e9, domain="default")


def through(
    api: Api, pieces: Sequence[bytes] | Iterator[bytes], *, takes_out: bool = True, omits_key: bool = False
) -> tuple[bytes, Collected]:
    """A stream through the gateway's core: what the client gets, and the events."""
    memory = Memory(2**24)
    collector = StreamCollector(facts(api), memory)
    strip = StreamStrip(api, collector, takes_out=takes_out, omits_key=omits_key)
    out = b"".join([*(strip.feed(piece) for piece in pieces if piece), strip.end()])
    found = collector.finish()
    assert memory.used_bytes == 0
    return out, found


def body_through(api: Api, body: bytes, *, omits_key: bool = False) -> tuple[bytes, Collected]:
    """A body through the gateway's core."""
    return strip_body(api, body, omits_key=omits_key), collect_body(facts(api), body)


def read_back(found: Collected) -> list[dict[str, Any]]:
    """What the agent understands of these events."""
    headers = (("content-type", b"application/msgpack"),)
    records = [Record("t", 0, i, event.key, event.value, headers) for i, event in enumerate(found.events)]
    return [*choices_of(Decoder().decode(records))]


def read_raw(body: bytes) -> list[dict[str, Any]]:
    """What the agent understands of the answer itself, of the choices that have tokens."""
    record = Record("t", 0, 0, None, body, (), 1.76e9)
    return [choice for choice in choices_of(Decoder().decode([record])) if choice["n_tokens"]]
