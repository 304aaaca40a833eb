"""An accuracy that cannot be estimated is a status with a reason and no number, in events and in the store."""

from __future__ import annotations

import json

import numpy as np
import pytest

from driftgauge.agent.core.pipeline import Pipeline
from driftgauge.agent.core.settings import PipelineSettings
from driftgauge.connectors.base import Store
from driftgauge.connectors.publishing.payload import to_json
from driftgauge.connectors.testing import MemoryStore
from driftgauge.models.events import Context, Event, Generation, Label, Tick
from driftgauge.models.learn.committee import CommitteeSettings
from driftgauge.models.outputs import Estimate, Status
from tests.copying import replace
from tests.pipeline.logs import START, signal

SETTINGS = PipelineSettings(committee=CommitteeSettings(gate_auroc=0.7))


def respond(n: int, domain: str = "law") -> list[Event]:
    rng = np.random.default_rng(ord(domain[0]) + 1)
    return [Generation(f"{domain}{i}", START + i, domain, Context(model="m"), signal(rng, 5)) for i in range(n)]


def random_labels(n: int, domain: str) -> list[Event]:
    """Labels that have nothing to do with the responses."""
    right = np.random.default_rng(ord(domain[0])).random(n) < 0.5
    return [Label(f"l-{domain}{i}", f"{domain}{i}", START + 1000, float(c)) for i, c in enumerate(right)]


def last_estimates(store: Store, *batches: list[Event], settings: PipelineSettings = SETTINGS) -> list[Estimate]:
    """The newest estimate of each domain, as the store gives it back."""
    pipeline = Pipeline(settings)
    newest: dict[str, Estimate] = {}
    for batch in batches:
        with store.transaction() as memory:
            outputs = pipeline.step(batch, memory)
            memory.emit(outputs)
        newest |= {o.domain: o for o in outputs if isinstance(o, Estimate)}
    with store.transaction() as memory:
        kept = [memory.estimate(estimate.key) for estimate in newest.values()]
    assert kept == list(newest.values())
    return list(newest.values())


def later(seconds: float) -> list[Event]:
    return [Tick(START + seconds)]


RANDOM = [*respond(150), *respond(150, "art"), *random_labels(150, "law"), *random_labels(150, "art")]


@pytest.mark.parametrize(
    ("status", "batches"),
    [
        ("insufficient_data", [respond(7), later(3600)]),
        ("insufficient_data", [respond(60), later(3600)]),  # enough responses, but no classifier that is ready
        ("no_data", [respond(60), later(3600), later(3 * 86_400), later(3 * 86_400 + 7_200)]),
        ("signal_invalid", [RANDOM, later(3600)]),
    ],
)
def test_an_estimate_without_enough_data_has_a_status_and_no_number(status: Status, batches: list[list[Event]]) -> None:
    for estimate in last_estimates(MemoryStore(), *batches):
        assert estimate.status == status
        assert estimate.status_reason
        assert (estimate.accuracy, estimate.ci_low, estimate.ci_high) == (None, None, None)
        payload = json.loads(to_json(estimate))
        assert (payload["status"], payload["accuracy"], payload["ci_low"]) == (status, None, None)


def test_an_estimate_contains_every_part_that_it_was_computed_from() -> None:
    open_gate = replace(SETTINGS, committee=CommitteeSettings(gate_auroc=0.0))
    for estimate in last_estimates(MemoryStore(), RANDOM, later(3600), settings=open_gate):
        payload = json.loads(to_json(estimate))
        assert payload["status"] == "ok"
        assert payload["estimator"] == "averaged"
        assert (payload["n_events"], payload["n_labels"], payload["effective_sample_size"]) == (150, 150, 150.0)
        assert len(payload["components"]) > 3
        assert payload["interval_parts"].keys() == {"sampling", "between_domains"}
        assert payload["spread"] > 0
        assert payload["fingerprint"]
        assert payload["classifier_version"] > 0
        assert payload["revision"] >= 1
        assert 0 <= payload["anytime_low"] < payload["accuracy"] < payload["anytime_high"] <= 1
