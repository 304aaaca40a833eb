"""The metrics page of an agent follows the rules of Prometheus."""

from __future__ import annotations

import subprocess
import urllib.request

import pytest

from tests.ops.agent import Page
from tests.ops.prometheus import Prometheus

pytestmark = [pytest.mark.prometheus, pytest.mark.xdist_group("prometheus")]


@pytest.mark.usefixtures("prometheus")  # the agent has read its records
def test_promtool_finds_nothing_wrong_with_the_page(promtool: str, page: Page) -> None:
    with urllib.request.urlopen(f"http://{page.address}/metrics", timeout=30) as answer:
        content = answer.read()
    done = subprocess.run([promtool, "check", "metrics"], input=content, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert content.count(b"# TYPE driftgauge_") > 30


def test_prometheus_reads_every_sample_of_the_page(prometheus: Prometheus) -> None:
    (target,) = prometheus.get("targets")["activeTargets"]
    assert (target["health"], target["lastError"]) == ("up", "")
