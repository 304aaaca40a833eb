"""An agent can start from a backup of any age: it continues from the positions inside it."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from driftgauge.agent.service.loop import Loop
from driftgauge.connectors.base import Message, Record
from driftgauge.connectors.decoding.decoder import Decoder
from driftgauge.connectors.publishing.encode import Topics
from driftgauge.connectors.store.backup import backup
from driftgauge.connectors.store.sql_store import open_store
from driftgauge.connectors.testing import MemorySink
from tests.crash.agents import records
from tests.kafka.agent_process import contents
from tests.pipeline.logs import SETTINGS
from tests.sources import Endless


def run(path: Path, log: Sequence[Record], published: list[Message]) -> int:
    """An agent on this store, to the end of the log or until nothing more comes of it; returns its epoch."""
    sink = MemorySink()
    sink.messages = published
    with closing(open_store(f"sqlite:///{path}", topics=Topics())) as store:
        source = Endless(log, max_records=16)
        loop = Loop(SETTINGS, Decoder(encoding="msgpack"), store, lambda: source, lambda: sink)
        source.at_the_end = loop.stop
        loop.run()
        return store.epoch


def test_an_agent_on_an_older_backup_reaches_the_same_state_and_outputs(tmp_path: Path) -> None:
    log, live, copy = records(2, 60), tmp_path / "live.db", tmp_path / "copy.db"
    published: list[Message] = []
    run(live, log[: len(log) // 3], published)
    backup(f"sqlite:///{live}", copy)
    epoch = run(live, log, published)
    expected, messages = contents(live), {(m.topic, m.key, m.value) for m in published}
    for path in tmp_path.glob("live.db*"):
        path.unlink()
    shutil.copy(copy, live)
    assert run(live, log, published) > epoch  # of two messages with one key, the restored agent's is right
    assert contents(live) == expected
    assert {(m.topic, m.key, m.value) for m in published} == messages
