"""The engine of ``driftgauge evaluate``: errors of the estimators on recorded traffic with known truth.

Owns the protocols and the numbers they report. Deterministic given the seed. An estimator never reads the labels of
the rows it estimates, except those that a protocol gives to every method alike.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np

from driftgauge.agent.core.settings import PipelineSettings
from driftgauge.agent.evaluation.alarm_trials import alarm_cells
from driftgauge.agent.evaluation.compositions import (
    PER_DOMAIN,
    Bench,
    CachedForests,
    Domains,
    Progress,
    compositions,
    in_parallel,
    read_traffic,
    row_model_means,
    unseen,
)
from driftgauge.agent.evaluation.entropy_sentinel import (
    SENTINEL_10,
    Fit,
    fit_constant,
    fit_sentinel_forest,
    fit_sentinel_regression,
)
from driftgauge.agent.evaluation.importance import importance_weighted
from driftgauge.agent.evaluation.label_shift import label_shift_bbse, label_shift_em
from driftgauge.agent.evaluation.label_trials import LabelTrials
from driftgauge.agent.evaluation.live import MAX_RUNS, live_cells
from driftgauge.agent.evaluation.responses import Predicted, outside_cells, stream_cells
from driftgauge.agent.evaluation.summaries import domain_cell, interval, scored, summary
from driftgauge.connectors.files.recordings import read_recording
from driftgauge.models.arrays import Float64s
from driftgauge.models.estimate.atc import fit_threshold
from driftgauge.models.estimate.averaged import Averaged, fit_averaged
from driftgauge.models.estimate.dispersion import label_dispersion
from driftgauge.models.signals.feature_sets import DEFAULT_SPEC, LAYOUTS, FeatureSet, FeatureSpec

Protocol: TypeAlias = Literal["compositions", "labels", "coverage", "alarms", "live", "responses"]
Cell: TypeAlias = dict[str, Any]

ROW_MODELS: Mapping[str, Fit] = {
    "es_forest_17": fit_sentinel_forest,
    "es_forest_10": partial(fit_sentinel_forest, names=SENTINEL_10),
    "es_logistic_l1": fit_sentinel_regression,
    "constant": fit_constant,
}
DEFAULT_METHOD = Averaged.name
_EMPTY = dict.fromkeys(("median_mae", "iqr", "median_mae_outside", "spearman", "coverage", "mean_width"))


def evaluate(
    paths: Sequence[Path],
    protocol: Protocol = "compositions",
    ks: Sequence[int] = (1, 2, 3, 4),
    max_compositions: int = 400,
    labels: Sequence[int] = (0, 5, 20, 50, 100),
    target: Path | None = None,
    feature_set: FeatureSet = DEFAULT_SPEC.set,
    top_k: Sequence[int | None] = (None,),
    seed: int = 0,
    jobs: int = 1,
    progress: Progress = unseen,
    confidence_level: float = 0.9,
    per_domain: int = PER_DOMAIN,
) -> dict[str, Any]:
    """Run one protocol on every file.

    Parameters
    ----------
    ks : sizes of the compositions; those larger than a file has domains are left out
    max_compositions : of each size, chosen by the seed where there are more; replays of the protocol ``live``
    labels : numbers of labels from the estimated domain, for the protocols ``labels``, ``coverage`` and ``live``
    target : a recording to estimate; None: the other domains of each file itself
    feature_set : what forests and thresholds read; the published methods read the published features
    top_k : numbers of alternatives of a token that the recordings are cut to, one after another; None: all
    confidence_level : of the intervals whose coverage and width are measured
    per_domain : labelled responses of a domain that are used, drawn by the seed where there are more

    Returns
    -------
    ``default_method``; ``feature_set``; ``confidence_level``;
    ``cells``: one for each file, cut, method, k and number of labels;
    ``responses``: how good the predictions of single responses were, see `response_cell`;
    ``estimated``: of ``compositions``, for each k and domain, what was estimated from other domains;
    ``accounts``: for each file, how many responses were used, and why the others were not.

    Raises
    ------
    ConnectorError
        When a file is not a recording with labels.
    """
    cells: list[Cell] = []
    responses: list[Cell] = []
    estimated: list[Cell] = []
    accounts: dict[str, Any] = {}
    for path, cut in itertools.product(paths, top_k):
        read = partial(read_traffic, feature_set=feature_set, top_k=cut, per_domain=per_domain, seed=seed)
        other = None if target is None else read(target)
        bench = Bench(read(path), other, seed, confidence_level)
        accounts |= {} if other is None else {str(target): other.account.to_json()}
        accounts[str(path)] = bench.source.account.to_json()
        names = bench.source.name, None if other is None else other.name
        where = dict(zip(("file", "target", "protocol", "top_k"), (*names, protocol, cut), strict=True))
        if protocol == "live":
            runs = min(max_compositions, MAX_RUNS)
            recording = read_recording(target or path).with_top_k(cut)
            domains, agent = bench.target.rows, PipelineSettings(features=FeatureSpec(feature_set))
            found = Measured(live_cells(recording, domains, labels, runs, seed, progress, agent))
        else:
            found = _measured(bench, protocol, ks, max_compositions, labels, jobs, progress)
        cells += [{**where, **_EMPTY, **cell} for cell in found.cells]
        responses += [{**where, **cell} for cell in found.responses]
        estimated += [{**where, **cell} for cell in found.estimated]
    settings = {
        "default_method": DEFAULT_METHOD,
        "feature_set": feature_set,
        "seed": seed,
        "confidence_level": confidence_level,
    }
    return {**settings, "cells": cells, "responses": responses, "estimated": estimated, "accounts": accounts}


class Measured(NamedTuple):
    """Cells of accuracies, of single responses, and of what was estimated for each domain."""

    cells: list[Cell]
    responses: Sequence[Cell] = ()
    estimated: Sequence[Cell] = ()


def _measured(
    bench: Bench, protocol: Protocol, ks: Sequence[int], limit: int, labels: Sequence[int], jobs: int,
    progress: Progress,
) -> Measured:  # fmt: skip
    match protocol:
        case "alarms":
            return Measured(alarm_cells(bench.target, bench.seed, progress))
        case "responses":
            return Measured([], stream_cells(bench, progress))
        case _:
            return _composed(bench, protocol, ks, limit, labels, jobs, progress)


def fit_on(bench: Bench, composition: Domains, forests: CachedForests) -> Averaged:
    """The default estimator, fitted on the training rows of a composition."""
    labelled = bench.labelled(composition)
    folds = [(domain,) for domain in composition] if len(composition) > 1 else []
    correct = np.concatenate([sample.correct for sample in labelled.values()])
    return fit_averaged(labelled, forests, folds, label_dispersion(correct, forests.outside(composition)))


def _composed(
    bench: Bench, protocol: Protocol, ks: Sequence[int], limit: int, labels: Sequence[int], jobs: int,
    progress: Progress,
) -> Measured:  # fmt: skip
    domains = bench.source.rows
    if protocol != "compositions":
        limit = min(limit, 60)  # draws of labels multiply every composition
    chosen = {k: compositions(domains, k, limit, bench.seed) for k in ks if 0 < k <= len(domains)}
    every = [composition for group in chosen.values() for composition in group if bench.estimated(composition)]
    parts = [tuple(d for d in c if d != left_out) for c in every if len(c) > 1 for left_out in c]
    forests = CachedForests(bench)
    forests.fit(every + parts, jobs, progress)
    if protocol == "compositions":
        outside = ((len(c), _outside(bench, c, forests)) for c in every)
        cells, estimated = _label_free(bench, every, forests, jobs, progress)
        return Measured(cells, outside_cells("forest", outside), estimated)
    trials = LabelTrials(bench, labels)
    for i, composition in enumerate(every):
        trials.run(composition, fit_on(bench, composition, forests), forests.target(composition))
        if len(composition) == 1 and bench.is_same:
            trials.run_alone(composition[0])
        progress("compositions", i + 1, len(every))
    return Measured(trials.cells())


def _outside(bench: Bench, composition: Domains, forests: CachedForests) -> Predicted:
    """Predictions of the responses of domains outside a composition."""
    rows = [at for domain, at in bench.estimated(composition).items() if domain not in composition]
    at = np.concatenate([np.empty(0, dtype=np.intp), *rows])
    return Predicted(forests.target(composition)[at].astype(np.float64), bench.target.correct[at])


def _label_free(
    bench: Bench, every: Sequence[Domains], forests: CachedForests, jobs: int, progress: Progress
) -> tuple[list[Cell], list[Cell]]:
    errors: dict[tuple[str, int], list[Cell]] = defaultdict(list)
    by_domain: dict[tuple[int, str], list[tuple[float, ...]]] = defaultdict(list)
    fitted = in_parallel(jobs, partial(_row_models_and_weighting, bench), every)
    for i, (composition, means) in enumerate(zip(every, fitted, strict=True)):
        rows = bench.estimated(composition)
        truth = np.array([bench.target.correct[at].mean() for at in rows.values()])
        outside = np.array([domain not in composition for domain in rows])
        estimates, low, high = _default(bench, composition, forests)
        for domain, *numbers in zip(rows, truth, estimates[DEFAULT_METHOD], low, high, strict=True):
            if domain not in composition:
                by_domain[len(composition), domain].append(tuple(numbers))
        unweighted = np.isnan(means["importance_weighted"])
        means["importance_weighted"][unweighted] = estimates["forest"][unweighted]
        for method, values in {**means, **_thresholds(bench, composition), **estimates}.items():
            found = scored(values, truth, outside)
            if method == DEFAULT_METHOD:
                found |= interval(low, high, truth, outside)
            errors[method, len(composition)].append(found)
        progress("compositions", i + 1, len(every))
    cells = [
        {"method": method, "k": k, "n_labels": 0, **summary(group)} for (method, k), group in sorted(errors.items())
    ]
    return cells, [domain_cell(k, domain, np.array(found)) for (k, domain), found in sorted(by_domain.items())]


def _row_models_and_weighting(bench: Bench, composition: Domains) -> dict[str, Float64s]:
    """Baselines that do not use the cached forests, name -> (domains,); NaN where importance weighting has no value."""
    means, training = row_model_means(bench, ROW_MODELS, composition), bench.training(composition)
    weighted = [
        importance_weighted(*training, bench.target.features[at]) for at in bench.estimated(composition).values()
    ]
    return {**means, "importance_weighted": np.array([w.accuracy for w in weighted], dtype=np.float64)}


def _default(
    bench: Bench, composition: Domains, forests: CachedForests
) -> tuple[dict[str, Float64s], Float64s, Float64s]:
    """Estimates of every domain by the default and its candidates, name -> (domains,), and the default's interval."""
    estimator, p = fit_on(bench, composition, forests), forests.target(composition)
    outside, (_, correct) = forests.outside(composition), bench.training(composition)
    estimates: dict[str, list[float]] = defaultdict(list)
    bounds = []
    for rows in bench.estimated(composition).values():
        sample = bench.target.sample("", rows, p[rows, None])
        estimate = estimator.estimate(replace(sample, correct=np.full(len(rows), np.nan)), bench.confidence_level)
        bounds.append((estimate.ci_low, estimate.ci_high))
        components = dict(estimate.components)
        components |= _under_label_shift(p[rows].astype(np.float64), outside, correct)
        components[DEFAULT_METHOD] = np.nan if estimate.accuracy is None else estimate.accuracy
        for name, value in components.items():
            estimates[name].append(value)
    low, high = np.array(bounds, dtype=np.float64).T
    return {name: np.array(values) for name, values in estimates.items()}, low, high


def _under_label_shift(p: Float64s, outside: Float64s, correct: Float64s) -> dict[str, float]:
    """Estimators that are right under label shift alone; the mean probability where BBSE has no value."""
    bbse = label_shift_bbse(p, outside, correct)
    return {
        "label_shift_em": label_shift_em(p, float(correct.mean())),
        "label_shift_bbse": float(p.mean()) if np.isnan(bbse) else bbse,
    }


def _thresholds(bench: Bench, composition: Domains) -> dict[str, Float64s]:
    """ATC on every feature."""
    features, correct = bench.training(composition)
    estimates = {}
    for column, name in enumerate(LAYOUTS[features.shape[1]]):
        threshold = fit_threshold(features[:, column], correct)
        if threshold is not None:
            rows = bench.estimated(composition).values()
            estimates[f"atc_{name}"] = np.array([threshold.share(bench.target.features[at, column]) for at in rows])
    return estimates
