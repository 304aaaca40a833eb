"""A whole agent in a thread, with topics that only one test uses."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from driftgauge.agent.service.agent import open_agent
from driftgauge.agent.service.loop import Loop
from driftgauge.config.load import load_settings
from driftgauge.config.settings import Settings
from driftgauge.connectors.base import TopicPartition
from tests.deadline import until


def settings_for(address: str, folder: Path, **more: object) -> Settings:
    """Settings of an agent with new topic names; each topic has one partition and is created at the start."""
    name = f"t-{uuid.uuid4().hex[:12]}"
    topics = {
        kind: f"{name}.{kind}"
        for kind in (
            "estimates",
            "alerts",
            "priorities",
            "label_lists",
            "slice_estimates",
            "weak_segments",
            "predictions",
            "reports",
            "dead_letters",
        )
    }
    given = {
        "kafka.bootstrap_servers": [address],
        "kafka.topics": {**topics, "generations": [f"{name}.generations"], "labels": [f"{name}.labels"]},
        "kafka.create_topics": True,
        "kafka.partitions": 1,
        "store.url": f"sqlite:///{folder / 'store.db'}",
        "server.enabled": False,
        **{key.replace("__", "."): value for key, value in more.items()},
    }
    return load_settings(overrides=given)


@contextmanager
def running(settings: Settings) -> Iterator[Loop]:
    """The agent at work in a thread; stopped at the end, and what stopped it earlier is raised."""
    with open_agent(settings) as agent, ThreadPoolExecutor(1) as pool:
        done = pool.submit(agent.run)
        try:
            yield agent
        finally:
            agent.stop()
            done.result(60)


def wait_for(agent: Loop, ends: Mapping[str, int], timeout_s: float = 60.0) -> None:
    """Wait until this many records of each topic are applied and all outputs are published."""

    def is_done() -> bool:
        with agent.store.transaction() as transaction:
            positions = transaction.positions()
        reached = all(positions.get(TopicPartition(topic, 0), 0) >= end for topic, end in ends.items())
        return reached and not agent.store.outbox(1)

    until(is_done, timeout_s)
