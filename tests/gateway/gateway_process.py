"""The real command ``driftgauge gateway`` as a process before a scripted upstream."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Self

from prometheus_client.parser import text_string_to_metric_families

from tests.deadline import until

COMMAND = (sys.executable, "-m", "driftgauge.agent.cli", "gateway")
_LISTENS = re.compile(r"listens on 127\.0\.0\.1:(\d+), its status on port (\d+)")


class GatewayProcess:
    """One gateway with its folder, which contains its settings and its log."""

    def __init__(self, folder: Path, upstream: str, broker: str, **more: Any) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.log, config = folder / "gateway.log", folder / "driftgauge.yaml"
        given = {"upstream": upstream, "port": 0, "status_port": 0, "capture": {"models": ["*"]}, **more}
        topics = {"generations": [f"g-{folder.name}"], "labels": [f"l-{folder.name}"]}
        kafka = {"bootstrap_servers": [broker], "topics": topics, "create_topics": True, "partitions": 1}
        config.write_text(json.dumps({"gateway": given, "kafka": kafka}))  # JSON is YAML
        self.topics = topics
        with self.log.open("wb") as log:
            self.process = subprocess.Popen((*COMMAND, "--config", str(config)), stdout=log, stderr=log)

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(until, self._is_ready, 60.0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.process.kill()
        await asyncio.to_thread(self.process.wait)

    def ports(self) -> list[tuple[int, int]]:
        """Port and status port of each worker that was started."""
        assert self.process.poll() is None, self.log.read_text()
        return [(int(port), int(status)) for port, status in _LISTENS.findall(self.log.read_text())]

    def _is_ready(self) -> bool:
        return bool(self.ports()) and self.readiness()["status"] == "ready"

    def readiness(self) -> Any:
        """What ``/readyz`` of the first worker says, also where it says no."""
        try:
            return json.loads(self.status("/readyz"))
        except urllib.error.HTTPError as error:
            return json.loads(error.read())

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.ports()[0][0]}"

    def status(self, path: str, worker: int = 0) -> str:
        """What a status path says."""
        url = f"http://127.0.0.1:{self.ports()[worker][1]}{path}"
        with urllib.request.urlopen(url) as answer:
            return str(answer.read().decode())

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric over the workers."""
        return sum(
            sample.value
            for worker in range(len(self.ports()))
            for family in text_string_to_metric_families(self.status("/metrics", worker))
            for sample in family.samples
            if sample.name == f"driftgauge_gateway_{name}" and labels.items() <= sample.labels.items()
        )

    async def stop(self) -> int:
        """Stop the gateway in order (SIGTERM) and return its exit code."""
        self.process.terminate()
        return await asyncio.to_thread(self.process.wait, 60)
