"""driftgauge's own events, version 1: generations, chunks of generations, and labels, in JSON or MessagePack.

The structs below are the contract: `docs/schemas` is generated from them, and decoding validates against them. The
packed form of a signal carries little-endian floats as bytes (base64 in JSON, raw in MessagePack); it decodes about a
hundred times as fast as the same numbers in a server's JSON. Contract, reading and writing stay in one module, so that
what one changes is seen by the others.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Any, Literal, TypeAlias

import msgspec
import numpy as np
from msgspec import UNSET, Meta, Struct, UnsetType
from msgspec.structs import replace

from driftgauge.connectors.decoding.formats.payload import PayloadError, checked_time, id_of
from driftgauge.connectors.decoding.label_scale import LabelScale
from driftgauge.connectors.decoding.names import clean, name_of, without_controls
from driftgauge.connectors.decoding.naming import aliases_of
from driftgauge.models.arrays import Floats, UInt8s
from driftgauge.models.events import (
    NO_DOMAIN,
    SEGMENT_ANSWER,
    SEGMENT_REASONING,
    AnnotatorKind,
    Chunk,
    Context,
    Generation,
    Label,
    Signal,
)
from driftgauge.models.signals.feature_sets import WIDTHS
from driftgauge.models.topics.projection import MAX_WIDTH, MIN_WIDTH, reduced

VERSION = 1
TYPES = frozenset({"generation", "generation.chunk", "label"})
"""Types of own events."""

_NO_CONTROLS = {"pattern": r"^[^\u0000-\u001f\u007f]*$"}
_LARGEST = 3.4028234663852886e38  # of a float32

Id: TypeAlias = Annotated[str, Meta(min_length=1, max_length=512, extra_json_schema=_NO_CONTROLS)] | int | float
"""A whole number is its digits. Control characters are refused (in code: a pattern costs more than the rest)."""

MAX_ALIASES = 16
Aliases: TypeAlias = Annotated[list[Id], Meta(max_length=MAX_ALIASES)]
Name: TypeAlias = Annotated[str, Meta(max_length=256)]
Word: TypeAlias = Name | int | float
"""A name that may also be a number."""

Count: TypeAlias = Annotated[int, Meta(ge=0, le=2**40)]
Width: TypeAlias = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Moment: TypeAlias = datetime | float
"""Text without an offset is UTC."""

Logprobs: TypeAlias = list[float | None]
Entropies: TypeAlias = list[Annotated[float, Meta(ge=-0.001, le=64)] | None]
"""In nats; a value slightly below 0 is rounding. No vocabulary reaches 64."""

FeatureValues: TypeAlias = list[Annotated[float, Meta(ge=-_LARGEST, le=_LARGEST)] | None]
_ONE_OF_THE_SETS = Meta(
    min_length=min(WIDTHS),
    max_length=max(WIDTHS),
    extra_json_schema={"anyOf": [{"minItems": n, "maxItems": n} for n in WIDTHS]},
)
Embedding: TypeAlias = Annotated[
    list[float | None], Meta(extra_json_schema={"minItems": MIN_WIDTH, "maxItems": MAX_WIDTH})
]
TokenId: TypeAlias = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
Probability: TypeAlias = Annotated[float, Meta(ge=1e-9, le=1)]
"""Of being chosen: its inverse is a weight, so it must not vanish."""

Encoding: TypeAlias = Literal["json", "msgpack"]
DType: TypeAlias = Literal["float16", "float32"]


class ContextFields(Struct, omit_defaults=True, frozen=True):
    """What the values of the signal depend on; leave out a field that is not known."""

    model_revision: Word | None = None
    temperature: Annotated[float, Meta(ge=0)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    logprobs_mode: Name | None = None
    k: Width | None = None
    tokenizer: Name | None = None
    chat_template: Name | None = None


class Usage(Struct, omit_defaults=True, frozen=True):
    """Token counts as the server reports them."""

    prompt_tokens: Count | None = None
    completion_tokens: Count | None = None
    reasoning_tokens: Count | None = None


class Packed(Struct, omit_defaults=True):
    """Little-endian floats as bytes: ``top_logprobs`` T x k in row order, ``chosen_logprobs`` T. NaN is missing."""

    dtype: DType
    k: Width = 0
    top_logprobs: bytes = b""
    chosen_logprobs: bytes | None = None


class SignalFields(Struct, omit_defaults=True):
    """``top_logprobs``, ``packed``, ``chosen_logprobs`` alone, ``entropy``, ``vocabulary_entropy`` or ``features``.

    ``vocabulary_entropy`` is that of the distribution over all tokens of the vocabulary; the first two go with it.
    ``features`` are those of a set: 17 published ones, or 22.

    ``chosen_logprobs`` goes with any form but the last. ``n_reasoning`` is the number of
    reasoning tokens, which come first; the rest is the answer. Leave it out where it is not known.
    """

    top_logprobs: list[Logprobs] | None = None
    packed: Packed | None = None
    chosen_logprobs: Logprobs | None = None
    entropy: Entropies | None = None
    vocabulary_entropy: Entropies | None = None
    features: Annotated[FeatureValues, _ONE_OF_THE_SETS] | None = None
    n_reasoning: Count | None = None


class GenerationEvent(Struct, omit_defaults=True, tag_field="type", tag="generation", kw_only=True):
    """One response of a model. A label may name it by any of ``aliases``, its span, or its trace.

    ``embedding`` is one of the prompt: numbers, or little-endian float32 as bytes. It finds the topic of a response
    without a domain.
    """

    version: int = VERSION
    id: Id
    event_time: Moment
    model: Name = ""
    domain: Word | UnsetType | None = UNSET
    trace_id: Id | None = None
    span_id: Id | None = None
    aliases: Aliases = []
    slices: dict[Name, Word | bool] = {}
    context: ContextFields = ContextFields()
    finish_reason: Name | None = None
    usage: Usage = Usage()
    token_ids: list[TokenId] | None = None
    text: str | None = None
    embedding: Embedding | bytes | None = None
    signal: SignalFields


class ChunkEvent(GenerationEvent, tag_field="type", tag="generation.chunk", kw_only=True):
    """A piece of a response: a generation event with the tokens of this piece only.

    ``sequence`` counts the pieces of a response from 0; left out, the order of arrival counts.
    """

    sequence: Count | None = None
    is_last: bool = False


class LabelEvent(Struct, omit_defaults=True, tag_field="type", tag="label", kw_only=True):
    """The truth about one response. ``correct`` null withdraws the label named by ``supersedes``.

    Other values of ``correct`` are read on ``scale``, the worst and the best score. Without it, on the scale that is
    configured, which is from 0 to 1 by default.
    """

    version: int = VERSION
    label_id: Id
    response_id: Id
    event_time: Moment
    correct: bool | float | str | None
    scale: tuple[float, float] | None = None
    annotator_kind: AnnotatorKind = "human"
    annotator_id: Word | None = ""
    inclusion_probability: Probability | None = None
    supersedes: Id | None = None
    source: Name | None = ""


OwnEvent: TypeAlias = GenerationEvent | ChunkEvent | LabelEvent

_JSON = msgspec.json.Decoder(OwnEvent)
_MSGPACK = msgspec.msgpack.Decoder(OwnEvent)


def parse(value: bytes, encoding: Encoding) -> OwnEvent:
    """Decode one event; raises `msgspec.DecodeError` or `msgspec.ValidationError` for other bytes."""
    decoder: msgspec.json.Decoder[OwnEvent] | msgspec.msgpack.Decoder[OwnEvent]
    decoder = _JSON if encoding == "json" else _MSGPACK
    return decoder.decode(value)


def to_event(
    parsed: OwnEvent,
    *,
    default_domain: str = "default",
    keep_text: bool = False,
    keep_embedding: bool = False,
    further: Sequence[str] = (),
    scale: LabelScale | None = None,
) -> Generation | Chunk | Label:
    """The event of a parsed record; its signal is not normalised. ``further`` ids are those of its record.

    Scores of labels are on this scale, or from 0 to 1.

    Raises `PayloadError` for contradictions that types cannot express.
    """
    if parsed.version != VERSION:
        raise PayloadError("unknown_version", f"version {parsed.version}; this agent reads version {VERSION}")
    if isinstance(parsed, LabelEvent):
        return _label(parsed, scale or LabelScale())
    generation = _generation(parsed, default_domain, keep_text, further)
    if keep_embedding and parsed.embedding is not None:
        generation = with_embedding(generation, parsed.embedding)
    if isinstance(parsed, ChunkEvent):
        return Chunk(generation, parsed.sequence, parsed.is_last)
    return generation


def _label(parsed: LabelEvent, scale: LabelScale) -> Label:
    if parsed.scale is not None:
        if parsed.scale[0] == parsed.scale[1] or not all(map(math.isfinite, parsed.scale)):
            raise PayloadError(
                "invalid_value", "the worst and the best score of the scale are not two different numbers"
            )
        scale = LabelScale(parsed.scale)
    if parsed.correct is None and parsed.supersedes is None:
        raise PayloadError("invalid_value", "correct is null, which withdraws a label, but supersedes names none")
    return Label(
        label_id=_id(parsed.label_id),
        response_id=_id(parsed.response_id),
        event_time=seconds(parsed.event_time),
        correct=None if parsed.correct is None else scale.correctness(parsed.correct),
        annotator_kind=parsed.annotator_kind,
        annotator_id=name_of(parsed.annotator_id),
        inclusion_probability=parsed.inclusion_probability,
        supersedes=None if parsed.supersedes is None else _id(parsed.supersedes),
        source=clean(parsed.source or ""),
    )


def _id(value: str | float) -> str:
    if not (text := id_of(value)):
        raise PayloadError("invalid_id", "an id that is a number, but not a whole one")
    return text


def _generation(parsed: GenerationEvent, default_domain: str, keep_text: bool, further: Sequence[str]) -> Generation:
    domain = "" if parsed.domain is UNSET else name_of(parsed.domain)
    name = _id(parsed.id)
    return Generation(
        id=name,
        event_time=seconds(parsed.event_time),
        domain=domain or default_domain,
        context=_context(parsed.model, parsed.context),
        signal=to_signal(parsed.signal),
        slices=_slices(parsed.slices) if parsed.slices else {},
        finish_reason=_clean(parsed.finish_reason),
        n_prompt_tokens=parsed.usage.prompt_tokens,
        n_completion_tokens=parsed.usage.completion_tokens,
        n_reasoning_tokens=parsed.usage.reasoning_tokens,
        token_ids=None if parsed.token_ids is None else np.array(parsed.token_ids, dtype=np.int64),
        text=without_controls(parsed.text) if keep_text and parsed.text is not None else None,
        aliases=aliases_of(name, [*further, *parsed.aliases, parsed.span_id, parsed.trace_id]),
        problems={} if domain else {NO_DOMAIN: 1},
    )


def with_embedding(generation: Generation, given: list[float | None] | bytes) -> Generation:
    """The response with the direction of this embedding of its prompt; one that cannot be used is a problem of it.

    >>> piece = Generation("r", 0.0, "", Context(), Signal())
    >>> int(with_embedding(piece, [0.0, 2.0]).embedding.argmax()), with_embedding(piece, [0.0] * 9).problems
    (1, {'embedding_unusable': 1})
    """
    if isinstance(given, bytes):
        values = np.frombuffer(given if len(given) % 4 == 0 else b"", dtype="<f4")
    else:
        values = _floats(given[: MAX_WIDTH + 1])
    direction = reduced(values)
    if direction is None:
        return replace(generation, problems={**generation.problems, "embedding_unusable": 1})
    return replace(generation, embedding=direction)


def _slices(given: dict[str, Word | bool]) -> dict[str, str]:
    named = ((clean(name), name_of(value)) for name, value in given.items())
    return {name: value for name, value in named if name and value}


@lru_cache(maxsize=1024)
def _context(model: str, fields: ContextFields) -> Context:
    """One `Context` object for all responses of a context."""
    return Context(
        clean(model),
        None if fields.model_revision is None else name_of(fields.model_revision),
        fields.temperature,
        fields.top_p,
        _clean(fields.logprobs_mode),
        fields.k,
        _clean(fields.tokenizer),
        _clean(fields.chat_template),
    )


def _clean(name: str | None) -> str | None:
    return None if name is None else clean(name)


def seconds(moment: datetime | float) -> float:
    """UTC seconds since the epoch; raises `PayloadError` for a time before 1970 or after 2100."""
    if isinstance(moment, datetime):
        moment = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    return checked_time(float(moment))


def to_signal(fields: SignalFields) -> Signal:
    """The signal of these fields, not normalised."""
    if fields.features is not None:
        if len(fields.features) not in WIDTHS:
            sizes = " or ".join(map(str, WIDTHS))
            raise PayloadError("invalid_value", f"`features` has {len(fields.features)} numbers, not {sizes}")
        return Signal(features=_floats(fields.features))
    top, chosen = None, None
    if fields.packed is not None:
        top, chosen = _unpack(fields.packed)
    elif fields.top_logprobs is not None:
        top = _matrix(fields.top_logprobs)
    if fields.chosen_logprobs is not None:
        chosen = _floats(fields.chosen_logprobs)
    if fields.entropy is not None and fields.vocabulary_entropy is not None:
        raise PayloadError("invalid_value", "`entropy` and `vocabulary_entropy` exclude each other")
    is_vocabulary = fields.vocabulary_entropy is not None
    given = fields.vocabulary_entropy if is_vocabulary else fields.entropy
    entropy = None if given is None else np.maximum(_floats(given), 0)
    _check_lengths(top, chosen, entropy)
    segments = _segments(fields.n_reasoning, top, chosen, entropy)
    return Signal(chosen, top, entropy, segments=segments, is_vocabulary=is_vocabulary)


def _unpack(packed: Packed) -> tuple[Floats | None, Floats | None]:
    dtype = np.dtype("<f2" if packed.dtype == "float16" else "<f4")
    row = packed.k * dtype.itemsize
    if packed.top_logprobs and (not row or len(packed.top_logprobs) % row):
        raise PayloadError("invalid_value", "packed top_logprobs is not a whole number of rows of k values")
    chosen = packed.chosen_logprobs
    if chosen is not None and len(chosen) % dtype.itemsize:
        raise PayloadError("invalid_value", "packed chosen_logprobs is not a whole number of values")
    top = np.frombuffer(packed.top_logprobs, dtype).reshape(-1, packed.k) if row else None
    return top, None if chosen is None else np.frombuffer(chosen, dtype)


def _matrix(rows: list[Logprobs]) -> Floats:
    """(T, k) float32; rows may be of different lengths."""
    k = max((len(row) for row in rows), default=0)
    if all(len(row) == k for row in rows):
        return _floats(rows).reshape(len(rows), k)
    return _floats([[*row, *[None] * (k - len(row))] for row in rows])


def _floats(values: Logprobs | list[Logprobs]) -> Floats:
    """float32; None becomes NaN, and a number beyond float32 becomes infinite."""
    with np.errstate(over="ignore"):
        return np.array(values, dtype=np.float32)


def _check_lengths(*arrays: Floats | None) -> None:
    if len({len(array) for array in arrays if array is not None}) > 1:
        raise PayloadError("invalid_value", "the arrays of the signal have different numbers of tokens")


def _segments(n_reasoning: int | None, *arrays: Floats | None) -> UInt8s | None:
    if n_reasoning is None:
        return None
    lengths = [len(array) for array in arrays if array is not None]
    if not lengths:
        return None
    segments = np.full(lengths[0], SEGMENT_ANSWER, dtype=np.uint8)
    segments[:n_reasoning] = SEGMENT_REASONING
    return segments


def encode_generation(
    generation: Generation | Chunk, encoding: Encoding = "msgpack", *, packed: bool = True, dtype: DType = "float16"
) -> bytes:
    """A generation, or a chunk of one, as an own event. Packing as float16 rounds log-probabilities to 3 digits."""
    piece = generation.piece if isinstance(generation, Chunk) else generation
    context = msgspec.to_builtins(piece.context)
    fields: dict[str, Any] = {
        "id": piece.id,
        "event_time": piece.event_time,
        "model": context.pop("model"),
        "domain": piece.domain,
        "aliases": [*piece.aliases[:MAX_ALIASES]],
        "slices": dict(piece.slices),
        "context": ContextFields(**context),
        "finish_reason": piece.finish_reason,
        "usage": Usage(piece.n_prompt_tokens, piece.n_completion_tokens, piece.n_reasoning_tokens),
        "token_ids": None if piece.token_ids is None else piece.token_ids.tolist(),
        "text": piece.text,
        "embedding": None if piece.embedding is None else piece.embedding.astype("<f4").tobytes(),
        "signal": _signal_fields(piece.signal, packed, dtype),
    }
    if isinstance(generation, Chunk):
        return _encoded(ChunkEvent(**fields, sequence=generation.sequence, is_last=generation.is_last), encoding)
    return _encoded(GenerationEvent(**fields), encoding)


def encode_label(label: Label, encoding: Encoding = "msgpack") -> bytes:
    """A label as an own event: the same bytes for equal labels. It says that its score is on the scale from 0 to 1."""
    fields = msgspec.to_builtins(label)
    del fields["topic"], fields["broker_time"]  # they are those of the record
    fields["scale"] = None if label.correct is None else (0.0, 1.0)
    # msgspec leaves out a default only where it is the very object, which text from a database is not
    fields["annotator_kind"] = sys.intern(label.annotator_kind)
    return _encoded(LabelEvent(**fields), encoding)


def _encoded(event: OwnEvent, encoding: Encoding) -> bytes:
    return msgspec.json.encode(event) if encoding == "json" else msgspec.msgpack.encode(event)


def _signal_fields(signal: Signal, packed: bool, dtype: DType) -> SignalFields:
    n_reasoning = None if signal.segments is None else int((signal.segments == SEGMENT_REASONING).sum())
    if signal.features is not None:
        return SignalFields(features=_values(signal.features))
    entropy = None if signal.entropy is None else _values(signal.entropy)
    if packed and (entropy is None or signal.is_vocabulary):
        return SignalFields(packed=_packed(signal, dtype), vocabulary_entropy=entropy, n_reasoning=n_reasoning)
    top = signal.top_logprobs
    return SignalFields(
        top_logprobs=None if top is None else [_values(row) for row in top],
        chosen_logprobs=None if signal.chosen_logprobs is None else _values(signal.chosen_logprobs),
        entropy=None if signal.is_vocabulary else entropy,
        vocabulary_entropy=entropy if signal.is_vocabulary else None,
        n_reasoning=n_reasoning,
    )


def _packed(signal: Signal, dtype: DType) -> Packed:
    kind = np.dtype("<f2" if dtype == "float16" else "<f4")
    top, chosen = signal.top_logprobs, signal.chosen_logprobs
    with np.errstate(over="ignore"):  # what float16 cannot hold stands for minus infinity
        return Packed(
            dtype=dtype,
            k=0 if top is None else top.shape[1],
            top_logprobs=b"" if top is None else top.astype(kind).tobytes(),
            chosen_logprobs=None if chosen is None else chosen.astype(kind).tobytes(),
        )


def _values(array: Floats) -> Logprobs:
    return [value if math.isfinite(value) else None for value in array.tolist()]
