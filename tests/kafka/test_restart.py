"""An agent that is stopped and started again on its store shows the same metrics: no alarm resolves itself."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import numpy as np
import pytest

from driftgauge.config.settings import Settings
from driftgauge.connectors.decoding.formats.own import encode_generation, encode_label
from driftgauge.models.events import Label
from tests.deadline import until
from tests.kafka.agents import running, settings_for, wait_for
from tests.kafka.conftest import fill
from tests.pipeline.logs import signal
from tests.pipeline.stepping import T0, response

pytestmark = pytest.mark.kafka

N = 60
LASTING = (
    "accuracy",
    "alert_state",
    "estimate_status",
    "window",
    "events_total",
    "labels",
    "brier",
    "auroc",
    "domains",
)


def scraped(settings: Settings) -> dict[str, float]:
    """The lasting metrics by name and labels."""
    with urlopen(f"http://127.0.0.1:{settings.server.port}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    samples = dict(line.rsplit(" ", 1) for line in lines if line.startswith("driftgauge_"))
    lasting = tuple(f"driftgauge_{name}" for name in LASTING)
    return {name: float(value) for name, value in samples.items() if name.startswith(lasting)}


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def test_estimates_alarms_and_counters_are_shown_right_after_a_restart(
    broker: str, producer: Any, tmp_path: Path
) -> None:
    settings = settings_for(
        broker, tmp_path, decode__encoding="msgpack", windows__hop_s=60.0, kafka__pause_after_s=1.0,
        server__enabled=True, server__host="127.0.0.1", server__port=free_port(),
    )  # fmt: skip
    generations, labels = settings.kafka.topics.generations[0], settings.kafka.topics.labels[0]
    with running(settings) as agent:
        rng = np.random.default_rng(0)
        responses = [response(i, T0 + i).with_signal(signal(rng, 8)) for i in range(N)]
        fill(producer, generations, [encode_generation(one, dtype="float32") for one in responses])
        wait_for(agent, {generations: N})
        fill(producer, labels, [encode_label(Label(f"l{i}", f"r{i}", T0 + N, 0.0)) for i in range(N)])
        wait_for(agent, {labels: N})
        until(
            lambda: any(n.startswith("driftgauge_window_labels") and v == N for n, v in scraped(settings).items()), 60
        )
        before = scraped(settings)
    alarms = [value for name, value in before.items() if name.startswith("driftgauge_alert_state")]
    assert alarms == [1.0]
    with running(settings) as agent:
        until(lambda: agent.has_served, 60)
        assert scraped(settings) == before
