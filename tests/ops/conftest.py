"""A real Prometheus that scrapes an agent while the traffic of the demo runs through it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from functools import partial

import pytest

from tests.deadline import until
from tests.debian import program
from tests.ops.agent import Page, agent_with_page
from tests.ops.files import RULES
from tests.ops.prometheus import Prometheus


@pytest.fixture(scope="session")
def promtool() -> str:
    return program("promtool", "prometheus")


@pytest.fixture(scope="session")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with agent_with_page(tmp_path_factory.mktemp("agent")) as page:
        yield page


@pytest.fixture(scope="session")
def prometheus(page: Page, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A Prometheus with the rules. It scraped the agent before, between and after its records."""
    command, folder = program("prometheus", "prometheus"), tmp_path_factory.mktemp("prometheus")
    with closing(Prometheus(command, folder, target=page.address, rules=RULES)) as running:
        until(lambda: running.query("driftgauge_build_info"))
        for loop in page.loops:
            loop.run()
            until(partial(running.query, f"driftgauge_batches_total == {page.n_batches}"))
        until(lambda: running.query('count_over_time(driftgauge_labels_total{outcome="joined"}[5m]) >= 2'))
        until(lambda: running.query("ALERTS"))
        yield running
