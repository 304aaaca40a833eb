"""The store of `demo`, and a server that answers from it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from driftgauge.agent.api.build import open_server
from driftgauge.agent.outlets.http import Server, listen
from driftgauge.config.settings import Settings
from driftgauge.connectors.store.queries import StoreQueries, open_queries
from tests.api.demo import make_store


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return make_store(tmp_path_factory.mktemp("api"))


@pytest.fixture(scope="session")
def queries(settings: Settings) -> Iterator[StoreQueries]:
    with closing(open_queries(settings.store.url.get_secret_value())) as queries:
        yield queries


@pytest.fixture(scope="session")
def server(settings: Settings) -> Iterator[Server]:
    with closing(open_server(settings, listen("127.0.0.1", 0))) as server:
        yield server
