"""The data list of a boundary: every live series with responses, ranked by `models.acquire.ranking`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from driftgauge.agent.core.batch import Batch
from driftgauge.agent.core.domain_state import DomainState
from driftgauge.agent.core.estimating import worst_responses
from driftgauge.models.acquire.ranking import Candidate, rank
from driftgauge.models.outputs import Priority
from driftgauge.models.probes import is_probe_context

ROWS_WITH_WORST = 10
"""First rows of a list that name responses: to find them costs up to three milliseconds a row."""

_MAX_WORST = 5


def data_list(batch: Batch, boundary: float) -> tuple[Priority, ...]:
    """Rank the live series that have responses in the window of their newest estimate; empty without any."""
    state, settings = batch.state, batch.settings
    start = boundary - settings.windows.window_s
    before = batch.accuracies(state.domains, settings.windows.boundary_after(start - settings.windows.hop_s))
    new = _new_domains(list(state.domains.values()), start)
    candidates = [
        Candidate(
            domain.last_estimate,
            domain.traffic.in_window(boundary),
            settings.targets.get(series.domain, settings.default_target),
            before.get(series),
            is_new=series.domain in new,
        )
        for series, domain in state.domains.items()
        if domain.last_estimate and domain.last_estimate.n_events and not is_probe_context(series.fingerprint)
    ]
    rows = rank(candidates, settings.seed)
    return tuple(_with_worst(batch, row, boundary) for row in rows[:ROWS_WITH_WORST]) + rows[ROWS_WITH_WORST:]


def _new_domains(domains: Sequence[DomainState], start: float) -> set[str]:
    """Domains first seen after ``start``; none while nothing older is known: all are new to a new agent."""
    first: dict[str, float] = {}
    for domain in domains:
        name = domain.series.domain
        first[name] = min(first.get(name, math.inf), domain.first_boundary)
    if min(first.values(), default=math.inf) > start:
        return set()
    return {name for name, boundary in first.items() if boundary > start}


def _with_worst(batch: Batch, row: Priority, boundary: float) -> Priority:
    domain = batch.state.domains[row.series]
    return replace(row, worst=worst_responses(batch.state, batch.memory, domain, boundary, _MAX_WORST))
