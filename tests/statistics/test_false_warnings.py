"""What `drift.false_warnings` promises: expected false warnings in a horizon of event time; all seeded."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import poisson

from driftgauge.models.arrays import Float64s
from driftgauge.models.watch.allowance import Allowance
from driftgauge.models.watch.drift import DriftMonitor
from driftgauge.models.watch.mix import TrafficMix
from driftgauge.models.watch.off_centre import OffCentre
from driftgauge.models.watch.seasons import Season

HALF_A_DAY_S, MONTH_S = 43_200.0, 30 * 86_400.0


def days(n_days: int, a_day: int = 1_000) -> Float64s:
    return np.linspace(0.0, n_days * 86_400.0, n_days * a_day, endpoint=False)


def lengths(rng: np.random.Generator, n: int) -> Float64s:
    return rng.lognormal(4, 1, n)


def found_at(
    values: Float64s, times: Float64s, false_warnings: float = 1.0, horizon_s: float = MONTH_S, season: Season = "day"
) -> list[int]:
    """After which values one signal raises a warning, where one is expected so often in a horizon."""
    monitor, allowance = DriftMonitor(season=season), Allowance(false_warnings / horizon_s, horizon_s)
    rows = enumerate(zip(values.tolist(), times.tolist(), strict=True))
    return [i for i, (value, time) in rows if monitor.update({"entropy_sum": value}, time, allowance.take(time))]


def test_stationary_lognormal_lengths_raise_hardly_any_warning() -> None:
    # watched as they are by ADWIN, 69 % of such runs had one
    rng = np.random.default_rng(0)
    assert sum(len(found_at(lengths(rng, 3_000), days(3), 0.1)) for _ in range(100)) <= poisson.ppf(0.999, 1.0)


@pytest.mark.parametrize("a_day", [30, 500])
@pytest.mark.parametrize("is_seasonal", [False, True])
def test_domains_that_do_not_change_raise_no_more_warnings_than_configured(is_seasonal: bool, a_day: int) -> None:
    rng, n_domains, n, found = np.random.default_rng(1), 50, 4_000, 0
    times = np.linspace(0.0, n * 86_400.0 / a_day, n, endpoint=False)
    harder = np.where(times // HALF_A_DAY_S % 2, 1.5, 1.0) if is_seasonal else np.ones(n)
    for _ in range(n_domains):
        found += len(found_at(lengths(rng, n) * harder, times, 0.4, horizon_s=times[-1]))
    assert found <= poisson.ppf(0.999, 0.4 * n_domains)


def test_many_domains_share_the_budget_of_the_stream_in_any_proportion() -> None:
    rng, n, horizon_s, found = np.random.default_rng(6), 200_000, 200_000.0, 0
    of = rng.choice(20, size=n, p=rng.dirichlet(np.full(20, 0.3)))
    monitors, allowance = [DriftMonitor(season="none") for _ in range(20)], Allowance(20 / horizon_s, horizon_s)
    for i, (domain, value) in enumerate(zip(of.tolist(), lengths(rng, n).tolist(), strict=True)):
        found += len(monitors[domain].update({"n_tokens": value}, float(i), allowance.take(float(i))))
    assert 0 < found <= poisson.ppf(0.999, 20)


@pytest.mark.parametrize("kind", ["even", "fair coins", "rare"])
def test_values_whose_mean_is_one_half_are_found_off_no_more_often_than_promised(kind: str) -> None:
    rng, n, run_length = np.random.default_rng(2), 200_000, 2_000
    rare = np.where(rng.random(n) < 0.02, 1.0, 0.5 - 0.01 / 0.98)
    values = {"even": rng.random(n), "fair coins": (rng.random(n) < 0.5).astype(float), "rare": rare}[kind]
    detector, found = OffCentre(), 0
    for value in values.tolist():
        if detector.update(value, 1 / run_length):
            found += 1
            detector.restart()
    assert found <= poisson.ppf(0.999, n / run_length)
    assert found >= 0.4 * n / run_length  # the bound is not far from what happens, so little power is lost


def test_a_change_of_half_a_standard_deviation_is_found_within_hundreds_of_responses() -> None:
    rng, delays = np.random.default_rng(3), []
    for _ in range(20):
        values = np.concatenate([lengths(rng, 4_000), 1.65 * lengths(rng, 2_000)])
        found = found_at(values, days(6), 1 / 8)
        delays.append(found[0] - 4_000 if found else np.inf)
    assert min(delays) > 0
    assert np.median(delays) < 350


def test_day_and_night_are_no_warning_and_without_a_season_one_each_time() -> None:
    rng, times = np.random.default_rng(4), days(8)
    values = lengths(rng, 8_000) * (1 + times // HALF_A_DAY_S % 2)
    assert found_at(values, times) == []
    assert len(found_at(values, times, season="none")) >= 8


def test_weekends_are_no_warning_where_they_are_compared_with_weekends() -> None:
    rng, times = np.random.default_rng(5), days(28)
    values = lengths(rng, 28_000) * np.where((times // 86_400 + 3) % 7 >= 5, 2.0, 1.0)
    assert found_at(values, times, season="workdays") == found_at(values, times, season="week") == []
    assert len(found_at(values, times, season="day")) >= 4


def test_the_way_from_hour_to_hour_is_no_change_however_much_traffic_there_is() -> None:
    rng, times = np.random.default_rng(7), days(3, 60_000)
    values = rng.normal(size=len(times)) + 0.5 * np.sin(2 * np.pi * times / 86_400)
    assert found_at(values, times) == []


def test_a_jump_of_event_time_is_not_enough_for_a_warning() -> None:
    minutes = np.arange(400) * 60.0
    times = np.r_[minutes[:200], 400 * 86_400.0 + minutes[200:]]
    assert found_at(lengths(np.random.default_rng(8), 400), times) == []


def test_a_change_is_found_where_event_time_stands_still() -> None:
    rng = np.random.default_rng(9)
    assert found_at(np.r_[lengths(rng, 500), 9 * lengths(rng, 200)], np.zeros(700))


def test_shares_of_domains_that_do_not_change_but_by_the_hour_raise_no_more_warnings_than_expected() -> None:
    rng, found, n = np.random.default_rng(10), 0, 6_000
    for _ in range(4):
        mix, by_hour = TrafficMix("day"), rng.dirichlet(np.ones(6), size=24)
        for i in range(n):
            domain = int(rng.choice(6, p=by_hour[i * 300 // 3_600 % 24]))
            found += mix.update(str(domain), i * 300.0, 5 / n) is not None
    assert found <= poisson.ppf(0.999, 4 * 5)


def test_a_domain_that_grows_is_found_and_named() -> None:
    rng, mix = np.random.default_rng(11), TrafficMix("day")
    shares = ([0.4, 0.3, 0.2, 0.1], [0.2, 0.3, 0.2, 0.3])
    found = [
        (i, change)
        for i in range(8_000)
        if (change := mix.update("abcd"[int(rng.choice(4, p=shares[i >= 6_000]))], i * 60.0, 1e-6))
    ]
    at, change = found[0]
    assert 6_000 < at < 7_000
    assert change.moved(1) == (["d"], ["a"])
    assert abs(change.since - 6_000 * 60.0) < 6 * 3_600
