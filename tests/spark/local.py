"""Spark on this machine with the connector of Kafka: for tests and benchmarks."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NamedTuple


class Spark(NamedTuple):
    """The first words of a command ``driftgauge spark``, the settings of Spark that each needs, and the environment."""

    command: tuple[str, ...]
    options: tuple[str, ...]
    environment: dict[str, str]


def local_spark(java_home: Path, cores: int = 2) -> Spark:
    """How to start Spark in local mode with this Java."""
    import jgo
    import pyspark  # pyright: ignore[reportMissingImports] - an extra

    connector = jgo.build(f"org.apache.spark:spark-sql-kafka-0-10_2.13:{pyspark.__version__}")
    known = {path.name for path in (Path(pyspark.__path__[0]) / "jars").iterdir()}
    jars = ",".join(str(path) for path in connector.all_jars if path.name not in known)
    settings = (f"spark.jars={jars}", f"spark.master=local[{cores}]", "spark.ui.enabled=false")
    environment = {**os.environ, "JAVA_HOME": str(java_home)}
    environment.pop("JDK_JAVA_OPTIONS", None)  # it is meant for Kafka's Java
    command = (sys.executable, "-m", "driftgauge.agent.cli", "spark")
    return Spark(command, tuple(f"--conf={one}" for one in settings), environment)
