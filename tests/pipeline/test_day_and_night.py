"""Traffic that differs by day and night, the same each day: what the operating page advises against drift alerts."""

from __future__ import annotations

from collections import Counter

import numpy as np

from driftgauge.agent.core.settings import PipelineSettings
from driftgauge.connectors.testing import MemoryStore
from driftgauge.models.events import Context, Event, Generation, Label, Signal
from driftgauge.models.outputs import Alert
from tests.pipeline.logs import play

MIDNIGHT = 20_601 * 86_400.0
HALF_DAY_S = 43_200.0


def traffic(*, is_split: bool, days: int = 4) -> list[Event]:
    """A thousand responses a day with a label for each tenth; nights are harder, each in the same way."""
    rng = np.random.default_rng(0)
    events: list[Event] = []
    for n in range(1_000 * days):
        at = MIDNIGHT + n * 86.4
        is_night = int((at - MIDNIGHT) // HALF_DAY_S) % 2 == 1
        correct = rng.random() < (0.7 if is_night else 0.85)
        spread = 3.0 / ((1.0 if correct else 2.0) * (1.5 if is_night else 1.0))
        logits = np.sort(rng.normal(0, spread, (int(rng.integers(20, 60)), 5)), axis=1)[:, ::-1]
        top = (logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)) - 0.01).astype(np.float32)
        domain = "billing" + (("-night" if is_night else "-day") if is_split else "")
        events.append(Generation(f"r{n}", at, domain, Context(model="m"), Signal(top[:, 0], top)))
        if n % 10 == 0:
            events.append(Label(f"l{n}", f"r{n}", at, float(correct), inclusion_probability=0.1))
    return events


def alerts(events: list[Event], settings: PipelineSettings) -> Counter[str]:
    outputs = play(MemoryStore(), [events], settings)
    return Counter(f"{output.kind} {output.what}" for output in outputs if isinstance(output, Alert))


def test_a_domain_for_the_day_and_one_for_the_night_are_compared_with_themselves() -> None:
    one = alerts(traffic(is_split=False), PipelineSettings())
    two = alerts(traffic(is_split=True), PipelineSettings())
    assert one["drift entropy_sum"] >= 6
    assert sum(two[kind] for kind in two if kind.startswith(("drift", "accuracy_gap"))) <= 1  # drift.delta is not 0


def test_without_watched_features_only_the_predicted_correctness_raises_drift_alerts() -> None:
    events = traffic(is_split=False)
    some = alerts(events, PipelineSettings(drift_features=()))
    assert some["drift entropy_sum"] == 0
    assert some["drift p_correct"] < alerts(events, PipelineSettings())["drift entropy_sum"]
    smaller = alerts(events, PipelineSettings(drift_delta=1e-12))
    assert smaller["drift entropy_sum"] >= 6, "a smaller delta does not quiet a change that is there"
