"""The tokens of a stream: compacted while it runs to 2 (k + 1) bytes a token, events at its end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any
from zlib import crc32

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Raw

from driftgauge.agent.gateway.wire.answers import ERRORS, Answer, ChatAnswer, Delta, ResponsesAnswer
from driftgauge.agent.gateway.wire.collect import Collected, Facts, Halves, context_of, event_of, halves, ids_of
from driftgauge.agent.gateway.wire.plan import Api
from driftgauge.connectors.decoding.formats import openai, responses
from driftgauge.connectors.decoding.formats.payload import (
    Payload,
    PayloadError,
    RequestParameters,
    Tokens,
    count_of,
    field_of,
    id_of,
    is_answer,
    text_of,
    word_of,
)
from driftgauge.connectors.decoding.names import without_controls
from driftgauge.connectors.decoding.rules import raw_signal
from driftgauge.models.events import SEGMENT_ANSWER, SEGMENT_REASONING, SEGMENT_UNKNOWN, Generation, Signal

BATCH_SPANS = 32
BATCH_BYTES = 2**16
"""Spans of a stream are compacted when there are that many, or that many bytes of them."""

_EMPTY = (b"null", b"[]", b"{}")
_MAX_CHOICES = 128


class Memory:
    """Bound on the bytes that all open streams together hold.

    Attributes
    ----------
    used_bytes : held now
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.used_bytes = 0

    def take(self, n_bytes: int) -> bool:
        """Reserve bytes; False where they exceed the bound."""
        if self.used_bytes + n_bytes > self.max_bytes:
            return False
        self.used_bytes += n_bytes
        return True

    def give_back(self, n_bytes: int) -> None:
        """Release bytes that were reserved."""
        self.used_bytes -= n_bytes


@dataclass(slots=True)
class _Choice:
    """The tokens of one choice: the newest as bytes, the others as rows."""

    spans: list[bytes] = field(default_factory=list)
    span_segments: list[int] = field(default_factory=list)
    n_span_bytes: int = 0
    top: list[Halves] = field(default_factory=list)
    chosen: list[Halves] = field(default_factory=list)
    segments: list[npt.NDArray[np.uint8]] = field(default_factory=list)
    ids: list[Hashable] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    n_tokens: int = 0
    n_completion: Any = None
    finish_reason: str | None = None


class StreamCollector:
    """The tokens of one stream.

    Parameters
    ----------
    memory : shared by all open streams
    max_tokens : a response of more gives no event

    Attributes
    ----------
    n_tokens : tokens compacted so far
    """

    def __init__(self, facts: Facts, memory: Memory, *, max_tokens: int = 20_000) -> None:
        self._facts = facts
        self._memory = memory
        self._max_tokens = max_tokens
        self._choices: dict[int, _Choice] = {}
        self._n_reserved = 0
        self._problem = ""
        self._head = ChatAnswer()
        self._usage: object = None
        self._final: Payload | None = None
        self._is_shared = False  # the last token counts are those of all choices together
        self._are_probabilities = False
        self._batch = 1 + crc32(facts.key.encode()) % BATCH_SPANS  # streams of one start are not compacted at once
        self.n_tokens = 0
        self._reserve(BATCH_BYTES)

    @property
    def has_end(self) -> bool:
        """Whether a choice has its finish reason; the model server sends nothing more of that choice."""
        return self._final is not None or any(choice.finish_reason is not None for choice in self._choices.values())

    def fail(self, problem: str) -> None:
        """Give this stream up, for this reason; it goes on without being collected."""
        self._problem = self._problem or problem
        self.close()

    def close(self) -> None:
        """Release the memory."""
        self._choices.clear()
        self._memory.give_back(self._n_reserved)
        self._n_reserved = 0

    def _reserve(self, n_bytes: int) -> bool:
        if not self._memory.take(n_bytes):
            self.fail("memory")
            return False
        self._n_reserved += n_bytes
        return True

    def take(self, answer: Answer, document: bytes) -> None:
        """Take the next object of the stream; ``document`` is the same without its log-probabilities."""
        if self._problem:
            return
        try:
            if isinstance(answer, ChatAnswer):
                self._take_chat(answer)
            else:
                self._take_response(answer, document)
        except PayloadError as error:
            self.fail(error.reason)
        except ERRORS:
            self.fail("unreadable")

    def _take_chat(self, answer: ChatAnswer) -> None:
        if answer.error:
            self.fail("error_response")
            return
        if not self._head.id:
            self._head = answer
        if usage := answer.usage or field_of(answer.x_groq, "usage"):
            self._usage, self._is_shared = usage, not answer.choices
        for choice in answer.choices or ():
            known = self._choice(choice.index if isinstance(choice.index, int) else 0)
            if known is None:
                return
            self._add(known, choice.logprobs, _segment(choice.delta))
            if self._facts.keep_text:
                self._add_text(known, choice.text if choice.delta is None else choice.delta.content)
            if usage:
                known.n_completion = field_of(usage, "completion_tokens")
            if choice.finish_reason is not None:
                known.finish_reason = word_of(choice.finish_reason)

    def _take_response(self, answer: ResponsesAnswer, document: bytes) -> None:
        if answer.type == "response.output_text.delta":
            self._add_part(answer.logprobs, answer.delta)
        elif answer.type == "error" or answer.error:
            self.fail("error_response")
        elif answer.type in responses.ENDS and answer.response is not None:
            self._final = responses.read(_RESPONSE.decode(document))
            if not any(choice.n_tokens or choice.spans for choice in self._choices.values()):
                for item in answer.response.output or ():
                    for part in item.content or ():
                        self._add_part(part.logprobs, part.text)

    def _add_part(self, logprobs: Raw, text: object) -> None:
        if (known := self._choice(0)) is not None:
            self._add(known, logprobs, SEGMENT_UNKNOWN)
            self._add_text(known, text)

    def _choice(self, index: int) -> _Choice | None:
        """The choice of this index; None where there are too many."""
        known = self._choices.get(index)
        if known is None:
            if len(self._choices) >= _MAX_CHOICES:
                self.fail("too_many_choices")
                return None
            known = self._choices[index] = _Choice()
        return known

    def _add(self, choice: _Choice, logprobs: Raw, segment: int) -> None:
        span = bytes(logprobs)
        if span in _EMPTY:
            return
        choice.spans.append(span)
        choice.span_segments.append(segment)
        choice.n_span_bytes += len(span)
        if len(choice.spans) >= self._batch or choice.n_span_bytes >= BATCH_BYTES:
            self._batch = BATCH_SPANS
            self._compact(choice)

    def _add_text(self, choice: _Choice, text: object) -> None:
        if self._facts.keep_text and isinstance(text, str) and self._reserve(len(text)):
            choice.text.append(text)

    def _compact(self, choice: _Choice) -> None:
        """Make rows of the spans."""
        tokens = _tokens_of(self._facts.api, choice.spans, choice.span_segments)
        choice.spans, choice.span_segments, choice.n_span_bytes = [], [], 0
        if not len(tokens):
            return
        self._are_probabilities |= tokens.are_probabilities
        choice.n_tokens += len(tokens)
        self.n_tokens += len(tokens)
        signal = raw_signal(tokens)
        top, chosen = halves(signal.top_logprobs), halves(signal.chosen_logprobs)
        choice.top.append(top)
        choice.chosen.append(chosen)
        if self._facts.keep_token_ids:
            choice.ids += tokens.chosen_names
        choice.segments.append(np.array(tokens.segments, dtype=np.uint8))
        if choice.n_tokens > self._max_tokens:
            self.fail("too_many_tokens")
        else:
            self._reserve(top.nbytes + chosen.nbytes + len(tokens))

    def finish(self) -> Collected:
        """The stream has come to its end: its events. The memory is released."""
        try:
            return self._finish()
        except PayloadError as error:
            return Collected(dropped={error.reason: 1})
        except ERRORS:
            return Collected(dropped={"unreadable": 1})
        finally:
            self.close()

    def _finish(self) -> Collected:
        for choice in [*self._choices.values()]:
            if choice.spans and not self._problem:
                self._compact(choice)
        if self._problem:
            return Collected(dropped={self._problem: 1})
        if not self.n_tokens:
            return Collected(dropped={"no_logprobs": max(1, len(self._choices))})
        payload = self._final or self._payload()
        name = payload.id or self._facts.key
        events, dropped = [], Counter[str]()
        for index, choice in sorted(self._choices.items()):
            reason = self._final.pieces[0].finish_reason if self._final else choice.finish_reason
            if problem := _problem_of(choice, reason):
                dropped[problem] += 1
                continue
            number = f"#{index}" if index else ""
            events.append(event_of(self._generation(name + number, payload, choice, reason), self._facts, number))
        return Collected(tuple(events), dropped)

    def _payload(self) -> Payload:
        head = self._head
        return Payload(
            id=id_of(head.id),
            model=text_of(head.model),
            created=head.created,
            **openai.counts_in(self._usage),
            parameters=RequestParameters(logprobs_mode=openai.AFTER_SAMPLERS if self._are_probabilities else None),
        )

    def _generation(self, name: str, payload: Payload, choice: _Choice, reason: str | None) -> Generation:
        n_completion = payload.n_completion if choice.n_completion is None else count_of(choice.n_completion)
        if payload.n_completion is not None and self._is_shared:
            n_completion = round(payload.n_completion * choice.n_tokens / self.n_tokens)
        return Generation(
            id=name,
            event_time=self._facts.received if payload.created is None else payload.created,
            domain=self._facts.domain,
            context=context_of(self._facts, payload.model, payload.parameters),
            signal=_signal(choice),
            slices=self._facts.slices,
            finish_reason=reason,
            n_prompt_tokens=payload.n_prompt,
            n_completion_tokens=n_completion,
            n_reasoning_tokens=payload.n_reasoning,
            token_ids=ids_of(choice.ids),
            text=without_controls("".join(choice.text)) if self._facts.keep_text else None,
        )


_RESPONSE = msgspec.json.Decoder(responses.Body)
_USUAL = msgspec.json.Decoder(list[openai.NumberLists])
_ANY = msgspec.json.Decoder(list[openai.Lists | list[openai.Entry]])


def _tokens_of(api: Api, spans: Sequence[bytes], segments: Sequence[int]) -> Tokens:
    """The tokens of these spans, in the agent's reading of them."""
    if api == "responses":
        spans = [b'{"content":%s}' % span for span in spans]
    document = b"[%s]" % b",".join(spans)
    try:
        usual = _USUAL.decode(document)
    except msgspec.ValidationError:
        tokens = Tokens()
        for lists, segment in zip(_ANY.decode(document), segments, strict=True):
            if found := openai.tokens_of_logprobs(lists, segment):
                tokens.extend(found)
        return tokens
    tokens = openai.numbers([entry for lists in usual for entry in lists.content])
    tokens.segments = [s for lists, s in zip(usual, segments, strict=True) for _ in lists.content]
    return tokens


def _segment(delta: Delta | None) -> int:
    if delta is None:
        return SEGMENT_UNKNOWN
    return openai.segment_of(delta.reasoning_content or delta.reasoning, delta.content)


def _problem_of(choice: _Choice, reason: str | None) -> str:
    """Why a choice gives no event; empty where it gives one."""
    if not choice.n_tokens:
        return "no_logprobs"
    if reason is None:
        return "no_end"
    return "" if is_answer(reason) else "error_response"


def _signal(choice: _Choice) -> Signal:
    k = max(rows.shape[1] for rows in choice.top)
    top = np.concatenate([_padded(rows, k) for rows in choice.top]) if k else None
    segments = np.concatenate(choice.segments)
    thought = np.flatnonzero(segments == SEGMENT_REASONING)
    if segments.any():  # the event holds how many tokens the reasoning has, which comes first
        segments[:] = SEGMENT_ANSWER
        segments[: thought[-1] + 1 if len(thought) else 0] = SEGMENT_REASONING
    return Signal(np.concatenate(choice.chosen), top, segments=segments if segments.any() else None)


def _padded(rows: Halves, k: int) -> Halves:
    width = rows.shape[1]
    return rows if width == k else np.pad(rows, ((0, 0), (0, k - width)), constant_values=np.nan)
