"""Normalising signals together gives what the rules give for each signal alone."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from driftgauge.connectors.decoding.normalise import normalise
from driftgauge.connectors.decoding.rules import apply_rules
from driftgauge.models.arrays import Float32s
from driftgauge.models.events import Signal
from driftgauge.models.signals.entropy import CACHED_POSITIONS
from tests.copying import replace

ODD = (np.nan, -np.inf, -9999.0, -3.4e38, 0.0, 1e-4, 0.5, 7.0, -0.0, -1e-7)


def usual_rows(rng: np.random.Generator, length: int, k: int) -> Float32s:
    p = np.sort(rng.dirichlet(np.full(k + 1, 0.3), size=length)[:, :k])[:, ::-1]
    return np.log(np.maximum(p, 1e-7)).astype(np.float32)


def spoil(rng: np.random.Generator, chosen: Float32s, rows: Float32s) -> None:
    """Give one position placeholder values, another order, a repetition, or an almost certain token."""
    i, what = rng.integers(len(chosen)), rng.integers(6)
    odd, k = rng.choice(ODD), rows.shape[1]
    chosen[i] = rng.choice([chosen[i], 0.0, odd, -rng.exponential()])
    if k and what == 0:
        rows[i] = rows[i - 1]
    elif k and what == 1:
        rows[i] = rng.permutation(rows[i])
    elif k and what == 2:
        rows[i, rng.random(k) < 0.3] = odd
    elif k and what == 3:
        rows[i, -1] = odd
    elif k:
        rows[i] = [rng.choice([0.0, 1e-4, -5e-4]), *np.full(k - 1, -60.0)]
        rows[i, rng.integers(k)] = rng.choice([np.nan, -60.0]) if what == 4 else odd


@st.composite
def some_raw_signal(draw: st.DrawFn) -> Signal:
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    length = draw(st.integers(0, 30) | st.sampled_from([CACHED_POSITIONS // 2, CACHED_POSITIONS + 1]))
    k = draw(st.sampled_from([0, 1, 2, 3, 5]))
    rows = usual_rows(rng, length, k)
    chosen = rows[np.arange(length), rng.integers(0, max(k, 1), length)] if k else -rng.random(length)
    n_odd = draw(st.sampled_from([0, 0, 1, 1, 2]))
    dtype = draw(st.sampled_from([np.float32, np.float16]))
    chosen = chosen.astype(np.float32)
    for _ in range(n_odd if length else 0):
        spoil(rng, chosen, rows)
    with np.errstate(over="ignore"):
        whole = Signal(chosen.astype(dtype).astype(np.float32), rows.astype(dtype))
    parts = [replace(whole, chosen_logprobs=None), replace(whole, top_logprobs=None), whole, whole, whole]
    return draw(st.sampled_from(parts))


@settings(deadline=None, max_examples=600)
@given(st.lists(some_raw_signal(), max_size=6))
def test_signals_normalised_together_equal_those_normalised_alone(signals: list[Signal]) -> None:
    for together, raw in zip(normalise(signals), signals, strict=True):
        alone = apply_rules(raw)
        assert together.problems == alone.problems
        for name in ("chosen_logprobs", "top_logprobs", "censored", "alternative_sums"):
            np.testing.assert_array_equal(getattr(together, name), getattr(alone, name), name)


@settings(deadline=None)
@given(some_raw_signal(), st.integers(0, 30))
def test_pieces_of_a_signal_are_normalised_as_the_whole(signal: Signal, n: int) -> None:
    whole, parts = apply_rules(signal), normalise([piece(signal, slice(n)), signal.after(n)])
    for name in ("chosen_logprobs", "alternative_sums"):
        found = [getattr(part, name) for part in parts if getattr(part, name) is not None]
        expected = getattr(whole, name)
        np.testing.assert_array_equal(np.concatenate(found) if found else None, expected, name)


def piece(signal: Signal, tokens: slice) -> Signal:
    chosen, top = signal.chosen_logprobs, signal.top_logprobs
    return Signal(None if chosen is None else chosen[tokens], None if top is None else top[tokens])


def test_a_missing_alternative_behind_a_certain_token_is_handled_in_float16() -> None:
    rows = np.array([[0.0, np.nan, -60.0]], dtype=np.float16)
    (found,) = normalise([Signal(np.zeros(1, dtype=np.float32), rows)])
    assert found.top_logprobs is not None
    np.testing.assert_array_equal(found.top_logprobs, [[0.0, -60.0, np.nan]])
