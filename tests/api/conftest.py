"""The store of `demo`, and the API on it; tests that use them mark themselves with `SHARED`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from driftgauge.connectors.store.queries import StoreQueries, open_queries
from tests.api.demo import make_store
from tests.api.serving import api_on


@pytest.fixture(scope="session")
def demo_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("api"))


@pytest.fixture(scope="session")
def queries(demo_store: Path) -> Iterator[StoreQueries]:
    with closing(open_queries(f"sqlite:///{demo_store}")) as queries:
        yield queries


@pytest.fixture(scope="session")
def demo(demo_store: Path) -> Iterator[int]:
    """The port of the API on the store."""
    with api_on(demo_store) as port:
        yield port
