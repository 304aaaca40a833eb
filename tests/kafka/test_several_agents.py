"""Two real agents read one topic of features. Each takes some of the responses and has its own store; one is killed."""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from driftgauge.agent.service import build
from driftgauge.config.load import load_settings
from driftgauge.connectors.testing import MemorySink
from tests.deadline import until
from tests.same.log import lines
from tests.same.runs import n_applied, read
from tests.same.world import World, model_settings
from tests.soak.oracle import play
from tests.soak.soak import records_in

pytestmark = pytest.mark.kafka
N_RESPONSES = 400
GROUP = {"model": ["m1"]}


def test_two_agents_divide_the_responses_of_one_topic_whatever_is_killed(broker: str, tmp_path: Path) -> None:
    log = list(lines(15, N_RESPONSES))
    with closing(World(broker, tmp_path, log, model_settings(N_RESPONSES), n_partitions=2)) as world:
        features = world.new_topic()
        world.extractor(features)
        world.fill(0, 0.5)
        agents = [
            world.agent("first", features, select={"only": GROUP}),
            world.agent("second", features, select={"leave_out": GROUP}),
        ]
        until(lambda: n_applied(agents[0].positions(), features) > 20, 120.0, every_s=0.1)
        agents[0].kill()
        agents[0].start()
        world.fill(0.5, 1)
        world.until_extracted()
        end = world.ends(features)
        for agent in agents:
            until(lambda agent=agent: n_applied(agent.positions(), features) >= end, 120.0, every_s=0.1)  # type: ignore[misc]
            assert agent.stop() == 0, agent.log.read_text()
        first, second = (read(agent.store, world.raw)[0] for agent in agents)
        whole = read(alone(world), world.raw)[0]
    assert first["responses"] + second["responses"] == whole["responses"]
    assert {row[2] for row in first["responses"]}.isdisjoint(row[2] for row in second["responses"])
    assert first["responses"].total() > N_RESPONSES / 3 < second["responses"].total()
    reasons = [Counter(row[0] for row in found["dead letters"].elements()) for found in (first, second, whole)]
    for of_core in ("id_conflict", "event_time_ahead"):
        assert reasons[0][of_core] + reasons[1][of_core] == reasons[2][of_core] > 0
    assert reasons[0]["malformed"] == reasons[1]["malformed"] == reasons[2]["malformed"] > 0
    for agent in agents:
        with closing(sqlite3.connect(agent.store)) as db:
            assert ("unmatched_label",) not in db.execute("SELECT DISTINCT reason FROM dead_letters").fetchall()


def alone(world: World) -> Path:
    """The store of an agent that takes every response, over the same raw records."""
    path = world.folder / "alone.db"
    settings = load_settings(None, {**world.settings(world.raw), "store.url": f"sqlite:///{path}"})
    records = [record for found in records_in(world.broker, [world.raw]).values() for record in found]
    with closing(build.store(settings)) as store:
        play(records, settings, store, MemorySink())
    return path
