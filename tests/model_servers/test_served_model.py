"""A real model that is exchanged behind its name is found on recurring prompts, and the same model is left alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from driftgauge.agent.core.settings import PipelineSettings
from driftgauge.connectors.kafka.local_broker import free_ports
from driftgauge.connectors.testing import MemoryStore
from driftgauge.models.events import Context, Event, Generation, Signal
from driftgauge.models.outputs import Alert
from tests.deadline import until
from tests.model_servers.test_model_servers import VARIABLE, is_ready
from tests.pipeline.logs import play

PROMPTS = [f"What is {a} + {b}?" for a, b in ((2, 3), (7, 8), (12, 9), (30, 12), (5, 5), (41, 8))] + [
    f"What is the capital of {country}?" for country in ("France", "Japan", "Peru", "Egypt", "Norway", "Italy")
]
ROUNDS, K, T0, ASK_EVERY_S = 5, 5, 960_000.0, 60.0
OTHER_MODELS = {
    "weights": ["rope_freq_base=60000"],  # as a fine-tuned model, it answers a little differently
    "template": ["chat_template=llama2"],
}


@contextmanager
def model_server(folder: Path, *settings: str) -> Iterator[str]:
    (port,) = free_ports(1)
    with (folder / "log").open("ab") as log:
        command = [sys.executable, "-m", "tests.model_servers.serving", str(port), *settings]
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            until(lambda: is_ready(port), 120.0)
            yield f"http://127.0.0.1:{port}/v1/chat/completions"
        finally:
            process.kill()
            process.wait()


def asked(address: str, prompt: str, seed: int) -> Signal:
    body = {
        "messages": [{"role": "user", "content": prompt}],
        "temperature": 0.7, "seed": seed, "max_tokens": 6, "logprobs": True, "top_logprobs": K,
    }  # fmt: skip
    request = urllib.request.Request(address, json.dumps(body).encode(), {"content-type": "application/json"})  # noqa: S310
    with urllib.request.urlopen(request, timeout=120) as answer:  # noqa: S310
        tokens: list[Any] = json.load(answer)["choices"][0]["logprobs"]["content"]
    top = np.array([[each["logprob"] for each in token["top_logprobs"]] for token in tokens], np.float32)
    return Signal(np.array([token["logprob"] for token in tokens], np.float32), top)


def answers(address: str, first: int) -> list[Event]:
    """Some rounds over all prompts, four at a time, so that batches on the server differ."""
    numbers = range(first, first + ROUNDS * len(PROMPTS))
    with ThreadPoolExecutor(4) as pool:
        signals = [*pool.map(lambda n: asked(address, PROMPTS[n % len(PROMPTS)], n), numbers)]
    context = Context(model="smollm2", temperature=0.7)
    return [
        Generation(f"r{n}", T0 + n * ASK_EVERY_S, "canary", context, signal, {"prompt_hash": str(n % len(PROMPTS))})
        for n, signal in zip(numbers, signals, strict=True)
    ]


def found(events: list[Event]) -> list[Alert]:
    outputs = play(MemoryStore(), [events], PipelineSettings())
    return [o for o in outputs if isinstance(o, Alert) and o.kind == "served_model" and o.state == "firing"]


@pytest.mark.skipif(VARIABLE in os.environ, reason="the model of a server that runs is not exchanged")
def test_another_model_behind_the_same_name_is_found_and_the_same_model_is_not(tmp_path: Path) -> None:
    n = ROUNDS * len(PROMPTS)
    with model_server(tmp_path) as address:
        before = answers(address, 0)
        same = answers(address, n)
    assert found([*before, *same]) == []
    for name, settings in OTHER_MODELS.items():
        with model_server(tmp_path, *settings) as address:
            [alert] = found([*before, *answers(address, n)])
        assert alert.since is not None, name
        assert T0 + (n - 12) * ASK_EVERY_S <= alert.since <= T0 + (n + 12) * ASK_EVERY_S, name
        assert alert.event_time <= T0 + (n + 48) * ASK_EVERY_S, name
