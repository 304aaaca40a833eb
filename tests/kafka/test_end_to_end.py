"""The real agent process with a real broker: every event counts once, whatever is killed.

Responses and labels share one partition, so that they are applied in the order of the log. The store of an agent
that was killed several times can then be compared bit by bit with the store of one that was not.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kafka import KafkaProducer

from driftgauge.connectors.decoding.formats.own import encode_generation, encode_label
from driftgauge.connectors.kafka.connection import KafkaConnection
from driftgauge.connectors.kafka.topics import create_topics
from driftgauge.models.events import Context, Generation, Label, Signal
from tests.kafka.agent_process import AgentProcess, contents
from tests.kafka.conftest import NewTopic, everything_in

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(1_200)]

N_RESPONSES = int(os.environ.get("DRIFTGAUGE_TEST_RESPONSES", "2000"))
N_LABELS, N_TOKENS, K = N_RESPONSES // 10, 500, 20
N_BODIES, DOMAINS, LABEL_DELAY = 60, ("law", "code", "maths", "chat"), 300
START, STEP_S, HOP_S = 1_700_000_000.0, 4.0, 20_000.0
OUTPUTS = ("estimates", "alerts", "priorities", "label_lists", "dead_letters")

SETTINGS = {  # one window that contains all responses and is estimated a few times
    "windows": {"window_s": 1e6, "window_events": N_RESPONSES, "hop_s": HOP_S, "emit_every_events": 500},
    "classifier": {"refit_every_labels": 1_000},
}


def bodies(rng: np.random.Generator) -> list[tuple[Signal, bool]]:
    """Signals of 500 tokens with 20 alternatives; those of correct responses are more certain."""
    made = []
    for i in range(N_BODIES):
        is_correct = i % 3 > 0
        certainty = rng.normal(2.0 if is_correct else 1.2, 0.4)
        logits = np.sort(rng.gumbel(0, max(certainty, 0.2), (N_TOKENS, K)).astype(np.float32), axis=1)[:, ::-1]
        top = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)) - np.float32(0.001)
        made.append((Signal(chosen_logprobs=top[:, 0], top_logprobs=top), is_correct))
    return made


def log() -> Iterator[bytes]:
    """Yield responses; every tenth on average gets a label 300 responses later."""
    rng = np.random.default_rng(1)
    signals, waiting = bodies(rng), list[Label]()
    is_labelled = set(rng.choice(N_RESPONSES, N_LABELS, replace=False).tolist())
    for i in range(N_RESPONSES):
        signal, is_correct = signals[int(rng.integers(N_BODIES))]
        at = START + i * STEP_S
        yield encode_generation(
            Generation(f"r{i}", at, DOMAINS[i % len(DOMAINS)], Context(model="m", k=K), signal), dtype="float16"
        )
        if i in is_labelled:
            waiting.append(Label(f"l{i}", f"r{i}", at + LABEL_DELAY * STEP_S, float(is_correct)))
        while waiting and waiting[0].event_time <= at:
            yield encode_label(waiting.pop(0))
    yield from map(encode_label, waiting)


def fill(broker: str, topic: str) -> int:
    """Publish the log and one response that closes the last window; returns the number of records."""
    last = Generation("last", START + N_RESPONSES * STEP_S + 2 * HOP_S, "law", Context(model="m", k=K), Signal())
    options = {"compression_type": "lz4", "linger_ms": 20, "batch_size": 1 << 20}
    n_records = 0
    with closing(KafkaProducer(bootstrap_servers=broker, acks="all", **options)) as producer:
        for value in (*log(), encode_generation(last)):
            producer.send(topic, value, headers=[("content-type", b"application/msgpack")], partition=0)
            n_records += 1
        producer.flush()
    return n_records


def agent(folder: Path, broker: str, topic: str, readers: int = 0) -> AgentProcess:
    outputs = {name: f"{topic}-{folder.name}-{name}" for name in OUTPUTS}
    create_topics(KafkaConnection((broker,), connect_timeout_s=60), list(outputs.values()), 1, 1)
    kafka = {"bootstrap_servers": [broker], "group_id": f"{topic}-{folder.name}", "connect_timeout_s": 60}
    kafka["max_records"] = 250  # several batches between two kills
    topics = {"generations": [topic], "labels": [], **outputs}
    return AgentProcess(folder, {"kafka": {**kafka, "topics": topics, "readers": readers}, **SETTINGS})


def published(broker: str, topic: str, folder: Path) -> dict[str, Counter[tuple[bytes, bytes]]]:
    """How often each (key, value) was published, by kind of output."""
    found = {name: everything_in(broker, f"{topic}-{folder.name}-{name}") for name in OUTPUTS}
    return {name: Counter((record.key, record.value) for record in records) for name, records in found.items()}


def newest(estimates: Counter[tuple[bytes, bytes]]) -> list[dict[str, Any]]:
    """Highest revision of each domain's last window, the window of the last response left out."""
    decoded = sorted((json.loads(value) for _, value in estimates), key=lambda e: (e["window_end"], e["revision"]))
    before_last = [estimate for estimate in decoded if estimate["window_end"] < decoded[-1]["window_end"]]
    return list({estimate["domain"]: estimate for estimate in before_last}.values())


def test_every_event_counts_once_and_sigkill_changes_no_output(
    broker: str, new_topic: NewTopic, tmp_path: Path
) -> None:
    topic = new_topic()
    n_records = fill(broker, topic)
    assert n_records == N_RESPONSES + N_LABELS + 1
    with agent(tmp_path / "straight", broker, topic) as one:
        one.until_applied(n_records)
        assert one.stop() == 0
    outputs = published(broker, topic, tmp_path / "straight")
    check_books(one.store, outputs)
    for name, readers in (("killed", 0), ("killed-with-reader", 1)):
        with agent(tmp_path / name, broker, topic, readers) as other:
            for share in (0.3, 0.7):
                other.until_applied(int(share * n_records))
                other.kill()
                other.start()
            other.until_applied(n_records)
            assert other.stop() == 0
        assert contents(other.store) == contents(one.store)
        assert {kind: set(messages) for kind, messages in published(broker, topic, tmp_path / name).items()} == {
            kind: set(messages) for kind, messages in outputs.items()
        }


def check_books(store: Path, outputs: dict[str, Counter[tuple[bytes, bytes]]]) -> None:
    """Every response and label is in the store once, and the last estimates count all of them."""
    with closing(sqlite3.connect(store)) as db:

        def count(query: str) -> int:
            return int(db.execute(query).fetchone()[0])

        assert count("SELECT count(DISTINCT id) FROM responses") == count("SELECT count(*) FROM responses")
        assert count("SELECT count(*) FROM responses") == N_RESPONSES + 1
        assert count("SELECT count(*) FROM responses WHERE correct IS NOT NULL") == N_LABELS
        assert count("SELECT count(*) FROM outbox") == 0
    last = newest(outputs["estimates"])
    assert sum(estimate["n_events"] for estimate in last) == N_RESPONSES
    assert sum(estimate["n_labels"] for estimate in last) == N_LABELS
    assert {estimate["status"] for estimate in last} == {"ok"}
    assert max(outputs["estimates"].values()) == 1  # no message was sent twice, because nothing failed
    assert not outputs["dead_letters"]
