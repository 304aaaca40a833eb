"""Ranking trials: how much of the value at stake the first three domains of a data list miss.

Each domain of a recording is estimated by a fit to all the others. A trial draws the traffic of every domain, and as
many labels of each, systematically. The true value of a domain is its traffic share x (target - true accuracy). The
*regret* of a list is the true value of the three most valuable domains less that of its first three, in accuracy points
of all traffic.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from driftgauge.agent.core.settings import PipelineSettings
from driftgauge.agent.evaluation.compositions import PER_DOMAIN, Bench, Progress, read_traffic
from driftgauge.agent.evaluation.entropy_sentinel import fit_sentinel_forest
from driftgauge.agent.evaluation.left_out_domains import LeftOutDomain, left_out_domains
from driftgauge.models.acquire.ranking import TOP, Candidate, rank
from driftgauge.models.acquire.sampling import DEFAULT_PLAN, draw
from driftgauge.models.arrays import Float64s
from driftgauge.models.estimate.estimators import AccuracyEstimate
from driftgauge.models.outputs import Estimate, Priority

DATA_LIST = "data_list"
TARGET = PipelineSettings().default_target

_TRAFFIC_SIGMA = 0.5  # of the logarithm of a domain's traffic: nine in ten lie between 0.44 and 2.3 times the median
_RESPONSES = 1_000_000  # of a trial: so many that whole numbers do not matter
_BINS = np.array([0.05, 0.2, 0.4, 0.6, 0.8, 0.95])
MEASURES = ("regret", "precision_at_3", "rank_correlation")
_FLOOR = 0.01  # of shortfall and width, as version 0.1.0 had it

Stated = dict[int, list[tuple[float, bool]]]
"""By number of labels: a stated ``p_top3``, and whether the domain was among the three."""


def ranking(
    paths: Sequence[Path], labels: Sequence[int], repeats: int, seed: int, jobs: int, progress: Progress,
    confidence_level: float = 0.9, per_domain: int = PER_DOMAIN,
) -> dict[str, Any]:  # fmt: skip
    """Measure the data list and what it replaces on every file; ``labels`` are numbers of labels of each domain.

    Returns
    -------
    ``target``; ``cells``: one for each file, method and number of labels, with the means over ``repeats`` trials of
    ``regret``, ``precision_at_3`` and ``rank_correlation``, and their standard errors; ``means``: the same over all
    files, which weigh the same; ``calibration``: for each number of labels and bin of the stated ``p_top3``, how often
    the domain was among the three, over all files; ``accounts``: for each file, how many responses were used, and why
    the others were not.

    Methods: ``data_list``; ``es_forest``: the same with the accuracies of the published method, which uses no labels of
    the domain; ``labels_alone``: with the mean of the labels; ``label_priorities``: traffic x shortfall x width, the
    order of version 0.1.0; ``random``.

    Raises
    ------
    ConnectorError
        When a file is not a recording with labels in more than three domains.
    """
    cells: list[dict[str, Any]] = []
    stated: Stated = defaultdict(list)
    accounts: dict[str, Any] = {}
    for path in paths:
        bench = Bench(read_traffic(path, per_domain=per_domain, seed=seed), None, seed, confidence_level)
        accounts[str(path)] = bench.source.account.to_json()
        trials = _Trials(bench, list(left_out_domains(bench, TOP + 1, jobs, progress)), stated)
        for done, n in enumerate(labels, start=1):
            for _ in range(repeats):
                trials.run(n)
            progress("numbers of labels", done, len(labels))
        cells += [{"file": bench.source.name, **cell} for cell in trials.cells()]
    means, calibration = _over_files(cells), calibration_cells(stated)
    return {"target": TARGET, "cells": cells, "means": means, "calibration": calibration, "accounts": accounts}


class _Trials:
    """Collects the outcomes of the trials of one recording."""

    def __init__(self, bench: Bench, domains: Sequence[LeftOutDomain], stated: Stated) -> None:
        self.bench = bench
        self.domains = domains
        self.truth = np.array([domain.truth for domain in domains])
        self.published = np.array([_published(bench, domain) for domain in domains])
        self.rng = np.random.default_rng(bench.seed)
        self.found: dict[tuple[str, int], list[Float64s]] = defaultdict(list)
        self.stated = stated

    def run(self, n_labels: int) -> None:
        """Draw traffic and labels, rank by every method, and note how good the orders are."""
        traffic = np.exp(_TRAFFIC_SIGMA * self.rng.standard_normal(len(self.domains)))
        traffic = np.rint(_RESPONSES * traffic / traffic.sum())
        share = traffic / traffic.sum()
        value = share * (TARGET - self.truth)
        rows, alone = self._listed(n_labels, traffic)
        scores = {
            DATA_LIST: np.array([row.value for row in rows]),
            "es_forest": share * (TARGET - self.published),
            "labels_alone": share * (TARGET - alone),
            "label_priorities": np.array([_label_priority(row) for row in rows]),
            "random": self.rng.random(len(rows)),
        }
        for method, score in scores.items():
            if not np.isnan(score).any():
                self.found[method, n_labels].append(outcome(score, value))
        best = set(np.argsort(-value)[:TOP].tolist())
        self.stated[n_labels] += [(row.p_top3, i in best) for i, row in enumerate(rows) if row.p_top3 is not None]

    def _listed(self, n_labels: int, traffic: Float64s) -> tuple[list[Priority], Float64s]:
        """The rows of the data list in the order of the domains, and the means of the labels, NaN without labels."""
        candidates, alone = [], []
        for domain, n in zip(self.domains, traffic.astype(np.int64).tolist(), strict=True):
            seed, taken = int(self.rng.integers(2**32)), min(n_labels, len(domain.p) // 2)
            at, probability = draw(DEFAULT_PLAN, taken, surprisal=domain.surprisal, p_correct=domain.p, seed=seed)
            weight = 1 / probability if taken else np.ones(len(domain.p))
            given = domain.with_labels(at, weight)
            found = domain.estimator.estimate(given, self.bench.confidence_level)
            alone.append(np.nan if found.accuracy_labelled is None else found.accuracy_labelled)
            candidates.append(Candidate(_emitted(domain.name, found, self.bench.confidence_level), n, TARGET))
        rows = {row.domain: row for row in rank(candidates, self.bench.seed)}
        return [rows[domain.name] for domain in self.domains], np.array(alone)

    def cells(self) -> list[dict[str, Any]]:
        """One cell for each method and number of labels."""
        return [
            {"method": method, "n_labels": n, **_means(np.array(found))} for (method, n), found in self.found.items()
        ]


def outcome(score: Float64s, value: Float64s) -> Float64s:
    """(3,) regret in accuracy points, precision at 3, and rank correlation of an order by falling score.

    >>> outcome(np.array([4.0, 3.0, 1.0, 2.0]), np.array([0.4, 0.3, 0.2, 0.1])).round(2).tolist()
    [10.0, 0.67, 0.8]
    """
    first, best = np.argsort(-score, kind="stable")[:TOP], np.argsort(-value)[:TOP]
    regret = 100 * (value[best].sum() - value[first].sum())
    return np.array([regret, len({*first} & {*best}) / TOP, spearmanr(score, value).statistic], dtype=np.float64)


def calibration_cells(stated: Mapping[int, Sequence[tuple[float, bool]]]) -> list[dict[str, Any]]:
    """Stated against observed, for each number of labels and each bin of the stated probability."""
    cells = []
    for n_labels, pairs in stated.items():
        chances, were_top = np.array(pairs, dtype=np.float64).T
        bins = np.digitize(chances, _BINS)
        for i in np.unique(bins):
            inside = bins == i
            share, n = float(were_top[inside].mean()), int(inside.sum())
            means = {"stated": float(chances[inside].mean()), "observed": share, "n": n}
            cells.append({"n_labels": n_labels, **means})
    return cells


def _means(found: Float64s) -> dict[str, float | int | None]:
    error = found.std(axis=0, ddof=1) / np.sqrt(len(found)) if len(found) > 1 else np.full(len(MEASURES), np.nan)
    cell: dict[str, float | int | None] = {}
    for name, mean, standard_error in zip(MEASURES, found.mean(axis=0), error, strict=True):
        cell |= {name: _known(mean), standard_error_of(name): _known(standard_error)}
    return {**cell, "n_trials": len(found)}


def _over_files(cells: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The mean over files of each measure, for every method and number of labels."""
    groups: dict[tuple[str, int], list[Mapping[str, Any]]] = defaultdict(list)
    for cell in cells:
        groups[cell["method"], cell["n_labels"]].append(cell)
    means = []
    for (method, n), group in groups.items():
        row: dict[str, Any] = {"method": method, "n_labels": n}
        for name in MEASURES:
            values, errors = (
                [np.nan if c[key] is None else c[key] for c in group] for key in (name, standard_error_of(name))
            )
            row |= {
                name: _known(np.mean(values)),
                standard_error_of(name): _known(np.hypot.reduce(errors) / len(group)),
            }
        means.append({**row, "n_files": len(group)})
    return means


def standard_error_of(measure: str) -> str:
    """The field of a cell with the standard error of a measure."""
    return f"{measure}_standard_error"


def _known(number: Any) -> float | None:
    return None if np.isnan(number) else float(number)


def _published(bench: Bench, domain: LeftOutDomain) -> float:
    """The accuracy of a domain by the published method, fitted on the others."""
    return float(fit_sentinel_forest(*bench.training(domain.others), bench.seed)(domain.sample.features).mean())


def _label_priority(row: Priority) -> float:
    if row.ci_low is None or row.ci_high is None:
        return row.traffic_share
    return row.traffic_share * max(TARGET - row.ci_low, _FLOOR) * max(row.ci_high - row.ci_low, _FLOOR)


def _emitted(domain: str, found: AccuracyEstimate, confidence_level: float) -> Estimate:
    """The estimate as the agent emits it, for a window without a time."""
    return Estimate(
        domain=domain, fingerprint="", model="", window_start=0.0, window_end=0.0, watermark=0.0, revision=1,
        status=found.status, status_reason=found.status_reason, accuracy=found.accuracy, ci_low=found.ci_low,
        ci_high=found.ci_high, confidence_level=confidence_level, estimator=found.estimator, n_events=found.n_events,
        n_labels=found.n_labels, effective_sample_size=found.effective_sample_size,
        accuracy_labelled=found.accuracy_labelled, classifier_version=0,
    )  # fmt: skip
