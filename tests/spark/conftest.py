"""The extra ``spark`` is some 700 MB and needs a Java of its own: `make test-spark` runs these tests."""

from __future__ import annotations

import os
from importlib.util import find_spec

import pytest

from tests.kafka.conftest import connection, new_topic
from tests.spark.java import java_home
from tests.spark.local import Spark, local_spark

__all__ = ["connection", "new_topic"]

HOME = java_home() if find_spec("pyspark") else None
collect_ignore_glob = [] if HOME else ["test_*.py"]


@pytest.fixture
def spark(monkeypatch: pytest.MonkeyPatch) -> Spark:
    """Spark on this machine; its environment is that of the test."""
    assert HOME is not None
    found = local_spark(HOME)
    for name in {*os.environ} - {*found.environment}:
        monkeypatch.delenv(name)
    monkeypatch.setenv("JAVA_HOME", found.environment["JAVA_HOME"])
    return found
