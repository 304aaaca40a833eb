"""The OpenAI shapes, chat and completions, whole or as chunks of a stream.

OpenAI, vLLM, SGLang, TGI, llama.cpp, LMDeploy, DeepSeek, Together, Fireworks, TensorRT-LLM and others send them.

Both shapes of log-probabilities are read in both kinds of body, because servers mix them: chat bodies hold the parallel
lists of completions (Together, early vLLM), completions hold the entries of chat (Ollama, llama.cpp, Fireworks).

Sources, code or recordings: OpenAI (recordings of 2026), vLLM 0.33, SGLang 0.5.23, TGI (2026-01), llama.cpp,
LMDeploy (2026-08), TensorRT-LLM, Ollama, DeepSeek (values). Client types only: Together, Fireworks.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from functools import cached_property
from itertools import chain
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from driftgauge.connectors.decoding.formats.payload import (
    Payload,
    PayloadError,
    Piece,
    RequestParameters,
    Tokens,
    alias_of,
    begins_with_prompt,
    count_of,
    domain_of,
    field_of,
    id_of,
    number_of,
    text_of,
    word_of,
)
from driftgauge.models.events import SEGMENT_ANSWER, SEGMENT_REASONING, SEGMENT_UNKNOWN

_REPLACEMENT = "\ufffd"
_ID_PREFIX, _MAX_DIGITS = "token_id:", 12


class Alternative(Struct, gc=False):
    """One alternative of one token."""

    logprob: Any = None
    log_prob: Any = None
    prob: Any = None
    token: Any = None
    id: Any = None
    token_id: Any = None
    bytes: Raw | UnsetType = UNSET


class Entry(Alternative):
    """One generated token."""

    top_logprobs: list[Alternative] | None = None
    top_probs: list[Alternative] | None = None


class Number(Struct, gc=False):
    """A usual alternative: a number and a text. What is read from JSON has no cycles for the collector to find."""

    logprob: float
    token: str = ""


class NumberEntry(Struct, gc=False):
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
    token_ids: list[Any] | None = None
    token_logprobs: list[Any] | None = None
    top_logprobs: list[Any] | None = None


class NumberLists(Struct, gc=False):
    """Log-probabilities of a choice in usual entries."""

    content: list[NumberEntry]
    refusal: None = None
    reasoning_content: UnsetType = UNSET


class Choice(Struct):
    """One choice."""

    index: Any = 0
    finish_reason: Any = None
    logprobs: Lists | list[Entry] | None = None
    message: Any = None
    delta: Any = None
    text: Any = None
    prompt_token_ids: Any = None


class NumberChoice(Struct, gc=False):
    """One choice with usual log-probabilities."""

    logprobs: NumberLists
    index: int = 0
    finish_reason: Any = None
    message: Any = None
    delta: UnsetType = UNSET
    text: Any = None
    prompt_token_ids: UnsetType = UNSET


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
    prompt_filter_results: Any = None


class Body(Shared, kw_only=True):
    """A body or a chunk."""

    choices: list[Choice] | None


class NumberBody(Shared, kw_only=True):
    """A whole body of usual chat entries: the fastest to read."""

    choices: Annotated[list[NumberChoice], Meta(min_length=1)]
    error: None = None


def read(body: Body | NumberBody) -> Payload:
    """One payload; a chunk of a stream is a part."""
    _check(body)
    usage = body.usage or field_of(body.x_groq, "usage")
    is_part = _is_part(body, usage)
    choices: Sequence[Choice | NumberChoice] = body.choices or ()
    pieces = [_piece(choice, place) for place, choice in enumerate(choices)]
    _cut_echo(pieces, usage)
    return Payload(
        pieces=pieces,
        id=id_of(body.id) or id_of(body.request_id),
        model=text_of(body.model),
        created=body.created,
        **counts_in(usage),
        parameters=RequestParameters(
            logprobs_mode=AFTER_SAMPLERS if any(p.tokens and p.tokens.are_probabilities for p in pieces) else None,
        ),
        domain=domain_of(body.driftgauge, body.metadata),
        is_part=is_part,
        usage_follows=is_part and not usage,
        aliases=[alias_of(body.request_id)] if body.request_id else [],
    )


def counts_in(usage: object) -> dict[str, Any]:
    """The token counts of a payload, by the names that `Payload` has for them."""
    n_reasoning = field_of(usage, "completion_tokens_details", "reasoning_tokens")
    return {
        "n_prompt": field_of(usage, "prompt_tokens"),
        "n_completion": field_of(usage, "completion_tokens"),
        "n_reasoning": n_reasoning or field_of(usage, "reasoning_tokens"),
    }


def _check(body: Body | NumberBody) -> None:
    """Raise `PayloadError` where the choices are those of something else, a questionnaire for example."""
    if isinstance(body, NumberBody):
        return
    marks = (body.model, body.created, body.usage, body.system_fingerprint, body.prompt_filter_results)
    is_named = any(mark is not None for mark in marks)
    if body.choices:
        is_ours = isinstance(body.object, str) or any(_is_generated(choice, is_named) for choice in body.choices)
    else:
        is_piece = "chunk" in text_of(body.object) or None not in (body.model, body.created)
        is_ours = bool(body.usage or body.prompt_filter_results or is_piece)
    if not is_ours:
        raise PayloadError("unknown_format", "it has choices, but not those of a model server")


def _is_generated(choice: Choice, is_named: bool) -> bool:
    """Whether a choice is that of a model server; a text or an end alone need a body with other fields of one."""
    if isinstance(choice.message, dict) or isinstance(choice.delta, dict) or choice.logprobs is not None:
        return True
    return is_named and (isinstance(choice.text, str) or word_of(choice.finish_reason) is not None)


def _cut_echo(pieces: list[Piece], usage: object) -> None:
    """Remove the tokens of an echoed prompt, which come first."""
    n_prompt, n_completion = count_of(field_of(usage, "prompt_tokens")), count_of(field_of(usage, "completion_tokens"))
    listed = [piece.tokens for piece in pieces if piece.tokens]
    if n_prompt and n_completion is not None and begins_with_prompt(listed, n_prompt, n_completion):
        for piece in pieces:
            piece.tokens = piece.tokens and piece.tokens.without_first(n_prompt)


def _is_part(body: Body | NumberBody, usage: object) -> bool:
    """Whether the body is a chunk: it is named so or has a delta. A chunk of completions is a body without an end."""
    if isinstance(body, NumberBody):
        return False
    if not body.choices:
        return True
    if "chunk" in text_of(body.object) or any(isinstance(choice.delta, dict) for choice in body.choices):
        return True
    if body.object == "chat.completion" or any(choice.message for choice in body.choices):
        return False
    return not usage or any(choice.finish_reason is None for choice in body.choices) or _ends_stream(body, usage)


def _ends_stream(body: Body, usage: object) -> bool:
    """Whether completions with an end and token counts are the last chunk of a stream: they lack the other tokens."""
    n_completion = count_of(field_of(usage, "completion_tokens")) or 0
    texts = [list(_texts(choice)) for choice in body.choices or []]
    spoken = all("".join(text) == choice.text for text, choice in zip(texts, body.choices or [], strict=True))
    n_listed = sum(map(len, texts))
    return spoken and n_listed < (n_completion - 1 if n_listed else n_completion)


def _texts(choice: Choice) -> Sequence[str]:
    """The texts of the listed tokens."""
    logprobs = choice.logprobs
    if isinstance(logprobs, Lists):
        listed = logprobs.tokens if logprobs.tokens is not None else [e.token for e in logprobs.content or []]
    else:
        listed = [entry.token for entry in logprobs or []]
    return [*map(text_of, listed)]


def _piece(choice: Choice | NumberChoice, place: int) -> Piece:
    finish_reason = word_of(choice.finish_reason)
    message = choice.delta if isinstance(choice.delta, dict) else choice.message
    thought = field_of(message, "reasoning_content") or field_of(message, "reasoning")
    index = count_of(choice.index)
    return Piece(
        index=place if index is None else index,
        tokens=_without_prompt(
            tokens_of_logprobs(choice.logprobs, _segment(choice, message, thought)), choice.prompt_token_ids
        ),
        finish_reason=finish_reason,
        text=_joined(field_of(message, "content") or choice.text),
        is_last=finish_reason is not None,
        has_reasoning=bool(thought),
    )


def _without_prompt(tokens: Tokens | None, prompt_ids: object) -> Tokens | None:
    """The tokens without those of an echoed prompt, whose ids vLLM lists: its first token has no log-probability."""
    if tokens and isinstance(prompt_ids, list) and len(tokens) >= len(prompt_ids) > 0 and tokens.chosen[0] is None:
        return tokens.without_first(len(prompt_ids))
    return tokens


def _segment(choice: Choice | NumberChoice, message: object, thought: object) -> int:
    """The segment of the tokens of a chunk; unknown for a whole body."""
    return segment_of(thought, field_of(message, "content")) if isinstance(choice.delta, dict) else SEGMENT_UNKNOWN


def segment_of(thought: object, content: object) -> int:
    """The segment of the tokens of a chunk, by the text that came with them."""
    if thought:
        return SEGMENT_REASONING
    return SEGMENT_ANSWER if content else SEGMENT_UNKNOWN


def _joined(content: object) -> str:
    if isinstance(content, list):
        return "".join(text_of(field_of(part, "text")) for part in content)
    return text_of(content)


def tokens_of_logprobs(
    logprobs: Lists | NumberLists | list[Entry] | None, segment: int = SEGMENT_UNKNOWN
) -> Tokens | None:
    """Columns from the log-probabilities of a choice; None where they were not requested."""
    if logprobs is None:
        return None
    if isinstance(logprobs, NumberLists):
        return numbers(logprobs.content, segment)
    if isinstance(logprobs, list):
        return entries(logprobs, segment)
    has_entries = logprobs.content is not None or logprobs.refusal is not None or logprobs.reasoning_content
    if logprobs.token_logprobs is not None or (logprobs.top_logprobs and not has_entries):
        return lists(logprobs, segment)
    return _entry_lists(logprobs, segment) if has_entries else None


def _entry_lists(logprobs: Lists, segment: int) -> Tokens:
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
    rows = [entry.top_logprobs or entry.top_probs or () for entry in listed]
    flat = [*chain.from_iterable(rows)]
    return Tokens(
        chosen=_values(listed),
        counts=[*map(len, rows)],
        top=_values(flat),
        chosen_names=[*map(name, listed)],
        top_names=[*map(name, flat)],
        segments=[segment] * len(listed),
        are_probabilities=any(entry.prob is not None for entry in listed),
    )


def _values(tokens: Sequence[Alternative]) -> list[Any]:
    values = [token.logprob for token in tokens]
    if None in values:
        return [value_of(token) if value is None else value for value, token in zip(values, tokens, strict=True)]
    return values


IMPOSSIBLE = -9999.0
"""Placeholder for the logarithm of probability 0."""

AFTER_SAMPLERS = "after_samplers"
"""The `logprobs_mode` of probabilities that were taken after the samplers."""


def value_of(token: Any) -> Any:
    """The log-probability under either name, or the logarithm of the probability where the server sends those."""
    if token.prob is None:
        return token.log_prob if token.logprob is None else token.logprob
    if (prob := number_of(token.prob)) is None:
        return None
    return math.log(prob) if 0 < prob <= 1 + 1e-6 else IMPOSSIBLE if prob == 0 else 1.0


def numbers(listed: list[NumberEntry], segment: int = SEGMENT_UNKNOWN) -> Tokens:
    """Columns from usual entries."""
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
    if isinstance(token.id, int):
        return token.id
    if isinstance(token.token_id, int):
        return token.token_id
    text = token.token if isinstance(token.token, str) else ""
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
    chosen = logprobs.token_logprobs
    if chosen is None:
        chosen = [None] * len(logprobs.top_logprobs or [])
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
        return _values(found), [*map(name, found)]
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
