"""Metric names are a contract; an unknown value has no sample; series are bounded."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import numpy as np
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from driftgauge.agent.core.context_state import ContextState
from driftgauge.agent.core.settings import PipelineSettings
from driftgauge.agent.core.state import State
from driftgauge.agent.outlets.metrics import Metrics
from driftgauge.agent.service.loop import Loop
from driftgauge.connectors.base import ConnectorError, Record, TopicPartition
from driftgauge.connectors.decoding.decoder import Decoder
from driftgauge.connectors.testing import Crash, CrashPlan, MemorySink, MemorySource, MemoryStore, Tables
from driftgauge.models.labels import AnnotatorPairs
from driftgauge.models.outputs import Estimate
from driftgauge.models.selection import EVERYTHING, Selection
from driftgauge.models.series import SeriesKey
from tests.copying import replace
from tests.crash.agents import records
from tests.pipeline.logs import SETTINGS

ESTIMATE = Estimate(
    domain="math", fingerprint="f00d", model="m", window_start=0.0, window_end=3600.0, watermark=3600.0, revision=1,
    status="ok", status_reason=None, accuracy=0.8, ci_low=0.7, ci_high=0.9, confidence_level=0.9,
    estimator="corrected_mean", n_events=300, n_labels=12, effective_sample_size=12.0, accuracy_labelled=0.75,
    classifier_version=3, spread=None,
)  # fmt: skip
UNKNOWN = replace(
    ESTIMATE, domain="law", status="insufficient_data", status_reason="7 of 30 responses", accuracy=None, ci_low=None,
    ci_high=None, accuracy_labelled=None, n_events=7, n_labels=0,
)  # fmt: skip
LABELS = {"domain": "math", "model": "m", "context": "f00d", "estimator": "corrected_mean"}


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def state() -> State:
    state = State(PipelineSettings())
    state.counters.update(
        responses=40, labels=9, labels_joined=7, rejected_unmatched_label=2, unusable_no_logprobs=3,
        signal_censored=5, domain_overflow=3, domains_retired=1, contexts_retired=1,
        alerts_drift=6,
    )  # fmt: skip
    state.n_pending = 2
    return state


def test_metrics_show_an_estimate_with_its_interval(registry: CollectorRegistry, state: State) -> None:
    Metrics(registry).batch([], [ESTIMATE], state)
    shown = {
        name: registry.get_sample_value(f"driftgauge_{name}", LABELS)
        for name in (
            "accuracy_estimate_ratio", "accuracy_lower_ratio", "accuracy_upper_ratio", "accuracy_labelled_ratio",
            "window_events", "window_labels", "accuracy_spread_ratio",
        )
    }  # fmt: skip
    assert list(shown.values()) == [0.8, 0.7, 0.9, 0.75, 300, 12, None]


def test_an_unknown_accuracy_has_a_status_and_no_sample(registry: CollectorRegistry, state: State) -> None:
    Metrics(registry).batch([], [UNKNOWN], state)
    labels = {**LABELS, "domain": "law"}
    assert registry.get_sample_value("driftgauge_accuracy_estimate_ratio", labels) is None
    assert registry.get_sample_value("driftgauge_accuracy_labelled_ratio", labels) is None
    status = {**labels, "status": "insufficient_data"}
    assert registry.get_sample_value("driftgauge_estimate_status", status) == 1


def test_a_revision_of_a_past_window_does_not_replace_the_newest_window(
    registry: CollectorRegistry, state: State
) -> None:
    metrics = Metrics(registry)
    metrics.batch([], [ESTIMATE], state)
    metrics.batch([], [replace(ESTIMATE, window_end=1800.0, accuracy=0.1)], state)
    assert registry.get_sample_value("driftgauge_accuracy_estimate_ratio", LABELS) == 0.8


def test_beyond_the_bound_the_series_without_recent_estimates_is_dropped(
    registry: CollectorRegistry, state: State
) -> None:
    metrics = Metrics(registry, max_domains=2)
    a, b, c = (replace(ESTIMATE, domain=name) for name in "abc")
    metrics.batch([], [a, b, a, c], state)
    shown = [
        name for name in "abc"
        if registry.get_sample_value("driftgauge_window_events", {**LABELS, "domain": name}) is not None
    ]  # fmt: skip
    assert shown == ["a", "c"]
    assert registry.get_sample_value("driftgauge_series_dropped_total") == 1


@pytest.mark.parametrize(
    ("name", "labels", "value"),
    [
        ("events_total", {"outcome": "responses"}, 40),
        ("labels_total", {"outcome": "joined"}, 7),
        ("events_rejected_total", {"reason": "unmatched_label"}, 2),
        ("responses_unusable_total", {"reason": "no_logprobs"}, 3),
        ("signal_problems_total", {"reason": "censored"}, 5),
        ("bound_reached_total", {"setting": "bounds.max_domains"}, 4),
        ("bound_reached_total", {"setting": "context.max_fingerprints"}, 1),
        ("bound_reached_total", {"setting": "labels.max_pending"}, 0),
        ("alerts_total", {"kind": "drift", "severity": "warning"}, 6),
        ("alerts_total", {"kind": "below_target", "severity": "alarm"}, 0),  # an increase starts at 0
        ("events_total", {"outcome": "alerts_drift"}, None),  # counted once
        ("progress_timestamp_seconds", {}, 1234.5),
        ("labels_pending", {}, 2),
        ("records_total", {"topic": "generations"}, 2),
        ("batches_total", {}, 1),
        ("checkpoint_timestamp_seconds", {}, 1234.5),
        ("watermark_timestamp_seconds", {}, None),  # no event yet: unknown, not zero
        ("waiting", {}, 1),
        ("consumer_lag_records", {"topic": "labels", "partition": "3"}, 17),
    ],
)
def test_metrics_show_every_kind_of_count(
    registry: CollectorRegistry, state: State, name: str, labels: dict[str, str], value: float | None
) -> None:
    metrics = Metrics(registry, now=lambda: 1234.5)
    metrics.batch([Record("generations", 0, i, None, b"") for i in range(2)], [], state)
    metrics.lag({TopicPartition("labels", 3): 17})
    metrics.failure(ConnectorError("away", retriable=True))
    assert registry.get_sample_value(f"driftgauge_{name}", labels) == value


def test_the_age_of_the_oldest_pending_label_has_a_sample_only_while_labels_wait(
    registry: CollectorRegistry, state: State
) -> None:
    metrics, name = Metrics(registry), "driftgauge_labels_pending_oldest_timestamp_seconds"
    state.oldest_pending = 60.0
    metrics.batch([], [], state)
    assert registry.get_sample_value(name) == 60.0
    state.settings = replace(state.settings, selection=Selection(only={"model": ["m"]}))
    metrics.batch([], [], state)
    assert registry.get_sample_value(name) is None, "it may be a label of another agent"
    state.settings = replace(state.settings, selection=EVERYTHING)
    state.n_pending = 0
    metrics.batch([], [], state)
    assert registry.get_sample_value(name) is None


def test_the_error_of_annotators_is_unknown_until_two_of_them_labelled_one_response(
    registry: CollectorRegistry, state: State
) -> None:
    metrics, name = Metrics(registry), "driftgauge_annotator_error_ratio"
    metrics.batch([], [], state)
    assert registry.get_sample_value(name) is None
    state.annotator_pairs = AnnotatorPairs(n=3)
    metrics.batch([], [], state)
    assert registry.get_sample_value(name) == 0.0


def test_each_live_domain_has_its_target(registry: CollectorRegistry) -> None:
    state = State(PipelineSettings(targets={"math": 0.95}, default_target=0.7))
    for series in (SeriesKey("math", "a"), SeriesKey("math", "b"), SeriesKey("law", "a")):
        state.add_domain(state.new_domain(series))
    metrics, name = Metrics(registry), "driftgauge_accuracy_target_ratio"
    metrics.batch([], [], state)
    assert [registry.get_sample_value(name, {"domain": domain}) for domain in ("math", "law")] == [0.95, 0.7]
    state.remove_domain(SeriesKey("law", "a"))
    metrics.batch([], [], state)
    assert registry.get_sample_value(name, {"domain": "law"}) is None


def test_progress_is_the_time_of_the_newest_round_or_failure(registry: CollectorRegistry, state: State) -> None:
    times = iter(range(100))
    metrics = Metrics(registry, now=lambda: float(next(times)))
    started = progress(registry)
    metrics.batch([], [], state)
    after_batch = progress(registry)
    metrics.failure(None)
    assert started < after_batch < progress(registry)


def progress(registry: CollectorRegistry) -> float:
    value = registry.get_sample_value("driftgauge_progress_timestamp_seconds")
    assert value is not None
    return value


def test_a_new_observer_shows_the_counters_of_the_state(registry: CollectorRegistry, state: State) -> None:
    Metrics(registry).batch([], [], state)
    again = CollectorRegistry()
    state.counters["responses"] += 1
    Metrics(again).batch([], [], state)
    assert again.get_sample_value("driftgauge_events_total", {"outcome": "responses"}) == 41


def run_agent(tables: Tables, log: Sequence[Record], killed: CrashPlan | None = None) -> CollectorRegistry:
    """Run an agent over the records that are not in the tables yet; return its metrics once it has ended or died."""
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    source = MemorySource(log, max_records=16, crash=killed)
    store = MemoryStore(tables)
    agent = Loop(SETTINGS, Decoder(encoding="msgpack"), store, lambda: source, MemorySink, observers=[metrics])
    with suppress(Crash):
        agent.run()
    return registry


def lasting_counters(registry: CollectorRegistry) -> dict[tuple[str, ...], float]:
    """All counters by name and label values, without those that count since the start of the process."""
    since_start = {
        "driftgauge_records", "driftgauge_records_accounted", "driftgauge_batches", "driftgauge_series_dropped",
    }  # fmt: skip
    families = [f for f in registry.collect() if f.type == "counter" and f.name not in since_start]
    return {(f.name, *s.labels.values()): s.value for f in families for s in f.samples}


def test_counters_continue_after_a_restart_of_the_agent() -> None:
    log, tables = records(0, 200), Tables()
    before = run_agent(tables, log, killed=CrashPlan(at=30))
    after, uninterrupted = run_agent(tables, log), run_agent(Tables(), log)
    responses = ("driftgauge_events", "responses")
    assert 0 < lasting_counters(before)[responses] < lasting_counters(after)[responses]
    assert lasting_counters(after) == lasting_counters(uninterrupted)


def test_records_are_counted_since_the_start_of_the_process() -> None:
    log, tables = records(0, 200), Tables()
    before, after = run_agent(tables, log, killed=CrashPlan(at=30)), run_agent(tables, log)
    assert 0 < n_records(before) < len(log)
    assert n_records(after) == len(log) - n_records(before)


def n_records(registry: CollectorRegistry) -> float:
    topics = [registry.get_sample_value("driftgauge_records_total", {"topic": t}) for t in ("generations", "labels")]
    return sum(n or 0.0 for n in topics)


def test_label_values_cannot_break_the_exposition(registry: CollectorRegistry, state: State) -> None:
    Metrics(registry).batch([], [replace(ESTIMATE, domain='a"} 1\nevil 7')], state)
    assert b"\nevil" not in generate_latest(registry)


def test_metrics_do_not_show_a_batch_before_it_is_committed(registry: CollectorRegistry, state: State) -> None:
    Metrics(registry).batch([], [], state)
    state.counters["responses"] += 1  # the pipeline works on the next batch
    assert registry.get_sample_value("driftgauge_events_total", {"outcome": "responses"}) == 40


def test_label_delays_are_a_histogram(registry: CollectorRegistry, state: State) -> None:
    for delay_s in (0.5, 45.0, 1e9):
        state.label_delays.add(delay_s)
    Metrics(registry).batch([], [], state)
    name = "driftgauge_label_delay_seconds"
    shown = [registry.get_sample_value(f"{name}_bucket", {"le": le}) for le in ("1.0", "10.0", "60.0", "+Inf")]
    assert shown == [1, 1, 2, 3]
    assert registry.get_sample_value(f"{name}_count") == 3
    assert registry.get_sample_value(f"{name}_sum") == pytest.approx(1e9 + 45.5)


def test_metrics_show_classifier_scores_by_domain_and_for_all_domains(
    registry: CollectorRegistry, state: State
) -> None:
    context = state.contexts["f00d"] = ContextState(state.settings, "m")
    entropy, n = np.linspace(0, 1, 40, dtype=np.float32)[:, None], 40
    correct = (entropy[:, 0] < 0.5).astype(float)
    context.committee.score_and_learn(entropy, correct, np.ones(n), ["math"] * n, np.full(n, 0.5))
    Metrics(registry).batch([], [], state)
    labels = {"classifier": "published", "domain": "math", "model": "m", "context": "f00d"}
    champion = {**labels, "classifier": "random_forest", "domain": "(all)"}
    assert registry.get_sample_value("driftgauge_classifier_labels", labels) == 40
    assert registry.get_sample_value("driftgauge_brier_score_ratio", labels) == 0.25
    assert registry.get_sample_value("driftgauge_calibration_error_upper_ratio", labels) is not None
    assert 0 < (registry.get_sample_value("driftgauge_classifier_labels", champion) or 0) < 40
    assert registry.get_sample_value("driftgauge_brier_score_ratio", {**labels, "domain": "law"}) is None


def test_classifier_scores_are_computed_at_most_once_a_second(registry: CollectorRegistry, state: State) -> None:
    clock = [0.0]
    metrics = Metrics(registry, now=lambda: clock[0])
    metrics.batch([], [], state)
    state.contexts["f00d"] = ContextState(state.settings, "m")
    labels = {"classifier": "published", "domain": "(all)", "model": "m", "context": "f00d"}
    metrics.batch([], [], state)
    assert registry.get_sample_value("driftgauge_classifier_labels", labels) is None
    clock[0] = 1.0
    metrics.batch([], [], state)
    assert registry.get_sample_value("driftgauge_classifier_labels", labels) == 0
    assert registry.get_sample_value("driftgauge_brier_score_ratio", labels) is None
