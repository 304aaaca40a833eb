"""The command ``driftgauge gateway`` with settings that cannot work, which needs no broker."""

from __future__ import annotations

import subprocess

import pytest

from tests.gateway.gateway_process import COMMAND


@pytest.mark.parametrize("workers", [1, 2])
def test_a_gateway_that_cannot_start_says_why_in_one_line_and_ends(workers: int) -> None:
    given = {"port": 0, "status_port": 0, "workers": workers, "upstream_cafile": "/nowhere.pem"}
    settings = [text for name, value in given.items() for text in ("--set", f"gateway.{name}={value}")]
    ended = subprocess.run((*COMMAND, *settings), capture_output=True, text=True, timeout=60)
    lines = {line for line in ended.stderr.splitlines() if " INFO " not in line}
    assert lines == {"gateway.upstream_cafile: /nowhere.pem: [Errno 2] No such file or directory"}
    assert ended.returncode == 1
