"""The books of a simulated year: what the agent did and held, month by month, and which promises it broke.

What is older than two months is settled and dropped, so that the books do not grow beside the agent.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from dataclasses import dataclass, field

import numpy as np

from driftgauge.models.outputs import Alert, Estimate
from tests.year.traffic import DAY_S, START, Response

MONTH_DAYS, KEPT_DAYS = 30, 60
ROOM = 1.25
"""How much more memory and store the last month may take than the first one after the retention period."""


@dataclass
class Month:
    """What thirty days came to, and what the agent held at their end."""

    last_day: int
    responses: int
    labels: int
    contexts: int
    domains: int
    memory_mib: float  # the most so far
    store_mib: float
    longest_step_s: float  # of CPU time
    alerts: dict[str, int]


@dataclass
class Books:
    """Filled while the year runs; judged at its end. Plain values, so that they survive an upgrade in the middle."""

    days: int = 0
    responses: list[Response] = field(default_factory=list)
    n_responses: int = 0
    n_labels: int = 0
    n_delivered: int = 0
    n_accounted: int = 0
    dead_letters: dict[str, int] = field(default_factory=dict)
    contents: dict[str, tuple[int, str]] = field(default_factory=dict)  # by name of the message: day, digest
    estimates: dict[str, Estimate] = field(default_factory=dict)
    n_settled: int = 0
    n_covered: int = 0
    distance: float = 0.0
    alerts: list[Alert] = field(default_factory=list)
    most: dict[str, int] = field(default_factory=dict)
    now: dict[str, int] = field(default_factory=dict)
    counters: dict[str, int] = field(default_factory=dict)
    starts: dict[str, int] = field(default_factory=dict)
    longest_step_s: float = 0.0
    months: list[Month] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)

    def close_month(self, memory_mib: float, store_mib: float) -> Month:
        """Enter the month that ends with the present day."""
        end = START + self.days * DAY_S
        kinds = Counter(alert.kind for alert in self.alerts if end - MONTH_DAYS * DAY_S <= alert.event_time < end)
        month = Month(
            last_day=self.days,
            responses=self.n_responses - sum(month.responses for month in self.months),
            labels=self.n_labels - sum(month.labels for month in self.months),
            contexts=self.now["contexts"],
            domains=self.now["domains"],
            memory_mib=memory_mib,
            store_mib=store_mib,
            longest_step_s=self.longest_step_s,
            alerts=dict(sorted(kinds.items())),
        )
        self.longest_step_s = 0.0
        self.settle(end - KEPT_DAYS * DAY_S)
        self.contents = {name: kept for name, kept in self.contents.items() if kept[0] > self.days - KEPT_DAYS}
        self.months.append(month)
        return month

    def judge(self, retention_days: int, bounds: dict[str, int]) -> list[str]:
        """Every promise that was broken, as a sentence."""
        found = list(self.violations)
        if self.n_accounted != self.n_delivered:
            found.append(f"{self.n_delivered} records were delivered and {self.n_accounted} accounted for")
        if self.dead_letters:
            found.append(f"good records became dead letters: {self.dead_letters}")
        for what, bound in bounds.items():
            if self.most[what] > bound:
                found.append(f"{self.most[what]} {what} were held at once; the bound is {bound}")
        settled = [month for month in self.months if month.last_day >= retention_days + MONTH_DAYS]
        for what in ("memory_mib", "store_mib"):
            first, last = (getattr(month, what) for month in (settled[0], settled[-1])) if settled else (1.0, 1.0)
            if last > ROOM * first:
                found.append(f"{what} grew from {first:.0f} to {last:.0f} after the retention period")
        return found

    def settle(self, before: float) -> None:
        """Compare estimates of windows that end before this time with the truth; drop what is no longer needed."""
        series: dict[tuple[str, str], list[Response]] = defaultdict(list)
        for response in self.responses:
            series[response.domain, response.context.fingerprint("top_logprobs")].append(response)
        columns = {
            key: (np.array([r.event_time for r in listed]), np.cumsum([0, *(r.is_correct for r in listed)]))
            for key, listed in series.items()
        }
        for key in [key for key, estimate in self.estimates.items() if estimate.window_end <= before]:
            estimate = self.estimates.pop(key)
            if estimate.accuracy is None or estimate.ci_low is None or estimate.ci_high is None:
                continue
            times, right = columns[estimate.domain, estimate.fingerprint]
            first, stop = np.searchsorted(times, (estimate.window_start, estimate.window_end))
            truth = float((right[stop] - right[first]) / max(stop - first, 1))
            self.n_settled += 1
            self.n_covered += int(estimate.ci_low <= truth <= estimate.ci_high)
            self.distance += abs(estimate.accuracy - truth)
        self.responses = [r for r in self.responses if r.event_time >= before - 2 * DAY_S]

    def distance_to_truth(self) -> tuple[float, float, int]:
        """Mean distance of the final estimates to the truth, the share of intervals that hold it, and their number."""
        self.settle(math.inf)
        n = max(self.n_settled, 1)
        return self.distance / n, self.n_covered / n, self.n_settled
