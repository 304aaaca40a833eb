"""A simulated month of traffic with days, nights and weekends in everything that is watched, and changes of each kind.

`python -m tests.statistics.month SEEDS` counts the warnings of as many months, and when each change is found.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Collection, Iterator

import numpy as np

from driftgauge.agent.core.pipeline import Pipeline
from driftgauge.agent.core.settings import PipelineSettings
from driftgauge.connectors.testing import MemoryStore
from driftgauge.models.events import Context, Event, Generation, Label, Signal
from driftgauge.models.outputs import Alert
from driftgauge.models.windows import WindowSpec

MONDAY = 20_605 * 86_400.0
DAY_S = 86_400.0
N_DAYS, CHANGE_DAY = 30, 22
DOMAINS = ("billing", "code", "law", "tax")
WHERE = {"n_tokens": "law", "entropy": "law", "harder": "law", "coverage": "code", "vanished": "billing", "gap": "tax"}
"""The domain that changes."""

CHANGES = (*WHERE, "mix", "label_delay", "new")
SETTINGS = PipelineSettings(windows=WindowSpec(hop_s=6 * 3_600.0))
"""The defaults, but that estimates are made four times a day: they are not what is tested here."""

WARNINGS = ("drift", "accuracy_gap", "traffic_mix", "coverage", "label_delay", "vanished_domain")


def month(seed: int, changes: Collection[str] = (), a_day: int = 300, n_days: int = N_DAYS) -> list[Event]:
    """Responses, and labels for a quarter of them, in order of arrival; these change on `CHANGE_DAY`."""
    rng = np.random.default_rng(seed)
    placed: list[tuple[float, Event]] = []
    for n, at in enumerate(_arrivals(rng, a_day, n_days)):
        placed += _response(rng, n, MONDAY + at, changes if at >= CHANGE_DAY * DAY_S else ())
    placed.sort(key=lambda pair: pair[0])
    return [event for _, event in placed]


def _arrivals(rng: np.random.Generator, a_day: int, n_days: int) -> Iterator[float]:
    """Times of a Poisson process with a rate by day, night and weekend, in seconds."""
    for at in np.sort(rng.uniform(0, n_days * DAY_S, rng.poisson(2 * a_day * n_days))).tolist():
        if rng.random() < (0.9 if _is_day(at) else 0.25) * (0.5 if _is_weekend(at) else 1.0):
            yield at


def _is_day(at: float) -> bool:
    return 8 <= at % DAY_S // 3_600 < 20


def _is_weekend(at: float) -> bool:
    return at // DAY_S % 7 >= 5


def _response(rng: np.random.Generator, n: int, at: float, changes: Collection[str]) -> list[tuple[float, Event]]:
    is_day, is_weekend = _is_day(at - MONDAY), _is_weekend(at - MONDAY)
    shares = np.array([0.4, 0.3, 0.2, 0.1] if is_day else [0.2, 0.2, 0.2, 0.4])
    shares = shares[::-1] if is_weekend else shares
    if "mix" in changes:
        shares = 0.6 * shares + 0.4 * np.array([0.0, 0.0, 1.0, 0.0])
    domain = DOMAINS[int(rng.choice(4, p=shares))]
    here = {change for change in changes if WHERE.get(change) == domain}
    if "vanished" in here:
        return []
    domain = "travel" if "new" in changes and rng.random() < 0.2 else domain
    hardness = rng.normal() + 0.5 * (not is_day) + 0.5 * is_weekend + 1.5 * ("harder" in here)
    correct = rng.random() < 1 / (1 + np.exp(1.5 * (hardness - 1))) and not ("gap" in here and rng.random() < 0.7)
    n_tokens = rng.lognormal(4 + 0.5 * is_day + 0.3 * is_weekend, 0.5) * (2.5 if "n_tokens" in here else 1)
    features = (hardness + 0.3 * rng.normal(size=22)).astype(np.float32)
    features[10] = n_tokens * np.exp(0.3 * features[0] + 1.0 * ("entropy" in here))
    if "coverage" in here and rng.random() < 0.5:
        features[:] = np.nan
    signal = Signal(features=features)
    response = Generation(f"r{n}", at, domain, Context(model="m"), signal, n_completion_tokens=int(n_tokens) + 1)
    if rng.random() > 0.25:
        return [(at, response)]
    delay_s = rng.exponential(DAY_S * (1.5 if is_weekend else 0.5) * (6 if "label_delay" in changes else 1))
    label = Label(f"l{n}", f"r{n}", at + delay_s, float(correct), inclusion_probability=0.25)
    return [(at, response), (at + delay_s, label)]


def alerts(events: list[Event], *, n_at_once: int = 500, is_restarted: bool = False) -> list[Alert]:
    """The warnings, and the new domains, of a pipeline that takes so many events at once, maybe resumed each time."""
    pipeline, store, found = Pipeline(SETTINGS), MemoryStore(), list[Alert]()
    for start in range(0, len(events), n_at_once):
        with store.transaction() as memory:
            pipeline = Pipeline.resume(SETTINGS, memory) if is_restarted else pipeline
            outputs = pipeline.step(events[start : start + n_at_once], memory)
        found += [
            of
            for of in outputs
            if isinstance(of, Alert) and of.state == "firing" and of.kind in (*WARNINGS, "new_domain")
        ]
    return found


def main(n_seeds: int) -> None:
    """Print how many warnings months without a change have, and what is found of each change, after how many days."""
    quiet = [alerts(month(seed)) for seed in range(n_seeds)]
    print(f"{n_seeds} months without a change: {dict(Counter(alert.kind for found in quiet for alert in found))}")
    for change in CHANGES:
        for alert in alerts(month(0, {change})):
            day = (alert.event_time - MONDAY) / DAY_S
            print(f"{change}: {alert.kind} after {day - CHANGE_DAY:.1f} days: {alert.domain}: {alert.message}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
