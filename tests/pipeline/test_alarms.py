"""Labels raise and resolve alarms in the pipeline. Each response counts once, with its first truth."""

from __future__ import annotations

import numpy as np
from prometheus_client import CollectorRegistry

from driftgauge.agent.core.pipeline import Pipeline
from driftgauge.agent.core.settings import PipelineSettings
from driftgauge.agent.outlets.metrics import Metrics
from driftgauge.connectors.testing import MemoryStore
from driftgauge.models.events import Context, Event, Generation, Label
from driftgauge.models.labels import LabelUse
from driftgauge.models.outputs import Alert, Estimate, Output
from tests.copying import replace
from tests.pipeline.logs import START, signal

SETTINGS = PipelineSettings(targets={"easy": 0.1}, detect_drift=False)
CONTEXT = Context(model="m")


def respond(domain: str, n: int) -> list[Event]:
    rng = np.random.default_rng(0)
    return [Generation(f"{domain}{i}", START + i, domain, CONTEXT, signal(rng, 5)) for i in range(n)]


def label(domain: str, i: int, correct: float | None, **more: object) -> Label:
    made = Label(f"l-{domain}{i}", f"{domain}{i}", START + 1000 + i, correct)
    return replace(made, **more)


class Agent:
    def __init__(self, settings: PipelineSettings = SETTINGS) -> None:
        self.settings = settings
        self.store = MemoryStore()
        self.pipeline = Pipeline(settings)

    def take(self, *events: Event) -> list[Output]:
        with self.store.transaction() as memory:
            outputs = self.pipeline.step(events, memory)
            memory.emit(outputs)
        return outputs

    def alerts(self, *events: Event) -> list[tuple[str, str, str]]:
        outputs = self.take(*events)
        return [(o.kind, o.state, o.domain) for o in outputs if isinstance(o, Alert) and o.what == "accuracy"]

    def n_counted(self, domain: str) -> int:
        return next(d.watch.n_labels for series, d in self.pipeline.state.domains.items() if series.domain == domain)


def test_labels_below_the_target_raise_an_alarm_and_labels_above_it_resolve_the_alarm() -> None:
    agent = Agent()
    agent.take(*respond("hard", 300), *respond("easy", 40))
    wrong = [label(domain, i, 0.0) for i in range(40) for domain in ("hard", "easy")]
    assert agent.alerts(*wrong[:60]) == [("below_target", "firing", "hard")]
    assert agent.alerts(*(label("hard", i, 1.0) for i in range(40, 300))) == [("below_target", "resolved", "hard")]


def test_an_alarm_contains_the_target_the_accuracy_and_the_start_of_the_fall() -> None:
    agent = Agent()
    agent.take(*respond("hard", 40))
    [alarm] = [o for o in agent.take(*(label("hard", i, 0.0) for i in range(40))) if isinstance(o, Alert)]
    assert (alarm.before, alarm.after) == (0.8, 0.0)
    assert alarm.since is not None
    assert START <= alarm.since < START + 40


def test_a_response_counts_once_however_often_its_labels_change() -> None:
    agent = Agent()
    agent.take(*respond("hard", 2))
    first = label("hard", 0, 0.0)
    agent.take(first, first, label("hard", 0, 1.0, label_id="again", supersedes=first.label_id))
    assert agent.n_counted("hard") == 1
    agent.take(label("hard", 0, None, label_id="withdrawn", supersedes="again"))
    agent.take(label("hard", 0, 0.0, label_id="once more"))
    assert agent.n_counted("hard") == 1
    agent.take(label("hard", 1, 0.0))
    assert agent.n_counted("hard") == 2


def test_labels_of_unknown_probability_raise_no_alarm_if_the_settings_ignore_them() -> None:
    agent = Agent(replace(SETTINGS, label_use=LabelUse(unknown="teach")))
    agent.take(*respond("hard", 100))
    assert agent.alerts(*(label("hard", i, 0.0) for i in range(50))) == []
    designed = (label("hard", i, 0.0, inclusion_probability=0.1) for i in range(50, 100))
    assert agent.alerts(*designed) == [("below_target", "firing", "hard")]


def test_labels_of_a_smaller_probability_than_the_plan_has_are_counted() -> None:
    agent = Agent(replace(SETTINGS, smallest_inclusion_probability=0.1))
    agent.take(*respond("hard", 3))
    agent.take(*(label("hard", i, 0.0, inclusion_probability=p) for i, p in enumerate((1.0, 0.1, 0.05))))
    assert agent.pipeline.state.counters["labels_below_smallest_probability"] == 1
    assert agent.n_counted("hard") == 3


def test_the_state_of_an_alarm_is_a_metric_and_survives_a_restart() -> None:
    agent, registry = Agent(), CollectorRegistry()
    metrics = Metrics(registry)
    outputs = agent.take(*respond("hard", 60), *respond("easy", 60), *respond("unlabelled", 60))
    outputs += agent.take(*(label(domain, i, 0.0) for i in range(50) for domain in ("hard", "easy")))
    estimates = [o for o in outputs if isinstance(o, Estimate)]
    with agent.store.transaction() as memory:
        resumed = Pipeline.resume(SETTINGS, memory)
    for state in (agent.pipeline.state, resumed.state):
        metrics.batch([], estimates, state)
        shown = [
            registry.get_sample_value(
                "driftgauge_alert_state",
                {"domain": name, "model": "m", "context": estimates[0].fingerprint, "kind": "below_target"},
            )
            for name in ("hard", "easy", "unlabelled")
        ]
        assert shown == [1.0, 0.0, None]


def test_the_anytime_interval_of_estimates_narrows_as_labels_arrive() -> None:
    agent = Agent(replace(SETTINGS, emit_every_labels=10, material_change=0.0))
    agent.take(*respond("easy", 60))
    outputs = agent.take(*(label("easy", i, float(i % 2)) for i in range(60)))
    widths = [
        e.anytime_high - e.anytime_low
        for e in outputs
        if isinstance(e, Estimate) and e.anytime_low is not None and e.anytime_high is not None
    ]
    assert len(widths) > 2
    assert widths == sorted(widths, reverse=True)
