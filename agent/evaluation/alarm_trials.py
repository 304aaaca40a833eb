"""Alarm trials on labels drawn from recorded domains: false alarms, and labels until a fall is detected.

Each run checks after every label. ``restarted_e_process`` is the test that driftgauge uses; ``bonferroni`` is the exact
binomial test of all labels so far at alpha / checks; ``repeated_test`` is the same test at alpha after every label.
The target is the true accuracy, where false alarms are most likely.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from scipy.stats import binom

from driftgauge.agent.evaluation.compositions import Progress, Traffic
from driftgauge.models.arrays import Bools, Float64s
from driftgauge.models.watch.sequential import N_BETS, grown

ALPHA, CHECKS, FALL = 0.05, 10_000, 0.10
RUNS = 400
"""Runs without a fall, over all domains of a recording; a quarter as many with one."""

HEALTHY_BEFORE = (0, 500, 3_000)
"""Labels before the fall."""

_AFTER_FALL = 4_000
Alarms = Callable[[Float64s, float], Bools]


def alarm_cells(traffic: Traffic, seed: int, progress: Progress) -> list[dict[str, Any]]:
    """One cell for every method and number of healthy labels before the fall, over the domains of a recording."""
    draw = np.random.default_rng(seed)
    domains = [traffic.correct[rows] for rows in traffic.rows.values() if _is_testable(traffic.correct[rows])]
    false: dict[str, list[float]] = defaultdict(list)
    delay: dict[tuple[str, int], list[float]] = defaultdict(list)
    for i, labels in enumerate(domains):
        runs = -(-RUNS // len(domains))
        for name, first in _firsts(draw.choice(labels, (runs, CHECKS)), labels.mean()).items():
            false[name] += np.isfinite(first).tolist()
        for before in HEALTHY_BEFORE:
            stream = fallen(draw.choice(labels, (-(-runs // 4), before + _AFTER_FALL)), before, labels.mean(), draw)
            for name, first in _firsts(stream, labels.mean()).items():
                delay[name, before] += np.where(first >= before, first - before + 1, np.inf).tolist()
        progress("alarms", i + 1, len(domains))
    return [_cell(name, before, found, false[name]) for (name, before), found in delay.items()]


def fallen(labels: Float64s, start: int, accuracy: float, draw: np.random.Generator) -> Float64s:
    """(runs, labels) with the accuracy lower by `FALL` from ``start`` on: right labels turn wrong at random."""
    lost = draw.random(labels.shape) < FALL / accuracy
    lost[:, :start] = False
    return np.where(lost, 0.0, labels)


def e_process(labels: Float64s, target: float) -> Bools:
    """(runs, labels) whether the evidence suffices for an alarm."""
    wealth = np.zeros((len(labels), N_BETS))
    evidence = np.empty(labels.shape)
    for i in range(labels.shape[1]):
        wealth = grown(wealth, i + 1, labels[:, i], target)
        evidence[:, i] = wealth.mean(axis=1)
    return evidence >= 1 / ALPHA


def binomial_test(labels: Float64s, target: float, *, level: float) -> Bools:
    """(runs, labels) whether too few of the labels so far are right for the target; graded sums are rounded down."""
    n = np.arange(labels.shape[1] + 1)
    fewest = np.asarray(binom.ppf(level, n, target))
    fewest = fewest - (binom.cdf(fewest, n, target) >= level)
    return np.asarray(np.floor(np.cumsum(labels, axis=1)) <= fewest[1:])


METHODS: Mapping[str, Alarms] = {
    "restarted_e_process": e_process,
    "bonferroni": partial(binomial_test, level=ALPHA / CHECKS),
    "repeated_test": partial(binomial_test, level=ALPHA),
}


def _firsts(labels: Float64s, target: float) -> dict[str, Float64s]:
    """(runs,) index of the label that raises the first alarm, by method; infinite where there is none."""
    raised = {name: alarms(labels, target) for name, alarms in METHODS.items()}
    return {name: np.where(at.any(axis=1), at.argmax(axis=1), np.inf) for name, at in raised.items()}


def _is_testable(labels: Float64s) -> bool:
    return bool(1.5 * FALL < labels.mean() < 1)


def _cell(name: str, before: int, delays: list[float], false: list[float]) -> dict[str, Any]:
    median = float(np.median(delays))
    return {
        "method": name, "k": None, "n_labels": before, "n_compositions": None, "n_runs": len(false),
        "false_alarm_share": float(np.mean(false)),
        "median_labels_to_alarm": median if np.isfinite(median) else None,
    }  # fmt: skip
