"""The event contract for other programs: JSON Schemas and an AsyncAPI document, made from the code itself.

Owns ``docs/schemas`` and ``docs/asyncapi.yaml``: a test fails when they are not what this module would write.

python -m driftgauge.connectors.publishing.contract docs
"""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import yaml

from driftgauge.connectors.decoding.decoder import CONTENT_TYPES
from driftgauge.connectors.decoding.formats import own
from driftgauge.connectors.publishing.encode import TIMES, Topics
from driftgauge.models.outputs import Acquisition, Alert, Estimate, Prediction

Schema: TypeAlias = dict[str, Any]

_DRAFT = "https://json-schema.org/draft/2020-12/schema"
_TIME: Schema = {"type": "string", "format": "date-time"}
_OPTIONAL_TIME: Schema = {"anyOf": [_TIME, {"type": "null"}]}


@dataclass(frozen=True, slots=True)
class Message:
    """One kind of event: the name of its schema, its type as the events name it, what it is in the code."""

    name: str
    type: str
    code: Any
    channel: str
    key: str


INCOMING = (
    Message("generation", "generation", own.GenerationEvent, "generations", "the response id"),
    Message("generation.chunk", "generation.chunk", own.ChunkEvent, "generations", "the response id"),
    Message("label", "label", own.LabelEvent, "labels", "the response id"),
)
OUTGOING = (
    Message("estimate", "driftgauge.estimate.updated.v1", Estimate, "estimates", "domain/fingerprint/window end"),
    Message("alert", "driftgauge.alert.raised.v1", Alert, "alerts", "domain/kind/number"),
    Message("priorities", "driftgauge.acquisition.list.created.v1", Acquisition, "priorities", "window end"),
    Message("prediction", "driftgauge.prediction.made.v1", Prediction, "predictions", "the response id"),
)
DEAD_LETTER = "driftgauge.dead_letter.recorded.v1"

OUTGOING_HEADERS = ("ce_specversion", "ce_id", "ce_source", "ce_type", "ce_time", "driftgauge-epoch", "content-type")
DEAD_LETTER_HEADERS = (
    *(name for name in OUTGOING_HEADERS if name != "ce_time"),
    *(f"driftgauge-{name}" for name in ("reason", "detail", "topic", "partition", "offset")),
)


def schemas() -> dict[str, Schema]:
    """The JSON Schema of every event that is JSON, by name.

    >>> schemas()["label"]["required"]
    ['type', 'label_id', 'response_id', 'event_time', 'correct']
    """
    return {message.name: _schema(message) for message in (*INCOMING, *OUTGOING)}


def _schema(message: Message) -> Schema:
    (reference,), parts = msgspec.json.schema_components([message.code], ref_template="#/$defs/{name}")
    is_incoming = message in INCOMING
    parts = {name: (_incoming if is_incoming else _outgoing)(part) for name, part in parts.items()}
    root = parts.pop(reference["$ref"].rpartition("/")[2])
    schema = {"$schema": _DRAFT, **root, "title": message.type}
    return {**schema, "$defs": parts} if parts else schema


def _incoming(part: Schema) -> Schema:
    if "version" in part["properties"]:
        part["properties"]["version"] = {"const": own.VERSION, "default": own.VERSION}
    return _described(part)


def _outgoing(part: Schema) -> Schema:
    """Every field is there; times are text; a value that is missing among named ones is null."""
    for name, field in part["properties"].items():
        field.pop("default", None)
        if name in TIMES:
            part["properties"][name] = _OPTIONAL_TIME if "anyOf" in field else _TIME
        if "additionalProperties" in field:
            field["additionalProperties"] = {"anyOf": [field["additionalProperties"], {"type": "null"}]}
    return _described({**part, "required": list(part["properties"])})


def _described(part: Schema) -> Schema:
    return {**part, "description": inspect.cleandoc(part["description"]).replace("``", "`")}


def asyncapi() -> Schema:
    """The topics, by their default names, as an AsyncAPI 3.0 document that refers to the schemas."""
    topics = {"generations": "generations", "labels": "labels"}
    topics |= {name: getattr(Topics(), name) for name in Topics.__slots__}
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "driftgauge", "version": str(own.VERSION), "description": "See events.md."},
        "defaultContentType": "application/json",
        "channels": {name: _channel(name, address) for name, address in topics.items()},
        "operations": {name: _operation(name) for name in topics},
        "components": {
            "schemas": {
                "incoming": {"type": "object", "properties": {"content-type": {"enum": list(CONTENT_TYPES)}}},
                "outgoing": _headers(OUTGOING_HEADERS),
                "dead_letter": _headers(DEAD_LETTER_HEADERS),
            }
        },
    }


def _channel(name: str, address: str) -> Schema:
    return {"address": address, "messages": dict(_messages(name))}


def _messages(channel: str) -> Iterator[tuple[str, Schema]]:
    for message in (*INCOMING, *OUTGOING):
        if message.channel == channel:
            yield message.name, _message(message)
    if channel == "dead_letters":
        summary = "The record as it came, key and value; its own headers are named original-…"
        yield "dead_letter", {"title": DEAD_LETTER, "summary": summary, "headers": _named("dead_letter")}


def _message(message: Message) -> Schema:
    return {
        "title": message.type,
        "headers": _named("incoming" if message in INCOMING else "outgoing"),
        "payload": {"$ref": f"./schemas/{message.name}.json"},
        "bindings": {"kafka": {"key": {"type": "string", "description": message.key}}},
    }


def _named(headers: str) -> Schema:
    return {"$ref": f"#/components/schemas/{headers}"}


def _headers(names: tuple[str, ...]) -> Schema:
    return {"type": "object", "required": list(names), "properties": {name: {"type": "string"} for name in names}}


def _operation(channel: str) -> Schema:
    is_read = any(message.channel == channel for message in INCOMING)
    return {"action": "receive" if is_read else "send", "channel": {"$ref": f"#/channels/{channel}"}}


def documents() -> Mapping[str, str]:
    """What stands in the folder of the documents: path in it -> text."""
    written = {f"schemas/{name}.json": json.dumps(schema, indent=2) + "\n" for name, schema in schemas().items()}
    described = yaml.safe_dump(asyncapi(), sort_keys=False, allow_unicode=True, width=120)
    return {**written, "asyncapi.yaml": described}


def write(folder: Path) -> None:
    """Write the documents below the folder."""
    (folder / "schemas").mkdir(exist_ok=True)
    for name, text in documents().items():
        (folder / name).write_text(text)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
