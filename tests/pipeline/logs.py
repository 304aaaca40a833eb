"""Seeded logs of events with everything that happens to a real one, for the tests of the main line."""

from __future__ import annotations

import itertools

import numpy as np

from driftgauge.agent.core.pipeline import Pipeline
from driftgauge.agent.core.settings import PipelineSettings
from driftgauge.connectors.base import Store
from driftgauge.connectors.publishing.kinds import OUTPUT_KINDS
from driftgauge.models.acquire.allocation import Budget
from driftgauge.models.acquire.label_lists import LabelPlan
from driftgauge.models.events import Chunk, Context, Event, Generation, Label, Rejected, Signal
from driftgauge.models.learn.committee import CommitteeSettings
from driftgauge.models.outputs import Output
from driftgauge.models.signals.assembly import AssemblySettings
from driftgauge.models.slices.grouping import SlicePlan
from driftgauge.models.windows import WindowSpec
from tests.copying import replace

START = 1_000_000.0

SETTINGS = PipelineSettings(
    windows=WindowSpec(window_s=120.0, window_events=60, hop_s=30.0),
    assembly=AssemblySettings(max_in_flight=5, max_waiting=3, expiry_s=40.0),
    emit_every_events=9,
    emit_every_labels=4,
    min_events=5,
    label_horizon_s=200.0,
    committee=CommitteeSettings(refit_every_labels=40),
    predictions="final",
    windows_at_once=3,
    label_plan=LabelPlan(period_s=60.0, budget=Budget(12, base=1), expires_after=1, link="https://t/{response_id}"),
    slices=SlicePlan((("language",), ("language", "tenant")), 3, 4, weak_min_labels=2, weak_false_alarms=0.3),
)


def signal(rng: np.random.Generator, n_tokens: int, *, correct: bool = True) -> Signal:
    """Top-5 log-probabilities that are more certain when the response is correct."""
    logits = np.sort(rng.normal(0, 3.0 if correct else 0.8, (n_tokens, 5)), axis=1)[:, ::-1]
    logp = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)) - 0.01
    return Signal(top_logprobs=logp.astype(np.float32), chosen_logprobs=logp[:, 0].astype(np.float32))


def make_log(seed: int, n_responses: int = 150) -> list[Event]:
    """Responses of four domains, whole and in pieces, with labels early, late, twice, revised, withdrawn, unmatched."""
    rng = np.random.default_rng(seed)
    placed: list[tuple[float, Event]] = []
    for i in range(n_responses):
        at = START + i * 2.0 - int(rng.random() < 0.1) * int(rng.integers(1, 200))
        placed += [(START + i * 2.0, event) for event in _response(rng, i, at)]
        placed += _labels(rng, i, START + i * 2.0)
    placed.sort(key=lambda pair: pair[0])
    return [event for _, event in placed]


def _response(rng: np.random.Generator, i: int, at: float) -> list[Event]:
    domain = "abcd"[int(rng.integers(4))]
    context = Context(model="m" if rng.random() < 0.9 else "other", temperature=1.0)
    tokens = signal(rng, int(rng.integers(1, 30)), correct=bool(rng.random() < 0.5))
    slices = {"language": "de" if i % 3 else "en", "tenant": f"t{i % 5}"}
    whole = Generation(f"r{i}", at, domain, context, tokens, slices)
    chance = rng.random()
    if chance < 0.05:
        return [Rejected("malformed", "planted", value=b"{")]
    if chance < 0.1:
        return [whole, whole]
    if chance < 0.3:
        return _pieces(rng, whole)
    return [whole]


def _pieces(rng: np.random.Generator, whole: Generation) -> list[Event]:
    top, chosen = whole.signal.top_logprobs, whole.signal.chosen_logprobs
    assert top is not None
    assert chosen is not None
    cuts = [0, *sorted(set(rng.integers(1, len(top) + 1, 2).tolist())), len(top)]
    pieces: list[Event] = []
    for n, (start, stop) in enumerate(itertools.pairwise(cuts)):
        part = Signal(top_logprobs=top[start:stop], chosen_logprobs=chosen[start:stop])
        piece = whole.with_signal(part)
        pieces.append(Chunk(piece, n, is_last=n == len(cuts) - 2))
    if rng.random() < 0.3:
        pieces[0], pieces[-1] = pieces[-1], pieces[0]
    if rng.random() < 0.2:
        pieces.pop()
    return pieces


def _labels(rng: np.random.Generator, i: int, at: float) -> list[tuple[float, Event]]:
    if rng.random() > 0.6:
        return []
    delay = float(rng.choice([-5.0, 0.5, 20.0, 150.0]))
    first = Label(f"l{i}", f"r{i}", at + delay, float(rng.random() < 0.5), inclusion_probability=0.5)
    placed: list[tuple[float, Event]] = [(at + delay, first)]
    chance = rng.random()
    if chance < 0.2:
        placed.append((at + delay + 3, first))
    elif chance < 0.4:
        placed.append((at + delay + 9, Label(f"m{i}", f"r{i}", at + delay + 9, 1.0, supersedes=f"l{i}")))
    elif chance < 0.45:
        placed.append((at + delay + 9, Label(f"m{i}", f"r{i}", at + delay + 9, None, supersedes=f"l{i}")))
    elif chance < 0.5:
        placed.append((at + delay, Label(f"x{i}", f"nowhere{i}", at + delay, 1.0)))
    return placed


def make_colliding_log(seed: int, n_events: int = 120) -> list[Event]:
    """Few ids for many responses, whole and in pieces; aliases of one or several; labels that correct each other.

    Some labels come from a topic that turns out to have another scale near the end of the log.
    """
    rng = np.random.default_rng(seed)
    log: list[Event] = []
    for i in range(n_events):
        at, number = START + i * 3.0, int(rng.integers(12))
        if rng.random() < 0.5:
            log += _colliding_response(rng, number, at)
        else:
            of = str(rng.choice([f"r{number}", f"ticket{number}", f"key{number % 3}"]))
            correct = None if rng.random() < 0.1 else float(rng.integers(2))
            supersedes = f"l{rng.integers(12)}" if correct is None else None
            topic = "stars" if rng.random() < 0.2 else "labels"
            if topic == "stars" and i > 0.8 * n_events and correct is not None:
                correct = 4.0
            time = START + float(rng.integers(360))
            label = Label(f"l{number % 7}", of, time, correct, supersedes=supersedes, topic=topic)
            log += [label, label] if rng.random() < 0.1 else [label]
    return log


def _colliding_response(rng: np.random.Generator, number: int, at: float) -> list[Event]:
    """One of two responses under one id; the stream of a response may end early."""
    other = bool(rng.random() < 0.3)
    tokens = signal(np.random.default_rng([number, other]), 6)
    aliases = tuple(str(alias) for alias in (f"ticket{number}", f"key{number % 3}") if rng.random() < 0.4)
    created = START + 10.0 * number + 1_000.0 * other if rng.random() < 0.8 else at
    whole = Generation(f"r{number}", created, "ab"[number % 2], Context(model="m"), tokens, aliases=aliases)
    return [whole] if rng.random() < 0.6 else _pieces(rng, whole)


CROWDED = replace(SETTINGS, max_domains=2, max_fingerprints=2, predictions="all")


def make_roaming_log(seed: int, n_responses: int = 60) -> list[Event]:
    """More contexts and domains than `CROWDED` takes: some come and go, some are busy; labels come long after."""
    rng = np.random.default_rng(seed)
    placed: list[tuple[float, Event]] = []
    for i in range(n_responses):
        at, period = START + i * 4.0, i // 15
        busy = rng.random() < 0.2
        domain = str(rng.choice([*"abcd", "(other)"])) if busy else f"p{period % 3}"
        context = Context(model=f"m{rng.integers(4) if busy else period % 4}")
        tokens = signal(rng, int(rng.integers(1, 12)), correct=bool(rng.random() < 0.5))
        created = at + float(rng.choice([0.0, -90.0, 70.0], p=[0.8, 0.1, 0.1]))
        whole = Generation(f"r{i}", created, domain, context, tokens)
        pieces = _pieces(rng, whole) if rng.random() < 0.2 else [whole]
        placed += [(at, event) for event in pieces]
        if rng.random() < 0.7:
            seen = at + float(rng.choice([0.5, 40.0, 150.0, 260.0]))
            placed.append((seen, Label(f"l{i}", f"r{i}", seen, float(rng.random() < 0.5))))
    placed.sort(key=lambda pair: pair[0])
    return [event for _, event in placed]


def play(store: Store, batches: list[list[Event]], settings: PipelineSettings = SETTINGS) -> list[Output]:
    """Everything a pipeline emits for these batches, each in a transaction of its own."""
    with store.transaction() as transaction:
        pipeline = Pipeline.resume(settings, transaction)
    outputs: list[Output] = []
    for batch in batches:
        with store.transaction() as transaction:
            said = pipeline.step(batch, transaction)
            transaction.emit(said)
        outputs += said
    return outputs


def comparable(outputs: list[Output]) -> list[Output]:
    """The same outputs in a form that compares: an event in a dead letter becomes its bytes."""
    return [OUTPUT_KINDS[type(output)].prepare(output) for output in outputs]


def remembered(store: Store) -> dict[str, object]:
    """All that a store remembers, in a form that compares."""
    with store.transaction() as transaction:
        ids = [f"{kind}{i}" for kind in ("r", "ticket", "key") for i in range(1000)]
        rows = transaction.responses(ids)
        stale = transaction.take_stale(1_000_000)
        transaction.mark_stale(stale)
        return {
            "state": transaction.state(""),
            "stale": stale,
            "retired": {name: (n, transaction.retired(name)) for name, n in transaction.retired_numbers().items()},
            "rows": [
                (r.id, r.seq, r.features.tobytes(), repr(r.p_correct), repr(r.correct), r.weight) for r in rows.values()
            ],
            "aliases": transaction.aliases(ids),
            "labels": {k: sorted(v, key=lambda x: x.label_id) for k, v in transaction.labels(ids).items()},
        }
