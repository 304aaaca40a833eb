"""Properties of every input: events or exactly one dead letter, and values within their bounds."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from driftgauge.connectors.base import Record
from driftgauge.connectors.decoding.decoder import Decoder
from driftgauge.models.events import Chunk, Event, Generation, Label, Rejected, Signal
from driftgauge.models.signals.feature_sets import DEFAULT_SPEC
from driftgauge.models.signals.features import extract, profiles

SLACK = 2e-3


def check(decoder: Decoder, record: Record) -> list[Event]:
    """Check a record as `check_record` does, and its features too."""
    events = check_record(decoder, record)
    check_features(signals_of(events))
    return events


def check_record(decoder: Decoder, record: Record) -> list[Event]:
    """The events of one record; raises `AssertionError` where they break a property."""
    events = decoder.decode([record])
    letters = [event for event in events if isinstance(event, Rejected)]
    assert len(letters) <= 1, f"{len(letters)} dead letters of one record"
    for letter in letters:
        place = letter.topic, letter.partition, letter.offset, letter.key, letter.value, letter.headers
        assert place == (record.topic, record.partition, record.offset, record.key, record.value, record.headers)
        assert letter.reason.isidentifier(), "a reason is a word"
    check_events(events)
    return events


def check_events(events: Sequence[Event]) -> None:
    """Every value is possible or missing."""
    pieces = (event.piece if isinstance(event, Chunk) else event for event in events)
    for generation in (piece for piece in pieces if isinstance(piece, Generation)):
        check_signal(generation.signal)
        assert math.isfinite(generation.event_time)
        assert generation.id
        for count in (generation.n_prompt_tokens, generation.n_completion_tokens, generation.n_reasoning_tokens):
            assert count is None or count >= 0
    for label in (event for event in events if isinstance(event, Label)):
        assert label.correct is None or 0 <= label.correct <= 1


def signals_of(events: Sequence[Event]) -> list[Signal]:
    """The signals of responses and of pieces."""
    pieces = (event.piece if isinstance(event, Chunk) else event for event in events)
    return [piece.signal for piece in pieces if isinstance(piece, Generation)]


def check_signal(signal: Signal) -> None:
    """Log-probabilities are at most 0 or missing; rows are sorted; entropies lie between 0 and ln k."""
    chosen, top, n = signal.chosen_logprobs, signal.top_logprobs, signal.n_tokens
    assert all(array is None or len(array) == n for array in (chosen, top, signal.entropy, signal.segments))
    assert 0 <= signal.n_censored <= n
    assert all(count > 0 for count in signal.problems.values())
    assert chosen is None or (np.isnan(chosen) | ((chosen <= 0) & np.isfinite(chosen))).all()
    if top is not None and top.size:
        assert (np.isnan(top) | ((top <= 0) & np.isfinite(top))).all()
        assert (np.isnan(top[:, 1:]) | (top[:, 1:] <= top[:, :-1])).all(), "rows are not sorted"
        assert np.nanmax(np.nansum(np.exp(top), axis=1)) <= 1 + SLACK, "a mass above one"


def check_features(signals: Sequence[Signal]) -> None:
    """Entropies are those of at most k tokens; features are finite or missing."""
    (entropy, nll, tail, variance), _ = profiles(signals)
    bound = max((math.log(signal.top_logprobs.shape[1] + 1) for signal in signals if signal.form == "top_logprobs"
                 and signal.top_logprobs is not None), default=math.inf)  # fmt: skip
    given = any(signal.entropy is not None for signal in signals)
    assert given or not (entropy > bound + SLACK).any()
    assert not (entropy < -SLACK).any()
    assert not (nll < 0).any()
    assert not ((tail < 0) | (tail > 1) | (variance < 0)).any()
    table = extract(signals)
    assert table.shape[1] == DEFAULT_SPEC.width
    assert not np.isinf(table).any()
