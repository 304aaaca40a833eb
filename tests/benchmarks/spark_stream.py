"""Spark beside ``driftgauge extract`` on the same OpenAI bodies of a real broker; nothing where there is no Spark.

``spark_vs_extract``: responses for each processor second of Spark, driver, Java and Python together, and (baseline) of
one extractor. Its start, when Java compiles the most, is left out: it is the
difference between a long topic and a short one.
``spark_start``: processor seconds of Spark for the short topic, start and end included.

python -m tests.benchmarks.spark_stream COMMAND ...: prints the processor seconds of a command and all that it starts.
"""

from __future__ import annotations

import ctypes
import os
import resource
import subprocess
import sys
import tempfile
import uuid
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec

from driftgauge.config.settings import Settings
from driftgauge.connectors.kafka.connection import KafkaConnection
from driftgauge.connectors.kafka.topics import create_topics
from tests.benchmarks import extraction
from tests.benchmarks.streaming import JSON, openai_events, produce
from tests.brokers import broker_address
from tests.spark.java import java_home
from tests.spark.local import Spark, local_spark

N_SHORT, N_LONG = 400, 2_000
PARTITIONS = 2
_PR_SET_CHILD_SUBREAPER = 36


def measure() -> dict[str, dict[str, Any]]:
    """Results by name."""
    home = java_home() if find_spec("pyspark") else None
    if home is None:
        return {}
    spark = local_spark(home)
    with broker_address() as address, tempfile.TemporaryDirectory() as name:
        folder, raw = Path(name), f"bench-{uuid.uuid4().hex[:12]}"
        produce(address, raw, openai_events(N_LONG), partitions=PARTITIONS, headers=JSON)
        produce(address, f"{raw}-short", openai_events(N_SHORT), partitions=PARTITIONS, headers=JSON)
        extractor = N_LONG / min(extraction.extraction_cpu_s(address, folder, raw, N_LONG) for _ in range(3))
        short = min(_spark_cpu_s(spark, address, folder, f"{raw}-short") for _ in range(2))
        long = min(_spark_cpu_s(spark, address, folder, raw) for _ in range(2))
    rate = (N_LONG - N_SHORT) / (long - short)
    return {
        "spark_vs_extract": _result(rate, extractor, "responses/CPU s"),
        "spark_start": _result(short, None, "CPU s"),
    }


def _spark_cpu_s(spark: Spark, address: str, folder: Path, raw: str) -> float:
    features = f"{raw}-{uuid.uuid4().hex[:6]}"
    create_topics(KafkaConnection((address,)), [features], PARTITIONS, 1)
    config = folder / f"{features}.yaml"
    config.write_bytes(
        msgspec.json.encode(_as_given(extraction.settings_for(address, folder, features, raw, features)))
    )
    options = (f"--checkpoint={folder / features}", "--available-now", f"--config={config}", *spark.options)
    command = (sys.executable, "-m", "tests.benchmarks.spark_stream", *spark.command, "stream", *options)
    done = subprocess.run(command, env=spark.environment, check=True, stdout=subprocess.PIPE)
    return float(done.stdout)


def _as_given(settings: Settings) -> dict[str, Any]:
    return {
        "kafka": {"bootstrap_servers": [*settings.kafka.bootstrap_servers]},
        "extract": settings.extract.model_dump(mode="json"),
    }


def _cpu_s(command: list[str]) -> float:
    """Processor seconds of a command and of all that it starts, also of what outlives it for a moment."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)  # Java is orphaned when the driver ends
    subprocess.run(command, stdout=sys.stderr, check=True)
    while True:
        try:
            os.wait()
        except ChildProcessError:
            break
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _result(value: float, baseline: float | None, unit: str) -> dict[str, Any]:
    ratio = None if baseline is None else round(value / baseline, 3)
    return {"value": round(value, 1), "unit": unit, "baseline": baseline and round(baseline, 1), "ratio": ratio}


if __name__ == "__main__":
    print(_cpu_s(sys.argv[1:]))
