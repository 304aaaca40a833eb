"""Bodies inside other records: gateways, batches, and the envelopes of Kafka Connect and Debezium.

LiteLLM's `StandardLoggingPayload` holds the provider's body in ``response`` and the request's parameters in
``model_parameters``. Its rebuilt body of a streamed chat has no log-probabilities. Kafka Connect's JSON converter
writes ``schema`` beside ``payload``. Debezium writes a row ``before`` and ``after`` a change; the payload is the row
itself, or the one column of it that holds a known format as text.

Sources: LiteLLM 1.109; the documentation of OpenAI's batches, Kafka Connect and Debezium.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from driftgauge.connectors.decoding.formats.openai import requested
from driftgauge.connectors.decoding.formats.payload import (
    Payload,
    PayloadError,
    alias_of,
    domain_of,
    field_of,
    id_of,
    text_of,
)

Nested: TypeAlias = Callable[[bytes], Sequence[Any]]
"""Reads the bytes inside a record."""


class LiteLLM(Struct, rename={"end_time": "endTime", "start_time": "startTime"}):
    """A StandardLoggingPayload."""

    response: Raw
    id: Any = None
    litellm_call_id: Any = None
    trace_id: Any = None
    model: Any = None
    model_parameters: Any = None
    start_time: Any = None
    end_time: Any = None
    status: Any = None
    metadata: Any = None
    driftgauge: Any = None


class BatchLine(Struct):
    """A line of a batch's output file."""

    response: Raw
    custom_id: Any = None
    id: Any = None


class BatchResponse(Struct):
    """The response inside the line."""

    body: Raw
    status_code: Any = None
    request_id: Any = None


class Connect(Struct):
    """A value with its schema, as Kafka Connect's JSON converter writes it."""

    payload: Raw
    schema: Any = None


class Debezium(Struct):
    """A change of a row."""

    op: str
    after: Raw | UnsetType = UNSET


def read_litellm(body: LiteLLM, nested: Nested) -> Sequence[Any]:
    """The payloads of the provider's body, completed with the fields of the gateway."""
    if body.status == "failure":
        raise PayloadError("error_response", "the gateway reports a failed request")
    requester = field_of(body.metadata, "requester_metadata")
    domain = domain_of(body.driftgauge, body.metadata, requester)
    payloads = _answers(nested(bytes(body.response)))
    for payload in payloads:
        if isinstance(payload, Payload):
            payload.aliases += map(alias_of, (body.id, body.litellm_call_id, body.trace_id))
            payload.id = payload.id or id_of(body.id)
            payload.model = payload.model or text_of(body.model)
            payload.complete(created=body.end_time)
            payload.complete(created=body.start_time)
            payload.parameters = payload.parameters.updated(requested(body.model_parameters))
            payload.domain = domain or payload.domain
            payload.is_part = False
    return payloads


def read_batch_line(body: BatchLine, nested: Nested) -> Sequence[Any]:
    """The payloads of the body inside the line; their ``custom_id`` and ``request_id`` are further ids."""
    response = msgspec.json.decode(body.response, type=BatchResponse)
    payloads = _answers(nested(bytes(response.body)))
    for payload in payloads:
        if isinstance(payload, Payload):
            payload.aliases += map(alias_of, (body.custom_id, response.request_id))
            payload.complete(other_id=body.id)
    return payloads


def read_connect(body: Connect, nested: Nested) -> Sequence[Any]:
    """The payload beside the schema; nothing for a tombstone. Text and base64 are looked into."""
    return _inside(bytes(body.payload), nested)


def read_debezium(body: Debezium, nested: Nested) -> Sequence[Any]:
    """The row after the change; nothing for a deletion."""
    if body.after is UNSET or body.op == "d":
        return []
    return _answers(_inside(bytes(body.after), nested))


def _answers(found: Sequence[Any]) -> Sequence[Any]:
    """The same; raises `PayloadError` where a record that is no deletion holds nothing."""
    if not found:
        raise PayloadError("unknown_format", "the record holds no answer: the field for it is null or empty")
    return found


def _inside(data: bytes, nested: Nested) -> Sequence[Any]:
    if data == b"null":
        return []
    if not data.startswith(b'"'):
        return nested(data)
    text = msgspec.json.decode(data, type=str)
    if text.lstrip()[:1] in ("{", "["):
        return nested(text.encode())
    try:
        return nested(b64decode(text, validate=True))
    except (binascii.Error, ValueError) as error:
        raise PayloadError("unknown_format", "the envelope holds text that is not JSON") from error
