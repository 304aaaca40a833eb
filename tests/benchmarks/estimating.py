"""The time to estimate a thousand domains again, with the scores that windows keep for each row and without them.

CPU seconds on one core; of each domain the shortest of several runs, because a virtual machine pauses now and then.
Windows of 10,000 rows, as an agent has them. Fifty different windows stand for the thousand, which would need a
gigabyte; as many bytes pass through the caches. The baseline scores all rows again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import fields
from functools import partial
from typing import Any

import numpy as np

from driftgauge.agent.core.context_state import ContextState
from driftgauge.agent.core.domain_state import DomainState
from driftgauge.agent.core.estimating import estimate_live
from driftgauge.agent.core.settings import PipelineSettings
from driftgauge.agent.core.state import State
from driftgauge.connectors.testing import MemoryStore
from driftgauge.models.rows import Rows
from driftgauge.models.series import SeriesKey
from driftgauge.models.windows import WindowSpec

N_DOMAINS, N_WINDOWS, N_ROWS, N_LABELS = 1_000, 50, 10_000, 50
END = 86_400.0


def measure() -> dict[str, dict[str, Any]]:
    """Seconds; the ratio says how many times faster than the baseline."""
    state = _state()
    domains = list(state.domains.values())
    for domain in domains:
        _estimate(state, domain)  # the first estimate scores every row
    kept = N_DOMAINS / N_WINDOWS * sum(_shortest(partial(_estimate, state, domain), 20) for domain in domains)
    fresh = (
        N_DOMAINS / N_WINDOWS * sum(_shortest(partial(_estimate_from_scratch, state, domain), 2) for domain in domains)
    )
    return {"reestimate_1000_domains": {"value": kept, "unit": "s", "baseline": fresh, "ratio": fresh / kept}}


def _state() -> State:
    state = State(PipelineSettings(windows=WindowSpec(END, N_ROWS, END)))
    context = state.contexts["f"] = ContextState(state.settings, "m")
    labelled = [_rows(f"d{i}", 400, 400) for i in range(8)]
    columns = zip(*([getattr(rows, field.name) for field in fields(Rows)] for rows in labelled), strict=True)
    context.committee.refit(Rows(*map(np.concatenate, columns)))
    state.boundary = state.event_time = END
    for i in range(N_WINDOWS):
        state.add_domain(state.new_domain(SeriesKey(f"d{i}", "f"))).window.load(_rows(f"d{i}", N_ROWS, N_LABELS))
    return state


def _rows(domain: str, n: int, n_labels: int) -> Rows:
    draw = np.random.default_rng(int(domain[1:]) + n)
    features = draw.gamma(2.0, 1.0, (n, 17)).astype(np.float32)
    correct = (draw.random(n) < 1 / (1 + np.exp(features[:, 0] + features[:, 1] - 4))).astype(np.float64)
    correct[draw.permutation(n)[n_labels:]] = np.nan
    seq, none = np.arange(n), np.full(n, np.nan)
    times = np.linspace(0.0, END, n, endpoint=False)
    columns = (np.full(n, domain), times, features, none, correct, np.ones(n), np.full(n, {}, dtype=np.object_))
    return Rows(seq, seq.astype(np.str_), *columns)


def _estimate(state: State, domain: DomainState) -> None:
    with MemoryStore().transaction() as memory:
        assert estimate_live(state, memory, domain, END).n_events == N_ROWS


def _estimate_from_scratch(state: State, domain: DomainState) -> None:
    domain.window.is_scored[:] = False
    _estimate(state, domain)


def _shortest(work: Callable[[], None], times: int) -> float:
    return min(_seconds(work) for _ in range(times))


def _seconds(work: Callable[[], None]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began
