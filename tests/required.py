"""Hooks of pytest: a whole run fails when tests that ``DRIFTGAUGE_REQUIRE`` names did not run."""

from __future__ import annotations

import os
from collections import Counter

import pytest

SERVICES = ("alertmanager", "browser", "kafka", "postgres", "prometheus")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say which required tests did not run; `pytest_sessionfinish` made the run fail for it."""
    for line in _missing(terminalreporter, config):
        terminalreporter.write_line(line, red=True)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a whole run in which tests named by ``DRIFTGAUGE_REQUIRE`` (say ``kafka,postgres``) did not run."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and _missing(reporter, session.config):
        session.exitstatus = session.exitstatus or pytest.ExitCode.TESTS_FAILED


def _missing(reporter: pytest.TerminalReporter, config: pytest.Config) -> list[str]:
    """One line for each required kind of tests of which none ran, or one was skipped."""
    if hasattr(config, "workerinput") or config.option.keyword or config.option.markexpr or _is_selection(config):
        return []
    ran, skipped = _marks(reporter, "passed", "failed"), _marks(reporter, "skipped")
    required = [name.strip() for name in os.environ.get("DRIFTGAUGE_REQUIRE", "").split(",") if name.strip()]
    return [
        f"DRIFTGAUGE_REQUIRE={name}: {ran[name]} tests ran and {skipped[name]} were skipped"
        for name in required
        if not ran[name] or skipped[name]
    ]


def _is_selection(config: pytest.Config) -> bool:
    """Whether the command line names tests, so that this is not the whole suite."""
    return config.args_source is pytest.Config.ArgsSource.ARGS


def _marks(reporter: pytest.TerminalReporter, *outcomes: str) -> Counter[str]:
    reports = (report for outcome in outcomes for report in reporter.stats.get(outcome, ()))
    return Counter(name for report in reports for name in SERVICES if name in getattr(report, "keywords", {}))
