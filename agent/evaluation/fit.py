"""The engine of ``driftgauge fit``: fits a context to labelled recordings or to a store, for a warm start.

Rows are processed as in service: each is predicted before its label is learned, and refits come when they are due. So
the metrics of `fit` are those that the committee would have had in service. `agent/service/fit_files.py` writes the
fitted file.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np

from driftgauge.agent.core.context_state import ContextState
from driftgauge.agent.core.settings import PipelineSettings
from driftgauge.agent.outlets.versions import contexts_in, named_context
from driftgauge.connectors.base import ConnectorError
from driftgauge.connectors.files.recordings import Recording
from driftgauge.connectors.store.queries import open_queries
from driftgauge.models.arrays import Float64s
from driftgauge.models.classify.prequential import Tally
from driftgauge.models.label_weights import teaching_weight
from driftgauge.models.learn.committee import Committee, Metric
from driftgauge.models.rows import Rows
from driftgauge.models.signals.feature_sets import DEFAULT_SPEC, FeatureSpec, in_width
from driftgauge.models.signals.features import extract


def _silently(_: int) -> None:
    """Discard progress."""


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """A fitted context, and metrics of its predictions before their labels were learned, overall and per domain."""

    context: ContextState
    metrics: list[Metric]


def fit(rows: Rows, settings: PipelineSettings, advance: Callable[[int], None] = _silently) -> Fitted:
    """Fit a new context to the labelled rows, in their order; rows without label or features are left out.

    Raises
    ------
    ConnectorError
        When no labelled row is left.
    """
    rows = replace(rows, features=in_width(rows.features, settings.features.width))
    rows = chosen(rows, np.flatnonzero(~np.isnan(rows.correct) & np.isfinite(rows.features).any(axis=1)))
    if not len(rows):
        raise ConnectorError("no labelled response with features to learn from", retriable=False)
    context = ContextState(settings)
    predicted = prequential(context.committee, rows, advance=advance)
    rows = replace(rows, p_correct=predicted)
    context.committee.refit(rows)
    return Fitted(context, _metrics(context.committee.champion.name, rows))


def _metrics(name: str, rows: Rows) -> list[Metric]:
    tallies: dict[str | None, Tally] = {None: Tally(), **{str(domain): Tally() for domain in np.unique(rows.domain)}}
    weights = teaching_weight(rows.weight).tolist()
    columns = rows.domain.tolist(), rows.p_correct.tolist(), rows.correct.tolist(), weights
    for domain, p, correct, weight in zip(*columns, strict=True):
        if not math.isnan(p):
            tallies[None].add(p, correct, weight)
            tallies[domain].add(p, correct, weight)
    return [tally.metric(name, domain) for domain, tally in tallies.items()]


def prequential(
    committee: Committee, rows: Rows, *, with_domain_offsets: bool = False, advance: Callable[[int], None] = _silently
) -> Float64s:
    """Let a committee predict each labelled row before it learns it; the predictions, (n,), are NaN while not ready."""
    predicted, weight, at = np.full(len(rows), np.nan), teaching_weight(rows.weight), 0
    while at < len(rows):
        now = slice(at, at + 1)
        features, domain = rows.features[now], rows.domain[now].tolist()
        predicted[now] = committee.predict_proba(features, domain if with_domain_offsets else None)
        nothing = np.full(len(features), np.nan)
        committee.score_and_learn(features, rows.correct[now], weight[now], domain, nothing)
        at += len(features)
        if committee.wants_refit():
            committee.refit(chosen(rows, np.arange(max(at - committee.settings.max_training_rows, 0), at)))
        advance(len(features))
    return predicted


def chosen(rows: Rows, at: np.typing.NDArray[np.intp]) -> Rows:
    """The rows at these indices, in this order."""
    return Rows(*(getattr(rows, name)[at] for name in Rows.__slots__))


def rows_of(recordings: Sequence[Recording], spec: FeatureSpec = DEFAULT_SPEC, seed: int = 0) -> Rows:
    """Labelled responses of recordings, one recording after another, each in a shuffled order.

    Event time is the position in that order. Features are those that the agent computes from the same responses.

    Raises
    ------
    ConnectorError
        When a recording has no label; the message names it.
    """
    rng = np.random.default_rng(seed)
    orders = []
    for recording in recordings:
        labelled = np.flatnonzero(~np.isnan(recording.labels))
        if not len(labelled):
            raise ConnectorError(f"{recording.name} has no labels to learn from", retriable=False)
        orders.append(rng.permutation(labelled))
    n = sum(map(len, orders))
    pairs = list(zip(recordings, orders, strict=True))
    return Rows(
        seq=np.arange(n),
        id=np.concatenate([np.char.add(f"{r.name}-", o.astype(str)) for r, o in pairs]),
        domain=np.concatenate([r.domain[o] for r, o in pairs]),
        event_time=np.arange(n, dtype=np.float64),
        features=np.concatenate([extract([r.signal(int(i)) for i in o], spec) for r, o in pairs]),
        p_correct=np.full(n, np.nan),
        correct=np.concatenate([r.labels[o] for r, o in pairs]).astype(np.float64),
        weight=np.ones(n),
        slices=np.full(n, {}, dtype=np.object_),
    )


def rows_of_store(url: str, fingerprint: str | None, limit: int) -> Rows:
    """The newest labelled responses of a context in a store, oldest first. An agent may be using the store.

    A label that does not count in estimates has weight 0; it teaches the predictions only.

    Raises
    ------
    ConnectorError
        When there is no such context; without a fingerprint, when there are several.
    """
    with closing(open_queries(url)) as reader:
        name = named_context(contexts_in(reader), fingerprint)
        return reader.labelled(name, limit)


def table(metrics: Sequence[Metric]) -> list[list[str]]:
    """Metrics as rows of text for people, a header first."""
    header = ["domain", "n", "log loss", "Brier", "AUROC", "calibration error"]
    lines = []
    for m in metrics:
        numbers = (f"{x:.3f}" if x is not None else "-" for x in (m.log_loss, m.brier, m.auroc))
        error = "-" if m.calibration_error is None else (
            f"{m.calibration_error:.3f} [{m.calibration_low:.3f}, {m.calibration_high:.3f}]"
        )  # fmt: skip
        lines.append([m.domain or "all", str(m.n), *numbers, error])
    return list(itertools.chain([header], lines))
