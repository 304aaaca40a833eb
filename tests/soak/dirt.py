"""What real senders also send: wrong clocks, ids given twice, corrected labels, foreign documents, absurd values.

`Dirt` makes such records, each with a header that names its kind, so that `problems` can tell from the topics and the
store whether each became what it must. A producer without idempotence may write a record twice.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, Literal, TypeAlias, get_args

import msgspec
import numpy as np

from driftgauge.connectors.base import Record
from driftgauge.connectors.decoding.formats.own import encode_generation, encode_label
from driftgauge.models.events import Context, Generation, Label, Rejected, Signal

Kind: TypeAlias = Literal["bad_clocks", "shared_ids", "corrections", "foreign", "absurd"]
KINDS: tuple[Kind, ...] = get_args(Kind)

PLANTED = "planted"
_JSON = ("content-type", b"application/json")
_AHEAD_S = 270 * 86_400.0
_FOREIGN: tuple[Any, ...] = (
    {"type": "page_view", "item": {"sku": 1}},
    {"message": {"text": "hello"}, "user": "u1"},
    {"level": "info", "message": "started"},
    {"id": "msg_1", "type": "message", "role": "assistant", "content": [{"type": "text", "text": "hi"}]},
    {"order": 17, "total": 9.5},
)
_REFUSED = {"invalid_value", "invalid_id"}


@dataclass(frozen=True)
class Planted:
    """A record to send: to the topic of labels or of generations."""

    is_label: bool
    value: bytes
    headers: tuple[tuple[str, bytes], ...]


class Dirt:
    """Makes records of these kinds."""

    def __init__(self, kinds: Sequence[Kind], rng: random.Random) -> None:
        self._kinds = kinds
        self._rng = rng
        self._numbers = count()

    def next(self, at: float, now: float) -> Iterator[Planted]:
        """The records of one planting; ``at`` is the event time of the traffic, ``now`` that of the broker."""
        if not self._kinds:
            return
        kind, n = self._rng.choice(self._kinds), next(self._numbers)
        if kind == "bad_clocks":
            is_ahead = self._rng.random() < 0.5
            response = _response(f"clock-{n}", now + _AHEAD_S if is_ahead else self._rng.uniform(0.0, at), -0.5)
            yield _planted("ahead" if is_ahead else "behind", response)
            yield _planted("ahead", Label(f"clock-{n}", f"clock-{n}", now + _AHEAD_S, 1.0))
        elif kind == "shared_ids":
            for logprob in (-0.25, -0.75, -0.25):
                yield _planted("shared_ids", _response(f"shared-{n}", at, logprob))
        elif kind == "corrections":
            yield _planted("corrections", _response(f"corrected-{n}", at, -0.5))
            for later, correct in enumerate((1.0, 0.0)):
                label = Label(f"corrected-{n}", f"corrected-{n}", at + later, correct)
                yield _planted("corrections", label)
        elif kind == "foreign":
            value = json.dumps(self._rng.choice(_FOREIGN)).encode()
            yield Planted(self._rng.random() < 0.3, value, ((PLANTED, b"foreign"), _JSON))
        else:
            event = self._rng.choice(_absurd(f"absurd-{n}", at))
            yield Planted("label_id" in event, msgspec.msgpack.encode(event), ((PLANTED, b"absurd"),))


def _response(name: str, event_time: float, logprob: float) -> Generation:
    chosen = np.full(4, logprob, dtype=np.float32)
    return Generation(name, event_time, "dirt", Context(model="m", temperature=1.0), Signal(chosen_logprobs=chosen))


def _planted(kind: str, event: Generation | Label) -> Planted:
    is_label = isinstance(event, Label)
    value = encode_label(event) if isinstance(event, Label) else encode_generation(event, dtype="float32")
    return Planted(is_label, value, ((PLANTED, kind.encode()),))


def _absurd(name: str, at: float) -> tuple[dict[str, Any], ...]:
    generation = {"type": "generation", "id": name, "event_time": at, "model": "m", "domain": "dirt"}
    label = {"type": "label", "label_id": name, "response_id": name, "event_time": at, "correct": 1.0}
    return (
        {**generation, "token_ids": [2**63], "signal": {"chosen_logprobs": [-0.5]}},
        {**generation, "signal": {"features": [1e39, None, *[0.5] * 15]}},
        {**generation, "signal": {"entropy": [-3.0, 0.5]}},
        {**generation, "id": f"{name}\x00", "signal": {"chosen_logprobs": [-0.5]}},
        {**label, "inclusion_probability": 1e-200},
        {**label, "inclusion_probability": 5e-324},
    )


def problems(applied: Sequence[Record], letters: Sequence[Rejected], correct: Mapping[str, float]) -> list[str]:
    """Planted records that did not become what they must.

    Parameters
    ----------
    applied : all records in the order in which they were applied
    letters : all dead letters
    correct : the resolved truth of responses by id; NaN where there is none
    """
    kinds = [dict(record.headers).get(PLANTED, b"").decode() for record in applied]
    reasons = {(letter.topic, letter.partition, letter.offset): letter.reason for letter in letters if letter.topic}
    found: list[str] = []
    for record, kind in zip(applied, kinds, strict=True):
        reason = reasons.get((record.topic, record.partition, record.offset))
        wanted = {"foreign": {"unknown_format"}, "absurd": _REFUSED}.get(kind)
        if wanted is not None and reason not in wanted:
            found.append(f"a planted record ({kind}) became {reason}")
    n_ahead = sum(letter.reason == "event_time_ahead" for letter in letters)
    if n_ahead != kinds.count("ahead"):
        found.append(f"{kinds.count('ahead')} events were dated ahead, {n_ahead} became dead letters")
    if n := sum(letter.reason == "internal_error" for letter in letters):
        found.append(f"{n} records made the agent fail")
    found += _shared(applied, kinds, letters)
    wrong = [name for name, value in correct.items() if name.startswith("corrected-") and value != 0.0]
    return [*found, *([f"{len(wrong)} labels were not corrected, such as {wrong[0]}"] if wrong else [])]


def _shared(applied: Sequence[Record], kinds: Sequence[str], letters: Sequence[Rejected]) -> list[str]:
    """Of the responses that share an id, the first one counts, and each with other content is a dead letter."""
    first: dict[str, bytes] = {}
    expected: Counter[str] = Counter()
    for record, kind in zip(applied, kinds, strict=True):
        if kind == "shared_ids" and record.value is not None:
            name = msgspec.msgpack.decode(record.value)["id"]
            expected[name] += first.setdefault(name, record.value) != record.value
    refused = Counter((letter.key or b"").decode() for letter in letters if letter.reason == "id_conflict")
    differing = [name for name in first if expected[name] != refused[name]]
    return [f"{len(differing)} shared ids have other dead letters, such as {differing[0]}"] if differing else []
