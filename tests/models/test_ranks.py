"""Running ranks: even where nothing changed, comparable by the hour, bounded, deterministic."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kstest

from driftgauge.models.arrays import Float64s
from driftgauge.models.watch.ranks import N_BINS, N_FIRST, RunningRanks

DAY_S = 86_400.0


def ranked(values: Float64s, times: Float64s, ranks: RunningRanks | None = None) -> Float64s:
    made = ranks or RunningRanks()
    return np.array([made.of(value, time) for value, time in zip(values.tolist(), times.tolist(), strict=True)])


def days(n_days: int, a_day: int = 1_000) -> Float64s:
    return np.linspace(0.0, n_days * DAY_S, n_days * a_day, endpoint=False)


@pytest.mark.parametrize("draw", ["lognormal", "cauchy", "uniform"])
def test_ranks_of_values_that_do_not_change_are_even_whatever_the_values_are(draw: str) -> None:
    rng = np.random.default_rng(0)
    values = {"lognormal": rng.lognormal(3, 2, 4_000), "cauchy": rng.standard_cauchy(4_000)}.get(
        draw, rng.random(4_000)
    )
    ranks = ranked(values, days(4))
    assert np.isnan(ranks[:N_FIRST]).all()
    assert kstest(ranks[500:], "uniform").statistic < 0.07  # bins make steps
    assert abs(np.corrcoef(ranks[500:-1], ranks[501:])[0, 1]) < 0.06


def test_ranks_are_those_among_values_of_the_same_hour_once_there_are_such() -> None:
    rng, times = np.random.default_rng(1), days(4)
    is_night = times // (DAY_S / 2) % 2 == 1
    ranks = ranked(rng.lognormal(3, 0.5, 4_000) * np.where(is_night, 2, 1), times)
    first, later = times < DAY_S, times >= DAY_S
    assert np.nanmean(ranks[first & is_night]) > 0.65
    assert np.nanmean(ranks[later & is_night]) == pytest.approx(0.5, abs=0.03)
    assert np.nanmean(ranks[later & ~is_night]) == pytest.approx(0.5, abs=0.03)


def test_a_change_forgets_all_hours_and_a_change_between_hours_forgets_none() -> None:
    ranks = RunningRanks()
    ranked(np.random.default_rng(2).random(900), days(1, 900), ranks)
    assert not ranks.is_like_with_like
    ranks.forget()
    assert not math.isnan(ranks.of(0.5, DAY_S))
    assert ranks.is_like_with_like
    ranks.forget()
    assert math.isnan(ranks.of(0.5, DAY_S))
    assert not RunningRanks(1).is_like_with_like


def test_constant_values_have_the_middle_rank_and_a_change_of_them_an_outer_one() -> None:
    for constant in (0.0, 3.0, -1e300):
        ranks = ranked(np.full(200, constant), days(1, 200))
        assert set(ranks[N_FIRST:].tolist()) == {0.5}
    made = RunningRanks()
    ranked(np.full(200, 3.0), days(1, 200), made)
    assert made.of(2.9, 0.0) < 0.01
    assert made.of(9.0, 0.0) > 0.98


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.floats(allow_nan=False, allow_infinity=False), st.floats(-1e9, 1e12)), max_size=120),
    st.sampled_from([1, 24, 168]),
    st.integers(0, 120),
)
def test_no_values_break_the_ranks_and_a_restart_does_not_change_them(
    values: list[tuple[float, float]], season_hours: int, cut: int
) -> None:
    straight, restored = RunningRanks(season_hours), RunningRanks(season_hours)
    for i, (value, time) in enumerate(values):
        if i == cut:
            saved = msgspec.msgpack.encode(restored.snapshot())
            restored = RunningRanks(season_hours).restore(msgspec.msgpack.decode(saved))
        rank = straight.of(value, time)
        assert math.isnan(rank) == (i < N_FIRST)
        assert math.isnan(rank) or 0 < rank < 1
        assert restored.of(value, time) in (rank, pytest.approx(rank, nan_ok=True))
    assert restored.snapshot() == straight.snapshot()


def test_the_state_is_bounded() -> None:
    for season_hours, limit in ((24, 3_000), (168, 16_000)):
        ranks = RunningRanks(season_hours)
        ranked(np.random.default_rng(3).lognormal(3, 1, 60_000), days(20, 3_000), ranks)
        assert len(msgspec.msgpack.encode(ranks.snapshot())) < limit
        assert max(len(counts) for _, counts in ranks.snapshot()[-1]) == N_BINS
