"""One response that is still being generated: its pieces so far, and how the next piece is taken."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace

from driftgauge.models.events import Chunk, Context, Generation, Signal, SignalForm
from driftgauge.models.signals.accumulator import Accumulator
from driftgauge.models.signals.signal_counts import SignalCounts, count, usual_k


@dataclass(slots=True, eq=False)
class InFlight:
    """One response still being generated: what is known so far."""

    head: Generation
    accumulator: Accumulator
    form: SignalForm
    next_sequence: int = 0
    last_news: float = 0.0
    news_number: int = 0
    has_ended: bool = False
    counts: SignalCounts = field(default_factory=SignalCounts)
    waiting: dict[int, Chunk] = field(default_factory=dict)

    def complete(self) -> Generation:
        """The whole response; the token-level signal is the accumulator's."""
        signal = replace(self.accumulator.signal(), problems=self.counts.problems)
        return replace(self.head, signal=signal, context=self.context)

    @property
    def context(self) -> Context:
        """What the pieces say of it; k is the usual number of alternatives where they do not say it."""
        context = self.head.context
        return context if context.k is not None else replace(context, k=usual_k(self.counts.alternatives))

    def expected(self, chunk: Chunk) -> int:
        """The number of the next piece, as this chunk is numbered: by pieces or by tokens."""
        by_tokens = chunk.sequence is None and chunk.position is not None
        return self.accumulator.n_tokens if by_tokens else self.next_sequence

    def close_gaps(self) -> None:
        """Take the pieces that wait for others that were lost."""
        for number in sorted(self.waiting):
            chunk = self.waiting.pop(number)
            lost = Counter(lost_chunks=max(number - self.expected(chunk), 0))
            take(self, chunk)
            self.counts = self.counts + SignalCounts(problems=+lost)


def take(response: InFlight, chunk: Chunk) -> None:
    """Take the next piece."""
    piece, head = chunk.piece, response.head
    response.next_sequence += 1
    _take_signal(response, chunk)
    if response.form == "none":
        response.form = piece.signal.form
    response.has_ended = response.has_ended or chunk.is_last
    response.head = replace(
        head,
        event_time=max(head.event_time, piece.event_time),
        context=_filled(head.context, piece.context),
        slices={**head.slices, **piece.slices},
        signal=Signal(),
        finish_reason=piece.finish_reason or head.finish_reason,
        n_prompt_tokens=latest(head.n_prompt_tokens, piece.n_prompt_tokens),
        n_completion_tokens=latest(head.n_completion_tokens, piece.n_completion_tokens),
        n_reasoning_tokens=latest(head.n_reasoning_tokens, piece.n_reasoning_tokens),
        text=_joined(head.text, chunk),
    )


def _take_signal(response: InFlight, chunk: Chunk) -> None:
    """Take the tokens that are new; what is counted of a piece that repeats everything is counted of everything."""
    signal, n_known = chunk.piece.signal, response.accumulator.n_tokens
    known = 0 if chunk.position is None else max(n_known - chunk.position, 0)
    if not known:
        response.counts = response.counts + count(signal)
    elif signal.n_tokens > known:
        response.counts = count(signal) if known == n_known else response.counts + count(signal.after(known))
    if signal.n_tokens > known:
        response.accumulator.add(signal.after(known) if known else signal)


def _filled(known: Context, newer: Context) -> Context:
    """What is known of the context, and what only the newer piece says."""
    if known == newer:
        return known
    names = [name for name in Context.__slots__ if getattr(known, name) in (None, "")]
    return replace(known, **{name: getattr(newer, name) for name in names})


def _joined(text: str | None, chunk: Chunk) -> str | None:
    newer = chunk.piece.text
    if text is None or newer is None:
        return newer if text is None else text
    return max(text, newer, key=len) if chunk.position == 0 else text + newer


def latest(old: int | None, new: int | None) -> int | None:
    """The newer of two counts, where there is one."""
    return old if new is None else new
