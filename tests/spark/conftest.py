"""The extra ``spark`` is some 700 MB and needs a Java of its own: `make test-spark` runs these tests."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.kafka.conftest import connection, new_topic
from tests.spark.java import java_home

__all__ = ["connection", "new_topic"]

HOME = java_home() if find_spec("pyspark") else None
collect_ignore_glob = [] if HOME else ["test_*.py"]


class Spark(NamedTuple):
    """The first words of a command ``driftgauge spark``, and the settings of Spark that each needs here."""

    command: tuple[str, ...]
    options: tuple[str, ...]


@pytest.fixture
def spark(monkeypatch: pytest.MonkeyPatch) -> Spark:
    """Spark on this machine, with the connector of Kafka; Java is the one that was found."""
    import jgo
    import pyspark

    monkeypatch.setenv("JAVA_HOME", str(HOME))
    monkeypatch.delenv("JDK_JAVA_OPTIONS", raising=False)  # it is meant for Kafka's Java
    connector = jgo.build(f"org.apache.spark:spark-sql-kafka-0-10_2.13:{pyspark.__version__}")
    known = {path.name for path in (Path(pyspark.__file__).parent / "jars").iterdir()}
    jars = ",".join(str(path) for path in connector.all_jars if path.name not in known)
    settings = (f"spark.jars={jars}", "spark.master=local[2]", "spark.ui.enabled=false")
    return Spark((sys.executable, "-m", "driftgauge.agent.cli", "spark"), tuple(f"--conf={one}" for one in settings))
