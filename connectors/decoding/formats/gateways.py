"""Bodies inside other records: LiteLLM's logging payload and the lines of OpenAI's batch output.

LiteLLM's `StandardLoggingPayload` holds the provider's body in ``response`` and the request's parameters in
``model_parameters``. Its rebuilt body of a streamed chat has no log-probabilities.

Source: LiteLLM 1.109.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Raw, Struct

from driftgauge.connectors.decoding.formats.openai import requested
from driftgauge.connectors.decoding.formats.payload import (
    Payload,
    PayloadError,
    domain_of,
    field_of,
    id_of,
    moment_of,
    text_of,
)


class LiteLLM(Struct, rename={"end_time": "endTime", "start_time": "startTime"}):
    """A StandardLoggingPayload."""

    response: Raw
    id: Any = None
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


def read_litellm(body: LiteLLM, nested: Callable[[Raw], list[Payload]]) -> list[Payload]:
    """The payloads of the provider's body, completed with the fields of the gateway."""
    if body.status == "failure":
        raise PayloadError("error_response", "the gateway reports a failed request")
    requester = field_of(body.metadata, "requester_metadata")
    domain = domain_of(body.driftgauge, body.metadata, requester)
    payloads = nested(body.response)
    for payload in payloads:
        payload.id = payload.id or id_of(body.id)
        payload.model = payload.model or text_of(body.model)
        payload.created = payload.created or moment_of(body.end_time) or moment_of(body.start_time)
        payload.parameters = payload.parameters.updated(requested(body.model_parameters))
        payload.domain = domain or payload.domain
        payload.is_part = False
    return payloads


def read_batch_line(body: BatchLine, nested: Callable[[Raw], list[Payload]]) -> list[Payload]:
    """The payloads of the body inside the line."""
    return nested(msgspec.json.decode(body.response, type=BatchResponse).body)
