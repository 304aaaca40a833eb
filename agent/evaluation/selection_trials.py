"""Selection trials: what plans of drawing labels do to the error of estimates, with equal budgets for every domain.

Each domain in turn is estimated by a fit to all other domains, which the drawn labels never change. Every plan draws
the same number of labels. ``most_uncertain`` takes the responses whose probability is closest to one half; it has no
inclusion probabilities, so its labels have equal weights and its estimates are biased.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from driftgauge.agent.evaluation.compositions import PER_DOMAIN, Bench, Progress, read_traffic
from driftgauge.agent.evaluation.label_trials import Interval, of_estimator, outcome
from driftgauge.agent.evaluation.left_out_domains import LeftOutDomain, left_out_domains
from driftgauge.models.acquire.sampling import DEFAULT_PLAN, Plan, draw
from driftgauge.models.arrays import Float64s
from driftgauge.models.estimate.ppi import ppi_mean

PLANS: tuple[Plan, ...] = get_args(Plan)
MOST_UNCERTAIN = "most_uncertain"

Outcomes = dict[tuple[str, str, int], list[Float64s]]  # of a plan, an estimator and a number of labels


def selection(
    paths: Sequence[Path], labels: Sequence[int], repeats: int, seed: int, jobs: int, progress: Progress,
    confidence_level: float = 0.9, per_domain: int = PER_DOMAIN,
) -> dict[str, Any]:  # fmt: skip
    """Measure every plan on every file; ``labels`` are positive and at most half of the responses are drawn.

    Returns
    -------
    ``default_plan``; ``cells``: one for each file, plan, estimator and number of labels, with ``mae_ratio_to_uniform``
    (mean absolute error over that of the same estimator with uniform draws), ``coverage`` and ``mean_width``;
    ``accounts``: for each file, how many responses were used, and why the others were not.

    Raises
    ------
    ConnectorError
        When a file is not a recording with labels in two domains or more.
    """
    cells: list[dict[str, Any]] = []
    accounts: dict[str, Any] = {}
    for path in paths:
        bench = Bench(read_traffic(path, per_domain=per_domain, seed=seed), None, seed, confidence_level)
        accounts[str(path)] = bench.source.account.to_json()
        found = _trials(bench, labels, repeats, jobs, progress)
        cells += [{"file": bench.source.name, **cell} for cell in _cells(found)]
    return {"default_plan": DEFAULT_PLAN, "cells": cells, "accounts": accounts}


def _trials(bench: Bench, labels: Sequence[int], repeats: int, jobs: int, progress: Progress) -> Outcomes:
    seeds = np.random.default_rng(bench.seed)
    found: Outcomes = defaultdict(list)
    for domain in left_out_domains(bench, 2, jobs, progress):
        for n in labels:
            for trial in seeds.integers(2**32, size=repeats).tolist():
                _try_plans(found, domain, n, trial, bench.confidence_level)
    return found


def _try_plans(found: Outcomes, domain: LeftOutDomain, n: int, seed: int, level: float) -> None:
    p = domain.p
    taken = min(n, len(p) // 2)
    draws: dict[str, tuple[npt.NDArray[np.intp], Float64s]] = {
        plan: draw(plan, taken, surprisal=domain.surprisal, p_correct=p, seed=seed) for plan in PLANS
    }
    ties = np.random.default_rng(seed).random(len(p))
    closest = np.lexsort((ties, np.abs(p - 0.5)))[:taken]
    for plan, (at, probability) in {**draws, MOST_UNCERTAIN: (closest, np.ones(len(p)))}.items():
        for name, interval in _estimates(domain, at, 1 / probability, level).items():
            found[plan, name, n].append(outcome(interval, domain.truth))


def _estimates(domain: LeftOutDomain, at: npt.NDArray[np.intp], weight: Float64s, level: float) -> dict[str, Interval]:
    given, p = domain.with_labels(at, weight), domain.p
    return {
        "default": of_estimator(domain.estimator, given, level),
        "labels_alone": ppi_mean(np.zeros(len(p)), given.correct, weight, level),
        "ppi_plus_plus": ppi_mean(p, given.correct, weight, level),
    }


def _cells(found: Outcomes) -> list[dict[str, Any]]:
    means = {key: np.mean(outcomes, axis=0) for key, outcomes in found.items()}
    return [
        {
            "plan": plan,
            "estimator": estimator,
            "n_labels": n,
            "mae_ratio_to_uniform": float(error / means["uniform", estimator, n][0]),
            "coverage": float(covered),
            "mean_width": float(width),
        }
        for (plan, estimator, n), (error, covered, width) in means.items()
    ]
