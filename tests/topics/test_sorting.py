"""Responses without a domain in the pipeline: they get the domain of their topic, and the laws hold for it."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from driftgauge.connectors.testing import MemoryStore
from driftgauge.models.events import NO_DOMAIN, Chunk, Context, Event, Generation, Label, Tick
from driftgauge.models.outputs import Alert, Estimate, Output
from driftgauge.models.topics.clustering import UNSORTED, TopicSettings
from tests.copying import replace
from tests.pipeline.logs import SETTINGS, START, comparable, play, remembered, signal
from tests.pipeline.stepping import Agent
from tests.pipeline.test_laws import cut
from tests.topics.planted import drawn, sort

TOPICS = TopicSettings(enabled=True, max_topics=4, min_responses=4, similarity=0.4, silent_s=300.0)
SORTED = replace(SETTINGS, topics=TOPICS)
KINDS = {"new_topic", "topics_merged", "topic_split"}


def response(i: int, embedding: np.ndarray | None, domain: str = "") -> Generation:
    rng = np.random.default_rng(i)
    return Generation(
        f"r{i}", START + i, domain or "default", Context(model="m"), signal(rng, 4, correct=i % 3 > 0),
        problems={} if domain else {NO_DOMAIN: 1}, embedding=embedding,
    )  # fmt: skip


def log_of(seed: int, n: int) -> list[Event]:
    """Responses in a topic each, with labels; some have a domain, some no embedding, some come in pieces or twice."""
    rng, log = np.random.default_rng(seed), list[Event]()
    for i, embedding in enumerate(drawn(seed, n)):
        chance = rng.random()
        whole = response(i, None if chance < 0.1 else embedding, "law" if chance > 0.9 else "")
        if 0.3 < chance < 0.4:
            log += [Chunk(whole, 0, is_last=False), Chunk(whole, 1, is_last=True)]
        else:
            log += [whole, whole] if chance > 0.85 else [whole]
        if rng.random() < 0.3:
            log.append(Label(f"l{i}", f"r{i}", START + i, float(rng.random() < 0.6)))
    return log


def domains(agent: Agent, n: int) -> list[str]:
    return [agent.row(f"r{i}").domain for i in range(n)]


def pair() -> tuple[np.ndarray, np.ndarray]:
    law, tax = np.eye(2, 64, dtype=np.float32)
    return law, tax


def test_a_response_without_a_domain_gets_that_of_its_topic_and_is_estimated_there() -> None:
    agent, (law, tax) = Agent(SORTED), pair()
    for i in range(60):
        agent.take(response(i, law if i % 2 else tax), Label(f"l{i}", f"r{i}", START + i, float(i % 2)))
    agent.take(Tick(START + 600))
    assert domains(agent, 60)[:8] == [UNSORTED] * 6 + ["topic-1", "topic-2"]
    assert set(domains(agent, 60)[6:]) == {"topic-1", "topic-2"}
    alerts = [a for a in agent.said if isinstance(a, Alert) and a.kind in KINDS]
    assert [(a.kind, a.domain, a.severity, a.event_time, a.rows) for a in alerts] == [
        ("new_topic", "topic-1", "info", START + 6, ("r6",)), ("new_topic", "topic-2", "info", START + 7, ("r7",)),
    ]  # fmt: skip
    estimates = [e for e in agent.said if isinstance(e, Estimate) and e.accuracy_labelled is not None]
    assert {(e.domain, e.accuracy_labelled) for e in estimates} >= {("topic-1", 0.0), ("topic-2", 1.0)}
    assert agent.state.counters["response_default_domain"] == 0


def test_a_domain_that_is_given_and_a_response_without_an_embedding_stay_as_they_are() -> None:
    agent, (law, _) = Agent(SORTED), pair()
    agent.take(*(response(i, law, "law") for i in range(10)), *(response(i, None) for i in range(10, 20)))
    assert domains(agent, 20) == ["law"] * 10 + ["default"] * 10
    assert (agent.state.topics.names, agent.state.counters["response_default_domain"]) == ([], 10)


def test_without_the_setting_nothing_is_sorted() -> None:
    agent, (law, _) = Agent(SETTINGS), pair()
    agent.take(*(response(i, law) for i in range(10)))
    assert set(domains(agent, 10)) == {"default"}
    assert "topics" not in agent.store.tables.state


def test_a_response_that_comes_again_is_not_placed_again() -> None:
    agent, (law, _) = Agent(SORTED), pair()
    agent.take(*(response(0, law) for _ in range(10)))
    assert (agent.state.topics.names, agent.state.counters["duplicate_responses"]) == ([], 9)


def test_a_response_in_pieces_is_sorted_when_it_is_complete_also_after_a_restart() -> None:
    agent, (law, _) = Agent(SORTED), pair()
    agent.take(*(response(i, law) for i in range(6)))
    first, last = response(6, law), response(6, None)
    agent.take(Chunk(first, 0, is_last=False))
    agent.restart()
    agent.take(Chunk(last, 1, is_last=True))
    assert agent.row("r6").domain == "topic-1"


def test_every_merge_and_every_split_is_told_once() -> None:
    agent = Agent(SORTED)
    agent.take(*(response(i, embedding) for i, embedding in enumerate(drawn(2))))
    told = [(a.kind, a.domain) for a in agent.said if isinstance(a, Alert) and a.kind in KINDS]
    assert {kind for kind, _ in told} == KINDS
    changes = [change for _, change in sort(drawn(2), TOPICS).changes]
    assert told == [(change.kind, change.other or change.topic) for change in changes if change.kind in KINDS]
    for kind in ("topics_left", "topics_full"):
        assert agent.state.counters[kind] == sum(change.kind == kind for change in changes)


@settings(max_examples=5, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    sizes=st.lists(st.integers(1, 60), min_size=1, max_size=5),
    at=st.sets(st.integers(1, 260), max_size=2),
)
def test_topics_depend_neither_on_where_batches_end_nor_on_restarts(seed: int, sizes: list[int], at: set[int]) -> None:
    log = log_of(seed, 250)
    whole, cut_up = MemoryStore(), MemoryStore()
    expected = comparable(play(whole, [log], SORTED))
    outputs = list[Output]()
    ends = [0, *sorted(at), len(log)]
    for start, stop in itertools.pairwise(ends):  # each part is played by a pipeline that is resumed
        outputs += play(cut_up, cut(log[start:stop], sizes), SORTED)
    assert comparable(outputs) == expected
    assert remembered(whole) == remembered(cut_up)
    assert whole.tables.state["topics"] == cut_up.tables.state["topics"]
