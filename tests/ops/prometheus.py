"""Prometheus and promtool for tests: found on the PATH, or unpacked from the distribution's package without root."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Mapping
from contextlib import closing, suppress
from pathlib import Path
from socket import create_server
from typing import Any
from urllib.parse import urlencode

from tests.deadline import until

UNPACKED = Path(sys.prefix) / "prometheus"


def binary(name: str) -> str | None:
    """The path of ``prometheus`` or ``promtool``; None where it is neither installed nor to be had."""
    if found := shutil.which(name):
        return found
    place = UNPACKED / "usr" / "bin" / name
    if not place.exists():
        with suppress(OSError, subprocess.SubprocessError):
            _unpack()
    return str(place) if place.exists() else None


def _unpack() -> None:
    """Download the package of Debian or Ubuntu and unpack it into the environment of the tests."""
    with tempfile.TemporaryDirectory(dir=UNPACKED.parent) as temporary:
        folder = Path(temporary)

        def run(*command: str) -> int:
            return subprocess.run(command, cwd=folder, capture_output=True, timeout=300, check=False).returncode

        if run("apt-get", "download", "prometheus") != 0:  # the machine has no package lists: read them without root
            for name in ("state/lists/partial", "cache/archives/partial"):
                (folder / name).mkdir(parents=True)
            places = ("-o", f"Dir::State={folder / 'state'}", "-o", f"Dir::Cache={folder / 'cache'}")
            run("apt-get", *places, "-o", "Debug::NoLocking=1", "update")
            run("apt-get", *places, "download", "prometheus")
        for package in folder.glob("*.deb"):
            run("dpkg", "-x", str(package), "unpacked")
        (folder / "unpacked").rename(UNPACKED)


class Prometheus:
    """A Prometheus server on a free port that scrapes one address every second, until it is closed.

    Examples
    --------
    ``Prometheus(binary, folder, target="127.0.0.1:9464", rules=path)``
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
