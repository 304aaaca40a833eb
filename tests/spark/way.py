"""The log through Spark in the place of extractors: killed, started again, and started over with another checkpoint."""

from __future__ import annotations

import os
import signal
from contextlib import suppress

from tests.deadline import until
from tests.kafka.agent_process import AgentProcess, is_alive
from tests.same.world import World
from tests.spark.local import Spark


def through_spark(world: World, spark: Spark) -> str:
    """Write the log and let Spark make features of it; returns the topic of features."""
    features, n = world.new_topic(), len(world.log)
    world.fill(0, 0.5)
    with _stream(world, spark, features, "killed") as killed:
        world.until_published(features, n // 5)
        _kill(killed)
    world.fill(0.5, 1)
    for checkpoint in ("checkpoint", "another"):  # the second one begins with the first record
        with _stream(world, spark, features, checkpoint, "--available-now", checkpoint=checkpoint) as resumed:
            assert resumed.wait() == 0, resumed.log.read_text()
    assert world.ends(features) >= 2 * n
    return features


def _stream(
    world: World, spark: Spark, features: str, name: str, *options: str, checkpoint: str = "checkpoint"
) -> AgentProcess:
    at_once = max(400, len(world.log) // 20)
    folder = world.folder / checkpoint
    command = (*spark.command, "stream", f"--checkpoint={folder}", f"--max-records={at_once}", *spark.options, *options)
    return AgentProcess(world.folder / f"spark-{name}", world.settings(features), command)


def _kill(process: AgentProcess) -> None:
    """End the driver and its Java at once: a Java that lost its driver takes a moment to notice."""
    java = process.children()
    process.kill()
    for pid in java:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    until(lambda: not any(map(is_alive, java)))
