"""Segment trials: how often a weak segment that was planted is found, and how often another one is listed.

A trial draws labels of every domain of a recording, and gives each response slices at random, so that every segment is
as good as its domain. Then right labels of one segment of one domain turn wrong at random. Slices have shares as in
traffic: the first value is the most frequent.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from driftgauge.agent.evaluation.compositions import PER_DOMAIN, Progress, Traffic, in_parallel, read_traffic
from driftgauge.models.arrays import Float64s
from driftgauge.models.series import SeriesKey
from driftgauge.models.slices.grouping import SlicePlan, slice_name
from driftgauge.models.slices.scan import weak_segments
from driftgauge.models.slices.segments import Segments, largest, segments_of

NAMES: Mapping[str, Sequence[float]] = {
    "language": (0.4, 0.25, 0.2, 0.15),
    "template": (0.3, 0.25, 0.2, 0.15, 0.1),
    "tenant": (0.3, 0.2, 0.15, 0.1, 0.1, 0.05, 0.05, 0.05),
}
"""Names of slices, with the share of each of their values."""

PLANTED: Mapping[str, Mapping[str, str]] = {
    "none": {},
    "0.25": {"language": "1"},
    "0.10": {"tenant": "3"},
    "0.10, pair": {"language": "0", "template": "1"},
}
"""The planted segment by its share of the domain: value by name."""

FALLS = (0.2, 0.3, 0.4)
_CONTEXT = "recorded"


class Trial(NamedTuple):
    """What is planted: accuracy that the segment loses, its values, and labels of each domain."""

    fall: float
    planted: str
    n_labels: int


class Found(NamedTuple):
    """Whether the planted segment is listed, and whether one that has nothing in common with it is."""

    planted: bool
    false: bool


def segments(
    paths: Sequence[Path], labels: Sequence[int], repeats: int, seed: int, jobs: int, progress: Progress,
    per_domain: int = PER_DOMAIN,
) -> dict[str, Any]:  # fmt: skip
    """Measure the search on every file; ``labels`` are numbers of labels of each domain, ``repeats`` of trials a cell.

    Returns
    -------
    ``false_alarms``: the promised probability of listing a segment that is as good as its domain; ``cells``: one for
    each file, number of labels, share and fall of the planted segment, with ``found_share`` and ``false_share`` of the
    trials; where nothing is planted, ten times as many trials. ``accounts``: for each file, how many responses were
    used, and why the others were not.

    Raises
    ------
    ConnectorError
        When a file is not a recording with labels.
    """
    plan = SlicePlan()
    cells: list[dict[str, Any]] = []
    accounts: dict[str, Any] = {}
    every = [
        Trial(fall, planted, n)
        for n in labels
        for planted in PLANTED
        for fall in (FALLS if planted != "none" else (0.0,))
    ]
    for path in paths:
        traffic = read_traffic(path, per_domain=per_domain, seed=seed)
        accounts[str(path)] = traffic.account.to_json()
        numbered = [(trial, i) for trial in every for i in range(repeats * (1 if trial.fall else 10))]
        results = in_parallel(jobs, partial(_run, traffic, plan, seed), numbered)
        found: dict[Trial, list[Found]] = defaultdict(list)
        for done, ((trial, _), result) in enumerate(zip(numbered, results, strict=True), start=1):
            found[trial].append(result)
            progress("trials", done, len(numbered))
        cells += [{"file": traffic.name, **_cell(trial, outcomes)} for trial, outcomes in found.items()]
    return {"false_alarms": plan.weak_false_alarms, "cells": cells, "accounts": accounts}


def _cell(trial: Trial, outcomes: Sequence[Found]) -> dict[str, Any]:
    found = float(np.mean([outcome.planted for outcome in outcomes])) if trial.fall else None
    false = float(np.mean([outcome.false for outcome in outcomes]))
    of_trial = {"labels": trial.n_labels, "share": trial.planted, "fall": trial.fall}
    return {**of_trial, "found_share": found, "false_share": false, "n_trials": len(outcomes)}


def _run(traffic: Traffic, plan: SlicePlan, seed: int, numbered: tuple[Trial, int]) -> Found:
    trial, number = numbered
    draw = np.random.default_rng(
        [seed, number, trial.n_labels, round(100 * trial.fall), [*PLANTED].index(trial.planted)]
    )
    able = [name for name, at in traffic.rows.items() if traffic.correct[at].mean() > trial.fall + 0.05]
    weak = str(draw.choice(able or list(traffic.rows)))
    groups = [_domain(traffic, name, trial, plan, draw, is_weak=name == weak) for name in traffic.rows]
    planted = PLANTED[trial.planted]
    listed = weak_segments(largest(groups), plan.weak_false_alarms, plan.weak_min_labels, number)
    names = {found.series.slice for found in listed if found.series.domain == weak}
    shared = {slice_name((name,), (value,)) for name, value in planted.items()}
    unrelated = [name for name in names if not shared & {*name.split(",")}]
    elsewhere = any(found.series.domain != weak for found in listed)
    return Found(slice_name([*planted], [*planted.values()]) in names, elsewhere or bool(unrelated))


def _domain(
    traffic: Traffic, name: str, trial: Trial, plan: SlicePlan, draw: np.random.Generator, *, is_weak: bool
) -> Segments:
    n = trial.n_labels
    correct: Float64s = draw.choice(traffic.correct[traffic.rows[name]], n)
    columns = {of: draw.choice(len(shares), n, p=shares).astype(np.str_) for of, shares in NAMES.items()}
    lost = draw.random(n) < trial.fall / traffic.correct[traffic.rows[name]].mean()
    if is_weak and trial.fall:
        for of, value in PLANTED[trial.planted].items():
            lost &= columns[of] == value
        correct = np.where(lost, 0.0, correct)
    rows = [dict(zip(columns, map(str, values), strict=True)) for values in zip(*columns.values(), strict=True)]
    return segments_of(SeriesKey(name, _CONTEXT), correct, np.ones(n), rows, plan.weak_min_labels)
