"""The fields of an answer that the gateway reads; everything else in it is skipped over."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeAlias

import msgspec
from msgspec import Raw, Struct

from driftgauge.agent.gateway.wire.plan import Api
from driftgauge.agent.gateway.wire.splice import Edit, start_of, without_member

ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What reading a document raises that is not an answer in JSON."""

_ABSENT = Raw(b"null")


class Delta(Struct, gc=False):
    """What a chunk of chat adds."""

    content: Any = None
    reasoning_content: Any = None
    reasoning: Any = None


class Choice(Struct, gc=False):
    """One choice of chat or completions, in a chunk or a body."""

    index: Any = 0
    logprobs: Raw = _ABSENT
    finish_reason: Any = None
    delta: Delta | None = None
    text: Any = None


class ChatAnswer(Struct, gc=False):
    """A chunk or a body of chat or completions."""

    choices: list[Choice] | None = None
    id: Any = None
    model: Any = None
    created: Any = None
    usage: Any = None
    x_groq: Any = None
    error: Any = None


class Part(Struct, gc=False):
    """Part of the content of an output item."""

    text: Any = None
    logprobs: Raw = _ABSENT


class Item(Struct, gc=False):
    """One output item of the Responses API."""

    content: list[Part] | None = None


class ResponseObject(Struct, gc=False):
    """The response object of the Responses API."""

    output: list[Item] | None = None
    top_logprobs: Raw = _ABSENT
    error: Any = None


class ResponsesAnswer(ResponseObject, gc=False):
    """An event of the Responses API, or a body, which is a response object."""

    type: Any = None
    delta: Any = None
    logprobs: Raw = _ABSENT
    part: Part | None = None
    item: Item | None = None
    response: ResponseObject | None = None


Answer: TypeAlias = ChatAnswer | ResponsesAnswer

_CHAT, _RESPONSES = msgspec.json.Decoder(ChatAnswer), msgspec.json.Decoder(ResponsesAnswer)


def decoder_of(api: Api) -> Callable[[bytes], Answer]:
    """The function that reads a document of an answer; it raises `msgspec.DecodeError` for another one."""
    return _RESPONSES.decode if api == "responses" else _CHAT.decode


def edits_of(answer: Answer, document: bytes, *, omits_key: bool) -> list[Edit]:
    """What takes the log-probabilities out of a document, as a server sends it to a client that did not ask.

    Parameters
    ----------
    omits_key : such a server leaves the key out of chat and completions; otherwise its value is null
    """
    edits: list[Edit] = []
    for raw, replacement in _values(answer):
        span = bytes(raw)
        if span == b"null" or span == replacement:  # the usual case first
            continue
        start = start_of(raw, span, document)
        if omits_key and replacement == b"null":
            edits.append(without_member(document, start, start + len(span)))
        else:
            edits.append(Edit(start, start + len(span), replacement))
    return edits


def is_unasked_for(answer: Answer, stripped: bytes) -> bool:
    """Whether a chunk of chat has nothing beside the log-probabilities that were taken out of it.

    vLLM sends such chunks while a parser of tools or reasoning holds text back. Without log-probabilities it sends
    none. Token counts, the role, the reason of the end or the ids of tokens are something.

    Parameters
    ----------
    stripped : the chunk without its log-probabilities

    Examples
    --------
    >>> chunk = b'{"choices": [{"index": 0, "delta": {}, "logprobs": null, "finish_reason": null}]}'
    >>> is_unasked_for(decoder_of("chat")(chunk), chunk)
    True
    """
    if not isinstance(answer, ChatAnswer) or not answer.choices or answer.usage:
        return False
    for choice in answer.choices:
        if choice.delta is None or choice.delta.content or choice.finish_reason:
            return False  # the usual case, before the whole chunk is decoded
    return all(
        name == "index" or value is None or (name == "delta" and value == {})
        for fields in msgspec.json.decode(stripped)["choices"]
        for name, value in fields.items()
    )


def _values(answer: Answer) -> Iterable[tuple[Raw, bytes]]:
    """The values that are there because the upstream was asked, and what they would be otherwise."""
    if isinstance(answer, ChatAnswer):
        return [(choice.logprobs, b"null") for choice in answer.choices or ()]
    return _values_of_responses(answer)


def _values_of_responses(answer: ResponsesAnswer) -> Iterator[tuple[Raw, bytes]]:
    yield answer.logprobs, b"[]"
    if answer.part is not None:
        yield answer.part.logprobs, b"[]"
    for found in (answer, answer.response):
        if found is not None:
            yield found.top_logprobs, b"0"
            yield from ((part.logprobs, b"[]") for part in _parts(found.output or ()))
    if answer.item is not None:
        yield from ((part.logprobs, b"[]") for part in _parts([answer.item]))


def _parts(output: Sequence[Item]) -> Iterator[Part]:
    return (part for item in output for part in item.content or ())
