"""A run that requires the tests of a service fails when those tests did not run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

RUNS = "@pytest.mark.kafka\ndef test_it(): pass\n"
SKIPS = "@pytest.mark.kafka\n@pytest.mark.skip\ndef test_other(): pass\n"
UNMARKED = "def test_unmarked(): pass\n"


def run(folder: Path, tests: str, *arguments: str, required: str = "kafka") -> subprocess.CompletedProcess[str]:
    """Run a small separate suite with the real hooks."""
    (folder / "suite").mkdir()
    (folder / "suite" / "test_one.py").write_text(f"import pytest\n{tests}")
    (folder / "suite" / "conftest.py").write_text((ROOT / "tests" / "required.py").read_text())
    (folder / "pytest.ini").write_text("[pytest]\ntestpaths = suite\nmarkers =\n    kafka\n    postgres\n")
    environment = {
        **os.environ,
        "DRIFTGAUGE_REQUIRE": required,
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # to import all plugins takes a second
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("tests", "required", "status", "line"),
    [
        (RUNS + UNMARKED, "kafka", 0, ""),
        (RUNS + SKIPS, "kafka", 1, "DRIFTGAUGE_REQUIRE=kafka: 1 tests ran and 1 were skipped"),
        (UNMARKED, "kafka", 1, "DRIFTGAUGE_REQUIRE=kafka: 0 tests ran and 0 were skipped"),
        (RUNS, "kafka, postgres", 1, "DRIFTGAUGE_REQUIRE=postgres: 0 tests ran and 0 were skipped"),
        (RUNS + SKIPS, "", 0, ""),
    ],
    ids=["all ran", "one skipped", "none there", "one kind missing", "nothing required"],
)
def test_a_whole_run_fails_when_required_tests_did_not_run(
    tmp_path: Path, tests: str, required: str, status: int, line: str
) -> None:
    done = run(tmp_path, tests, required=required)
    assert done.returncode == status, done.stdout + done.stderr
    assert line in done.stdout


def test_a_whole_run_with_several_workers_fails_when_required_tests_did_not_run(tmp_path: Path) -> None:
    done = run(tmp_path, RUNS + SKIPS, "-p", "xdist.plugin", "-n", "2")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "DRIFTGAUGE_REQUIRE=kafka: 1 tests ran and 1 were skipped" in done.stdout


@pytest.mark.parametrize("selection", [["suite/test_one.py"], ["-k", "unmarked"], ["-m", "not kafka"]])
def test_a_run_of_selected_tests_does_not_need_the_required_tests(tmp_path: Path, selection: list[str]) -> None:
    assert run(tmp_path, UNMARKED + SKIPS, *selection).returncode == 0
