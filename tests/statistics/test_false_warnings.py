"""What `drift.false_warnings` promises: expected false warnings in a million responses; all seeded."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import poisson

from driftgauge.agent.core.settings import PipelineSettings
from driftgauge.models.arrays import Float64s
from driftgauge.models.watch.drift import DriftMonitor
from driftgauge.models.watch.off_centre import OffCentre

HALF_A_DAY_S = 43_200.0


def days(n_days: int, a_day: int = 1_000) -> Float64s:
    return np.linspace(0.0, n_days * 86_400.0, n_days * a_day, endpoint=False)


def lengths(rng: np.random.Generator, n: int) -> Float64s:
    return rng.lognormal(4, 1, n)


def found_at(values: Float64s, times: Float64s, false_warnings: float, season_hours: int = 24) -> list[int]:
    """After which values one of the three signals of a domain raises a warning."""
    delta = PipelineSettings(drift_false_warnings=false_warnings).drift_delta
    monitor = DriftMonitor(delta=delta, season_hours=season_hours)
    rows = enumerate(zip(values.tolist(), times.tolist(), strict=True))
    return [i for i, (value, time) in rows if monitor.update({"entropy_sum": value}, time)]


def test_stationary_lognormal_lengths_raise_hardly_any_warning() -> None:
    # watched as they are by ADWIN, 69 % of such runs had one
    rng = np.random.default_rng(0)
    assert sum(len(found_at(lengths(rng, 3_000), days(3), 1.0)) for _ in range(100)) == 0


@pytest.mark.parametrize("a_day", [30, 500])
@pytest.mark.parametrize("is_seasonal", [False, True])
def test_domains_that_do_not_change_raise_no_more_warnings_than_configured(is_seasonal: bool, a_day: int) -> None:
    rng, n_domains, n, found = np.random.default_rng(1), 50, 4_000, 0
    times = np.linspace(0.0, n * 86_400.0 / a_day, n, endpoint=False)
    harder = np.where(times // HALF_A_DAY_S % 2, 1.5, 1.0) if is_seasonal and a_day > 100 else np.ones(n)
    first_day = int(np.searchsorted(times, 1.1 * 86_400)) if is_seasonal else 0  # a first night is a change
    for _ in range(n_domains):
        found += sum(at >= first_day for at in found_at(lengths(rng, n) * harder, times, 1_000.0))
    assert found <= poisson.ppf(0.999, 1_000 / 3 * n_domains * n / 1e6)


@pytest.mark.parametrize("kind", ["even", "fair coins", "rare"])
def test_values_whose_mean_is_one_half_are_found_off_no_more_often_than_promised(kind: str) -> None:
    rng, n, run_length = np.random.default_rng(2), 200_000, 2_000
    rare = np.where(rng.random(n) < 0.02, 1.0, 0.5 - 0.01 / 0.98)
    values = {"even": rng.random(n), "fair coins": (rng.random(n) < 0.5).astype(float), "rare": rare}[kind]
    detector, found = OffCentre(run_length), 0
    for value in values.tolist():
        if detector.update(value):
            found += 1
            detector.restart()
    assert found <= poisson.ppf(0.999, n / run_length)
    assert found >= 0.4 * n / run_length  # the bound is not far from what happens, so little power is lost


def test_a_change_of_half_a_standard_deviation_is_found_within_hundreds_of_responses() -> None:
    rng, delays = np.random.default_rng(3), []
    for _ in range(20):
        values = np.concatenate([lengths(rng, 4_000), 1.65 * lengths(rng, 2_000)])
        found = found_at(values, days(6), 1.0)
        delays.append(found[0] - 4_000 if found else np.inf)
    assert min(delays) > 0
    assert np.median(delays) < 300


def test_day_and_night_are_two_warnings_at_most_and_without_a_season_one_each_time() -> None:
    rng, times = np.random.default_rng(4), days(8)
    values = lengths(rng, 8_000) * (1 + times // HALF_A_DAY_S % 2)
    assert len(found_at(values, times, 1.0)) <= 2
    assert len(found_at(values, times, 1.0, season_hours=1)) >= 8


def test_weekends_are_found_once_a_week_is_compared_with_days_and_not_when_it_is_compared_with_weeks() -> None:
    rng, times = np.random.default_rng(5), days(28)
    values = lengths(rng, 28_000) * np.where(times // 86_400 % 7 >= 5, 2.0, 1.0)
    assert all(at < 8_000 for at in found_at(values, times, 1.0, season_hours=168))
    assert len(found_at(values, times, 1.0)) >= 4
