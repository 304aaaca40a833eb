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
from driftgauge.models.watch.ranks import N_FIRST, RunningRanks
from driftgauge.models.watch.seasons import Season

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


def test_values_are_compared_with_those_of_their_own_cell_from_the_first_night_on() -> None:
    rng, times = np.random.default_rng(1), days(4)
    is_night = times // (DAY_S / 2) % 2 == 1
    ranks = ranked(rng.lognormal(3, 0.5, 4_000) * np.where(is_night, 2, 1), times)
    for hours in (is_night, ~is_night):
        assert np.nanmean(ranks[hours]) == pytest.approx(0.5, abs=0.03)
    unlike = ranked(rng.lognormal(3, 0.5, 4_000) * np.where(is_night, 2, 1), times, RunningRanks("none"))
    assert np.nanmean(unlike[is_night]) > 0.6


@pytest.mark.parametrize(("season", "is_compared"), [("workdays", False), ("week", False), ("day", True)])
def test_weekends_are_compared_with_weekends_unless_all_days_are_alike(season: Season, is_compared: bool) -> None:
    ranks, thursday = RunningRanks(season), days(2, 900)
    ranked(np.random.default_rng(2).random(1_800), thursday, ranks)
    assert (ranks.of(9.0, 2 * DAY_S) > 0.9) == is_compared  # the first value of a Saturday


def test_after_a_change_the_first_values_set_the_scale_again() -> None:
    ranks = RunningRanks()
    ranked(np.random.default_rng(2).random(900), days(1, 900), ranks)
    assert not math.isnan(ranks.of(0.5, DAY_S))
    ranks.forget()
    assert math.isnan(ranks.of(0.5, DAY_S))


def test_a_cell_that_is_full_is_halved_and_goes_on() -> None:
    ranks = RunningRanks("none")
    found = [ranks.of(float(i % 2), 0.0) for i in range(140_000)]
    assert np.allclose(found[-2:], [0.25, 0.75], atol=0.001)


def test_constant_values_have_the_middle_rank_and_a_change_of_them_an_outer_one() -> None:
    for constant in (0.0, 3.0, -1e300):
        ranks = ranked(np.full(200, constant), days(1, 200))
        assert set(ranks[N_FIRST:].tolist()) == {0.5}
    made = RunningRanks("none")
    ranked(np.full(200, 3.0), days(1, 200), made)
    assert made.of(2.9, 0.0) < 0.01
    assert made.of(9.0, 0.0) > 0.98


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.floats(allow_nan=False, allow_infinity=False), st.floats(-1e9, 1e12)), max_size=120),
    st.sampled_from(["none", "day", "workdays", "week"]),
    st.integers(0, 120),
)
def test_no_values_break_the_ranks_and_a_restart_does_not_change_them(
    values: list[tuple[float, float]], season: Season, cut: int
) -> None:
    straight, restored = RunningRanks(season), RunningRanks(season)
    for i, (value, time) in enumerate(values):
        if i == cut:
            saved = msgspec.msgpack.encode(restored.snapshot())
            restored = RunningRanks(season).restore(msgspec.msgpack.decode(saved))
        rank = straight.of(value, time)
        assert math.isnan(rank) == (i < N_FIRST)
        assert math.isnan(rank) or 0 < rank < 1
        assert restored.of(value, time) in (rank, pytest.approx(rank, nan_ok=True))
    assert restored.snapshot() == straight.snapshot()


@pytest.mark.parametrize(("season", "limit"), [("day", 2_000), ("workdays", 3_000), ("week", 8_000)])
def test_the_state_is_bounded(season: Season, limit: int) -> None:
    ranks = RunningRanks(season)
    ranked(np.random.default_rng(3).lognormal(3, 1, 20_000), days(20, 1_000), ranks)
    assert len(msgspec.msgpack.encode(ranks.snapshot())) < limit
