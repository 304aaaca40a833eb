"""One log for every way of reading it, from a seed: what a real topic holds, in the order of its arrival.

Whole responses (packed events, and bodies of an OpenAI server), responses in pieces, labels early and late, corrected
ones and ones for no response, responses sent twice, two responses under one id, wrong clocks, and damaged records. The
log covers the same span of event time whatever its size. All records of a response have its id as their key, so that
they share a partition.
"""

from __future__ import annotations

import heapq
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import TypeAlias

import numpy as np

from driftgauge.connectors.decoding.formats.own import encode_generation, encode_label
from driftgauge.models.events import Chunk, Context, Generation, Label, Signal
from tests.copying import replace
from tests.decode import chat
from tests.pipeline.logs import signal

START, SPAN_S = 1_700_000_000.0, 200_000.0
N_AT_THE_END, END_S, END_EVERY_S = 64, 150_000.0, 1_000.0
RESPONSES_PER_LABEL = 10
DOMAINS, MODELS = ("billing", "code", "law", "support"), ("m1", "m2")
N_TOKENS, N_SIGNALS = 40, 200
_YEAR_2100 = 4.1e9
_JSON, _MSGPACK = (("content-type", b"application/json"),), (("content-type", b"application/msgpack"),)

Due: TypeAlias = list[tuple[float, int, "Line"]]


@dataclass(frozen=True, slots=True)
class Line:
    """A record to send."""

    key: bytes
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = _MSGPACK


def lines(seed: int, n_responses: int) -> Iterator[Line]:
    """The records of ``n_responses`` responses, a label for every tenth of them, and an end."""
    chance = random.Random(seed)  # noqa: S311 - reproducible
    signals = _Signals(seed)
    due: Due = []
    numbers = count()

    def later(at: float, line: Line) -> None:
        heapq.heappush(due, (at, next(numbers), line))

    for i in range(n_responses):
        is_correct = chance.random() < 0.7
        response = _response(chance, i, n_responses, signals, is_correct=is_correct)
        for lag, line in _sent(chance, response):
            later(i + lag, line)
        if i % RESPONSES_PER_LABEL == 0:
            for lag, label in _labels(chance, i, n_responses, is_correct=is_correct):
                at = max(response.event_time, START) + max(lag, 0) * SPAN_S / n_responses
                later(i + lag, Line(response.id.encode(), encode_label(replace(label, event_time=at))))
        while due and due[0][0] <= i:
            yield heapq.heappop(due)[2]
    while due:
        yield heapq.heappop(due)[2]
    yield from _end(signals.one(chance, is_correct=True))


def _end(tokens: Signal) -> Iterator[Line]:
    """Responses long after the others, in every partition: what still waits then is given up, in whatever order."""
    for i in range(N_AT_THE_END):
        at = START + SPAN_S + END_S + i * END_EVERY_S
        response = Generation(f"end{i}", at, DOMAINS[0], Context(model=MODELS[0], temperature=1.0), tokens)
        yield Line(response.id.encode(), encode_generation(response, dtype="float16"))


class _Signals:
    """A stock of signals that are more certain where the response is correct: making them costs more than the rest."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self._stock = {
            is_correct: [signal(rng, N_TOKENS, correct=is_correct) for _ in range(N_SIGNALS)]
            for is_correct in (False, True)
        }

    def one(self, chance: random.Random, *, is_correct: bool) -> Signal:
        return chance.choice(self._stock[is_correct])


def _response(chance: random.Random, i: int, n: int, signals: _Signals, *, is_correct: bool) -> Generation:
    at = START + i * SPAN_S / n
    if chance.random() < 0.01:
        at -= 20_000.0
    context = Context(model=chance.choice(MODELS), temperature=1.0)
    slices = {"language": chance.choice(("de", "en"))}
    return Generation(f"r{i}", at, chance.choice(DOMAINS), context, signals.one(chance, is_correct=is_correct), slices)


def _sent(chance: random.Random, response: Generation) -> Iterator[tuple[float, Line]]:
    """The records of a response, and how many responses later each of them comes."""
    key, whole = response.id.encode(), encode_generation(response, dtype="float16")
    kind = chance.random()
    if kind < 0.05:
        yield 0, Line(key, _openai_body(response), (*_JSON, ("driftgauge-domain", response.domain.encode())))
    elif kind < 0.10:
        yield from ((lag, Line(key, piece)) for lag, piece in _pieces(chance, response))
    else:
        yield 0, Line(key, whole)
    if kind > 0.98:
        yield chance.choice((0, 50)), Line(key, whole)
    elif kind > 0.97:
        yield 1, Line(key, encode_generation(_part(response, 0, 20), dtype="float16"))
    elif kind > 0.95:
        yield 0, chance.choice(_damaged(response, whole))


def _openai_body(response: Generation) -> bytes:
    top = response.signal.top_logprobs
    assert top is not None
    entries = [
        chat.entry("t0", row[0], [(f"t{n}", logprob) for n, logprob in enumerate(row)])
        for row in np.round(top.astype(float), 4).tolist()
    ]
    given = {"id": response.id, "created": int(response.event_time), "model": response.context.model}
    return json.dumps(chat.body(*entries, **given), separators=(",", ":")).encode()


def _pieces(chance: random.Random, response: Generation) -> Iterator[tuple[float, bytes]]:
    """Three pieces, numbered or not; now and then the last one is late or never comes."""
    is_numbered, late = chance.random() < 0.5, chance.choice((0.0, 0.0, 2.0))
    for n, (start, stop) in enumerate(((0, 10), (10, 30), (30, N_TOKENS))):
        chunk = Chunk(_part(response, start, stop), n if is_numbered else None, is_last=n == 2)
        if n < 2 or chance.random() < 0.9:
            yield late * (n == 2), encode_generation(chunk, dtype="float32")


def _part(response: Generation, start: int, stop: int) -> Generation:
    """The response with some of its tokens."""
    top, chosen = response.signal.top_logprobs, response.signal.chosen_logprobs
    assert top is not None
    assert chosen is not None
    return response.with_signal(Signal(top_logprobs=top[start:stop], chosen_logprobs=chosen[start:stop]))


def _damaged(response: Generation, whole: bytes) -> list[Line]:
    key, ahead = response.id.encode(), replace(response, id=f"{response.id}-ahead", event_time=_YEAR_2100)
    return [
        Line(key, b"\xc1"),
        Line(key, whole[:-7]),
        Line(key, None),
        Line(key, b"garbage", _JSON),
        Line(key, b'{"type": "page_view", "item": {"sku": 1}}', _JSON),
        Line(key, b"text", (("content-type", b"text/plain"),)),
        Line(key, encode_generation(ahead, dtype="float16")),
    ]


def _labels(chance: random.Random, i: int, n: int, *, is_correct: bool) -> Iterator[tuple[float, Label]]:
    """The labels of a response, and how many responses later each comes; a tenth of the log is very late."""
    lag = chance.choice((-0.5, 0.5, n / 400, n / 10))
    yield lag, Label(f"l{i}", f"r{i}", 0.0, float(is_correct), inclusion_probability=1 / RESPONSES_PER_LABEL)
    kind = chance.random()
    if kind < 0.05:
        yield lag + 1, Label(f"m{i}", f"r{i}", 0.0, float(not is_correct), supersedes=f"l{i}")
    elif kind < 0.1:
        yield lag, Label(f"x{i}", f"nowhere{i}", 0.0, 1.0)
    elif kind < 0.15:
        yield lag, Label(f"l{i}", f"r{i}", 0.0, float(is_correct), inclusion_probability=1 / RESPONSES_PER_LABEL)
