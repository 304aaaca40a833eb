"""One response that is still being generated: the state of its pieces so far, and how the next piece is taken."""

from __future__ import annotations

import dataclasses
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from msgspec.structs import replace

from driftgauge.models.arrays import Float32s
from driftgauge.models.events import Chunk, Context, Generation, Signal, SignalForm
from driftgauge.models.signals.accumulator import Accumulator
from driftgauge.models.signals.feature_sets import NLL_FEATURES, TAIL_FEATURES
from driftgauge.models.signals.features import extract
from driftgauge.models.signals.fold import RunningFeatures
from driftgauge.models.signals.opening import N_TOKENS, opening
from driftgauge.models.signals.signal_counts import ObservedK, SignalCounts, count
from driftgauge.models.signals.whole import without_bare_zeros

EXACT_TOKENS = 1_024
"""Tokens up to which the features of a growing response are computed from all its tokens each time."""


@dataclass(slots=True, eq=False)
class InFlight:
    """One response that is still being generated.

    Attributes
    ----------
    head : all that the pieces so far contain besides their tokens
    accumulator : the tokens so far
    first_form : the form of the first piece that has a signal
    next_sequence : number of the next piece
    last_news : latest event time of a piece
    news_number : number of the newest piece among those of all responses; it orders responses for eviction
    has_ended : whether the last piece was taken
    counts : counts over the tokens so far
    waiting : pieces that wait for an earlier piece, by number
    width : most alternatives that a piece lists at a position
    opening : the first log-probabilities (`signals.opening`); None before the first tokens
    running : features of the complete blocks so far, for predictions while the response grows; it is not saved
    """

    head: Generation
    accumulator: Accumulator
    first_form: SignalForm
    next_sequence: int = 0
    last_news: float = 0.0
    news_number: int = 0
    has_ended: bool = False
    counts: SignalCounts = field(default_factory=SignalCounts)
    waiting: dict[int, Chunk] = field(default_factory=dict)
    width: int = 0
    opening: Float32s | None = None
    running: RunningFeatures | None = None

    def complete(self) -> Generation:
        """The response as a whole, with the tokens so far as its signal."""
        signal = replace(self.signal(), problems=self.final_counts.problems)
        return replace(self.head, signal=signal)

    def signal(self) -> Signal:
        """The tokens so far, after the rules for whole responses; empty once their profile is folded."""
        signal = self.accumulator.signal()
        if self.lists_one:
            entropy = signal.entropy if self.first_form == "vocabulary_entropy" else None
            signal = replace(signal, entropy=entropy, alternative_sums=None)
        return without_bare_zeros(signal)

    def features(self) -> Float32s:
        """Features of the tokens so far, after the rules for whole responses, (d,) float32."""
        if not self.accumulator.is_folded:
            return np.asarray(extract([self.signal()], self.accumulator.spec)[0])
        return self._without_single_alternatives(self.accumulator.features())

    def _without_single_alternatives(self, features: Float32s) -> Float32s:
        if self.lists_one:
            names, has_entropy = self.accumulator.spec.names, self.first_form == "vocabulary_entropy"
            lost = [name.endswith(TAIL_FEATURES) if has_entropy else not name.endswith(NLL_FEATURES) for name in names]
            features[lost] = np.nan
        return features

    def features_so_far(self) -> Float32s:
        """`features`, at a cost that does not grow with the response.

        Beyond `EXACT_TOKENS` tokens, quantiles are off by at most `fold.BIN_NATS`, and the rules for whole responses
        see one block of tokens at a time.
        """
        n_tokens = self.accumulator.n_tokens
        if n_tokens <= EXACT_TOKENS or self.accumulator.is_folded:
            return self.features()
        if self.running is None:
            self.running = RunningFeatures(self.accumulator.spec)
        features = self.running.of(
            n_tokens, lambda start, stop: without_bare_zeros(self.accumulator.tokens(start, stop))
        )
        return self._without_single_alternatives(features)

    @property
    def lists_one(self) -> bool:
        """Whether one alternative was asked for: it is left out then (`whole.without_single_alternatives`)."""
        return self.width == 1 and self.counts.n_logprobs + self.counts.n_censored > 0

    @property
    def form(self) -> SignalForm:
        """The form of the signal of the response."""
        return "chosen_logprobs" if self.first_form == "top_logprobs" and self.lists_one else self.first_form

    @property
    def final_counts(self) -> SignalCounts:
        """The counts of all pieces, after the rules for whole responses."""
        counts, found = self.counts, Counter(self.signal().problems)
        if self.lists_one:
            found["single_alternative"] = counts.alternatives[1]
            none = Counter({0: counts.alternatives.total()})
            counts = dataclasses.replace(counts, alternatives=none, tail_mass_sum=0.0, n_tail_mass=0)
        n_more = found["not_computed"]
        return dataclasses.replace(
            counts,
            n_logprobs=counts.n_logprobs - n_more,
            n_missing=counts.n_missing + n_more,
            problems=counts.problems + found,
        )

    @property
    def observed_k(self) -> ObservedK | None:
        """The number of alternatives that the tokens so far show; None where the pieces declare it."""
        return None if self.head.context.k is not None or self.lists_one else self.counts.observed_k

    def expected(self, chunk: Chunk) -> int:
        """The number of the next piece, counted as this chunk is: in pieces or in tokens."""
        by_tokens = chunk.sequence is None and chunk.position is not None
        return self.accumulator.n_tokens if by_tokens else self.next_sequence

    def close_gaps(self) -> None:
        """Take the waiting pieces, and count the missing ones between them as lost."""
        for number in sorted(self.waiting):
            chunk = self.waiting.pop(number)
            lost = Counter(lost_chunks=max(number - self.expected(chunk), 0))
            self.take(chunk)
            self.counts = self.counts + SignalCounts(problems=+lost)

    def take(self, chunk: Chunk) -> None:
        """Take the next piece; the caller has put it in its place."""
        piece, head = chunk.piece, self.head
        self.next_sequence += 1
        self._take_signal(chunk)
        if self.first_form == "none":
            self.first_form = piece.signal.form
        self.has_ended = self.has_ended or chunk.is_last
        self.head = replace(
            head,
            event_time=max(head.event_time, piece.event_time),
            origin=piece.origin if piece.event_time >= head.event_time else head.origin,
            context=_filled(head.context, piece.context),
            slices={**head.slices, **piece.slices},
            signal=Signal(),
            finish_reason=piece.finish_reason or head.finish_reason,
            n_prompt_tokens=latest(head.n_prompt_tokens, piece.n_prompt_tokens),
            n_completion_tokens=latest(head.n_completion_tokens, piece.n_completion_tokens),
            n_reasoning_tokens=latest(head.n_reasoning_tokens, piece.n_reasoning_tokens),
            text=_joined(head.text, chunk),
            aliases=tuple(dict.fromkeys((*head.aliases, *piece.aliases))),
            problems={**head.problems, **piece.problems},
            embedding=head.embedding if piece.embedding is None else piece.embedding,
        )

    def _take_signal(self, chunk: Chunk) -> None:
        """Take the new tokens. The counts of a piece that repeats all tokens replace the counts so far."""
        signal, n_known = chunk.piece.signal, self.accumulator.n_tokens
        known = 0 if chunk.position is None else max(n_known - chunk.position, 0)
        if not known:
            self.counts = self.counts + count(signal)
        elif signal.n_tokens > known:
            self.counts = count(signal) if known == n_known else self.counts + count(signal.after(known))
        if signal.top_logprobs is not None:
            self.width = max(self.width, signal.top_logprobs.shape[1])
        if signal.n_tokens > known:
            new = signal.after(known) if known else signal
            if n_known < N_TOKENS:
                self.opening = opening(new, self.opening, n_known)
            self.accumulator.add(new)


def _filled(known: Context, newer: Context) -> Context:
    """The known context, with its gaps filled from the newer piece."""
    if known == newer:
        return known
    names = [name for name in Context.__struct_fields__ if getattr(known, name) in (None, "")]
    return replace(known, **{name: getattr(newer, name) for name in names})


def _joined(text: str | None, chunk: Chunk) -> str | None:
    """The text with that of the next piece; a piece at position 0 repeats the text so far."""
    newer = chunk.piece.text
    if text is None or newer is None:
        return newer if text is None else text
    return max(text, newer, key=len) if chunk.position == 0 else text + newer


def latest(old: int | None, new: int | None) -> int | None:
    """The newer of two counts; the older one when there is no newer."""
    return old if new is None else new
