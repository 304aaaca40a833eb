"""Writes the classes of Apache Kafka to a file as Java loads them (an AOT cache); ``make test`` does it once.

A broker that gets the file by the environment variable ``JDK_JAVA_OPTIONS`` formats its folder and starts with 1.9 s of
CPU time instead of 4.7 s. Where the file does not fit the Java runtime or the jars, Java warns and starts without it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from shutil import move
from tempfile import TemporaryDirectory

from driftgauge.connectors.kafka.connection import KafkaConnection
from driftgauge.connectors.kafka.local_broker import KafkaBroker, java_command
from driftgauge.connectors.kafka.topics import create_topics


def write(path: Path) -> None:
    """Record the classes that a broker loads, and write them to the file."""
    with TemporaryDirectory() as folder:
        record, made = f"-XX:AOTConfiguration={folder}/classes", Path(folder) / "cache"
        broker = KafkaBroker(Path(folder) / "broker")
        with broker:
            pass  # its folder is formatted, so that the next start is the only process that records
        os.environ["JDK_JAVA_OPTIONS"] = f"-XX:AOTMode=record {record}"
        with broker:
            create_topics(KafkaConnection((broker.address,)), ["topic"], 1, 1)
        del os.environ["JDK_JAVA_OPTIONS"]
        create = [*java_command(512), "-XX:AOTMode=create", record, f"-XX:AOTCache={made}"]
        subprocess.run(create, capture_output=True, check=True)
        move(made, path)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
