"""Slices that moved further than the rest are named; a change of the whole domain names none."""

from __future__ import annotations

import numpy as np
import pytest

from driftgauge.models.watch.moved_slices import moved_most

N = 600
IS_AFTER = np.arange(N) >= N // 2


def domain(seed: int) -> tuple[np.ndarray, list[dict[str, str]]]:
    rng = np.random.default_rng(seed)
    slices = [{"language": str(a), "tenant": str(b)} for a, b in rng.integers(0, 6, (N, 2))]
    return rng.exponential(2.0, N), slices


def test_a_change_of_the_whole_domain_names_no_slice() -> None:
    named = 0
    for seed in range(50):
        values, slices = domain(seed)
        named += bool(moved_most(np.asarray(values + 3.0 * IS_AFTER, dtype=np.float64), IS_AFTER, slices))
    assert named <= 2, "twelve slices of fifty domains, at four standard errors"


@pytest.mark.parametrize("seed", range(5))
def test_the_slice_that_moved_is_named(seed: int) -> None:
    values, slices = domain(seed)
    is_in = np.array([one["language"] == "3" for one in slices])
    assert moved_most(np.asarray(values + 4.0 * (IS_AFTER & is_in), dtype=np.float64), IS_AFTER, slices) == [
        "language=3"
    ]


def test_a_slice_that_is_new_is_named() -> None:
    values, slices = domain(0)
    for i in np.flatnonzero(IS_AFTER)[::4].tolist():
        slices[i]["template"], values[i] = "v2", values[i] + 5.0
    assert moved_most(values, IS_AFTER, slices)[0] == "template=v2"


def test_missing_values_and_responses_without_slices_are_left_out() -> None:
    values, _ = domain(0)
    assert moved_most(np.where(IS_AFTER, values, np.nan), IS_AFTER, [{}] * N) == []
