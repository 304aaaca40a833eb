"""A year of traffic, day by day, from a seed: releases, domains that come and go, seasons, labels, imports.

Every day is a function of (seed, day) and of the labels that earlier days left due, so days are made one after another.
The truth of each response is known here, and nowhere else: it measures the estimates.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from scipy.special import expit

from driftgauge.connectors.base import Record
from driftgauge.connectors.decoding.formats.own import encode_generation, encode_label
from driftgauge.models.events import Context, Generation, Label, Signal

START = 1_767_225_600.0  # Thursday 2026-01-01, UTC
DAY_S, HOUR_S = 86_400.0, 3_600.0
DAYS_PER_RELEASE, TEMPERATURES = 7, (0.0, 0.7)
DAYS_PER_IMPORT, IMPORT_DAYS, LABELS_PER_GROUP = 30, 30, 3
DAYS_PER_OUTAGE, OUTAGE = 45, (8.0, 16.0)
HEADERS = (("content-type", b"application/msgpack"),)
PARTITIONS = 2
K, MAX_TOKENS = 5, 40

LASTING = ("billing", "code", "email", "law", "maths", "search", "support", "translation")
"""Domains that have traffic all year; every release week brings another one that stays for three weeks."""


@dataclass(frozen=True, slots=True)
class Response:
    """One response of the year, as its label will tell it."""

    id: str
    event_time: float
    domain: str
    context: Context
    is_correct: bool


@dataclass
class Day:
    """The records of one day in the order of their arrival, and the responses among them."""

    number: int
    records: list[Record] = field(default_factory=list)
    responses: list[Response] = field(default_factory=list)

    @property
    def end(self) -> float:
        """The event time at which the day ends."""
        return _midnight(self.number + 1)


class Year:
    """Makes the days of a year, in order. ``per_hour`` is the mean number of responses."""

    def __init__(self, seed: int = 0, per_hour: float = 25.0) -> None:
        self.seed = seed
        self.per_hour = per_hour
        self._offsets: dict[tuple[str, int], int] = defaultdict(int)
        self._due: list[tuple[float, str, Response, float]] = []  # labels that come later: a heap
        self._n_labels = 0
        self._recent: list[Response] = []

    def days(self, n: int) -> Iterator[Day]:
        """The first ``n`` days."""
        for number in range(n):
            yield self._day(number)

    def _day(self, number: int) -> Day:
        rng, day = np.random.default_rng((self.seed, number)), Day(number)
        placed: list[tuple[float, str, str, bytes]] = []
        for generation, response in self._responses(rng, number):
            day.responses.append(response)
            placed.append((generation.event_time, "generations", generation.id, encode_generation(generation)))
            if rng.random() < _LABELLED:
                delay_s = float(rng.lognormal(np.log(6 * HOUR_S), 1.0))
                self._label_later(response, generation.event_time + delay_s, _LABELLED)
        self._recent = [r for r in self._recent if r.event_time >= _midnight(number - IMPORT_DAYS)] + day.responses
        if number % DAYS_PER_IMPORT == DAYS_PER_IMPORT - 1:
            self._import(rng, _midnight(number) + 9 * HOUR_S)
        while self._due and self._due[0][0] < day.end:
            at, label_id, response, probability = heapq.heappop(self._due)
            label = Label(label_id, response.id, at, float(response.is_correct), inclusion_probability=probability)
            placed.append((at, "labels", response.id, encode_label(label)))
        placed.sort(key=lambda one: one[0])
        day.records = [self._record(*one) for one in placed]
        if number % DAYS_PER_OUTAGE == DAYS_PER_OUTAGE - 1:
            day.records.sort(key=_read_after_outage)
        return day

    def _record(self, at: float, topic: str, key: str, value: bytes) -> Record:
        partition = int(key[1:]) % PARTITIONS
        offset = self._offsets[topic, partition]
        self._offsets[topic, partition] += 1
        return Record(topic, partition, offset, None, value, HEADERS, at + 1.0)

    def _responses(self, rng: np.random.Generator, number: int) -> Iterator[tuple[Generation, Response]]:
        names = [*LASTING, *domains_of_season(number)]
        hours = np.repeat(np.arange(24), rng.poisson([self.per_hour * season(number, hour) for hour in range(24)]))
        times = _midnight(number) + (np.sort(hours + rng.random(len(hours)))) * HOUR_S
        for i, at in enumerate(times.tolist()):
            domain = names[int(rng.integers(len(names)))]
            release = number // DAYS_PER_RELEASE - int(number % DAYS_PER_RELEASE == 0 and rng.random() < _LAGGING)
            context = Context(model=f"m{max(release, 0)}", temperature=TEMPERATURES[int(rng.random() < _WARM)], k=K)
            ease = rng.normal(difficulty(domain) + night(at), 1.0)
            is_correct = bool(rng.random() < expit(1.0 + 1.5 * ease))
            response = Response(f"r{number * 100_000 + i}", at, domain, context, is_correct)
            yield Generation(response.id, at, domain, context, _signal(rng, ease)), response

    def _label_later(self, response: Response, at: float, probability: float) -> None:
        heapq.heappush(self._due, (at, f"l{self._n_labels}", response, probability))
        self._n_labels += 1

    def _import(self, rng: np.random.Generator, at: float) -> None:
        """Labels of the last 30 days arrive together: so many for each domain and day."""
        groups: dict[tuple[str, int], list[Response]] = defaultdict(list)
        for response in self._recent:
            if response.event_time < at:
                groups[response.domain, int(response.event_time // DAY_S)].append(response)
        for _, group in sorted(groups.items()):
            n = min(LABELS_PER_GROUP, len(group))
            for i in sorted(rng.choice(len(group), n, replace=False).tolist()):
                self._label_later(group[i], at, n / len(group))


def _read_after_outage(record: Record) -> tuple[float, int]:
    """The agent is down for hours, and then reads what has waited one partition after the other."""
    hour = (record.timestamp - START) % DAY_S / HOUR_S
    has_waited = OUTAGE[0] <= hour < OUTAGE[1]
    return (OUTAGE[1], record.partition + 1) if has_waited else (hour, 0)


_LABELLED, _LAGGING, _WARM = 0.1, 0.3, 0.3


def _midnight(number: int) -> float:
    return START + number * DAY_S


def season(number: int, hour: int) -> float:
    """Traffic relative to the mean: less at night and at weekends."""
    weekend = 0.5 if (number + 3) % 7 >= 5 else 1.2
    return weekend * (1.0 + 0.8 * float(np.sin((hour - 9) / 24 * 2 * np.pi)))


def night(at: float) -> float:
    """How much harder responses are at night: people ask other things."""
    hour = (at - START) % DAY_S / HOUR_S
    return -0.3 if hour < 6 else 0.0


def domains_of_season(number: int) -> list[str]:
    """The three short-lived domains of a day: one comes with each release and stays for three weeks."""
    week = number // DAYS_PER_RELEASE
    return [f"campaign-{n}" for n in range(max(week - 2, 0), week + 1)]


def difficulty(domain: str) -> float:
    """How easy the responses of a domain are on average: from its name, so that all days agree."""
    return float(np.random.default_rng(list(domain.encode())).normal(0.0, 0.6))


def _signal(rng: np.random.Generator, ease: float) -> Signal:
    """Top-5 log-probabilities that are more certain where the response is easy."""
    n = int(np.clip(rng.lognormal(2.3, 0.5), 2, MAX_TOKENS))
    first = expit(1.5 + ease + rng.normal(0, 1.0, n))
    rest = (1 - first)[:, None] * np.array([0.5, 0.25, 0.125, 0.1])
    top = np.sort(np.log(np.column_stack([first, rest])), axis=1)[:, ::-1]
    return Signal(chosen_logprobs=top[:, 0].astype(np.float32), top_logprobs=top.astype(np.float32))
