"""Drift trials: which domains that changed are flagged, how soon, and how much is flagged where nothing changed.

Every trial has its own order and labels, and two streams: the recording and then the later one, and the recording
twice, in which nothing changes. A domain is flagged by the first warning or alarm about it after the change, a new
domain by any alert. Its target is its accuracy before the change, where false alarms are most likely.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from driftgauge.agent.core.settings import PipelineSettings
from driftgauge.agent.evaluation.compositions import Progress, in_parallel
from driftgauge.agent.evaluation.drift_rivals import EVIDENTLY, has_evidently
from driftgauge.agent.evaluation.drift_streams import ALERTS, Delay, Detection, Method, Stream
from driftgauge.agent.evaluation.drift_truth import RULE, DomainTruth, domain_truths
from driftgauge.connectors.base import ConnectorError
from driftgauge.connectors.files.recordings import Recording, read_recording
from driftgauge.connectors.files.traffic import LabelPlan
from driftgauge.models.account import Account
from driftgauge.models.outputs import ALERTS as SEVERITY

Cell: TypeAlias = dict[str, Any]
CHANGED = ("accuracy", "features")
"""What differs in a domain that should be flagged."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What came out of one trial.

    Attributes
    ----------
    delays : by method and domain, of the first flag after the change
    false : by method, detections after the recording began again without a change
    severities : alerts of the agent in the whole stream without a change
    microseconds, agent_microseconds : see `Found`, of the stream with the change
    """

    delays: Mapping[tuple[Method, str], Delay]
    false: Mapping[Method, int]
    severities: Mapping[str, int]
    microseconds: Mapping[Method, float]
    agent_microseconds: float


def drift(
    paths: Sequence[Path], target: Path, plan: LabelPlan, shuffles: int, seed: int, jobs: int, progress: Progress,
    settings: PipelineSettings, rate: float = 1.0,
) -> dict[str, Any]:  # fmt: skip
    """Follow every file by the target in ``shuffles`` orders, and by itself in as many; ``rate`` responses a second.

    Returns
    -------
    ``label_fraction``, ``label_delay``, ``rate``, ``shuffles``, ``seed``; ``rule``: when a domain counts as changed;
    ``domains``: for each file and domain of the target, what differs, how often it was flagged, and the median delay;
    ``methods``: the same for the agent and each rival, over all changed domains, with false detections and cost;
    ``budgets``: for each file, the warnings and alarms of the agent without a change, and how many may be expected;
    ``left_out``: rivals that are not installed; ``accounts``: for each file, how many responses were used. Medians
    are None where more than half of the trials flag nothing.

    Raises
    ------
    ConnectorError
        When a file is not a recording with labels.
    """
    later, result = _labelled(target), dict[str, list[Cell]](domains=[], methods=[], budgets=[])
    accounts: dict[str, Any] = {}
    for path in paths:
        before = _labelled(path)
        accounts |= {str(p): Account(len(recording)).to_json() for p, recording in ((path, before), (target, later))}
        truths = domain_truths(before, later)
        agent = settings_for(before, settings)
        run, trials = partial(_trial, before, later, plan, rate, agent, truths), []
        for done, trial in enumerate(in_parallel(jobs, run, range(seed, seed + shuffles)), start=1):
            trials.append(trial)
            progress("shuffles", done, shuffles)
        where = {"file": before.name, "target": later.name}
        result["domains"] += [{**where, **_domain_cell(truth, trials)} for truth in truths]
        result["methods"] += [{**where, **_method_cell(m, truths, trials)} for m in trials[0].microseconds]
        result["budgets"].append({"file": before.name, **_budget_cell(2 * len(before), rate, agent, trials)})
    labels = {"label_fraction": plan.fraction, "label_delay": plan.delay}
    left_out = [] if has_evidently() else [EVIDENTLY]
    options = {**labels, "rate": rate, "shuffles": shuffles, "seed": seed}
    return {**options, "rule": RULE, **result, "left_out": left_out, "accounts": accounts}


def settings_for(before: Recording, settings: PipelineSettings) -> PipelineSettings:
    """The settings with the accuracy in this recording as target of each domain, and of new domains that of all.

    Without a season: a shuffled recording has none, and all of it may lie within a few hours.
    """
    labels = {name: before.labels[before.domain == name] for name in np.unique(before.domain)}
    targets = {str(name): float(np.nanmean(of)) for name, of in labels.items() if not np.isnan(of).all()}
    mean = float(np.nanmean(before.labels))
    return replace(settings, targets=targets, default_target=mean, drift_season="none")


def _labelled(path: Path) -> Recording:
    recording = read_recording(path)
    if np.isnan(recording.labels).all():
        raise ConnectorError(f"{path}: no response has a label", retriable=False)
    return recording


def _trial(
    before: Recording, later: Recording, plan: LabelPlan, rate: float, settings: PipelineSettings,
    truths: Sequence[DomainTruth], seed: int,
) -> Trial:  # fmt: skip
    changed, same = (Stream(before, other, plan, seed, rate=rate) for other in (later, before))
    found, false = changed.watched(settings), same.watched(settings)
    new = {truth.domain for truth in truths if truth.differs == "new"}
    return Trial(
        {
            (method, domain): changed.delay(first)
            for method, detections in found.detections.items()
            for domain, first in _first_flags(detections, changed.change, new).items()
        },
        {method: sum(_is_flag(d, same.change) for d in of) for method, of in false.detections.items()},
        Counter(SEVERITY[alert.kind] for alert in false.detections[ALERTS]),
        found.microseconds,
        found.agent_microseconds,
    )


def _first_flags(detections: Iterable[Detection], change: float, new: set[str]) -> dict[str, Detection]:
    flags: dict[str, Detection] = {}
    for found in detections:
        if _is_flag(found, change) or (found.domain in new and found.event_time >= change):
            flags.setdefault(found.domain, found)
    return flags


def _is_flag(found: Detection, since: float) -> bool:
    return found.event_time >= since and not found.is_info


def _domain_cell(truth: DomainTruth, trials: Sequence[Trial]) -> Cell:
    delays = [trial.delays.get((ALERTS, truth.domain)) for trial in trials]
    kinds = Counter(delay.kind for delay in delays if delay)
    first = max(kinds, key=lambda kind: kinds[kind], default=None)
    return {**asdict(truth), "first_alert": first, **_flagged(delays)}


def _method_cell(method: Method, truths: Sequence[DomainTruth], trials: Sequence[Trial]) -> Cell:
    """One method over all trials and all domains that changed."""
    by_kind: dict[str, list[Delay | None]] = {
        differs: [t.delays.get((method, truth.domain)) for t in trials for truth in truths if truth.differs == differs]
        for differs in (*CHANGED, "nothing")
    }
    changed = [delay for differs in CHANGED for delay in by_kind[differs]]
    return {
        "method": method[0],
        "signal": method[1],
        **_flagged(changed),
        "flagged_accuracy": _share(by_kind["accuracy"]),
        "flagged_unchanged": _share(by_kind["nothing"]),
        "false_detections": float(np.mean([trial.false[method] for trial in trials])),
        "microseconds": float(np.median([trial.microseconds[method] for trial in trials])),
    }


def _flagged(delays: Sequence[Delay | None]) -> Cell:
    medians = {f"median_{name}": _median([None if d is None else getattr(d, name) for d in delays]) for name in _COUNTS}
    return {"flagged": _share(delays), **medians}


_COUNTS = ("events", "responses", "labels")


def _share(delays: Sequence[Delay | None]) -> float | None:
    return sum(delay is not None for delay in delays) / len(delays) if delays else None


def _median(counts: Sequence[int | None]) -> float | None:
    if not counts:
        return None
    median = float(np.median([np.inf if count is None else count for count in counts]))
    return median if np.isfinite(median) else None


def _budget_cell(n_responses: int, rate: float, settings: PipelineSettings, trials: Sequence[Trial]) -> Cell:
    """Alerts of the agent in all streams without a change, and the largest number that its settings lead to expect."""
    horizons = n_responses * len(trials) / rate / settings.drift_horizon_s
    return {
        "streams": len(trials),
        "responses": n_responses * len(trials),
        "warnings": sum(trial.severities.get("warning", 0) for trial in trials),
        "warnings_expected_at_most": settings.drift_false_warnings * horizons,
        "alarms": sum(trial.severities.get("alarm", 0) for trial in trials),
        "alarms_expected_at_most": settings.false_alarms * len(trials),
        "agent_microseconds": float(np.median([trial.agent_microseconds for trial in trials])),
    }
