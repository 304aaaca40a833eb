"""What questions cost the agent: its speed while dashboards are open and scripts ask, against its speed alone.

50 clients follow the stream of changes, as open dashboards do, and ask for the overview at each change. Scripts send
200 requests a second besides. All of this comes from a process of its own, which shares the machine's cores.
"""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from driftgauge.connectors.kafka.local_broker import free_ports
from tests.benchmarks.streaming import agent_seconds, labelled_events, produce, ratio
from tests.brokers import broker_address
from tests.deadline import until

N_EVENTS = 40_000
N_DASHBOARDS, REQUESTS_PER_S, N_SCRIPTS = 50, 200, 20
PATHS = (
    "/v1/domains?limit=1000",
    "/v1/estimates",
    "/v1/alerts",
    "/v1/quality",
    "/v1/health",
    "/v1/responses?limit=20",
    "/v1/estimates/history?domain=domain-1",
)


class Client:
    """One connection that is kept open."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def get(self, path: str) -> int:
        """Send a request and read its answer; the status."""
        self._streams = self._streams or await asyncio.open_connection("127.0.0.1", self._port, limit=1 << 24)
        reader, writer = self._streams
        writer.write(f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\naccept-encoding: gzip\r\n\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = next(line for line in head.split(b"\r\n") if line.startswith(b"content-length:"))
        await reader.readexactly(int(length.partition(b":")[2]))
        return int(head.split()[1])


async def dashboard(port: int) -> None:
    """Ask for the overview at each change."""
    client = Client(port)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /v1/stream HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
    while line := await reader.readline():
        if line.startswith(b"event: changed"):
            await client.get(PATHS[0])


async def script(port: int, number: int, counts: list[int], waits: list[float]) -> None:
    """Ask one question after another, at an even rate."""
    client, period_s = Client(port), N_SCRIPTS / REQUESTS_PER_S
    due, source = time.perf_counter() + number / REQUESTS_PER_S, random.Random(number)  # noqa: S311 - no secret
    while True:
        await asyncio.sleep(due - time.perf_counter())
        due += period_s
        start = time.perf_counter()
        counts.append(await client.get(source.choice(PATHS)))
        waits.append(time.perf_counter() - start)


async def load(port: int) -> None:
    """Ask until standard input ends; then print what `Load` holds."""
    counts: list[int] = []
    waits: list[float] = []
    start = time.perf_counter()
    tasks = [asyncio.create_task(dashboard(port)) for _ in range(N_DASHBOARDS)]
    tasks += [asyncio.create_task(script(port, number, counts, waits)) for number in range(N_SCRIPTS)]
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    seconds = time.perf_counter() - start
    for task in tasks:
        task.cancel()
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    n_failed = sum(isinstance(result, Exception) for result in ended)
    n_failed += sum(status not in (200, 404) for status in counts)  # at first there is no domain
    print(json.dumps(Load(len(counts) / seconds, n_failed, *np.quantile(waits, [0.5, 0.99]).tolist())))


class Load(NamedTuple):
    """What the scripts saw: answers a second, failures, and the seconds to an answer (median and 99th percentile)."""

    per_s: float
    n_failed: int
    median_s: float
    p99_s: float


@contextmanager
def asked(port: int, loads: list[Load]) -> Iterator[None]:
    """Ask an API from another process."""
    until(lambda: _answers(port))
    command = [sys.executable, "-m", "tests.benchmarks.asking", str(port)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield
        finally:
            loads.append(Load(*json.loads(process.communicate()[0])))


def measure() -> dict[str, dict[str, Any]]:
    """Events a second while the API is asked; the baseline is the agent without it."""
    loads: list[Load] = []
    with broker_address() as address:
        topic = f"bench-{uuid.uuid4().hex[:12]}"
        produce(address, topic, labelled_events(N_EVENTS))
        n = N_EVENTS + N_EVENTS // 10

        def while_asked() -> float:
            (port,) = free_ports(1)
            return agent_seconds(address, topic, n, port=port, beside=partial(asked, port, loads))

        result = ratio(n, while_asked, partial(agent_seconds, address, topic, n))
    worst = max(loads, key=lambda load: load.p99_s)
    return {
        "end_to_end_while_asked_vs_alone": result,
        "api_answers": {
            "value": min(load.per_s for load in loads),
            "unit": "answers/s",
            "baseline": None,
            "ratio": None,
        },
        "api_failures": {"value": sum(load.n_failed for load in loads), "unit": "", "baseline": None, "ratio": None},
        "api_answer_p99": {"value": worst.p99_s, "unit": "s", "baseline": None, "ratio": None},
    }


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/domains", timeout=10) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


if __name__ == "__main__":
    asyncio.run(load(int(sys.argv[1])))
