"""The oracle of the soak: an agent in memory to which nothing happened, and how the real one may differ from it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, TypeAlias

from driftgauge.agent.service import build, build_decoding, build_pipeline
from driftgauge.agent.service.loop import Loop
from driftgauge.agent.service.reader_pool import PoolDecoder
from driftgauge.config.settings import Settings
from driftgauge.connectors.base import Record, Store
from driftgauge.connectors.testing import MemorySink, MemoryStore
from driftgauge.models.account import Account
from driftgauge.models.events import Rejected
from tests.sources import Endless

Messages: TypeAlias = set[tuple[str, bytes | None, bytes]]


def account_violations(account: Account, records: Sequence[Record], letters: Sequence[Rejected]) -> list[str]:
    """Every record is in exactly one account, and every dead letter of the agent is in it."""
    found = []
    if account.used + account.n_dead + account.tombstones != len(records) or account.used < 0:
        found.append(f"the account of {len(records)} records does not add up: {account.to_json()}")
    if account.tombstones != sum(record.value is None for record in records):
        found.append(f"{account.tombstones} tombstones in the account")
    reasons = Counter(letter.reason for letter in letters)
    if reasons != account.dead_letters + account.given_up:
        found.append(f"the dead letters {dict(reasons)} are not those of the account {account.to_json()}")
    return found


def replay(records: list[Record], settings: Settings) -> tuple[MemoryStore, Messages, Account]:
    """The oracle: the store, the messages and the account of an agent in memory that reads these records.

    Where the real agent has readers, a dead letter that the core decided holds features instead of log-probabilities.
    """
    sink = MemorySink()
    store = MemoryStore(topics=build.topics_written(settings), keep_audit=True)
    account = play(records, settings, store, sink)
    messages: Messages = {(message.topic, message.key, message.value) for message in sink.messages}
    return store, messages, account


def play(records: list[Record], settings: Settings, store: Store, sink: MemorySink) -> Account:
    """The account of an agent that reads these records, in order and without failures."""
    has_readers = settings.kafka.readers > 0
    extractor = build_decoding.record_extractor(settings)
    source = Endless(extractor.decode(records) if has_readers else records, max_records=500)
    decoder = PoolDecoder() if has_readers else build_decoding.decoder(settings)
    loop = Loop(build_pipeline.pipeline_settings(settings), decoder, store, lambda: source, lambda: sink)
    source.at_the_end = loop.stop
    loop.run()
    return loop.account


def memory_of(store: Store, of: MemoryStore) -> dict[str, Any]:
    """Everything in a store about the responses and labels in ``of``."""
    ids = sorted({*of.tables.responses, *of.tables.labels})
    with store.transaction() as memory:
        rows = {i: (r.seq, r.domain, r.features.tobytes(), repr((r.p_correct, r.correct, r.weight)))
                for i, r in memory.responses(ids).items()}  # fmt: skip
        labels = {i: sorted(found, key=lambda label: label.label_id) for i, found in memory.labels(ids).items()}
        return {"responses": rows, "labels": labels, "state": memory.state(""), "positions": memory.positions()}


def differences(found: dict[str, Any], expected: dict[str, Any]) -> list[str]:
    """The parts in which two memories differ."""
    texts = []
    for name, wanted in expected.items():
        here = found[name]
        if differing := {key for key in here.keys() | wanted.keys() if here.get(key) != wanted.get(key)}:
            texts.append(f"{len(differing)} {name} differ, {example(differing)}")
    return texts


def order_violations(applied: list[tuple[str, int, int]]) -> list[str]:
    """Each partition must have been applied from its first record on, in order, without a gap."""
    by_partition: dict[tuple[str, int], list[int]] = {}
    for topic, partition, offset in applied:
        by_partition.setdefault((topic, partition), []).append(offset)
    return [
        f"{topic}/{partition} was not applied in order"
        for (topic, partition), offsets in by_partition.items()
        if offsets != list(range(len(offsets)))
    ]


def example(things: Any) -> str:
    return f"such as {min(map(repr, things))[:200]}"
