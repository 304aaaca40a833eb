"""Drift warnings are raised when the traffic changes, not when the classifier learns."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from driftgauge.agent.core.pipeline import Pipeline
from driftgauge.connectors.testing import MemoryStore
from driftgauge.models.events import Context, Event, Generation, Label, Signal
from driftgauge.models.outputs import Alert
from driftgauge.models.windows import WindowSpec
from tests.copying import replace
from tests.pipeline.logs import SETTINGS, START, play, signal

N = 1_200
QUIET = replace(SETTINGS, windows=WindowSpec(3_600.0, 600, 600.0), drift_features=(), predictions="none")


def traffic(is_sure: Callable[[int], bool], is_right: Callable[[int, bool], bool]) -> Iterator[Event]:
    """Responses of one domain, a second apart, each labelled at once."""
    rng = np.random.default_rng(3)
    for i in range(N):
        sure = is_sure(i)
        yield Generation(f"r{i}", START + i, "law", Context(model="m"), signal(rng, 8, correct=sure))
        yield Label(f"l{i}", f"r{i}", START + i, float(is_right(i, sure)))


def played(events: Iterator[Event]) -> tuple[Pipeline, list[Alert]]:
    """The pipeline after these events, and the alerts about its predictions."""
    pipeline = Pipeline(QUIET)
    with MemoryStore().transaction() as transaction:
        outputs = pipeline.step(list(events), transaction)
    return pipeline, [output for output in outputs if isinstance(output, Alert) and output.what == "p_correct"]


def test_predictions_that_change_because_the_classifier_learned_raise_no_drift_warning() -> None:
    pipeline, alerts = played(traffic(lambda i: i % 2 == 0, lambda i, _: i >= N // 2 or i % 4 == 0))
    assert alerts == []
    assert pipeline.state.counters["classifier_moved"] > 0


def test_traffic_with_falling_certainty_raises_a_drift_warning() -> None:
    _, alerts = played(traffic(lambda i: i < N * 3 // 4 and i % 8 > 0, lambda _, sure: sure))
    assert [alert.kind for alert in alerts][:1] == ["drift"]
    before, after = alerts[0].before, alerts[0].after
    assert before is not None
    assert after is not None
    assert before > after
    assert START + N * 3 // 4 < alerts[0].event_time < START + N * 3 // 4 + 60


def test_a_warning_names_the_slice_that_moved() -> None:
    rng, events = np.random.default_rng(0), list[Event]()
    for i in range(1_600):
        language = ("de", "fr", "it")[int(rng.integers(3))]
        spread = 0.7 if language == "fr" and i >= 800 else 2.5
        logits = np.sort(rng.normal(0, spread, (12, 5)), axis=1)[:, ::-1]
        top = (logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))).astype(np.float32)
        context, slices = Context(model="m"), {"language": language}
        events.append(Generation(f"r{i}", START + i, "law", context, Signal(top[:, 0], top), slices=slices))
    settings = replace(QUIET, drift_season="none", drift_features=("entropy_sum",))
    found = [o for o in play(MemoryStore(), [events], settings) if isinstance(o, Alert)]
    [alert] = [alert for alert in found if alert.kind == "drift"]
    assert alert.message.endswith(", most in language=fr")
