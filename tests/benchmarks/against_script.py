"""The whole agent, one process without readers, against the script that a team may write instead (`script.py`).

Both read the same topic in turns, three rounds. ``end_to_end_vs_script_*`` are records for each second of the clock,
from the first poll until the last output is published; ``*_cpu`` for each processor second, with the start.
"""

from __future__ import annotations

import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from driftgauge.connectors.kafka.connection import KafkaConnection
from driftgauge.connectors.kafka.topics import create_topics
from tests.benchmarks import script
from tests.benchmarks.streaming import (
    JSON,
    MSGPACK,
    agent_seconds,
    labelled_events,
    middle,
    openai_events,
    produce,
)
from tests.brokers import broker_address

N_PACKED, N_OPENAI = 9_600, 480


class Times(NamedTuple):
    wall_s: float
    cpu_s: float


def measure() -> dict[str, dict[str, Any]]:
    """Results by name."""
    with broker_address() as address:
        packed, openai = (f"bench-{uuid.uuid4().hex[:12]}" for _ in range(2))
        produce(address, packed, labelled_events(N_PACKED), headers=MSGPACK)
        produce(address, openai, openai_events(N_OPENAI), headers=JSON)
        create_topics(KafkaConnection((address,)), [f"{packed}-out", f"{openai}-out"], 1, 1)
        return {
            **_compared("packed", address, packed, N_PACKED + N_PACKED // 10, "msgpack"),
            **_compared("openai", address, openai, N_OPENAI, "json"),
        }


def _compared(name: str, address: str, topic: str, n: int, encoding: script.Encoding) -> dict[str, dict[str, Any]]:
    def scripted() -> float:
        with tempfile.TemporaryDirectory() as folder:
            return script.seconds(address, topic, n, Path(folder), encoding)

    rounds = [(_timed(lambda: agent_seconds(address, topic, n)), _timed(scripted)) for _ in range(3)]
    wall, cpu = [(ours.wall_s, theirs.wall_s) for ours, theirs in rounds], [(o.cpu_s, t.cpu_s) for o, t in rounds]
    return {
        f"end_to_end_vs_script_{name}": middle(n, wall, "events/s"),
        f"end_to_end_vs_script_{name}_cpu": middle(n, cpu, "events/CPU s"),
    }


def _timed(seconds: Callable[[], float]) -> Times:
    start = time.process_time()
    wall_s = seconds()
    return Times(wall_s, time.process_time() - start)
