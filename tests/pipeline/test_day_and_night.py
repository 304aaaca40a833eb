"""Traffic that differs by day and night, the same each day, raises hardly any drift alert; a change of it does."""

from __future__ import annotations

import numpy as np

from driftgauge.agent.core.settings import PipelineSettings
from driftgauge.connectors.testing import MemoryStore
from driftgauge.models.alerts.book import AlertRules
from driftgauge.models.events import Context, Event, Generation, Label, Signal
from driftgauge.models.outputs import Alert
from tests.pipeline.logs import play

MIDNIGHT = 20_601 * 86_400.0
HALF_DAY_S = 43_200.0


def traffic(days: int = 8, *, longer_from: int = 99) -> list[Event]:
    """A thousand responses a day with a label for each tenth; nights are harder, each in the same way.

    From the day ``longer_from`` on, responses have half as many tokens again.
    """
    rng = np.random.default_rng(0)
    events: list[Event] = []
    for n in range(1_000 * days):
        at = MIDNIGHT + n * 86.4
        is_night = int((at - MIDNIGHT) // HALF_DAY_S) % 2 == 1
        correct = rng.random() < (0.7 if is_night else 0.85)
        spread = 3.0 / ((1.0 if correct else 2.0) * (1.5 if is_night else 1.0))
        n_tokens = int(rng.integers(20, 60) * (1.5 if n >= 1_000 * longer_from else 1.0))
        logits = np.sort(rng.normal(0, spread, (n_tokens, 5)), axis=1)[:, ::-1]
        top = (logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)) - 0.01).astype(np.float32)
        events.append(Generation(f"r{n}", at, "billing", Context(model="m"), Signal(top[:, 0], top)))
        if n % 10 == 0:
            events.append(Label(f"l{n}", f"r{n}", at, float(correct), inclusion_probability=0.1))
    return events


def alerts(events: list[Event], settings: PipelineSettings) -> list[Alert]:
    outputs = play(MemoryStore(), [events], settings)
    found = [output for output in outputs if isinstance(output, Alert) and output.kind in ("drift", "accuracy_gap")]
    return [alert for alert in found if alert.state == "firing"]


def test_eight_days_and_nights_raise_no_warning() -> None:
    assert alerts(traffic(), PipelineSettings()) == []


def test_without_a_season_each_day_and_each_night_is_a_change() -> None:
    settings = PipelineSettings(drift_season="none", alerts=AlertRules(resolve_after_s=3_600.0))
    assert len(alerts(traffic(4), settings)) >= 6


def test_a_change_of_traffic_that_differs_by_day_and_night_is_found_within_the_day() -> None:
    found = [a for a in alerts(traffic(6, longer_from=4), PipelineSettings()) if a.event_time > MIDNIGHT + 4 * 86_400]
    assert found
    assert found[0].what == "n_tokens"
    assert found[0].event_time < MIDNIGHT + 5 * 86_400
    before, after = found[0].before, found[0].after
    assert before is not None
    assert after is not None
    assert after > before


def test_without_watched_features_only_the_predicted_correctness_raises_drift_alerts() -> None:
    found = alerts(traffic(4), PipelineSettings(drift_features=(), drift_season="none"))
    assert {alert.what for alert in found} <= {"p_correct", "accuracy_minus_predicted"}
