"""CloudEvents 1.0 around any other payload, in structured mode (one JSON object) and in binary mode (headers).

The envelope supplies what the payload lacks: an id, a time, a key (``partitionkey``), a domain (an extension of that
name). An envelope without data is a tombstone. Requests that KServe and Seldon log beside responses are ignored.

Sources: the specification and KServe's documentation.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from msgspec import Raw, Struct

from driftgauge.connectors.decoding.formats.payload import Payload, PayloadError, id_of, text_of
from driftgauge.connectors.decoding.names import name_of

_REQUESTS = (".inference.request", ".serving.request")


class Attributes(Struct, kw_only=True):
    """The attributes that describe the data."""

    specversion: Any = None
    id: Any = None
    type: Any = None
    time: Any = None
    partitionkey: Any = None
    domain: Any = None


class Envelope(Attributes, kw_only=True):
    """Structured mode: the attributes with the data among them."""

    data: Raw = Raw(b"")
    data_base64: str | None = None


def read(envelope: Envelope, nested: Callable[[bytes], list[Any]]) -> list[Any]:
    """Read the data; nothing for a tombstone or a request."""
    return unwrap(envelope, nested, _data(envelope))


def unwrap(attributes: Attributes, nested: Callable[[bytes], list[Any]], data: bytes) -> list[Any]:
    """Read the data and complete its payloads with the attributes; nothing for a tombstone or a request."""
    if not data or is_request(attributes):
        return []
    found = nested(data)
    for payload in found:
        if isinstance(payload, Payload):
            payload.key = payload.key or id_of(attributes.partitionkey)
            payload.complete(created=attributes.time, domain=name_of(attributes.domain), other_id=attributes.id)
    return found


def is_request(attributes: Attributes) -> bool:
    """Whether the event is a logged request, not a response."""
    return text_of(attributes.type).endswith(_REQUESTS)


def _data(envelope: Envelope) -> bytes:
    if envelope.data_base64 is not None:
        try:
            return b64decode(envelope.data_base64, validate=True)
        except (binascii.Error, ValueError) as error:
            raise PayloadError("malformed", "data_base64 is not base64") from error
    data = bytes(envelope.data)
    if data == b"null":
        return b""
    return msgspec.json.decode(data, type=str).encode() if data.startswith(b'"') else data


def attributes_in(headers: Sequence[tuple[str, bytes]]) -> Attributes | None:
    """The attributes of binary mode, from headers ``ce_...``; None where there are none."""
    found = {name[3:].lower(): value.decode("utf-8", "replace") for name, value in headers if name[:3] in _PREFIXES}
    return msgspec.convert(found, Attributes) if "specversion" in found or "id" in found else None


_PREFIXES = ("ce_", "ce-", "CE_", "CE-")
