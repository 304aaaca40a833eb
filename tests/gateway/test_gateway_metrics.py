"""Metrics, health and readiness of a worker of the gateway."""

from __future__ import annotations

from dataclasses import fields

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from driftgauge.agent.gateway.body_parser import BodyParser
from driftgauge.agent.gateway.breaker import Breaker
from driftgauge.agent.gateway.metrics import Counts, GatewayMetrics
from driftgauge.agent.gateway.status import STUCK_AFTER_S, GatewayHealth, routes
from driftgauge.connectors.capture.outbox import Outbox
from tests.gateway.parsing import parse


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def samples(registry: CollectorRegistry) -> dict[str, float]:
    """Every sample by its name and labels."""
    return {
        sample.name + "".join(f"/{value}" for value in sample.labels.values()): sample.value
        for family in registry.collect()
        for sample in family.samples
    }


def test_every_count_is_shown_and_changes_one_sample(registry: CollectorRegistry) -> None:
    counts = Counts()
    GatewayMetrics(registry, counts, outbox=Outbox(1 << 20), breaker=Breaker())
    for field in fields(Counts):
        before = samples(registry)
        if isinstance(getattr(counts, field.name), dict):
            getattr(counts, field.name)["planted"] += 3
        else:
            setattr(counts, field.name, 3)
        changed = {name: value for name, value in samples(registry).items() if before.get(name) != value}
        assert list(changed.values()) == [3], field.name


def test_events_are_captured_published_dropped_or_queued(registry: CollectorRegistry) -> None:
    outbox = Outbox(1_500)
    GatewayMetrics(registry, Counts(), outbox=outbox, breaker=Breaker())
    for _ in range(5):
        outbox.put("t", b"k", b"x" * 400)
    outbox.published(1)
    shown = {name.removeprefix("driftgauge_gateway_"): value for name, value in samples(registry).items()}
    assert shown["events_captured_total"] == 5
    assert shown["events_published_total"] == 1
    assert shown["events_dropped_total/outbox_full"] == 3
    assert shown["events_queued"] == 1


def test_answers_lost_in_the_parser_are_counted_with_those_lost_on_the_way(registry: CollectorRegistry) -> None:
    counts, parser = Counts(), BodyParser(parse, lambda *_: None, max_bytes=1)
    GatewayMetrics(registry, counts, outbox=Outbox(1 << 20), breaker=Breaker(), parser=parser)
    counts.lost["too_many_tokens"] += 1
    parser.put(b"a")
    parser.put(b"b")
    shown = samples(registry)
    assert shown["driftgauge_gateway_answers_lost_total/too_many_tokens"] == 1
    assert shown["driftgauge_gateway_answers_lost_total/parser_full"] == 1
    assert shown["driftgauge_gateway_bodies_waiting"] == 1


def test_pauses_are_shown_by_cause_and_not_by_kind(registry: CollectorRegistry) -> None:
    breaker = Breaker()
    GatewayMetrics(registry, Counts(), outbox=Outbox(1 << 20), breaker=breaker)
    breaker.note("planted-model", "refused", asked_at=0.0, now=1.0)
    shown = samples(registry)
    assert shown["driftgauge_gateway_paused_kinds"] == 1
    assert shown["driftgauge_gateway_pauses_total/refused"] == 1
    assert not any("planted-model" in name for name in shown)


def test_a_worker_is_ready_from_its_start_to_its_drain_whatever_the_broker_does(registry: CollectorRegistry) -> None:
    problem = "no Kafka broker at broker:9092"
    health = GatewayHealth(lambda: problem)
    ready = routes(health, registry)["/readyz"]
    assert ready().status == 503
    health.accept_requests()
    assert (ready().status, msgspec.json.decode(ready().body)) == (200, {"status": "ready", "publishing": problem})
    health.drain()
    assert (ready().status, msgspec.json.decode(ready().body)["reason"]) == (503, "draining")


def test_a_worker_whose_loop_stands_still_is_not_alive(registry: CollectorRegistry) -> None:
    now = 0.0
    health = GatewayHealth(now=lambda: now)
    alive = routes(health, registry)["/healthz"]
    now = STUCK_AFTER_S
    assert alive().status == 200
    now += 0.1
    assert alive().status == 503
    health.tick()
    assert alive().status == 200
