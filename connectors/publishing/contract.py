"""The event contract for other programs: JSON Schemas and an AsyncAPI document, made from the code itself.

Owns ``docs/schemas`` and ``docs/asyncapi.yaml``; a test fails when they differ from what this module writes:

python -m driftgauge.connectors.publishing.contract docs
"""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import msgspec
import yaml

from driftgauge.connectors.decoding.decoder import CONTENT_TYPES
from driftgauge.connectors.decoding.formats import extracted, own
from driftgauge.connectors.publishing.encode import ENVELOPE, Topics
from driftgauge.connectors.publishing.kinds import OUTPUT_KINDS, OutputKind
from driftgauge.connectors.publishing.payload import TIMES

Schema: TypeAlias = dict[str, Any]

_DRAFT = "https://json-schema.org/draft/2020-12/schema"
_TIME: Schema = {"type": "string", "format": "date-time"}
_OPTIONAL_TIME: Schema = {"anyOf": [_TIME, {"type": "null"}]}


class Incoming(NamedTuple):
    """One kind of event that comes in: its name, the struct it is decoded into, and its channel."""

    name: str
    struct: type[msgspec.Struct]
    channel: str


INCOMING = (
    Incoming("generation", own.GenerationEvent, "generations"),
    Incoming("generation.chunk", own.ChunkEvent, "generations"),
    Incoming("label", own.LabelEvent, "labels"),
    Incoming(extracted.TYPE, extracted.Extracted, "features"),
)


def schemas() -> dict[str, Schema]:
    """The JSON Schema of every event that is JSON, by name.

    >>> schemas()["label"]["required"]
    ['type', 'label_id', 'response_id', 'event_time', 'correct']
    """
    incoming = {event.name: _schema(event.struct, event.name, _incoming) for event in INCOMING}
    outgoing = {kind.name: _schema(kind.record, kind.event_type, _outgoing) for kind in _json_kinds()}
    return {**incoming, **outgoing}


def header_names(kind: OutputKind[Any]) -> list[str]:
    """The headers that every message of this kind has."""
    envelope = (name for name in ENVELOPE if name != "ce_time" or kind.event_time is not None)
    return [*envelope, "content-type", *kind.headers]


def _json_kinds() -> list[OutputKind[Any]]:
    return [kind for kind in OUTPUT_KINDS.values() if kind.is_json]


def _schema(described: type, title: str, completed: Callable[[Schema], Schema]) -> Schema:
    (reference,), parts = msgspec.json.schema_components([described], ref_template="#/$defs/{name}")
    parts = {name: completed(part) for name, part in parts.items()}
    root = parts.pop(reference["$ref"].rpartition("/")[2])
    schema = {"$schema": _DRAFT, **root, "title": title}
    return {**schema, "$defs": parts} if parts else schema


def _incoming(part: Schema) -> Schema:
    if "version" in part.get("properties", ()):
        part["properties"]["version"] = {"const": own.VERSION, "default": own.VERSION}
    return _described(part)


def _outgoing(part: Schema) -> Schema:
    """Every field is required; times are text; a missing value of a mapping is null."""
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
    addresses = {"generations": "generations", "labels": "labels", "features": "driftgauge.features", **Topics()}
    headers = {_headers_of(kind): _headers(header_names(kind)) for kind in OUTPUT_KINDS.values()}
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "driftgauge", "version": str(own.VERSION), "description": "See events.md."},
        "defaultContentType": "application/json",
        "channels": {
            name: {"address": address, "messages": dict(_messages(name))} for name, address in addresses.items()
        },
        "operations": {name: _operation(name) for name in addresses},
        "components": {
            "schemas": {
                "incoming": {"type": "object", "properties": {"content-type": {"enum": list(CONTENT_TYPES)}}},
                **headers,
            }
        },
    }


def _messages(channel: str) -> Iterator[tuple[str, Schema]]:
    for event in INCOMING:
        if event.channel == channel:
            yield event.name, _message(event.name, event.name, "incoming", "the response id")
    for kind in OUTPUT_KINDS.values():
        if kind.topic == channel and kind.is_json:
            yield kind.name, _message(kind.name, kind.event_type, _headers_of(kind), kind.key_description)
        elif kind.topic == channel:
            yield kind.name, {"title": kind.event_type, "summary": kind.summary, "headers": _named(_headers_of(kind))}


def _message(name: str, title: str, headers: str, key_description: str) -> Schema:
    return {
        "title": title,
        "headers": _named(headers),
        "payload": {"$ref": f"./schemas/{name}.json"},
        "bindings": {"kafka": {"key": {"type": "string", "description": key_description}}},
    }


def _headers_of(kind: OutputKind[Any]) -> str:
    """The component that describes the headers; kinds with the usual headers share one."""
    return "outgoing" if header_names(kind) == [*ENVELOPE, "content-type"] else kind.name


def _named(headers: str) -> Schema:
    return {"$ref": f"#/components/schemas/{headers}"}


def _headers(names: list[str]) -> Schema:
    return {"type": "object", "required": names, "properties": {name: {"type": "string"} for name in names}}


def _operation(channel: str) -> Schema:
    is_read = any(event.channel == channel for event in INCOMING)
    return {"action": "receive" if is_read else "send", "channel": {"$ref": f"#/channels/{channel}"}}


def documents() -> Mapping[str, str]:
    """The text of each document, by its path below the folder ``docs``."""
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
