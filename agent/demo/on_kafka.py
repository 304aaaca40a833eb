"""The demo over a real Apache Kafka: the same traffic as in `agent/demo/embedded.py`, in three processes.

A producer publishes the recorded traffic, the agent reads it, and a consumer prints the estimates that the agent
publishes.
"""

from __future__ import annotations

import json
from pathlib import Path

from rich.console import Console

from driftgauge.agent.demo.embedded import PLAN, bundled, conclude, make_room, settings_in
from driftgauge.agent.demo.processes import processes, stored_account, wait_until_stored
from driftgauge.agent.service import build
from driftgauge.agent.service.replay import open_files, print_text
from driftgauge.config.settings import Settings
from driftgauge.connectors.kafka.topics import create_topics


def run_on_kafka(folder: Path, console: Console, *, seed: int = 0) -> None:
    """Start a broker and the three processes, wait until every event is in the store, and print the summary."""
    make_room(folder)
    replayed = open_files(bundled(), PLAN, seed)
    with processes(folder) as start:
        broker = start.broker(console)
        print_text(console, f"Apache Kafka is ready at {broker.address}. A producer, the agent and a consumer start.")
        settings = settings_in(folder, **{"kafka.bootstrap_servers": broker.address, "server.enabled": False})
        create_topics(build.connection(settings), build.topics_used(settings), 1, 1)
        config = folder / "driftgauge.yaml"
        config.write_text(_as_yaml(settings))
        arguments = "--config", str(config)
        watcher = start.command("watch", *arguments)
        agent = start.command("run", *arguments)
        start.command("produce", *arguments, *map(str, bundled()), "--seed", str(seed))
        wait_until_stored(settings, replayed.n_records or 0, start)
        agent.stop()  # the agent publishes pending estimates before it ends; then the consumer prints them
        watcher.stop()
    conclude(folder, replayed, settings, console, stored_account(settings))


def _as_yaml(settings: Settings) -> str:
    """The settings that differ from the defaults, as a file for the three processes (JSON is YAML)."""
    windows = settings.windows.model_dump(include={"window_s", "window_events", "hop_s"})
    return json.dumps(
        {
            "kafka": {"bootstrap_servers": list(settings.kafka.bootstrap_servers)},
            "windows": windows,
            "store": {"url": settings.store.url.get_secret_value()},
            "report": {"folder": str(settings.report.folder)},
            "server": {"enabled": False},
            "logging": {"level": "warning"},
        },
        indent=2,
    )
