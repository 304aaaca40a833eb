"""The OpenAI shapes, chat and completions, whole or as chunks of a stream.

OpenAI, vLLM, SGLang, TGI, llama.cpp, LMDeploy, DeepSeek, Together, Fireworks, TensorRT-LLM and others send them.

Both shapes of log-probabilities are read in both kinds of body, because servers mix them: chat bodies hold the parallel
lists of completions (Together, early vLLM), completions hold the entries of chat (Ollama, llama.cpp, Fireworks).

Sources, code or recordings: OpenAI (recordings of 2026), vLLM 0.33, SGLang 0.5.23, TGI (2026-01), llama.cpp,
LMDeploy (2026-08), TensorRT-LLM, Ollama, DeepSeek (values). Client types only: Together, Fireworks.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from functools import cached_property
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from driftgauge.connectors.decoding.formats.payload import (
    Payload,
    Piece,
    RequestParameters,
    Tokens,
    count_of,
    domain_of,
    field_of,
    id_of,
    moment_of,
    number_of,
    text_of,
    word_of,
)
from driftgauge.models.events import SEGMENT_ANSWER, SEGMENT_REASONING, SEGMENT_UNKNOWN

_REPLACEMENT = "\ufffd"
_ID_PREFIX, _MAX_DIGITS = "token_id:", 12


class Alternative(Struct, gc=False):
    """One alternative of one token."""

    logprob: float | str | None = None
    token: str | None = None
    id: int | None = None
    token_id: int | None = None
    bytes: Raw | UnsetType = UNSET


class Entry(Alternative):
    """One generated token."""

    top_logprobs: list[Alternative] | None = None


class Number(Struct, gc=False):
    """A usual alternative: a number and a text."""

    logprob: float
    token: str = ""


class NumberEntry(Struct):
    """A usual generated token: it has no ids."""

    logprob: float
    top_logprobs: list[Number]
    token: str = ""
    id: UnsetType = UNSET
    token_id: UnsetType = UNSET


class Lists(Struct):
    """Log-probabilities of a choice: entries, or parallel lists."""

    content: list[Entry] | None = None
    refusal: list[Entry] | None = None
    reasoning_content: list[Entry] | UnsetType | None = UNSET
    tokens: list[Any] | None = None
    token_ids: list[int | None] | None = None
    token_logprobs: list[float | str | None] | None = None
    top_logprobs: list[Any] | None = None


class NumberLists(Struct):
    """Log-probabilities of a choice in usual entries."""

    content: list[NumberEntry]
    refusal: None = None
    reasoning_content: UnsetType = UNSET


class Message(Struct):
    """The text of a choice, or the next part of it."""

    content: Any = None
    reasoning: Any = None
    reasoning_content: Any = None


class Choice(Struct):
    """One choice."""

    index: int | None = 0
    finish_reason: Any = None
    logprobs: Lists | list[Entry] | None = None
    message: Message | None = None
    delta: Message | UnsetType | None = UNSET
    text: Any = None


class NumberChoice(Struct):
    """One choice with usual log-probabilities."""

    logprobs: NumberLists
    index: int = 0
    finish_reason: Any = None
    message: Message | None = None
    delta: UnsetType = UNSET
    text: Any = None


class Shared(Struct):
    """The fields of a body that all its choices share."""

    id: Any = None
    request_id: Any = None
    object: Any = None
    created: Any = None
    model: Any = None
    usage: Any = None
    system_fingerprint: Any = None
    metadata: Any = None
    driftgauge: Any = None
    x_groq: Any = None


class Body(Shared, kw_only=True):
    """A body or a chunk."""

    choices: list[Choice] | None


class NumberBody(Shared, kw_only=True):
    """A whole body of usual chat entries: the fastest to read."""

    choices: Annotated[list[NumberChoice], Meta(min_length=1)]


def read(body: Body | NumberBody) -> Payload:
    """One payload; a chunk of a stream is a part."""
    usage = body.usage or field_of(body.x_groq, "usage")
    is_part = _is_part(body, usage)
    pieces = [_piece(choice) for choice in body.choices or []]
    if not is_part:
        _cut_echo(pieces, usage)
    return Payload(
        pieces=pieces,
        id=id_of(body.id or body.request_id),
        model=text_of(body.model),
        created=moment_of(body.created),
        n_prompt=count_of(field_of(usage, "prompt_tokens")),
        n_completion=count_of(field_of(usage, "completion_tokens")),
        n_reasoning=count_of(
            field_of(usage, "completion_tokens_details", "reasoning_tokens") or field_of(usage, "reasoning_tokens")
        ),
        parameters=RequestParameters(revision=text_of(body.system_fingerprint) or None),
        domain=domain_of(body.driftgauge, body.metadata),
        is_part=is_part,
        usage_follows=is_part and not usage,
    )


def _cut_echo(pieces: list[Piece], usage: object) -> None:
    """Remove the tokens of an echoed prompt: they come first, and exceed the number of generated tokens."""
    n_prompt, n_completion = count_of(field_of(usage, "prompt_tokens")), count_of(field_of(usage, "completion_tokens"))
    listed = sum(len(piece.tokens or ()) for piece in pieces)
    if n_prompt and listed - (n_completion or 0) >= len(pieces) * n_prompt:
        for piece in pieces:
            piece.tokens = piece.tokens and piece.tokens.without_first(n_prompt)


def _is_part(body: Body | NumberBody, usage: object) -> bool:
    """Whether the body is a chunk: it is named so or has a delta. A chunk of completions is a body without an end."""
    if isinstance(body, NumberBody):
        return False
    if not body.choices:
        return True
    if "chunk" in text_of(body.object) or any(isinstance(choice.delta, Message) for choice in body.choices):
        return True
    if any(choice.message for choice in body.choices):
        return False
    return not usage or any(choice.finish_reason is None for choice in body.choices)


def _piece(choice: Choice | NumberChoice) -> Piece:
    finish_reason = word_of(choice.finish_reason)
    message = choice.delta if isinstance(choice.delta, Message) else choice.message or Message()
    thought = message.reasoning_content or message.reasoning
    return Piece(
        index=choice.index or 0,
        tokens=_tokens(choice, _segment(choice, message, thought)),
        finish_reason=finish_reason,
        text=_joined(message.content or choice.text),
        is_last=finish_reason is not None,
        has_reasoning=bool(thought),
    )


def _segment(choice: Choice | NumberChoice, message: Message, thought: object) -> int:
    """The segment of the tokens of a chunk; unknown for a whole body."""
    if not isinstance(choice.delta, Message):
        return SEGMENT_UNKNOWN
    if thought:
        return SEGMENT_REASONING
    return SEGMENT_ANSWER if message.content else SEGMENT_UNKNOWN


def _joined(content: object) -> str:
    if isinstance(content, list):
        return "".join(text_of(field_of(part, "text")) for part in content)
    return text_of(content)


def _tokens(choice: Choice | NumberChoice, segment: int) -> Tokens | None:
    logprobs = choice.logprobs
    if logprobs is None:
        return None
    if isinstance(logprobs, NumberLists):
        return _numbers(logprobs.content, segment)
    if isinstance(logprobs, list):
        return entries(logprobs, segment)
    if logprobs.token_logprobs is not None:
        return lists(logprobs, segment)
    return _entry_lists(logprobs, segment)


def _entry_lists(logprobs: Lists, segment: int) -> Tokens | None:
    if not (logprobs.content is not None or logprobs.refusal is not None or logprobs.reasoning_content):
        return None
    thought = logprobs.reasoning_content
    is_split = thought is not UNSET  # DeepSeek lists reasoning and answer side by side
    found = Tokens()
    if thought:
        found.extend(entries(thought, SEGMENT_REASONING))
    for listed in (logprobs.content, logprobs.refusal):
        if listed:
            found.extend(entries(listed, SEGMENT_ANSWER if is_split else segment))
    return found


def entries(listed: Sequence[Entry], segment: int = SEGMENT_UNKNOWN) -> Tokens:
    """Columns from chat entries."""
    rows = [entry.top_logprobs or () for entry in listed]
    return Tokens(
        chosen=[entry.logprob for entry in listed],
        counts=[len(row) for row in rows],
        top=[alternative.logprob for row in rows for alternative in row],
        chosen_names=[name(entry) for entry in listed],
        top_names=[name(alternative) for row in rows for alternative in row],
        segments=[segment] * len(listed),
    )


def _numbers(listed: list[NumberEntry], segment: int) -> Tokens:
    rows = [entry.top_logprobs for entry in listed]
    return Tokens(
        chosen=[entry.logprob for entry in listed],
        counts=[len(row) for row in rows],
        top=[alternative.logprob for row in rows for alternative in row],
        chosen_names=[_text_name(entry.token) for entry in listed],
        top_names=_Names(rows),
        segments=[segment] * len(listed),
    )


class _Names(Sequence[Hashable]):
    """Names of alternatives, made only when they are read, which is rare."""

    def __init__(self, rows: list[list[Number]]) -> None:
        self._rows = rows

    @cached_property
    def _flat(self) -> list[Number]:
        return [alternative for row in self._rows for alternative in row]

    def __len__(self) -> int:
        return sum(len(row) for row in self._rows)

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return [self[i] for i in range(*place.indices(len(self)))]
        text = self._flat[place].token
        return (text, place) if _REPLACEMENT in text else _text_name(text)


def name(token: Alternative) -> Hashable:
    """The identity of a token: its id, else its text, with its bytes where the text has a replacement character."""
    if token.id is not None:
        return token.id
    if token.token_id is not None:
        return token.token_id
    text = token.token or ""
    if _REPLACEMENT in text and isinstance(token.bytes, Raw):
        return text, bytes(token.bytes)
    return _text_name(text)


def _text_name(text: str) -> Hashable:
    """The text, or the id in a text such as ``token_id:17``."""
    if text.startswith(_ID_PREFIX) and (digits := text[len(_ID_PREFIX) :]).isdecimal() and len(digits) < _MAX_DIGITS:
        return int(digits)
    return text


def lists(logprobs: Lists, segment: int = SEGMENT_UNKNOWN) -> Tokens:
    """Columns from the parallel lists of completions; alternatives are maps keyed by text, or entries."""
    chosen = logprobs.token_logprobs or []
    n = len(chosen)
    names = [*(logprobs.tokens or logprobs.token_ids or [])[:n], *[None] * n][:n]
    tokens = Tokens(chosen, chosen_names=[*map(_plain, names)], top_names=(top_names := []), segments=[segment] * n)
    for row in [*(logprobs.top_logprobs or [])[:n], *[None] * n][:n]:
        values, listed = _alternatives(row)
        tokens.counts.append(len(values))
        tokens.top += values
        top_names += listed
    return tokens


def _plain(token: object) -> Hashable:
    return token if isinstance(token, str | int) else ""


def _alternatives(row: object) -> tuple[list[Any], list[Hashable]]:
    """The log-probabilities of a row and their names; vLLM's prompt rows hold objects."""
    if isinstance(row, dict):
        values = [*row.values()]
        if dict in map(type, values):
            values = [field_of(value, "logprob") if isinstance(value, dict) else value for value in values]
        return values, [*row]
    if isinstance(row, list):
        found = msgspec.convert(row, list[Alternative])
        return [alternative.logprob for alternative in found], [*map(name, found)]
    return [], []


def requested(parameters: object) -> RequestParameters:
    """The parameters in a request body, or in a gateway's record of one."""
    k = field_of(parameters, "top_logprobs")
    if k is None:
        k = field_of(parameters, "logprobs")
    return RequestParameters(
        temperature=number_of(field_of(parameters, "temperature")),
        top_p=number_of(field_of(parameters, "top_p")),
        k=count_of(k) if number_of(k) is not None else None,
    )
