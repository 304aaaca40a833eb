"""The whole agent on a recording in which every domain gets a few labels: how far off its last estimates are.

As `driftgauge replay --labels-per-domain`, with the default settings: the classifier learns from the labels as they
come, the estimator is fitted again when due, and the same labels correct the estimate of their domain. 0 labels: half
of the domains, drawn at random, get none and are judged; the others get the largest number of labels.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np

from driftgauge.agent.core.pipeline import Pipeline
from driftgauge.agent.core.settings import PipelineSettings
from driftgauge.agent.evaluation.compositions import Progress
from driftgauge.agent.evaluation.label_trials import Interval, labels_alone, outcome, summary
from driftgauge.agent.outlets.live_table import LatestOutputs
from driftgauge.connectors.batches import batched
from driftgauge.connectors.files.recordings import Recording
from driftgauge.connectors.files.traffic import LabelPlan, Traffic
from driftgauge.connectors.testing import MemoryStore
from driftgauge.models.arrays import Float64s
from driftgauge.models.events import Tick
from driftgauge.models.outputs import Estimate, Output

AGENT = "agent"
"""The name of what the agent emits, among the methods."""

MAX_RUNS = 10
"""Most replays with the same number of labels; each has another order and other labels."""

Outcome: TypeAlias = Float64s | None
"""That of `outcome`; None: there is no estimate."""

_BATCH_EVENTS = 500
_FEWEST_OF_OTHERS = 20  # labels of the other domains, where a domain without labels is judged


def live_cells(
    recording: Recording, domains: Collection[str], labels: Sequence[int], runs: int, seed: int, progress: Progress,
    settings: PipelineSettings | None = None,
) -> list[dict[str, Any]]:  # fmt: skip
    """One cell for each method and number of labels; errors are means over these domains, and medians over ``runs``.

    ``agent`` is what the agent emits; ``missing`` is the share of estimates without a value, which have no error.
    """
    found: dict[tuple[str, int], list[list[Outcome]]] = defaultdict(list)
    tried = list(itertools.product(sorted(set(labels)), range(runs)))
    for i, (n, run) in enumerate(tried):
        outcomes = _outcomes(
            recording, sorted(domains), n, max(*labels, _FEWEST_OF_OTHERS), seed + run, settings or PipelineSettings()
        )
        for method, of_domains in outcomes.items():
            found[method, n].append(of_domains)
        progress("replays", i + 1, len(tried))
    return [{"method": method, "k": None, "n_labels": n, **_summary(of_runs)} for (method, n), of_runs in found.items()]


def _outcomes(
    recording: Recording, domains: Sequence[str], n: int, of_others: int, seed: int, settings: PipelineSettings
) -> dict[str, list[Outcome]]:
    """One replay: for each method the outcome of every domain judged."""
    judged, plan = frozenset(domains), LabelPlan(per_domain=n)
    if n == 0:
        half = np.random.default_rng(seed).choice(domains, max(len(domains) // 2, 1), replace=False)
        judged = frozenset(map(str, half))
        plan = LabelPlan(per_domain=of_others, without=judged)
    traffic = Traffic([recording], plan, seed=seed)
    found = defaultdict(list)
    for estimate in _last_estimates(traffic, settings):
        window = estimate.window_start, estimate.window_end
        truth = traffic.true_accuracy(estimate.domain, *window, last=settings.windows.window_events)
        if estimate.domain in judged and truth is not None:
            for method, interval in _intervals(estimate):
                found[method].append(None if interval is None else outcome(interval, truth))
    return found


def played(traffic: Traffic, settings: PipelineSettings) -> Iterator[Output]:
    """Everything that the whole agent emits on a stream, up to the last estimate of its last window."""
    store, pipeline = MemoryStore(), Pipeline(settings)
    for batch in batched(traffic.events(), _BATCH_EVENTS):
        with store.transaction() as transaction:
            outputs = pipeline.step(batch, transaction)
        yield from outputs
    while pipeline.state.has_news or pipeline.state.has_open_windows:
        with store.transaction() as transaction:
            outputs = pipeline.step([Tick(pipeline.state.end)], transaction)
        yield from outputs


def _last_estimates(traffic: Traffic, settings: PipelineSettings) -> list[Estimate]:
    """The last estimate of every domain, from the whole agent."""
    latest = LatestOutputs()
    latest.add(played(traffic, settings))
    return list(latest.estimates.values())


def _intervals(estimate: Estimate) -> Iterator[tuple[str, Interval | None]]:
    accuracy, low, high = estimate.accuracy, estimate.ci_low, estimate.ci_high
    yield AGENT, None if accuracy is None or low is None or high is None else (accuracy, low, high)
    if estimate.n_labels and estimate.accuracy_labelled is not None:
        yield "labels_alone", labels_alone(np.full(estimate.n_labels, estimate.accuracy_labelled))


def _summary(of_runs: Sequence[Sequence[Outcome]]) -> dict[str, Any]:
    known = [[found for found in of_domains if found is not None] for of_domains in of_runs]
    means = np.array([np.mean(outcomes, axis=0) for outcomes in known if outcomes])
    missing = 1 - sum(map(len, known)) / sum(map(len, of_runs))
    of_all = {"missing": missing, "n_compositions": len(of_runs)}
    return of_all if not len(means) else summary(means) | of_all
