"""Events that enter the core: responses, pieces of responses, labels, event time, and records that failed to decode.

Every type is an immutable value without behaviour. Times are UTC seconds since the epoch (float); entropies are in
nats; log-probabilities are natural logarithms. A *missing* value is NaN in arrays and ``None`` in scalars, never zero.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import msgspec
from msgspec import Struct, structs

from driftgauge.models.arrays import Bools, Float32s, Floats, Int64s, UInt8s

NO_DOMAIN = "default_domain"
"""The problem of a `Generation` that came without a domain; it has the default one."""

AnnotatorKind: TypeAlias = Literal["human", "model", "code"]
"""Who or what gave a label: a person, a judge model, or a program that verifies the answer."""

SignalForm: TypeAlias = Literal["vocabulary_entropy", "top_logprobs", "chosen_logprobs", "entropy", "features", "none"]
"""The richest part of a signal that is present; `Signal.form` has the order."""

RejectReason: TypeAlias = Literal[
    "malformed", "invalid_value", "invalid_id", "invalid_time", "no_id", "unknown_version", "other_features",
    "unknown_content_type", "unknown_format", "wrong_format", "error_response", "ambiguous_choices", "too_large",
    "too_many_tokens", "too_many_alternatives", "too_many_choices", "batch_too_large", "internal_error",
    "event_time_ahead", "too_many_in_flight", "labels_out_of_scale", "id_conflict", "incomplete_response",
    "label_conflict", "too_many_pending_labels", "unmatched_label", "label",
]  # fmt: skip
"""Why a record or an event could not be used: a small set, as it is a label of a metric. docs/events.md has them."""

SEGMENT_UNKNOWN, SEGMENT_REASONING, SEGMENT_ANSWER = 0, 1, 2
"""Values of `Signal.segments`: the part of the response that a token belongs to."""


class Signal(Struct, frozen=True, eq=False):
    """The normalised measurements of the T generated tokens of one response.

    Attributes
    ----------
    chosen_logprobs : (T,) float32, NaN where missing; a censored token has the logprob of its least likely alternative
    top_logprobs : (T, k) float32, or float16 where the producer sent float16; each row is sorted from the likeliest
        down, with NaN at its end where an alternative is absent
    entropy : (T,) float32, nats: a profile that the producer computed; NaN where missing
    features : (17,) or (22,) float32: summaries that the producer computed, a set of `models.signals.feature_sets`
    segments : (T,) uint8, one of ``SEGMENT_*``; None when the payload does not separate reasoning and answer
    censored : (T,) whether the token is known only to be less likely than every listed alternative; None: no token is
    problems : problems that the normaliser found, reason -> number of tokens (or of entries) concerned
    alternative_sums : (T, 3) float32, the result of `models.signals.entropy.alternative_sums`; None: not computed yet
    is_vocabulary : ``entropy`` is that of the distribution over the whole vocabulary. It then counts also where there
        are alternatives, which give the tail mass and the varentropy
    """

    chosen_logprobs: Floats | None = None
    top_logprobs: Floats | None = None
    entropy: Floats | None = None
    features: Floats | None = None
    segments: UInt8s | None = None
    censored: Bools | None = None
    problems: Mapping[str, int] = msgspec.field(default_factory=dict)
    alternative_sums: Floats | None = None
    is_vocabulary: bool = False

    @property
    def n_censored(self) -> int:
        """Tokens known only to be less likely than every listed alternative."""
        return 0 if self.censored is None else int(self.censored.sum())

    @property
    def form(self) -> SignalForm:
        """The richest form present. It decides which features can exist, so it is part of the fingerprint."""
        if self.features is not None:
            return "features"
        if self.is_vocabulary and self.entropy is not None:
            return "vocabulary_entropy"
        if self.top_logprobs is not None and self.top_logprobs.shape[1] > 0:
            return "top_logprobs"
        if self.entropy is not None:
            return "entropy"
        return "none" if self.chosen_logprobs is None else "chosen_logprobs"

    def after(self, n: int) -> Signal:
        """The signal without its first n tokens; ``features`` and ``problems`` stay those of all tokens."""
        names = ("chosen_logprobs", "top_logprobs", "entropy", "segments", "censored", "alternative_sums")
        arrays = {name: array[n:] for name in names if (array := getattr(self, name)) is not None}
        return Signal(**arrays, features=self.features, problems=self.problems, is_vocabulary=self.is_vocabulary)

    @property
    def n_tokens(self) -> int:
        """Generated tokens for which the payload had an entry, usable or not."""
        for array in (self.chosen_logprobs, self.top_logprobs, self.entropy):
            if array is not None:
                return len(array)
        return 0


class Context(Struct, frozen=True):
    """The conditions under which a response was generated; the values of its signal depend on them.

    Entropies of another model, at another temperature or after other samplers are different quantities. Estimates,
    windows and classifiers are therefore kept for each `fingerprint` and never mix two of them. A condition that the
    producer did not send is None, or empty for ``model``.

    Attributes
    ----------
    model, model_revision : name and revision of the model, as the producer sent them
    temperature, top_p : settings of the sampler
    logprobs_mode : whether log-probabilities were taken before or after the samplers, in the server's words
    k : alternatives of a token that were asked for, or else were usually received, without an appended chosen token
    tokenizer, chat_template : names of the tokenizer and the chat template
    """

    model: str = ""
    model_revision: str | None = None
    temperature: float | None = None
    top_p: float | None = None
    logprobs_mode: str | None = None
    k: int | None = None
    tokenizer: str | None = None
    chat_template: str | None = None

    def fingerprint(self, form: SignalForm) -> str:
        """Name this context together with the form of the signal, in 12 hexadecimal digits.

        >>> cold, warm = Context(model="m", temperature=0.0), Context(model="m", temperature=1.0)
        >>> cold.fingerprint("top_logprobs") == warm.fingerprint("top_logprobs")
        False
        >>> Context(temperature=-0.0).fingerprint("none") == Context(temperature=0.0).fingerprint("none")
        True
        """
        # -0.0 equals 0.0, so a cache confuses the two: both must have one fingerprint
        fields = {
            name: value + 0.0 if isinstance(value, float) else value for name, value in structs.asdict(self).items()
        }
        canonical = repr(sorted({**fields, "form": form}.items()))
        return hashlib.blake2b(canonical.encode(), digest_size=6).hexdigest()


class Origin(Struct, frozen=True):
    """Where an event comes from.

    Attributes
    ----------
    partition : the partition (``topic/number``) or file it was read from; empty: no connector read it
    broker_time : when the broker took the record, UTC seconds; None where no broker says so (files)
    """

    partition: str = ""
    broker_time: float | None = None


NO_ORIGIN = Origin()


class Generation(Struct, frozen=True, eq=False):
    """One response of a language model, or, inside a `Chunk`, a piece of one.

    Attributes
    ----------
    id : unique among all responses
    event_time : when the response was generated
    domain : the part of the traffic to which the response belongs
    context : the conditions under which it was generated
    signal : the measurements of its tokens
    slices : further dimensions of the response, name to value
    finish_reason : why the model stopped, in the server's words
    n_prompt_tokens, n_completion_tokens, n_reasoning_tokens : counts by the server; None when the producer sent none
    token_ids : (T,) of the generated tokens
    text : the response itself, kept only when the settings ask for it
    aliases : further ids under which a label may name the response: a batch's ``custom_id``, the record key, and such
    problems : defects of fields other than the signal, reason -> count
    embedding : (64,) float32, the direction of an embedding of the prompt (`models.topics.projection`); not stored
    """

    id: str
    event_time: float
    domain: str
    context: Context
    signal: Signal
    slices: Mapping[str, str] = msgspec.field(default_factory=dict)
    finish_reason: str | None = None
    n_prompt_tokens: int | None = None
    n_completion_tokens: int | None = None
    n_reasoning_tokens: int | None = None
    token_ids: Int64s | None = None
    text: str | None = None
    aliases: tuple[str, ...] = ()
    problems: Mapping[str, int] = msgspec.field(default_factory=dict)
    origin: Origin = NO_ORIGIN
    embedding: Float32s | None = None

    @property
    def lacks_time(self) -> bool:
        """Whether neither the response nor its record says when it was; a file has records without time."""
        return self.event_time == 0 and self.origin.broker_time is None and bool(self.origin.partition)

    def with_signal(self, signal: Signal, origin: Origin | None = None) -> Generation:
        """The same response with another signal and origin."""
        return structs.replace(self, signal=signal, origin=origin or self.origin)


class Chunk(Struct, frozen=True, eq=False):
    """A piece of a response that is still being generated.

    Attributes
    ----------
    piece : the response as far as this piece describes it; ``piece.signal`` holds the tokens of the piece alone
    sequence : number of the piece in its response, from 0; None when the producer does not number its pieces: their
        order is then that of ``position``, or else of arrival
    position : tokens of the response before this piece, where known; 0 for a piece that repeats all tokens so far
    is_last : whether the response ends with this piece
    trailer_follows : whether a trailer with the token counts is still to come
    is_trailer : whether this is a trailer: no tokens, but news about a response that has ended, such as its token
        counts. A trailer never starts a response
    """

    piece: Generation
    sequence: int | None
    is_last: bool
    position: int | None = None
    trailer_follows: bool = False
    is_trailer: bool = False


@dataclass(frozen=True, slots=True)
class Label:
    """The truth about one response, from one annotator, at one time.

    Attributes
    ----------
    label_id : names the label; a later event about the same response with the same ``label_id`` corrects it
    response_id : the id of the response, or one of its `Generation.aliases`
    event_time : when the label was given
    correct : in [0, 1]; a bool becomes 0.0 or 1.0. None withdraws the label named by ``supersedes``
    annotator_kind, annotator_id : who or what gave the label; the id is empty when unknown
    inclusion_probability : in (0, 1], the probability with which this response was chosen for labelling; None: unknown
    supersedes : the ``label_id`` of the label that this one replaces
    source : where the label comes from, as a short word: thumbs, complaint, test, judge …; empty: unknown
    topic : the topic or file that the label was read from; it takes no part in comparisons. Empty: no connector read it
    broker_time : when the broker took the record; None where no broker says so. It is neither compared nor stored
    """

    label_id: str
    response_id: str
    event_time: float
    correct: float | None
    annotator_kind: AnnotatorKind = "human"
    annotator_id: str = ""
    inclusion_probability: float | None = None
    supersedes: str | None = None
    source: str = ""
    topic: str = field(default="", compare=False)
    broker_time: float | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Tick:
    """Event time has reached this point without an event of that time: at the end of a replay, for example.

    Repeat it while past windows wait to be estimated again.
    """

    event_time: float


@dataclass(frozen=True, slots=True)
class Pause:
    """No events arrive for now: pending estimates are emitted early, under the key of the next boundary."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """A record or an event that could not be used: the reason, and all that is needed to inspect it or to try again.

    Attributes
    ----------
    reason : what was wrong
    detail : an explanation for people; it never contains payload text
    topic, partition, offset : the origin of the record
    key, value, headers : the record as it was read
    event : the event that the core refused, when decoding had succeeded; the store keeps its encoding as the value
    """

    reason: RejectReason
    detail: str
    topic: str = ""
    partition: int = 0
    offset: int = 0
    key: bytes | None = None
    value: bytes | None = None
    headers: tuple[tuple[str, bytes], ...] = ()
    event: Generation | Label | None = None

    @property
    def size_bytes(self) -> int:
        """Bytes of the key, the value and the values of the headers."""
        return len(self.value or b"") + len(self.key or b"") + sum(len(value) for _, value in self.headers)


class Arrival(Struct, frozen=True, eq=False):
    """A complete response with its features.

    Attributes
    ----------
    generation : the response
    features : (d,) float32; all NaN when there is a problem
    form : the form of its signal as it arrived
    n_tokens : generated tokens
    problem : why the features cannot be used: ``no_logprobs``, ``uninformative`` or ``low_coverage``; else None
    k_may_be_less : whether one alternative less than ``generation.context.k`` may have been asked for
        (`models.signals.signal_counts.ObservedK`)
    opening : (13,) nats, its first log-probabilities (`models.signals.opening`); None: not needed, as its prompt has no
        name
    coverage : share of the generated tokens that have a usable log-probability, in [0, 1]
    """

    generation: Generation
    features: Floats
    form: SignalForm
    n_tokens: int
    problem: str | None = None
    k_may_be_less: bool = False
    opening: Floats | None = None
    coverage: float = 1.0


Event: TypeAlias = Generation | Arrival | Chunk | Label | Tick | Pause | Rejected
