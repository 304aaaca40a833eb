"""Labels and generation events by HTTP, for those without a Kafka client: checked first, then published as records.

A request is accepted as a whole or refused as a whole, and may be sent again: a label replaces the one with its
``label_id``, and the agent recognises a response that it has by its id.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import cached_property
from typing import Annotated

from anyio import to_thread
from pydantic import BaseModel, Field
from starlette.requests import ClientDisconnect, Request

from driftgauge.agent.api.problem import Problem
from driftgauge.agent.api.publishing import Publishing
from driftgauge.agent.api.shapes import Question
from driftgauge.connectors.base import Message, Record
from driftgauge.connectors.decoding.decoder import CONTENT_TYPES, Decoder
from driftgauge.connectors.decoding.formats.own import encode_label
from driftgauge.connectors.decoding.formats.payload import PayloadError
from driftgauge.connectors.decoding.label_scale import LabelScale
from driftgauge.connectors.labels.posted import MAX_LABELS_BYTES, posted_labels
from driftgauge.models.events import Chunk, Generation, Label

BODY_TIMEOUT_S = 30.0
MAX_NAMED = 100
"""Most ids and most errors that an answer names."""

_PACKED = (("content-type", b"application/msgpack"),)
_CLOSE = {"connection": "close"}
_STATUSES = {"malformed": 400, "too_large": 413}


class AcceptedLabels(BaseModel):
    """Labels that the broker has."""

    accepted: int
    ignored_fields: list[str]
    """Unknown fields, which may be misspelt."""


class EventsQuestion(Question):
    """What a body does not say itself."""

    domain: Annotated[str, Field(max_length=256)] = ""
    """Domain of the responses; empty: as the settings find it in the body."""


class AcceptedEvents(BaseModel):
    """Responses, or parts of some, that the broker has."""

    accepted: int
    response_ids: list[str]
    """The ids that labels may name them by: the first hundred."""


class Posting:
    """Takes what clients post.

    Parameters
    ----------
    labels_topic : where labels go; empty: none are taken
    events_topic : where events go
    make_decoder : makes the agent's own decoder, at the first event: it needs much of the agent
    """

    def __init__(
        self,
        publishing: Publishing,
        *,
        labels_topic: str,
        events_topic: str,
        scale: LabelScale,
        make_decoder: Callable[[], Decoder],
    ) -> None:
        self._publishing = publishing
        self._labels_topic, self._events_topic = labels_topic, events_topic
        self._scale, self._make_decoder = scale, make_decoder

    @cached_property
    def _decoder(self) -> Decoder:
        return self._make_decoder()

    async def labels(self, request: Request) -> AcceptedLabels:
        """Take labels in JSON."""
        if not self._labels_topic:
            raise Problem(404, "the agent reads no topic of labels; see kafka.topics.labels")
        content_type(request, ("application/json",))
        body = await body_of(request, MAX_LABELS_BYTES)
        try:
            labels, ignored = posted_labels(body, self._scale, time.time())
        except PayloadError as error:
            raise Problem(_STATUSES.get(error.reason, 422), "the labels cannot be used", [str(error)]) from None
        topic = self._labels_topic
        await self._publishing.publish(
            [Message(0, topic, label.response_id.encode(), encode_label(label), _PACKED) for label in labels]
        )
        return AcceptedLabels(accepted=len(labels), ignored_fields=ignored)

    async def events(self, request: Request, question: EventsQuestion) -> AcceptedEvents:
        """Take one record in any format that the agent reads."""
        headers = [("content-type", content_type(request, tuple(CONTENT_TYPES)).encode())]
        if question.domain:
            headers.append(("driftgauge-domain", question.domain.encode()))
        decoder = await to_thread.run_sync(lambda: self._decoder)
        body = await body_of(request, decoder.limits.max_bytes)
        record = Record(self._events_topic, 0, 0, None, body, tuple(headers), time.time())
        ids = await to_thread.run_sync(_ids, decoder, record)
        message = Message(0, self._events_topic, ids[0].encode(), body, record.headers)
        await self._publishing.publish([message])
        return AcceptedEvents(accepted=len(ids), response_ids=ids[:MAX_NAMED])


def _ids(decoder: Decoder, record: Record) -> list[str]:
    """The ids of the responses in a record; raises `Problem` unless each of its documents is one, or a part of one."""
    events, errors = decoder.decode_fully(record)
    problems = [f"{error.reason}: {error}" for error in errors]
    if any(isinstance(event, Label) for event in events):
        problems.append("label: labels are posted to /v1/labels")
    pieces = (event.piece if isinstance(event, Chunk) else event for event in events)
    ids = dict.fromkeys(piece.id for piece in pieces if isinstance(piece, Generation))
    if problems or not ids:
        raise Problem(422, "the events cannot be used", problems[:MAX_NAMED] or ["there is none"])
    return [*ids]


def content_type(request: Request, allowed: tuple[str, ...]) -> str:
    """The content type of the body. A page of another site cannot send these without being allowed to by the server."""
    given = request.headers.get("content-type", "")
    kind = given.partition(";")[0].strip().lower()
    if kind not in allowed or request.headers.get("content-encoding", "identity") != "identity":
        raise Problem(415, f"send the body uncompressed, with the header Content-Type: {' or '.join(allowed)}")
    return kind


async def body_of(request: Request, max_bytes: int) -> bytes:
    """The body of a request; raises `Problem` where it is too large or takes too long."""
    parts, size = [], 0
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            async for part in request.stream():
                parts.append(part)
                size += len(part)
                if size > max_bytes:
                    raise Problem(413, f"a body has at most {max_bytes} bytes", headers=_CLOSE)
    except TimeoutError:
        raise Problem(408, f"the body did not come within {BODY_TIMEOUT_S:.0f} s", headers=_CLOSE) from None
    except ClientDisconnect:
        raise Problem(400, "the body ended too early") from None  # nobody reads it, and the log stays clean
    return b"".join(parts)
