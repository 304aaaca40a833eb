"""What a team may write in an afternoon instead of driftgauge: the baseline of ``end_to_end_vs_script_*``.

It reads one topic with kafka-python, decodes typed structs with msgspec, computes the 11 entropy features with numpy
and learns from labels with river. Every 10 s it publishes two means of each domain: of the predicted accuracy of its
newest responses, and of its newest labels. Every second it writes its state, with the offsets inside, to a file, and
goes on from there after a restart. It has no intervals, windows, late labels, corrections, dead letters, drift
detection or alerts, and after a crash it publishes other numbers than before.

In memory are the features of the newest `REMEMBERED` responses, for labels to come.
"""

from __future__ import annotations

import json
import pickle
import time
from collections import OrderedDict, defaultdict, deque
from contextlib import closing
from pathlib import Path
from typing import Any, Literal, TypeAlias

import msgspec
import numpy as np
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from river.compose import Pipeline
from river.linear_model import LogisticRegression
from river.preprocessing import StandardScaler

NAMES = (
    "mean", "std", "max", "q10", "q25", "q50", "q75", "q90", "skewness", "kurtosis", "sum"
)  # fmt: skip
QUANTILES = np.array([0.10, 0.25, 0.50, 0.75, 0.90])
PUBLISH_S, SNAPSHOT_S = 10.0, 1.0
REMEMBERED, ROLLING = 10_000, 1_000

Row: TypeAlias = dict[str, float]
Encoding: TypeAlias = Literal["msgpack", "json"]


class Packed(msgspec.Struct, gc=False):
    k: int
    top_logprobs: bytes


class PackedSignal(msgspec.Struct, gc=False):
    packed: Packed


class Response(msgspec.Struct, gc=False, tag_field="type", tag="generation"):
    id: str
    domain: str
    signal: PackedSignal


class Label(msgspec.Struct, gc=False, tag_field="type", tag="label"):
    response_id: str
    correct: float


class Alternative(msgspec.Struct, gc=False):
    logprob: float


class Token(msgspec.Struct, gc=False):
    top_logprobs: list[Alternative]


class Logprobs(msgspec.Struct, gc=False):
    content: list[Token]


class Choice(msgspec.Struct, gc=False):
    logprobs: Logprobs


class Completion(msgspec.Struct, gc=False):
    id: str
    model: str
    choices: list[Choice]


def features(top: np.ndarray) -> Row:
    """(T, k) log-probabilities of alternatives to the statistics of the entropy of its tokens."""
    h = -(np.exp(top) * top).sum(axis=1)
    n = len(h)
    h.sort()
    mean = h.mean()
    centred = h - mean
    squares = centred * centred
    std = np.sqrt(squares.sum() / max(n - 1, 1))
    place = (n - 1) * QUANTILES
    quantiles = np.interp(place, np.arange(n), h)
    skewness = (centred * squares).mean() / (std**3 + 1e-8)
    kurtosis = (squares * squares).mean() / (std**4 + 1e-8)
    values = (mean, std, h[-1], *quantiles.tolist(), skewness, kurtosis, h.sum())
    return dict(zip(NAMES, map(float, values), strict=True))


class Script:
    """The loop, and the state that its snapshot holds."""

    def __init__(self, address: str, topic: str, out: str, snapshot: Path, encoding: Encoding) -> None:
        self._consumer = KafkaConsumer(
            bootstrap_servers=address,
            group_id=None,
            enable_auto_commit=False,
            fetch_max_bytes=16 << 20,
            max_partition_fetch_bytes=16 << 20,
            metrics_enabled=False,
        )
        self._producer = KafkaProducer(bootstrap_servers=address, acks="all", linger_ms=20, metrics_enabled=False)
        self._topic, self._out, self._snapshot, self._encoding = topic, out, snapshot, encoding
        self._packed = msgspec.msgpack.Decoder(Response | Label)
        self._completion = msgspec.json.Decoder(Completion)
        self._offsets: dict[int, int] = {}
        self._model: Any = Pipeline(StandardScaler(), LogisticRegression())
        self._waiting: OrderedDict[str, tuple[str, Row]] = OrderedDict()
        self._predicted: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=ROLLING))
        self._right: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=ROLLING))

    def run(self, n: int) -> None:
        """Work until n records have been read."""
        self._restore()
        places = [TopicPartition(self._topic, at) for at in sorted(self._consumer.partitions_for_topic(self._topic))]
        self._consumer.assign(places)
        for place in places:
            self._consumer.seek(place, self._offsets.get(place.partition, 0))
        published = saved = time.monotonic()
        while sum(self._offsets.values()) < n:
            for place, records in self._consumer.poll(timeout_ms=1_000, max_records=500).items():
                for record in records:
                    self._take(record.value)
                self._offsets[place.partition] = records[-1].offset + 1
            now = time.monotonic()
            if now - published >= PUBLISH_S:
                self._publish()
                published = now
            if now - saved >= SNAPSHOT_S:
                self._save()
                saved = now
        self._publish()
        self._save()

    def close(self) -> None:
        self._consumer.close()
        self._producer.close()

    def _take(self, value: bytes) -> None:
        if self._encoding == "json":
            completion = self._completion.decode(value)
            tokens = completion.choices[0].logprobs.content
            top = np.array([one.logprob for token in tokens for one in token.top_logprobs], dtype=np.float32)
            self._respond(completion.id, completion.model, top.reshape(len(tokens), -1))
            return
        event = self._packed.decode(value)
        if isinstance(event, Label):
            self._learn(event)
        else:
            packed = event.signal.packed
            top = np.frombuffer(packed.top_logprobs, dtype="<f2").astype(np.float32).reshape(-1, packed.k)
            self._respond(event.id, event.domain, top)

    def _respond(self, name: str, domain: str, top: np.ndarray) -> None:
        row = features(top)
        self._predicted[domain].append(self._model.predict_proba_one(row).get(True, 0.5))
        self._waiting[name] = domain, row
        if len(self._waiting) > REMEMBERED:
            self._waiting.popitem(last=False)

    def _learn(self, label: Label) -> None:
        domain, row = self._waiting.pop(label.response_id, ("", None))
        if row is not None:
            self._model.learn_one(row, label.correct > 0.5)
            self._right[domain].append(label.correct)

    def _publish(self) -> None:
        for domain, predicted in self._predicted.items():
            right = self._right[domain]
            estimate = {
                "domain": domain,
                "predicted": sum(predicted) / len(predicted),
                "labelled": sum(right) / len(right) if right else None,
            }
            self._producer.send(self._out, json.dumps(estimate).encode(), domain.encode())
        self._producer.flush()

    def _save(self) -> None:
        """Write the state beside the snapshot and rename it, so that a crash leaves one that is whole."""
        state = {
            "offsets": self._offsets,
            "model": pickle.dumps(self._model),
            "waiting": [(name, domain, [*row.values()]) for name, (domain, row) in self._waiting.items()],
            "predicted": {domain: [*values] for domain, values in self._predicted.items()},
            "right": {domain: [*values] for domain, values in self._right.items()},
        }
        new = self._snapshot.with_suffix(".new")
        new.write_bytes(msgspec.msgpack.encode(state))
        new.replace(self._snapshot)

    def _restore(self) -> None:
        if not self._snapshot.exists():
            return
        state = msgspec.msgpack.decode(self._snapshot.read_bytes())
        self._offsets, self._model = state["offsets"], pickle.loads(state["model"])  # noqa: S301 - our own bytes
        for name, domain, values in state["waiting"]:
            self._waiting[name] = domain, dict(zip(NAMES, values, strict=True))
        for kind, kept in ((self._predicted, state["predicted"]), (self._right, state["right"])):
            for domain, values in kept.items():
                kind[domain].extend(values)


def seconds(address: str, topic: str, n: int, folder: Path, encoding: Encoding) -> float:
    """Seconds for the first n records of a topic, from its start until the last estimates are published."""
    with closing(Script(address, topic, f"{topic}-out", folder / "snapshot", encoding)) as script:
        start = time.perf_counter()
        script.run(n)
        return time.perf_counter() - start
