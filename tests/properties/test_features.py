"""Features follow the published formulas and do not depend on the batch, nor on the pieces in which tokens arrive."""

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import stats

from driftgauge.models.arrays import Float32s
from driftgauge.models.events import Chunk, Context, Generation, Signal
from driftgauge.models.signals.accumulator import Accumulator
from driftgauge.models.signals.entropy import CACHED_POSITIONS, alternative_sums, entropy_profile, tail_mass, varentropy
from driftgauge.models.signals.feature_sets import ENTROPY_FEATURES, LAYOUTS, FeatureSpec, in_width
from driftgauge.models.signals.features import TOKENS_AT_ONCE, extract, profiles, summarize
from driftgauge.models.signals.fold import BIN_NATS, BLOCK_TOKENS, RunningFeatures
from driftgauge.models.signals.in_flight import EXACT_TOKENS, InFlight
from tests.copying import replace

Array = npt.NDArray[Any]
N_ENTROPY = len(ENTROPY_FEATURES)
LONG = (CACHED_POSITIONS - 1, CACHED_POSITIONS, CACHED_POSITIONS + 1)
SPECS = (FeatureSpec(), FeatureSpec("published"), FeatureSpec(segments=True), FeatureSpec("published", segments=True))
NAMES = FeatureSpec().names
KINDS = ("top_logprobs", "chosen_logprobs", "entropy", "features", "none")


def logprobs(rng: np.random.Generator, length: int, k: int, holes: float) -> Float32s:
    """Sorted rows of natural logs, some certain, some with absent alternatives (the last ones), some with none."""
    p = np.sort(rng.dirichlet(np.full(k + 1, 0.3), size=length)[:, :k])[:, ::-1]
    p[rng.random(length) < 0.1] = np.eye(1, k)
    with np.errstate(divide="ignore"):
        rows = np.log(p).astype(np.float32)
    absent = np.where(rng.random(length) < holes, rng.integers(0, k + 1, length), k)
    rows[np.arange(k) >= absent[:, None]] = np.nan
    return rows


def make_signal(rng: np.random.Generator, length: int, kind: str, k: int, holes: float) -> Signal:
    rows = logprobs(rng, length, k, holes)
    chosen = np.where(rng.random(length) < holes, np.nan, np.nan_to_num(rows[:, 0], nan=-3.0, neginf=-20.0))
    segments = rng.integers(0, 3, length).astype(np.uint8)
    if kind == "none":
        return Signal()
    if kind == "features":
        return Signal(features=rng.random(rng.choice([17, 22])).astype(np.float32))
    made = Signal(chosen_logprobs=chosen.astype(np.float32), segments=segments)
    if kind == "top_logprobs":
        rows = rows.astype(np.float16) if rng.random() < 0.3 else rows
        return replace(made, top_logprobs=rows, alternative_sums=alternative_sums(rows) if rng.random() < 0.3 else None)
    return replace(made, entropy=entropy_profile(rows)) if kind == "entropy" else made


@st.composite
def some_signal(draw: st.DrawFn, kinds: tuple[str, ...] = KINDS, longest: int = 60) -> Signal:
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    length = draw(st.integers(0, longest) | st.sampled_from(LONG))
    holes = draw(st.sampled_from([0.0, 0.3, 1.0]))
    return make_signal(rng, length, draw(st.sampled_from(kinds)), draw(st.integers(1, 20)), holes)


def naive_entropy(rows: Array) -> Array:
    """The published formula, position by position."""
    values = [row[np.isfinite(row)].astype(np.float64) for row in rows]
    return np.array([-(np.exp(v) * v).sum() if len(v) else np.nan for v in values])


def naive_varentropy(rows: Array) -> Array:
    """The definition, position by position: the variance of -ln p, where p are weights."""
    values = [row[np.isfinite(row)].astype(np.float64) for row in rows]
    return np.array([_variance(v, np.exp(v)) if len(v) else np.nan for v in values])


def _variance(values: Array, weights: Array) -> float:
    mean = np.average(values, weights=weights)
    return float(np.average((values - mean) ** 2, weights=weights))


def naive_summaries(*profile: Array) -> Array:
    """The formulas, written for one response, with numpy's and scipy's own functions."""
    h, nll, tail, variance = (x[np.isfinite(x)].astype(np.float64) for x in profile)
    result = np.full(22, np.nan)
    if len(h):
        std = np.std(h, ddof=1) if len(h) > 1 else 0.0
        result[:3] = h.mean(), std, h.max()
        result[3:8] = np.quantile(h, [0.1, 0.25, 0.5, 0.75, 0.9])
        result[8] = stats.moment(h, 3) / (std**3 + 1e-8)
        result[9] = stats.moment(h, 4) / (std**4 + 1e-8)
        result[10] = h.sum()
    if len(nll):
        weighted = nll * np.log(nll + 1e-8)
        result[11:17] = nll.mean(), nll.max(), nll.sum(), weighted.sum(), weighted.max(), np.exp(nll.mean())
    if len(tail):
        result[17:19] = tail.mean(), tail.max()
    if len(variance):
        result[19:] = variance.mean(), variance.max(), variance.sum()
    return result


@given(st.integers(0, 2**32), st.integers(0, 40), st.integers(1, 20))
def test_the_entropy_profile_follows_the_published_formula(seed: int, length: int, k: int) -> None:
    rows = logprobs(np.random.default_rng(seed), length, k, holes=0.2)
    np.testing.assert_allclose(entropy_profile(rows), naive_entropy(rows), rtol=1e-5, atol=1e-6)


@given(st.integers(0, 2**32), st.integers(0, 40), st.integers(1, 20))
def test_float16_has_the_entropy_of_the_same_numbers_in_float32(seed: int, length: int, k: int) -> None:
    rows = logprobs(np.random.default_rng(seed), length, k, holes=0.2).astype(np.float16)
    np.testing.assert_allclose(entropy_profile(rows), entropy_profile(rows.astype(np.float32)), rtol=1e-6, atol=1e-6)


@example(7607821, 14, 1)
@given(st.integers(0, 2**32), st.integers(0, 40), st.integers(1, 20))
def test_the_varentropy_is_the_variance_of_the_surprisal_of_the_listed_tokens(seed: int, length: int, k: int) -> None:
    rows = logprobs(np.random.default_rng(seed), length, k, holes=0.2)
    for given_ in (rows, rows.astype(np.float16)):
        found = varentropy(alternative_sums(given_))
        largest = np.max(np.square(rows[np.isfinite(rows)]), initial=0.0)
        rounding = 1e-6 * max(100.0, float(largest))  # of the squares, whose difference it is
        np.testing.assert_allclose(found, naive_varentropy(given_), rtol=1e-4, atol=rounding)
        assert not (found < 0).any()


@given(st.integers(0, 2**32), st.integers(2, 20))
def test_each_variant_of_the_entropy_treats_the_tail_by_its_definition(seed: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    p = np.sort(rng.dirichlet(np.ones(k + 1), size=8))[:, ::-1]
    rows = np.log(p[:, :-1])
    np.testing.assert_allclose(tail_mass(alternative_sums(rows)), p[:, -1], atol=1e-6)
    np.testing.assert_allclose(entropy_profile(rows, "lower_bound"), stats.entropy(p, axis=1), atol=1e-4)
    np.testing.assert_allclose(entropy_profile(rows, "renormalised"), stats.entropy(p[:, :-1], axis=1), atol=1e-4)


@given(st.lists(some_signal(kinds=("top_logprobs", "chosen_logprobs", "entropy", "none")), max_size=5))
def test_the_summaries_follow_their_formulas(signals: list[Signal]) -> None:
    profile, offsets = profiles(signals)
    whole = summarize(profile, offsets)
    for row, start, stop in zip(whole, offsets[:-1], offsets[1:], strict=True):
        naive = naive_summaries(*(column[start:stop] for column in profile))
        np.testing.assert_allclose(row, naive, rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(summarize(profile, offsets, "published"), whole[:, :17])


@settings(deadline=None)
@given(st.lists(some_signal(), max_size=8), st.sampled_from(SPECS))
def test_a_response_has_the_same_features_in_any_batch(signals: list[Signal], spec: FeatureSpec) -> None:
    together, in_double = extract(signals, spec), summarize(*profiles(signals))
    assert together.shape == (len(signals), spec.width)
    for i, signal in enumerate(signals):
        assert extract([signal], spec).tobytes() == together[i].tobytes()
        assert summarize(*profiles([signal])).tobytes() == in_double[i].tobytes()


def test_a_response_has_the_same_features_among_many_long_ones() -> None:
    rng, lengths = np.random.default_rng(0), (TOKENS_AT_ONCE + 1, TOKENS_AT_ONCE // 2, TOKENS_AT_ONCE // 2, 0, 9)
    signals = [Signal(chosen_logprobs=-rng.exponential(size=n).astype(np.float32)) for n in lengths]
    np.testing.assert_array_equal(extract(signals), np.concatenate([extract([signal]) for signal in signals]))


@settings(deadline=None)
@given(some_signal(kinds=("top_logprobs", "chosen_logprobs", "entropy")), st.lists(st.integers(0, 60), max_size=6))
def test_a_response_in_pieces_has_the_features_of_the_whole_response(signal: Signal, cuts: list[int]) -> None:
    for spec in SPECS:
        pieces = Accumulator(spec)
        for part in cut(signal, cuts):
            pieces = Accumulator(spec).restore(pieces.snapshot())
            pieces.add(part)
        assert pieces.n_tokens == signal.n_tokens
        np.testing.assert_array_equal(pieces.features(), extract([signal], spec)[0])


def cut(signal: Signal, cuts: list[int]) -> list[Signal]:
    edges = sorted({0, *(c for c in cuts if c < signal.n_tokens), signal.n_tokens})
    return [piece(signal, slice(*edge)) for edge in itertools.pairwise(edges)]


def piece(signal: Signal, tokens: slice) -> Signal:
    return Signal(
        chosen_logprobs=None if signal.chosen_logprobs is None else signal.chosen_logprobs[tokens],
        top_logprobs=None if signal.top_logprobs is None else signal.top_logprobs[tokens],
        entropy=None if signal.entropy is None else signal.entropy[tokens],
        alternative_sums=None if signal.alternative_sums is None else signal.alternative_sums[tokens],
        segments=None if signal.segments is None else signal.segments[tokens],
    )


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.integers(101, 3_000), st.integers(1, 700))
def test_a_folded_response_stays_within_the_stated_error(seed: int, length: int, step: int) -> None:
    rng = np.random.default_rng(seed)
    levels = rng.choice([0.0, 0.01, 1.0, 2.9], size=length)  # gaps: interpolation between far order statistics
    h = (levels + rng.random(length) * 0.1).astype(np.float32)
    sums = alternative_sums(logprobs(rng, length, 5, holes=0.2))
    whole = Signal(chosen_logprobs=-rng.exponential(1.0, length).astype(np.float32), entropy=h, alternative_sums=sums)
    spec = FeatureSpec(segments=True)
    folded = Accumulator(spec, max_exact_tokens=100)
    for part in cut(whole, list(range(step, length, step))):
        folded = Accumulator(spec, max_exact_tokens=100).restore(folded.snapshot())
        folded.add(part)
    assert folded.signal().n_tokens == 0
    assert sum(len(part) for part in folded.snapshot()["fold"]) < 66_000
    features = folded.features()
    error = np.abs(features[: len(NAMES)].astype(np.float64) - extract([whole])[0])
    quantiles = slice(NAMES.index("entropy_q10"), NAMES.index("entropy_q90") + 1)
    assert (error[quantiles] <= BIN_NATS).all()
    exact = np.delete(error / np.maximum(1, np.abs(extract([whole])[0])), np.arange(len(NAMES))[quantiles])
    assert (exact < 1e-6).all()
    assert np.isnan(features[len(NAMES) :]).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 2_000), st.integers(1, 700))
def test_running_features_depend_on_the_tokens_alone_and_stay_within_the_stated_error(
    seed: int, length: int, step: int
) -> None:
    rng = np.random.default_rng(seed)
    h = rng.choice([0.0, 0.01, 1.0, 2.9, np.nan], size=length).astype(np.float32)
    parts = rng.integers(0, 3, length).astype(np.uint8)
    whole = Signal(
        -rng.exponential(1.0, length).astype(np.float32), entropy=h, segments=parts,
        alternative_sums=alternative_sums(logprobs(rng, length, 5, holes=0.2)),
    )  # fmt: skip

    def read(start: int, stop: int) -> Signal:
        return piece(whole, slice(start, stop))

    spec = FeatureSpec(segments=True)
    running = RunningFeatures(spec)
    for n_tokens in range(step, length, step):
        running.of(n_tokens, read)
    features = running.of(length, read)
    np.testing.assert_array_equal(features, RunningFeatures(spec).of(length, read))
    exact = extract([whole], spec)[0]
    np.testing.assert_array_equal(np.isnan(features), np.isnan(exact))
    error = np.nan_to_num(np.abs(features.astype(np.float64) - exact)).reshape(3, -1)
    quantiles = slice(NAMES.index("entropy_q10"), NAMES.index("entropy_q90") + 1)
    assert (error[:, quantiles] <= BIN_NATS).all()
    relative = error / np.maximum(1, np.abs(np.nan_to_num(exact).reshape(3, -1)))
    assert (np.delete(relative, np.arange(len(NAMES))[quantiles], axis=1) < 2e-6).all()


class CountingAccumulator(Accumulator):
    """Counts the tokens that are read back from it."""

    n_read = 0

    def tokens(self, start: int, stop: int) -> Signal:
        self.n_read += stop - start
        return super().tokens(start, stop)


def test_the_features_of_a_growing_response_cost_the_same_for_every_piece() -> None:
    accumulator = CountingAccumulator()
    head = Generation("r", 0.0, "law", Context(), Signal())
    response, dearest = InFlight(head, accumulator, "chosen_logprobs"), 0
    for i in range(4 * EXACT_TOKENS):
        before = accumulator.n_read
        response.take(Chunk(head.with_signal(Signal(np.array([-0.5], np.float32))), i, is_last=False))
        assert np.isfinite(response.features_so_far()[NAMES.index("nll_sum")])
        dearest = max(dearest, accumulator.n_read - before)
    assert dearest <= EXACT_TOKENS + BLOCK_TOKENS


def test_a_response_without_tokens_has_no_features() -> None:
    nothing = [Signal(), Signal(chosen_logprobs=np.empty(0), top_logprobs=np.empty((0, 5)))]
    assert np.isnan(extract(nothing, FeatureSpec(segments=True))).all()
    assert extract([]).shape == (0, 22)
    assert np.isnan(Accumulator().features()).all()


def test_the_features_of_one_token_show_no_spread() -> None:
    one = extract([Signal(chosen_logprobs=np.log([0.5]), top_logprobs=np.log([[0.5, 0.5]]))])[0]
    named = dict(zip(NAMES, one, strict=True))
    assert (named["entropy_std"], named["entropy_skewness"], named["entropy_kurtosis"]) == (0, 0, 0)
    assert named["entropy_q10"] == named["entropy_max"] == np.float32(np.log(2))


def test_missing_tokens_are_left_out_and_not_counted_as_zero() -> None:
    h, chosen = np.array([0.5, np.nan, 1.5]), np.array([-1.0, np.nan, -2.0])
    with_holes = extract([Signal(entropy=h, chosen_logprobs=chosen)])
    without = extract([Signal(entropy=h[[0, 2]], chosen_logprobs=chosen[[0, 2]])])
    np.testing.assert_array_equal(with_holes, without)


@pytest.mark.parametrize("absent", [np.nan, -np.inf])
def test_an_absent_alternative_adds_nothing(absent: float) -> None:
    padded = np.array([[-0.1, -2.5, absent], [absent, absent, absent]])
    np.testing.assert_array_equal(entropy_profile(padded[:1]), entropy_profile(padded[:1, :2]))
    assert np.isnan(entropy_profile(padded)[1])
    assert np.isnan(entropy_profile(np.empty((2, 0)))).all()


def test_an_impossible_token_is_missing_not_infinite() -> None:
    features = extract([Signal(chosen_logprobs=np.array([-1.0, -np.inf]))])[0]
    np.testing.assert_array_equal(features, extract([Signal(chosen_logprobs=np.array([-1.0]))])[0])


def test_a_logprob_rounded_above_zero_is_a_certain_token() -> None:
    certain = extract([Signal(chosen_logprobs=np.array([0.0]))])
    assert extract([Signal(chosen_logprobs=np.array([1e-6]))]).tobytes() == certain.tobytes()
    assert extract([Signal(chosen_logprobs=np.array([-0.0]))]).tobytes() == certain.tobytes()


def test_the_perplexity_of_an_absurd_response_stays_finite() -> None:
    features = extract([Signal(chosen_logprobs=np.array([-5_000.0]))])
    assert np.isfinite(features[0, N_ENTROPY:17]).all()


def test_features_the_producer_computed_are_taken_as_they_are() -> None:
    for width, spec in itertools.product((17, 22), SPECS):
        given_ = np.arange(width, dtype=np.float32)
        found, whole = extract([Signal(features=given_)], spec)[0], len(FeatureSpec(spec.set).names)
        shared = min(width, whole)
        np.testing.assert_array_equal(found[:shared], given_[:shared])
        assert np.isnan(found[shared:whole]).all()


def test_rows_of_one_set_become_rows_of_another_by_the_names_of_their_columns() -> None:
    for width, other in itertools.product(LAYOUTS, LAYOUTS):
        row = np.arange(width, dtype=np.float32)
        known = dict(zip(LAYOUTS[width], row.tolist(), strict=True))
        expected = [known.get(name, np.nan) for name in LAYOUTS[other]]
        np.testing.assert_array_equal(in_width(row[None], other)[0], expected)
    with pytest.raises(ValueError, match="5 features cannot be read as 22: 5 is none of 17, 51, 22, 66"):
        in_width(np.zeros((1, 5), np.float32), 22)


def test_extracting_features_does_not_change_the_signals() -> None:
    rows = logprobs(np.random.default_rng(0), 50, 20, holes=0.3)
    before = rows.copy()
    extract([Signal(chosen_logprobs=rows[:, 0], top_logprobs=rows)])
    np.testing.assert_array_equal(rows, before)
