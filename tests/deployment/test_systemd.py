"""The units of systemd: valid, restricted, and with command lines that driftgauge has."""

from __future__ import annotations

import configparser
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.deployment.files import UNITS, check_command_line

PROGRAM = "/opt/driftgauge/bin/driftgauge"
MOST_EXPOSED = 2.0  # of 10, as `systemd-analyze security` counts; an agent needs the network


def section(unit: Path) -> dict[str, str]:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(unit)
    return dict(parser["Service"])


def analysed(unit: Path, folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Analyse a copy of the unit that starts the driftgauge of this environment."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    copy = folder / unit.name
    copy.write_text(unit.read_text().replace(PROGRAM, str(Path(sys.prefix) / "bin" / "driftgauge")))
    arguments: Sequence[str] = ["systemd-analyze", *command, str(copy)]
    return subprocess.run(arguments, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_systemd_accepts_the_unit(unit: Path, tmp_path: Path) -> None:
    done = analysed(unit, tmp_path, "verify")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_systemd_finds_the_unit_little_exposed(unit: Path, tmp_path: Path) -> None:
    limit = f"--threshold={10 * MOST_EXPOSED:.0f}"
    done = analysed(unit, tmp_path, "security", "--offline=true", "--no-pager", limit)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_the_command_line_exists(unit: Path) -> None:
    program, *arguments = section(unit)["ExecStart"].split()
    assert program == PROGRAM
    check_command_line(arguments)


def test_delivery_has_the_user_the_folder_and_the_restrictions_of_the_agent() -> None:
    agent, delivery = map(section, sorted(UNITS, key=lambda unit: len(unit.name)))
    differing = {name for name in agent.keys() | delivery.keys() if agent.get(name) != delivery.get(name)}
    assert differing == {"ExecStart", "EnvironmentFile", "MemoryMax", "TasksMax"}
