"""Spark in the place of extractors: killed, started again and started over, it changes no result."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from tests.deadline import until
from tests.kafka.agent_process import AgentProcess, is_alive
from tests.kafka.conftest import NewTopic
from tests.kafka.test_extract import World, check_that_the_agent_ends_the_same
from tests.spark.local import Spark

pytestmark = pytest.mark.xdist_group("spark")


@pytest.fixture
def world(broker: str, tmp_path: Path, new_topic: NewTopic, request: pytest.FixtureRequest) -> Iterator[World]:
    with closing(World(broker, tmp_path, new_topic, request.param)) as made:
        yield made


def stream(world: World, spark: Spark, name: str, *options: str, checkpoint: str = "checkpoint") -> AgentProcess:
    folder = world.folder / checkpoint
    command = (*spark.command, "stream", f"--checkpoint={folder}", "--max-records=400", *spark.options, *options)
    return AgentProcess(world.folder / name, world.settings(name, world.features), command)


def kill(process: AgentProcess) -> None:
    """End the driver and its Java at once: a Java that lost its driver takes a moment to notice."""
    java = process.children()
    process.kill()
    for pid in java:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    until(lambda: not any(map(is_alive, java)))


@pytest.mark.parametrize("world", [1, 3], indirect=True, ids=["one partition", "three partitions"])
def test_spark_that_is_killed_and_starts_over_changes_nothing(world: World, spark: Spark) -> None:
    n = len(world.records)
    world.fill(0, 0.5)
    with stream(world, spark, "killed") as killed:
        world.until_published(n // 5)
        kill(killed)
    world.fill(0.5, 1)
    with stream(world, spark, "restarted", "--available-now") as restarted:
        assert restarted.wait() == 0, restarted.log.read_text()
    assert world.ends(world.features) >= n
    with stream(world, spark, "new", "--available-now", checkpoint="another") as new:
        assert new.wait() == 0, new.log.read_text()
    assert world.ends(world.features) >= 2 * n
    check_that_the_agent_ends_the_same(world)
