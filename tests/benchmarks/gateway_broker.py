"""What a broker in trouble costs the streams: frozen, killed and slow, against a healthy broker in the same run.

Two gateways before the same model server take turns, 50 streams at a time. One has a healthy broker, the other one a
broker that is first frozen (SIGSTOP), then killed, and at last reached over a slow line. Its outbox is small, so that
it fills. A stream that breaks off, and an event that is not accounted for, end the measurement.

DURATION_S=600 python -m tests.benchmarks gateway_broker: so many seconds with the slow line.
"""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from driftgauge.connectors.kafka.local_broker import KafkaBroker, free_ports
from tests.benchmarks.gateway import N_STREAMS, N_TOKENS, PACE_S, K, Result, late_ms, latencies, pin, rss_kb
from tests.benchmarks.gateway_load import Load
from tests.brokers import SHORT_SESSION
from tests.deadline import until
from tests.gateway.gateway_process import GatewayProcess
from tests.kafka.conftest import everything_in
from tests.kafka.proxy import Proxy

DURATION_S = float(os.environ.get("DURATION_S", "60"))
FAULT_S = 60.0
"""Seconds with a frozen broker, and with a killed one."""

BYTES_PER_S = 44_000
"""Of the slow line: fewer than the events have."""

OUTBOX_BYTES, CLIENT_BYTES = 1 << 20, 20 << 20
"""Bound of the outbox; what the Kafka client may take beside it."""


def measure() -> dict[str, dict[str, Any]]:
    """p50 and p99 of the chunks, and memory, for each kind of trouble."""
    return dict(asyncio.run(_measured()))


@dataclass
class Bench:
    """Two gateways, and the broker of the second."""

    load: Load
    healthy: GatewayProcess
    troubled: GatewayProcess
    broker: KafkaBroker
    n_rounds: int = 0

    async def streams(self, gateway: GatewayProcess) -> tuple[float, float]:
        """Serve one round of streams; p50 and p99 in milliseconds."""
        self.load.late_s = []
        await self.load.streams(gateway.url, N_STREAMS, N_TOKENS)
        return late_ms(self.load)

    async def compare(self, trouble: str, duration_s: float) -> dict[str, Result]:
        """Let the gateways take turns for so many seconds."""
        before_kb, most_kb, rounds = rss_kb(self.troubled), 0.0, []
        end = time.monotonic() + duration_s
        while time.monotonic() < end:
            rounds.append((await self.streams(self.healthy), await self.streams(self.troubled)))
            most_kb = max(most_kb, rss_kb(self.troubled))
            assert self.troubled.metric("outbox_bytes") < OUTBOX_BYTES + 8_000  # it may exceed its bound by one event
        self.n_rounds += len(rounds)
        growth, bound = (most_kb - before_kb) / 1024, (OUTBOX_BYTES + CLIENT_BYTES) / 2**20
        memory: Result = {"value": growth, "unit": "MiB", "baseline": bound, "ratio": growth / bound}
        return {**latencies(f"broker_{trouble}", rounds), f"gateway_memory_broker_{trouble}": memory}

    def drain(self) -> None:
        """Wait until all events are published."""
        until(lambda: not self.troubled.metric("events_queued"), 120.0)

    def check(self) -> dict[str, Result]:
        """Each event is published or dropped, and the topic has each that was published."""
        self.drain()
        gateway = self.troubled
        captured, published = gateway.metric("events_captured_total"), gateway.metric("events_published_total")
        dropped = gateway.metric("events_dropped_total")
        assert captured == published + dropped == self.n_rounds * N_STREAMS
        assert dropped == gateway.metric("events_dropped_total", reason="outbox_full")
        assert gateway.metric("errors_total") == 0
        arrived = {record.key for record in everything_in(self.broker.address, gateway.topics["generations"][0])}
        assert len(arrived) == published
        share: Result = {"value": dropped, "unit": "events", "baseline": captured, "ratio": dropped / captured}
        return {"gateway_dropped_broker": share}


async def _measured() -> dict[str, Result]:
    cores = sorted(os.sched_getaffinity(0))
    load = Load(K, pace_s=PACE_S)
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        healthy = stack.enter_context(KafkaBroker(folder / "kafka"))
        broker, line = stack.enter_context(_behind_a_line(folder / "kafka-troubled"))
        url = await stack.enter_async_context(load.listening())
        gateways = []
        settings = {"capture": {"models": ["*"], "k": K}, "limits": {"max_outbox_bytes": OUTBOX_BYTES}}
        for name, address in (("healthy", healthy.address), ("troubled", f"127.0.0.1:{line.port}")):
            made = GatewayProcess(folder / name, url, address, **settings)
            gateways.append(await stack.enter_async_context(made))
            pin(made.process.pid, cores[0])
        os.sched_setaffinity(0, {cores[-1]})
        stack.callback(os.sched_setaffinity, 0, set(cores))
        return await _troubles(Bench(load, gateways[0], gateways[1], broker), line)


async def _troubles(bench: Bench, line: Proxy) -> dict[str, Result]:
    broker = bench.broker
    found = await bench.compare("well", FAULT_S)
    assert broker._process is not None
    broker._process.send_signal(signal.SIGSTOP)
    found |= await bench.compare("frozen", FAULT_S)
    broker._process.send_signal(signal.SIGCONT)
    await asyncio.to_thread(bench.drain)
    broker.kill()
    found |= await bench.compare("killed", FAULT_S)
    await asyncio.to_thread(broker.start)
    line.bytes_per_s = BYTES_PER_S
    found |= await bench.compare("slow", DURATION_S)
    line.bytes_per_s = 0
    return found | await asyncio.to_thread(bench.check)


@contextmanager
def _behind_a_line(folder: Path) -> Iterator[tuple[KafkaBroker, Proxy]]:
    """A broker that clients reach only through a proxy."""
    (port,) = free_ports(1)
    with closing(Proxy(("127.0.0.1", port))) as line:
        advertised = {"advertised.listeners": f"PLAINTEXT://127.0.0.1:{line.port}"}
        with KafkaBroker(folder, port, properties={**SHORT_SESSION, **advertised}) as broker:
            yield broker, line
