"""Compressed batches that unpack to too much are never unpacked; each becomes one dead letter."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import lz4.frame  # type: ignore[import-untyped]  # it ships no types
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka import KafkaProducer, codec

from driftgauge.agent.service import build
from driftgauge.connectors.kafka.topics import create_topics
from driftgauge.connectors.kafka.unpacking import GZIP, LZ4, SNAPPY, ZSTD, _zstd_upper_bound, exceeds
from tests.kafka.agents import running, settings_for, wait_for
from tests.kafka.conftest import everything_in
from tests.kafka.test_hostile import own

MIB = 1 << 20
PACK: dict[str, tuple[int, Callable[[bytes], bytes]]] = {
    "gzip": (GZIP, codec.gzip_encode),
    "snappy": (SNAPPY, codec.snappy_encode),
    "lz4": (LZ4, lz4.frame.compress),
    "zstd": (ZSTD, codec.zstd_encode),
}
payloads = st.tuples(st.binary(min_size=1, max_size=40), st.integers(1, 20_000)).map(lambda drawn: drawn[0] * drawn[1])


@pytest.mark.parametrize("name", PACK)
@given(payload=payloads, more=st.integers(-3, 3))
def test_the_checked_size_of_a_batch_is_the_size_the_client_unpacks_to(name: str, payload: bytes, more: int) -> None:
    number, pack = PACK[name]
    bound = max(0, len(payload) + more)
    assert exceeds(number, memoryview(pack(payload)), bound) == (len(payload) > bound)


def test_the_size_of_a_raw_snappy_block_is_the_size_it_claims() -> None:
    raw = codec.snappy_encode(bytes(MIB), xerial_compatible=False)
    assert exceeds(SNAPPY, memoryview(raw), MIB - 1)
    assert not exceeds(SNAPPY, memoryview(raw), MIB)
    assert exceeds(SNAPPY, memoryview(b"\xff\xff\xff\xff\x0f" + raw), 256 * MIB)  # the header claims 4 GiB


@given(payload=payloads)
def test_the_upper_bound_of_a_zstd_batch_is_close_to_its_unpacked_size(payload: bytes) -> None:
    packed = codec.zstd_encode(payload) + codec.zstd_encode(payload)
    most = _zstd_upper_bound(memoryview(packed))
    assert 2 * len(payload) <= most <= 2 * (len(payload) + (1 << 17))


@pytest.mark.parametrize("name", ["gzip", "lz4", "zstd"])
def test_checking_the_size_of_a_batch_takes_little_memory(name: str) -> None:
    number, pack = PACK[name]
    bomb = memoryview(pack(bytes(100 * MIB)))
    tracemalloc.start()
    assert exceeds(number, bomb, 64 * MIB)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * MIB


@pytest.mark.kafka
@pytest.mark.parametrize("name", PACK)
def test_a_decompression_bomb_is_one_dead_letter_and_the_agent_continues(
    name: str, broker: str, tmp_path: Path
) -> None:
    settings = settings_for(broker, tmp_path, kafka__max_unpacked_bytes=MIB)
    topic = settings.kafka.topics.generations[0]
    create_topics(build.connection(settings), build.topics_used(settings), 1, 1)
    with closing(KafkaProducer(bootstrap_servers=broker, compression_type=name, max_request_size=8 * MIB)) as producer:
        for key, value in ((b"", own(id="before")), (b"bomb", bytes(3 * MIB)), (b"", own(id="after"))):
            producer.send(topic, value, key, partition=0)
            producer.flush()  # a batch of its own
    with running(settings) as agent:
        wait_for(agent, {topic: 3})
        with agent.store.transaction() as transaction:
            assert set(transaction.responses(["before", "after"])) == {"before", "after"}
    (letter,) = everything_in(broker, settings.kafka.topics.dead_letters)
    headers = dict(letter.headers)
    assert headers["driftgauge-reason"] == b"batch_too_large"
    assert headers["driftgauge-offset"] == b"1"
    assert b"offsets 1 to 1" in headers["driftgauge-detail"]
    assert letter.value == b""
