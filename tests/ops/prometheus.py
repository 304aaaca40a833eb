"""A real Prometheus for tests."""

from __future__ import annotations

import json
import subprocess
import urllib.request
from collections.abc import Mapping
from contextlib import closing, suppress
from pathlib import Path
from socket import create_server
from typing import Any
from urllib.parse import urlencode

from tests.deadline import until


class Prometheus:
    """A Prometheus server on a free port that scrapes one address every second, until it is closed.

    Examples
    --------
    ``Prometheus(command, folder, target="127.0.0.1:9464", rules=path)``
    """

    def __init__(self, command: str, folder: Path, *, target: str, rules: Path) -> None:
        settings = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(rules)],
            "scrape_configs": [{"job_name": "driftgauge", "static_configs": [{"targets": [target]}]}],
        }
        (folder / "prometheus.yml").write_text(json.dumps(settings))  # JSON is YAML
        with closing(create_server(("127.0.0.1", 0))) as free:
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        with (folder / "log").open("w") as log:
            self._process = subprocess.Popen(
                [
                    command, f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}",
                    f"--web.listen-address={self.address}",
                ],
                stdout=log, stderr=log,
            )  # fmt: skip
        until(self._is_ready, timeout_s=60)

    def get(self, path: str, **parameters: str) -> Any:
        """The field ``data`` of an answer of the HTTP API."""
        with urllib.request.urlopen(f"http://{self.address}/api/v1/{path}?{urlencode(parameters)}", timeout=30) as got:
            return json.load(got)["data"]

    def query(self, expression: str) -> list[Mapping[str, Any]]:
        """The series of an expression now: ``metric`` has the labels, ``value`` the time and the value as text."""
        found: list[Mapping[str, Any]] = self.get("query", query=expression)["result"]
        return found

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(30)

    def _is_ready(self) -> bool:
        assert self._process.poll() is None, "Prometheus ended; its folder has the log"
        with suppress(OSError), urllib.request.urlopen(f"http://{self.address}/-/ready", timeout=5) as got:
            return bool(got.status == 200)
        return False
