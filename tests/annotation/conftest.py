"""The tools that the tests of annotation talk to."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from driftgauge.connectors.annotation.json_api import ApiKey, JsonApi
from tests.annotation.label_studio import TOKEN, real_label_studio, recorded_label_studio


class Server(NamedTuple):
    """A Label Studio, and a title that no project has."""

    url: str
    title: str

    @property
    def api(self) -> JsonApi:
        """The API as annotators use it."""
        return JsonApi(self.url, ApiKey("Authorization", f"Token {TOKEN}"))


@contextmanager
def _label_studio(folder: Path) -> Iterator[str]:
    program = os.environ.get("DRIFTGAUGE_LABEL_STUDIO", "")
    with real_label_studio(program, folder) if program else recorded_label_studio() as url:
        yield url


@pytest.fixture(scope="session")
def label_studio_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with _label_studio(tmp_path_factory.mktemp("label-studio")) as url:
        yield url


@pytest.fixture
def label_studio(label_studio_url: str) -> Server:
    return Server(label_studio_url, f"driftgauge {uuid.uuid4().hex[:8]}")
