"""The usual stream of chat completions, read at once: its events differ in their tokens alone.

It has one choice, one id, and token counts at its end at most. Reading its tokens together costs about as much as
reading them from a whole body; event by event costs many times that. Any other stream is read event by event.
"""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import UNSET, Meta, Struct, UnsetType

from driftgauge.connectors.decoding.formats.openai import NumberEntry, NumberLists, counts_in, numbers, segment_of
from driftgauge.connectors.decoding.formats.payload import (
    Payload,
    Piece,
    count_of,
    domain_of,
    field_of,
    id_of,
    is_answer,
    word_of,
)


class Delta(Struct, gc=False):
    """The text of an event."""

    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None


class EventChoice(Struct, gc=False):
    """The choice of a usual event."""

    delta: Delta
    logprobs: NumberLists | None = None
    index: Annotated[int, Meta(ge=0)] = 0
    finish_reason: str | None = None
    text: UnsetType = UNSET
    message: UnsetType = UNSET
    prompt_token_ids: UnsetType = UNSET


class Event(Struct, kw_only=True, gc=False):
    """A usual event; one without a choice carries token counts, for example."""

    id: str
    object: str
    model: str
    choices: Annotated[list[EventChoice], Meta(max_length=1)]
    created: Any = None
    usage: Any = None
    metadata: Any = None
    driftgauge: Any = None
    x_groq: None = None
    error: None = None


class UsualStream:
    """The payload of a usual stream, event by event.

    Attributes
    ----------
    has_ended : nothing may follow the event that gave token counts or a reason why generation ended
    """

    def __init__(self, first: Event) -> None:
        self.first = self.last = first
        self.index = first.choices[0].index
        self.has_ended = False
        self.has_logprobs = False
        self.has_reasoning = False
        self.n_without_logprobs = 0
        self.texts: list[str] = []
        self.entries: list[NumberEntry] = []
        self.segments: list[int] = []

    def add(self, event: Event) -> bool:
        """Take the next event, which has a choice; returns whether the stream is usual so far."""
        first, choice = self.first, event.choices[0]
        if (
            not first.id
            or self.has_ended
            or choice.index != self.index
            or event.id != first.id
            or event.model != first.model
        ):
            return False
        if event.created != first.created or event.metadata != first.metadata or event.driftgauge != first.driftgauge:
            return False
        self.last = event
        self.has_ended = event.usage is not None or bool(choice.finish_reason)
        delta, logprobs = choice.delta, choice.logprobs
        thought, text = delta.reasoning_content or delta.reasoning, delta.content
        if thought:
            self.has_reasoning = True
        if text:
            self.texts.append(text)
        if logprobs is not None:
            self.has_logprobs = True
            self.entries += logprobs.content
            self.segments += [segment_of(thought, text)] * len(logprobs.content)
        elif text:
            self.n_without_logprobs += 1
        return True

    def payload(self) -> Payload | None:
        """One payload that has the tokens of all events; None for an error, and where the prompt may be echoed."""
        first, last = self.first, self.last
        finish_reason = word_of(last.choices[0].finish_reason)
        n_completion = count_of(field_of(last.usage, "completion_tokens"))
        if not is_answer(finish_reason) or (n_completion is not None and len(self.entries) > n_completion):
            return None
        tokens = numbers(self.entries) if self.has_logprobs else None
        if tokens is not None:
            tokens.segments = self.segments
        piece = Piece(
            index=self.index,
            tokens=tokens,
            finish_reason=finish_reason,
            text="".join(self.texts),
            is_last=finish_reason is not None,
            has_reasoning=self.has_reasoning,
            n_without_logprobs=self.n_without_logprobs,
        )
        return Payload(
            pieces=[piece],
            id=id_of(first.id),
            model=first.model,
            created=first.created,
            **counts_in(last.usage),
            domain=domain_of(first.driftgauge, first.metadata),
            is_part=True,
            usage_follows=not last.usage,
        )
