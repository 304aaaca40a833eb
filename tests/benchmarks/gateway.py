"""What capturing costs the gateway: against the same gateway that captures nothing, the same bytes, in the same run.

The gateway is the real command, alone on one core; the model server and the clients are in this process, on another.
There is no broker: events fill the outbox. Values are medians of alternating rounds, ratios medians of their ratios.
Processor time is that of all threads and child processes of the gateway, as the scheduler counts it.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from driftgauge.connectors.capture.outbox import OVERHEAD_BYTES
from tests.benchmarks.gateway_load import Load
from tests.gateway.gateway_process import GatewayProcess
from tests.kafka.agent_process import children

ROUNDS = 5
N_STREAMS, N_TOKENS, N_BODIES = 50, 100, 20
PACE_S, BODY_EVERY_S = 0.02, 0.05
N_OPEN = 200
K = 20
NO_BROKER = "127.0.0.1:1"

CAPTURES: dict[str, dict[str, Any]] = {
    "off": {"models": []},
    "on": {"models": ["*"], "k": K},
    "unsampled": {"models": ["*"], "k": K, "sampling": 0.0},
    "two": {"models": ["*"], "k": K},
}
Gateways = dict[str, GatewayProcess]
Result = dict[str, float | str]


def measure() -> dict[str, dict[str, Any]]:
    """CPU a chunk and a body, latencies, memory a stream, bytes a token."""
    return dict(asyncio.run(_measured()))


async def _measured() -> dict[str, Result]:
    load = Load(K)
    cores = sorted(os.sched_getaffinity(0))
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(load.listening())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        gateways: Gateways = {}
        for name, capture in CAPTURES.items():
            made = GatewayProcess(folder / name, url, NO_BROKER, capture=capture, workers=1 + (name == "two"))
            gateways[name] = await stack.enter_async_context(made)
            pin(made.process.pid, cores[0])
        os.sched_setaffinity(0, {cores[-1]})
        stack.callback(os.sched_setaffinity, 0, set(cores))
        return await _all(load, gateways)


async def _all(load: Load, gateways: Gateways) -> dict[str, Result]:
    found = await _memory(load, gateways["on"])

    async def chunks(gateway: GatewayProcess) -> float:
        before, n_before, load.late_s = _cpu_s(_processes(gateway)), load.n_reads, []
        await load.streams(gateway.url, N_STREAMS, N_TOKENS)
        assert (load.n_reads - n_before) > 0.95 * N_STREAMS * N_TOKENS  # chunks did not pile up
        return 1e6 * (_cpu_s(_processes(gateway)) - before) / (N_STREAMS * N_TOKENS)

    async def bodies(gateway: GatewayProcess) -> float:
        before = _cpu_s(_processes(gateway))
        await load.bodies(gateway.url, N_BODIES)
        await _parsed(gateway)
        return 1e3 * (_cpu_s(_processes(gateway)) - before) / N_BODIES

    found["gateway_cpu_per_chunk"] = await _compared(gateways, "on", chunks, "µs")
    found["gateway_cpu_passed"] = await _compared(gateways, "unsampled", chunks, "µs")
    found["gateway_cpu_per_body"] = await _compared(gateways, "on", bodies, "ms")
    load.pace_s = PACE_S
    for name, n_bodies in (("streams", 0), ("beside_bodies", round(N_TOKENS * PACE_S / BODY_EVERY_S))):
        found |= await _latencies(load, gateways, name, n_bodies)
    load.pace_s = 0.0
    found["gateway_two_workers"] = await _two_workers(load, gateways["on"], gateways["two"])
    return found


async def _compared(
    gateways: Gateways, name: str, work: Callable[[GatewayProcess], Awaitable[float]], unit: str
) -> Result:
    await work(gateways["off"])  # to warm up
    await work(gateways[name])
    rounds = [(await work(gateways["off"]), await work(gateways[name])) for _ in range(ROUNDS)]
    return result(rounds, unit)


def result(rounds: list[tuple[float, float]], unit: str) -> Result:
    return {
        "value": statistics.median(on for _, on in rounds),
        "unit": unit,
        "baseline": statistics.median(off for off, _ in rounds),
        "ratio": statistics.median(on / off for off, on in rounds),
    }


async def _latencies(load: Load, gateways: Gateways, name: str, n_bodies: int) -> dict[str, Result]:
    async def quantiles(gateway: GatewayProcess) -> tuple[float, float]:
        load.late_s = []
        await asyncio.gather(
            load.streams(gateway.url, N_STREAMS, N_TOKENS), load.bodies(gateway.url, n_bodies, every_s=BODY_EVERY_S)
        )
        return late_ms(load)

    rounds = [(await quantiles(gateways["off"]), await quantiles(gateways["on"])) for _ in range(ROUNDS)]
    return latencies(name, rounds)


def late_ms(load: Load) -> tuple[float, float]:
    """p50 and p99 of how late the chunks of the streams were."""
    percentiles = statistics.quantiles(load.late_s, n=100)
    return 1e3 * percentiles[49], 1e3 * percentiles[98]


def latencies(name: str, rounds: list[tuple[tuple[float, float], tuple[float, float]]]) -> dict[str, Result]:
    """Results of rounds in which the baseline and what is compared took turns."""
    return {
        f"gateway_{p}_{name}": result([(off[i], on[i]) for off, on in rounds], "ms")
        for i, p in enumerate(("p50", "p99"))
    }


async def _memory(load: Load, gateway: GatewayProcess) -> dict[str, Result]:
    """Growth of the resident size a stream while streams are open, and bytes a token of the events."""
    await load.streams(gateway.url, 2, 5)
    before, n_events, n_bytes = rss_kb(gateway), *_events(gateway)
    sizes: list[float] = []

    async def watch() -> None:
        while True:
            sizes.append(rss_kb(gateway))
            await asyncio.sleep(0.02)

    watching = asyncio.ensure_future(watch())
    await load.streams(gateway.url, N_OPEN, N_TOKENS)
    watching.cancel()
    events = _events(gateway)
    growth_kb = (max(sizes) - before) / N_OPEN
    a_token = (events[1] - n_bytes) / (events[0] - n_events) / N_TOKENS
    return {
        "gateway_memory_per_stream": _bounded(growth_kb, "kB", 100 + 0.045 * N_TOKENS),
        "gateway_bytes_per_token": _bounded(a_token, "B", 45.0),
    }


def _events(gateway: GatewayProcess) -> tuple[float, float]:
    """How many events there were, and their bytes in the outbox, without its own."""
    n = gateway.metric("events_captured_total")
    return n, gateway.metric("outbox_bytes") - OVERHEAD_BYTES * n


def _bounded(value: float, unit: str, bound: float) -> Result:
    return {"value": value, "unit": unit, "baseline": bound, "ratio": value / bound}


async def _two_workers(load: Load, one: GatewayProcess, two: GatewayProcess) -> Result:
    """How far a second worker relieves the busier of the two: what one worker spends over what that one spends."""
    workers = [pid for pid in children(two.process.pid) if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    ratios, spent_s = [], []
    for _ in range(ROUNDS):
        before, before_each = _cpu_s([one.process.pid]), [_cpu_s([pid]) for pid in workers]
        await load.streams(one.url, N_OPEN, N_TOKENS)
        await load.streams(two.url, N_OPEN, N_TOKENS)
        spent_s.append(_cpu_s([one.process.pid]) - before)
        ratios.append(spent_s[-1] / max(_cpu_s([pid]) - b for pid, b in zip(workers, before_each, strict=True)))
    ratio, alone_s = statistics.median(ratios), statistics.median(spent_s)
    return {"value": alone_s / ratio, "unit": "s", "baseline": alone_s, "ratio": ratio}


async def _parsed(gateway: GatewayProcess) -> None:
    while gateway.metric("bodies_waiting"):
        await asyncio.sleep(0.005)


def _processes(gateway: GatewayProcess) -> list[int]:
    return [gateway.process.pid, *children(gateway.process.pid)]


def pin(pid: int, core: int) -> None:
    for process in [pid, *children(pid)]:
        for task in Path(f"/proc/{process}/task").iterdir():
            os.sched_setaffinity(int(task.name), {core})


def _cpu_s(pids: list[int]) -> float:
    tasks = (task for pid in pids for task in Path(f"/proc/{pid}/task").iterdir())
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def rss_kb(gateway: GatewayProcess) -> float:
    [line] = [text for text in Path(f"/proc/{gateway.process.pid}/status").read_text().splitlines() if "VmRSS" in text]
    return float(line.split()[1])
