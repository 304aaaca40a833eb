"""What ``driftgauge extract`` publishes: one event for each raw record, with everything that the record holds.

Responses are reduced to their features, some 500 bytes, and less than half of it in a compressed topic. Pieces of
responses keep the arrays of their tokens, because only the agent has the state that makes responses of them. Labels and
dead letters pass. Every value survives to the bit: arrays are little-endian bytes. An event names its raw record, so
that one that is published twice counts once.

The event is known by its first bytes: the field ``type`` comes first. So a raw record of a megabyte costs no search.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Meta, Struct

from driftgauge.connectors.base import Record, TopicPartition
from driftgauge.connectors.decoding.formats.own import VERSION, Count, Encoding
from driftgauge.connectors.decoding.formats.payload import PayloadError, checked_time
from driftgauge.connectors.decoding.names import problem_of_id
from driftgauge.models.events import (
    AnnotatorKind,
    Arrival,
    Chunk,
    Context,
    Event,
    Generation,
    Label,
    Origin,
    Rejected,
    RejectReason,
    Signal,
    SignalForm,
)
from driftgauge.models.signals.arrivals import features_alone
from driftgauge.models.signals.entropy import N_SUMS
from driftgauge.models.signals.feature_sets import DEFAULT_SPEC, FeatureSpec
from driftgauge.models.signals.opening import WIDTH as OPENING_WIDTH
from driftgauge.models.topics.projection import N_DIMENSIONS

TYPE = "extracted"
_MARKS = (b"\xa4type\xa9extracted", b'"type":"extracted"')
_FLOATS = np.dtype("<f4")

_COMPLETE = 1.0  # msgspec leaves out a default only where it is the very object

Offset: TypeAlias = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Partition: TypeAlias = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Share: TypeAlias = Annotated[float, Meta(ge=0, le=1)]
Numbers: TypeAlias = dict[str, int]


class Array(Struct, array_like=True, frozen=True):
    """An array: type of its values, shape, and its values in row order as little-endian bytes."""

    dtype: Literal["<f2", "<f4", "<f8", "<i8", "|u1", "|b1"]
    shape: Annotated[list[Count], Meta(min_length=1, max_length=2)]
    data: bytes


class ContextValues(Struct, omit_defaults=True, frozen=True):
    """What the values of the signal depend on; a field that is left out is not known."""

    model: str = ""
    model_revision: str | None = None
    temperature: float | None = None
    top_p: float | None = None
    logprobs_mode: str | None = None
    k: int | None = None
    tokenizer: str | None = None
    chat_template: str | None = None


class ResponseValues(Struct, omit_defaults=True, kw_only=True):
    """A response, or a piece of one, without its signal.

    ``problems`` are defects of its fields, ``signal_problems`` those of its tokens: reason and count. ``embedding`` is
    the direction of that of the prompt, 64 little-endian float32.
    """

    id: str
    event_time: float
    domain: str
    context: ContextValues = ContextValues()
    slices: dict[str, str] = {}
    aliases: list[str] = []
    finish_reason: str | None = None
    n_prompt_tokens: int | None = None
    n_completion_tokens: int | None = None
    n_reasoning_tokens: int | None = None
    text: str | None = None
    embedding: bytes | None = None
    problems: Numbers = {}
    signal_problems: Numbers = {}


class ResponseFeatures(ResponseValues, tag_field="type", tag="response.features", kw_only=True):
    """A whole response with its features.

    ``features`` are little-endian float32, NaN where missing; ``opening`` are the first log-probabilities, 13
    little-endian float32. ``problem`` says why the features cannot be used.
    """

    features: bytes
    form: SignalForm
    n_tokens: Count
    coverage: Share = _COMPLETE
    problem: Literal["no_logprobs", "uninformative", "low_coverage"] | None = None
    k_may_be_less: bool = False
    opening: bytes | None = None


class ResponsePiece(ResponseValues, tag_field="type", tag="response.piece", kw_only=True):
    """A piece of a response, with the normalised arrays of its tokens."""

    sequence: int | None = None
    is_last: bool = False
    position: int | None = None
    trailer_follows: bool = False
    is_trailer: bool = False
    chosen_logprobs: Array | None = None
    top_logprobs: Array | None = None
    entropy: Array | None = None
    features: Array | None = None
    segments: Array | None = None
    censored: Array | None = None
    alternative_sums: Array | None = None
    token_ids: Array | None = None
    is_vocabulary: bool = False


class LabelValues(Struct, omit_defaults=True, tag_field="type", tag="label", kw_only=True):
    """A label, its score on the scale from 0 to 1."""

    label_id: str
    response_id: str
    event_time: float
    correct: Share | None
    annotator_kind: AnnotatorKind = "human"
    annotator_id: str = ""
    inclusion_probability: float | None = None
    supersedes: str | None = None
    source: str = ""


class Rejection(Struct, omit_defaults=True, tag_field="type", tag="rejected", kw_only=True):
    """A dead letter: the raw record, and why it could not be used."""

    reason: RejectReason
    detail: str
    key: bytes | None = None
    value: bytes | None = None
    headers: list[tuple[str, bytes]] = []


class Extracted(Struct, omit_defaults=True, tag_field="type", tag=TYPE, kw_only=True):
    """Everything that one raw record holds, in order.

    ``topic``, ``partition`` and ``offset`` are those of the raw record, ``broker_time`` is when the broker took it.
    ``features`` names the set of features. A tombstone is a raw record without a value.
    """

    version: int = VERSION
    topic: str
    partition: Partition
    offset: Offset
    broker_time: float | None = None
    is_tombstone: bool = False
    features: str = ""
    events: list[ResponseFeatures | ResponsePiece | LabelValues | Rejection] = []


class Head(Struct, tag_field="type", tag=TYPE, frozen=True):
    """The raw record that an event was made of."""

    topic: str
    partition: Partition
    offset: Offset
    is_tombstone: bool = False

    @property
    def place(self) -> TopicPartition:
        """Its topic and partition."""
        return TopicPartition(self.topic, self.partition)


T = TypeVar("T", Extracted, Head)
_FROM_MSGPACK = {kind: msgspec.msgpack.Decoder(kind) for kind in (Extracted, Head)}
_FROM_JSON = {kind: msgspec.json.Decoder(kind) for kind in (Extracted, Head)}


def is_extracted(value: bytes) -> bool:
    """Whether these are the bytes of an event of `encode`, by how they begin.

    >>> is_extracted(encode(Record("generations", 0, 7, None, None), [])), is_extracted(b'{"choices": []}')
    (True, False)
    """
    return value.startswith(_MARKS, 1)


def head_of(value: bytes) -> Head | None:
    """The raw record of an event; None for one that cannot be read.

    >>> head_of(encode(Record("generations", 2, 7, None, b"{"), []))
    Head(topic='generations', partition=2, offset=7, is_tombstone=False)
    """
    try:
        return _parsed(value, Head)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _parsed(value: bytes, kind: type[T]) -> T:
    decoder: Any = (_FROM_JSON if value[:1] == b"{" else _FROM_MSGPACK)[kind]
    parsed: T = decoder.decode(value)
    return parsed


# --- writing ---------------------------------------------------------------------------------------------------------


def encode(
    record: Record, events: Sequence[Event], spec: FeatureSpec = DEFAULT_SPEC, encoding: Encoding = "msgpack"
) -> bytes:
    """The event of a raw record.

    Parameters
    ----------
    events : what the record holds: arrivals, pieces, labels and dead letters
    spec : which features the arrivals have
    """
    made = [_values_of(event) for event in events]
    extracted = Extracted(
        topic=record.topic, partition=record.partition, offset=record.offset,
        broker_time=record.timestamp if record.timestamp > 0 else None,
        is_tombstone=record.value is None and not made,
        features=name_of_set(spec) if any(isinstance(one, ResponseFeatures) for one in made) else "",
        events=made,
    )  # fmt: skip
    return msgspec.json.encode(extracted) if encoding == "json" else msgspec.msgpack.encode(extracted)


@lru_cache(maxsize=16)
def name_of_set(spec: FeatureSpec) -> str:
    """What the features of two processes must have in common.

    >>> name_of_set(FeatureSpec("published", segments=True))
    'published/published/segments'
    """
    return "/".join([spec.set, spec.entropy, *["segments"] * spec.segments])


def without_content(value: bytes, max_bytes: int) -> bytes:
    """The event in the place of one that is too large for its topic: a dead letter that names the raw record.

    Parameters
    ----------
    value : an event of `encode`
    max_bytes : what fits the topic, for the detail
    """
    extracted = _parsed(value, Extracted)
    letter = next((event for event in extracted.events if isinstance(event, Rejection)), None)
    where = f"{len(value)} bytes do not fit the topic of features, which takes {max_bytes}: see the raw record"
    reason, detail = (letter.reason, f"{letter.detail}; {where}") if letter else ("too_large", where)
    short = Rejection(reason=reason, detail=detail, key=letter.key if letter else None)
    extracted.events, extracted.features = [short], ""
    return msgspec.msgpack.encode(extracted)


def _values_of(event: Event) -> ResponseFeatures | ResponsePiece | LabelValues | Rejection:
    if isinstance(event, Arrival):
        return ResponseFeatures(
            **_common(event.generation),
            features=_bytes(event.features),
            form=event.form,
            n_tokens=event.n_tokens,
            coverage=_COMPLETE if event.coverage == _COMPLETE else event.coverage,
            problem=event.problem,  # type: ignore[arg-type]  # one of the three
            k_may_be_less=event.k_may_be_less,
            opening=None if event.opening is None else _bytes(event.opening),
        )
    if isinstance(event, Chunk):
        signal = event.piece.signal
        arrays: dict[str, Any] = {name: _array(getattr(signal, name)) for name in _ARRAYS}
        return ResponsePiece(
            **_common(event.piece),
            **arrays,
            token_ids=_array(event.piece.token_ids),
            is_vocabulary=signal.is_vocabulary,
            **{name: getattr(event, name) for name in _MARKS_OF_PIECE},
        )
    if isinstance(event, Label):
        return LabelValues(**{name: getattr(event, name) for name in LabelValues.__struct_fields__})
    if isinstance(event, Rejected):
        return Rejection(
            reason=event.reason, detail=event.detail, key=event.key, value=event.value, headers=[*event.headers]
        )
    raise TypeError(f"a record holds no {type(event).__name__}")


_ARRAYS = ("chosen_logprobs", "top_logprobs", "entropy", "features", "segments", "censored", "alternative_sums")
_MARKS_OF_PIECE = ("sequence", "is_last", "position", "trailer_follows", "is_trailer")
_COPIED = (
    "id", "event_time", "domain", "finish_reason", "n_prompt_tokens", "n_completion_tokens", "n_reasoning_tokens",
    "text",
)  # fmt: skip


def _common(generation: Generation) -> dict[str, Any]:
    embedding = generation.embedding
    return {
        **{name: getattr(generation, name) for name in _COPIED},
        "context": _context_values(generation.context),
        "slices": dict(generation.slices),
        "aliases": [*generation.aliases],
        "embedding": None if embedding is None else _bytes(embedding),
        "problems": dict(generation.problems),
        "signal_problems": dict(generation.signal.problems),
    }


@lru_cache(maxsize=1024)
def _context_values(context: Context) -> ContextValues:
    return ContextValues(*(getattr(context, name) for name in ContextValues.__struct_fields__))


def _bytes(values: npt.NDArray[Any]) -> bytes:
    return values.astype(_FLOATS, copy=False).tobytes()


def _array(values: npt.NDArray[Any] | None) -> Array | None:
    if values is None:
        return None
    little = values.astype(values.dtype.newbyteorder("<"), copy=False)
    return Array(little.dtype.str, [*little.shape], little.tobytes())  # type: ignore[arg-type]  # checked when read


# --- reading ---------------------------------------------------------------------------------------------------------


def events_of(
    value: bytes, spec: FeatureSpec = DEFAULT_SPEC, *, keep_text: bool = True, keep_embedding: bool = True
) -> list[Event]:
    """The events of a raw record, as if it had been decoded here.

    Raises
    ------
    PayloadError, msgspec.DecodeError
        The value is no event of this version, its values contradict each other, or it has other features.
    """
    extracted = _parsed(value, Extracted)
    if extracted.version != VERSION:
        raise PayloadError("unknown_version", f"version {extracted.version}; this agent reads version {VERSION}")
    if extracted.features and extracted.features != name_of_set(spec):
        raise PayloadError(
            "other_features", f"it has features {extracted.features}, and this agent uses {name_of_set(spec)}"
        )
    origin = Origin(f"{extracted.topic}/{extracted.partition}", extracted.broker_time)
    generation = partial(_generation, origin, keep_text, keep_embedding)
    return [_event(one, extracted, spec, generation) for one in extracted.events]


def _event(
    values: ResponseFeatures | ResponsePiece | LabelValues | Rejection,
    extracted: Extracted,
    spec: FeatureSpec,
    generation: Callable[[ResponseValues, Signal], Generation],
) -> Event:
    if isinstance(values, ResponseFeatures):
        features = _floats(values.features, spec.width, "features")
        opening = None if values.opening is None else _floats(values.opening, OPENING_WIDTH, "opening")
        return Arrival(
            generation(values, features_alone(features, values.signal_problems)), features, values.form,
            values.n_tokens, values.problem, values.k_may_be_less, opening, values.coverage,
        )  # fmt: skip
    if isinstance(values, ResponsePiece):
        marks = {name: getattr(values, name) for name in _MARKS_OF_PIECE}
        return Chunk(generation(values, _signal(values)), **marks)
    if isinstance(values, LabelValues):
        given = {name: getattr(values, name) for name in LabelValues.__struct_fields__}
        checked_time(values.event_time)
        return Label(**given, topic=extracted.topic, broker_time=extracted.broker_time)
    return Rejected(
        values.reason, values.detail, extracted.topic, extracted.partition, extracted.offset,
        values.key, values.value, tuple(values.headers),
    )  # fmt: skip


def _generation(
    origin: Origin, keep_text: bool, keep_embedding: bool, values: ResponseValues, signal: Signal
) -> Generation:
    if problem := problem_of_id(values.id):
        raise PayloadError("invalid_id", problem)
    is_end = isinstance(values, ResponsePiece) and values.is_trailer  # its time is that of its record, and is not used
    embedding = values.embedding if keep_embedding else None
    token_ids = getattr(values, "token_ids", None)
    return Generation(
        id=values.id,
        event_time=values.event_time if is_end else checked_time(values.event_time),
        domain=values.domain,
        context=_context(values.context),
        signal=signal,
        slices=values.slices,
        finish_reason=values.finish_reason,
        n_prompt_tokens=values.n_prompt_tokens,
        n_completion_tokens=values.n_completion_tokens,
        n_reasoning_tokens=values.n_reasoning_tokens,
        token_ids=None if token_ids is None else _values(token_ids),
        text=values.text if keep_text else None,
        aliases=tuple(values.aliases),
        problems=values.problems,
        origin=origin,
        embedding=None if embedding is None else _floats(embedding, N_DIMENSIONS, "embedding"),
    )


@lru_cache(maxsize=1024)
def _context(values: ContextValues) -> Context:
    """One `Context` object for all responses of a context."""
    return Context(*msgspec.structs.astuple(values))


def _signal(values: ResponsePiece) -> Signal:
    arrays = {name: _values(given) for name in _ARRAYS if (given := getattr(values, name)) is not None}
    of_tokens = {name: array for name, array in arrays.items() if name != "features"}
    if len({len(array) for array in of_tokens.values()}) > 1:
        raise PayloadError("invalid_value", "the arrays of the signal have different numbers of tokens")
    wide = {"top_logprobs": None, "alternative_sums": N_SUMS}
    for name, array in arrays.items():
        if array.ndim != 1 + (name in wide) or wide.get(name) not in (None, array.shape[-1]):
            raise PayloadError("invalid_value", f"{name} has the shape {array.shape}")
    return Signal(**arrays, problems=values.signal_problems, is_vocabulary=values.is_vocabulary)


def _values(array: Array) -> npt.NDArray[Any]:
    dtype = np.dtype(array.dtype)
    if len(array.data) != dtype.itemsize * int(np.prod(array.shape, dtype=object)):
        raise PayloadError("invalid_value", "an array has other than the bytes of its shape")
    return np.frombuffer(array.data, dtype).reshape(array.shape)


def _floats(data: bytes, n: int, name: str) -> npt.NDArray[np.float32]:
    if len(data) != n * _FLOATS.itemsize:
        raise PayloadError("invalid_value", f"{name} has {len(data)} bytes instead of {n * _FLOATS.itemsize}")
    return np.frombuffer(data, _FLOATS)
