"""Events of the stores in tests of upgrades, made of types that every version has: the same events in all of them."""

from __future__ import annotations

from dataclasses import fields

import numpy as np

from driftgauge.agent.core.pipeline import Pipeline
from driftgauge.agent.core.settings import PipelineSettings
from driftgauge.connectors.base import Store
from driftgauge.models.events import Chunk, Context, Event, Generation, Label, Signal
from driftgauge.models.learn.committee import CommitteeSettings
from driftgauge.models.outputs import Estimate
from driftgauge.models.windows import WindowSpec
from tests.copying import replace

START = 1_700_000_000.0
N_RESPONSES = 700
N_BEFORE = 500
"""Responses before the upgrade."""

_NAMES = {field.name for field in fields(PipelineSettings)}
_APART = {"refit_estimator_every_labels": 60} if "refit_estimator_every_labels" in _NAMES else {}
"""Versions before 0.2.0 fitted the estimator apart from the classifiers, and had other kinds of these."""
_CHALLENGERS = ("adaptive_random_forest", "sparse_logistic_regression") if _APART else ("logistic_regression",)

SETTINGS = PipelineSettings(
    windows=WindowSpec(window_s=600.0, window_events=200, hop_s=120.0),
    committee=CommitteeSettings(challengers=_CHALLENGERS, refit_every_labels=60, max_versions=2),
    emit_every_events=50,
    emit_every_labels=20,
    min_events=10,
    **_APART,  # type: ignore[arg-type]  # a field of older versions
)
CONTEXT = Context(model="m", temperature=0.7, k=3)


def events() -> tuple[list[Event], list[Event]]:
    """The events before and after the upgrade: responses, some in pieces, some late; labels, some late or pending."""
    rng = np.random.default_rng(7)
    placed: list[tuple[float, Event]] = []
    for i in range(N_RESPONSES):
        at = START + 2.0 * i
        spread = float(rng.uniform(0.5, 4.0))
        placed += [(at, event) for event in _response(rng, i, at, spread)]
        if rng.random() < 0.5:
            delay = float(rng.choice([-4.0, 8.0, 90.0, 400.0]))
            correct = float(rng.random() < (0.9 if spread > 2 else 0.4))
            placed.append((at + delay, Label(f"l{i}", f"r{i}", at + delay, correct, inclusion_probability=0.5)))
    placed.sort(key=lambda pair: pair[0])
    upgrade = START + 2.0 * N_BEFORE
    return [e for at, e in placed if at < upgrade], [e for at, e in placed if at >= upgrade]


def _response(rng: np.random.Generator, i: int, at: float, spread: float) -> list[Event]:
    """A response with log-probabilities of three alternatives; the larger the spread, the more certain it is."""
    logits = np.sort(rng.normal(0, spread, (int(rng.integers(3, 12)), 3)), axis=1)[:, ::-1]
    logp = (logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)) - 0.01).astype(np.float32)
    late_s = float(rng.choice([0.0, 300.0], p=[0.95, 0.05]))
    whole = Generation(f"r{i}", at - late_s, "ab"[i % 3 == 0], CONTEXT, Signal(logp[:, 0], logp))
    if i % 10:
        return [whole]
    pieces = [replace(whole, signal=Signal(part[:, 0], part)) for part in (logp[:2], logp[2:])]
    first, last = Chunk(pieces[0], 0, is_last=False), Chunk(pieces[1], 1, is_last=True)
    return [first] if i % 100 == 0 else [first, last]


def play(store: Store, log: list[Event], settings: PipelineSettings = SETTINGS) -> list[Estimate]:
    """Estimates that the agent emits for these events, from where the store ends."""
    emitted: list[Estimate] = []
    with store.transaction() as memory:
        pipeline = Pipeline.resume(settings, memory)
    for start in range(0, len(log), 50):
        with store.transaction() as memory:
            outputs = pipeline.step(log[start : start + 50], memory)
            memory.emit(outputs)
        emitted += [output for output in outputs if isinstance(output, Estimate)]
    return emitted
