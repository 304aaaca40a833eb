"""Events that enter the core: responses, pieces of responses, labels, and what could not be read.

Every type is a plain immutable value. Times are UTC seconds since the epoch (float); entropies are in nats;
log-probabilities are natural logarithms. *Missing* is NaN in arrays and ``None`` in scalars, never zero.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Literal, TypeAlias

from driftgauge.models.arrays import Bools, Floats, Int64s, UInt8s

AnnotatorKind: TypeAlias = Literal["human", "model", "code"]
SignalForm: TypeAlias = Literal["top_logprobs", "chosen_logprobs", "entropy", "features", "none"]

SEGMENT_UNKNOWN, SEGMENT_REASONING, SEGMENT_ANSWER = 0, 1, 2


@dataclass(frozen=True, slots=True, eq=False)
class Signal:
    """What is known about the T generated tokens of one response, after the normaliser.

    Attributes
    ----------
    chosen_logprobs : (T,) float32, NaN where missing; a censored token carries the bound (the smallest alternative)
    top_logprobs : (T, k) float32, or float16 as it came; each row sorted from the likeliest down, NaN (last) where an
        alternative is absent
    entropy : (T,) float32, nats: a profile the producer computed itself; NaN where missing
    features : (17,) float32: summaries the producer computed itself
    segments : (T,) uint8, one of ``SEGMENT_*``; None when the payload does not tell reasoning from answer
    censored : (T,) whether the token is known only to be less likely than every listed alternative; None: none is
    problems : what the normaliser noticed, reason -> count of tokens (or of entries) it concerns
    alternative_sums : (T, 2) float32, what `models.entropy.alternative_sums` gives; None: not taken yet
    """

    chosen_logprobs: Floats | None = None
    top_logprobs: Floats | None = None
    entropy: Floats | None = None
    features: Floats | None = None
    segments: UInt8s | None = None
    censored: Bools | None = None
    problems: Mapping[str, int] = field(default_factory=dict)
    alternative_sums: Floats | None = None

    @property
    def n_censored(self) -> int:
        """Tokens known only to be less likely than every listed alternative."""
        return 0 if self.censored is None else int(self.censored.sum())

    @property
    def form(self) -> SignalForm:
        """The richest form present: it decides which features can exist, so it is part of the fingerprint."""
        if self.features is not None:
            return "features"
        if self.top_logprobs is not None and self.top_logprobs.shape[1] > 0:
            return "top_logprobs"
        if self.entropy is not None:
            return "entropy"
        return "none" if self.chosen_logprobs is None else "chosen_logprobs"

    def after(self, n: int) -> Signal:
        """The same without the first n tokens (``problems`` are those of all)."""
        names = ("chosen_logprobs", "top_logprobs", "entropy", "segments", "censored", "alternative_sums")
        arrays = {name: array[n:] for name in names if (array := getattr(self, name)) is not None}
        return Signal(**arrays, features=self.features, problems=self.problems)

    @property
    def n_tokens(self) -> int:
        """Generated tokens the payload had an entry for (usable or not)."""
        for array in (self.chosen_logprobs, self.top_logprobs, self.entropy):
            if array is not None:
                return len(array)
        return 0


@dataclass(frozen=True, slots=True)
class Context:
    """What the values of a signal depend on besides the response itself.

    Entropies taken at another temperature, after other samplers or from another model are other quantities:
    estimates, windows and classifiers are keyed by `fingerprint` and never mix two of them.
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
        """12 hexadecimal digits that name this context together with the form of the signal.

        >>> cold, warm = Context(model="m", temperature=0.0), Context(model="m", temperature=1.0)
        >>> cold.fingerprint("top_logprobs") == warm.fingerprint("top_logprobs")
        False
        >>> Context(temperature=-0.0).fingerprint("none") == Context(temperature=0.0).fingerprint("none")
        True
        """
        # -0.0 is 0.0: they are equal, so a cache takes one for the other
        fields = {name: value + 0.0 if isinstance(value, float) else value for name, value in asdict(self).items()}
        canonical = repr(sorted({**fields, "form": form}.items()))
        return hashlib.blake2b(canonical.encode(), digest_size=6).hexdigest()


@dataclass(frozen=True, slots=True, eq=False)
class Generation:
    """One LLM response (or, inside a `Chunk`, a piece of one).

    ``text`` is carried only when the user asked to keep it. Token counts are ``None`` when the producer sent none.
    """

    id: str
    event_time: float
    domain: str
    context: Context
    signal: Signal
    slices: Mapping[str, str] = field(default_factory=dict)
    finish_reason: str | None = None
    n_prompt_tokens: int | None = None
    n_completion_tokens: int | None = None
    n_reasoning_tokens: int | None = None
    token_ids: Int64s | None = None
    text: str | None = None

    def with_signal(self, signal: Signal) -> Generation:
        """The same response with another signal; a quarter of the time `dataclasses.replace` takes."""
        return Generation(
            self.id, self.event_time, self.domain, self.context, signal, self.slices, self.finish_reason,
            self.n_prompt_tokens, self.n_completion_tokens, self.n_reasoning_tokens, self.token_ids, self.text,
        )  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Chunk:
    """A piece of a response that is still being generated; ``piece.signal`` holds the tokens of this piece only.

    Attributes
    ----------
    sequence : counts pieces of one response from 0; None: the producer numbers nothing, arrival order counts
    position : tokens of the response before this piece, where known; a piece that repeats all so far has 0
    is_last : the response ends with it
    trailer_follows : a trailer with the token counts is still to come
    is_trailer : no piece but news about a response that has ended, its token counts say; it never opens one
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
    correct : in [0, 1]; a bool becomes 0.0 or 1.0. None withdraws the label named by ``supersedes``
    inclusion_probability : in (0, 1], the probability with which this response was chosen for labelling; None: unknown
    supersedes : the ``label_id`` this one replaces
    """

    label_id: str
    response_id: str
    event_time: float
    correct: float | None
    annotator_kind: AnnotatorKind = "human"
    annotator_id: str = ""
    inclusion_probability: float | None = None
    supersedes: str | None = None


@dataclass(frozen=True, slots=True)
class Tick:
    """Event time is known to have reached this point although no event said so (the end of a replay)."""

    event_time: float


@dataclass(frozen=True, slots=True)
class Pause:
    """No events come for now: what waits for the next boundary is said already, under the key of that boundary."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """A record that could not become an event: why, and everything needed to look at it or try again.

    ``reason`` is one of a small set of snake_case words (it becomes a metric label); ``detail`` is for people
    and never contains payload text. ``event`` is what was given up of a record that had become an event already:
    the store keeps its encoding as the value.
    """

    reason: str
    detail: str
    topic: str = ""
    partition: int = 0
    offset: int = 0
    key: bytes | None = None
    value: bytes | None = None
    headers: tuple[tuple[str, bytes], ...] = ()
    event: Generation | Label | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Arrival:
    """A complete response with its features, (d,) float32; ``problem`` says why they cannot be used (all NaN then)."""

    generation: Generation
    features: Floats
    form: SignalForm
    n_tokens: int
    problem: str | None = None


Event: TypeAlias = Generation | Arrival | Chunk | Label | Tick | Pause | Rejected
