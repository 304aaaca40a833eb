"""How good the predictions of single responses are: errors, ranking, calibration, and what a threshold on them keeps.

Predictions are those of a protocol: before the label was learned (``responses``), or from other domains
(``compositions``). No prediction is made by a classifier that learned the label.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np

from driftgauge.agent.evaluation.compositions import Bench, Progress, Traffic
from driftgauge.agent.evaluation.fit import prequential
from driftgauge.models.arrays import Float64s
from driftgauge.models.classify.prequential import Tally
from driftgauge.models.classify.reliability import reliability_bins
from driftgauge.models.classify.risk_coverage import risk_coverage
from driftgauge.models.learn.committee import Committee, CommitteeSettings
from driftgauge.models.rows import Rows

CURVE_POINTS = 100


class Predicted(NamedTuple):
    """Predictions with their labels, (n,) each; p is not NaN."""

    p: Float64s
    correct: Float64s


def response_cell(method: str, k: int | None, domain: str | None, found: Sequence[Predicted]) -> dict[str, Any]:
    """The numbers of one set of predictions; ``domain`` None: of all domains together.

    ``aurc`` is the area of the risk-coverage curve, ``aurc_best`` that of the best order; ``kept_accuracy`` has the
    accuracy when 1 %, 2 % … 100 % of the responses are kept, ``reliability`` the predictions against the labels.
    """
    p, correct = (np.concatenate(column) for column in zip(*found, strict=True))
    tally = Tally()
    for one, label in zip(p.tolist(), correct.tolist(), strict=True):
        tally.add(one, label)
    metric, curve = asdict(tally.metric(method, domain)), risk_coverage(p, correct)
    return {
        "method": metric.pop("classifier"),
        "k": k,
        **metric,
        "accuracy": float(correct.mean()),
        "aurc": curve.area,
        "aurc_best": curve.best_area,
        "kept_accuracy": [curve.at(i / CURVE_POINTS) for i in range(1, CURVE_POINTS + 1)],
        "reliability": [asdict(found) for found in reliability_bins(p.tolist(), correct.tolist())],
    }


def outside_cells(method: str, found: Iterable[tuple[int, Predicted]]) -> list[dict[str, Any]]:
    """One cell for each k: predictions of domains outside their compositions, all compositions of a k together."""
    by_k: dict[int, list[Predicted]] = {}
    for k, predicted in found:
        if len(predicted.p):
            by_k.setdefault(k, []).append(predicted)
    return [response_cell(method, k, None, group) for k, group in sorted(by_k.items())]


def stream_cells(bench: Bench, progress: Progress) -> list[dict[str, Any]]:
    """Predict each response before its label is learned, in a shuffled order; a cell for all domains, and for each.

    The classifiers have the default settings. With another target, its responses follow those of the source, and only
    they count.
    """
    settings = CommitteeSettings(gate_auroc=0.0)  # the gate stops estimates, not predictions
    rows = in_a_stream([bench.source] if bench.is_same else [bench.source, bench.target], bench.seed)
    done = 0

    def advance(more: int) -> None:
        nonlocal done
        done += more
        progress("responses", done, len(rows))

    p = prequential(Committee(settings), rows, with_domain_offsets=True, advance=advance)
    n_counted = sum(map(len, bench.target.rows.values()))
    counted = ~np.isnan(p) & (np.arange(len(p)) >= len(p) - n_counted)
    domains: list[str | None] = [None, *sorted(bench.target.rows)]
    cells = []
    for domain in domains:
        at = counted if domain is None else counted & (rows.domain == domain)
        if at.any():
            cells.append(response_cell(settings.champion, None, domain, [Predicted(p[at], rows.correct[at])]))
    return cells


def in_a_stream(traffics: Sequence[Traffic], seed: int) -> Rows:
    """The labelled rows of recordings, one recording after another, each in a shuffled order."""
    draw = np.random.default_rng(seed)
    features, correct, domain = [], [], []
    for traffic in traffics:
        at = np.concatenate(list(traffic.rows.values()))
        names = np.repeat(list(traffic.rows), list(map(len, traffic.rows.values())))
        order = draw.permutation(len(at))
        features.append(traffic.features[at[order]])
        correct.append(traffic.correct[at[order]])
        domain.append(names[order])
    n = sum(map(len, correct))
    return Rows(
        seq=np.arange(n),
        id=np.arange(n).astype(np.str_),
        domain=np.concatenate(domain),
        event_time=np.arange(n, dtype=np.float64),
        features=np.concatenate(features),
        p_correct=np.full(n, np.nan),
        correct=np.concatenate(correct),
        weight=np.ones(n),
        slices=np.full(n, {}, dtype=np.object_),
    )
