"""Which responses share a context: a build number of the server and an appended token do not open one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from driftgauge.agent.service.build_decoding import decoder as built
from driftgauge.config.load import load_settings
from driftgauge.connectors.decoding.decoder import Decoder
from driftgauge.models.events import Event
from tests.decode.chat import body, chunk, entry, events
from tests.pipeline.stepping import Agent

K = 5
WORDS = "abcdefgh"


def one_token(rank: int, i: int, **more: Any) -> dict[str, Any]:
    """An answer of one token; the server appends it where it is not one of the `K` likeliest."""
    return body(_entry(rank), **more) | {"id": f"r{i}"}


def _entry(rank: int) -> dict[str, Any]:
    logprobs = [-1.0 - 0.6 * n for n in range(len(WORDS))]
    listed: list[tuple[str, float | None]] = [(WORDS[n], logprobs[n]) for n in sorted({*range(K), rank})]
    return entry(WORDS[rank], logprobs[rank], listed)


def contexts(*payloads: dict[str, Any], decoder: Decoder | None = None) -> int:
    """The number of contexts that an agent has after these payloads."""
    agent = Agent()
    agent.take(*events(*payloads, decoder=decoder, key=None))
    return len(agent.state.contexts)


@pytest.mark.parametrize("ranks", [[0, 1, 5, 6], [0, 4, 7], [4, 0, 5]])
def test_an_answer_of_one_token_that_the_server_appended_stays_in_the_context_of_the_others(ranks: list[int]) -> None:
    assert contexts(*(one_token(rank, i) for i, rank in enumerate(ranks))) == 1


def test_an_appended_token_that_comes_first_opens_one_context_and_the_next_ones_do_not_join_it() -> None:
    agent = Agent()
    agent.take(*events(*(one_token(rank, i) for i, rank in enumerate([6, 0, 7, 5, 1])), key=None))
    assert [agent.row(f"r{i}").fingerprint == agent.row("r1").fingerprint for i in range(5)] == [False, *[True] * 4]


def test_a_streamed_answer_of_one_token_has_the_context_of_a_whole_one() -> None:
    streamed = chunk(_entry(6), finish="stop") | {"id": "streamed"}
    assert contexts(one_token(0, 0), streamed) == 1


def test_the_k_that_was_asked_for_decides_where_it_is_known() -> None:
    asked: list[Event] = []
    for i, k in enumerate([K, K + 1]):
        context = {"k": k, "temperature": 1.0}
        signal = {"chosen_logprobs": [-0.5], "top_logprobs": [[-0.5, -1.5]]}
        own = {"type": "generation", "id": f"own{i}", "event_time": 1.76e9, "context": context, "signal": signal}
        asked += events(own)
    agent = Agent()
    agent.take(*asked)
    assert len(agent.state.contexts) == 2


def test_other_numbers_of_alternatives_are_other_contexts() -> None:
    answers = [entry("a", -0.5, [(word, -0.5 - n) for n, word in enumerate(WORDS[:k])]) for k in (3, 4, 5)]
    assert contexts(*(body(answer) | {"id": f"r{i}"} for i, answer in enumerate(answers))) == 3


def test_the_build_of_the_server_is_part_of_the_context_only_where_the_settings_name_it() -> None:
    payloads = [one_token(0, i, system_fingerprint=f"fp_{i}") for i in range(4)]
    assert contexts(*payloads) == 1
    named = built(load_settings(overrides={"decode.model_revision": "system_fingerprint"}))
    assert contexts(*payloads, decoder=named) == 4


@pytest.mark.parametrize("seed", range(3))
def test_answers_of_one_token_at_random_ranks_share_one_context(seed: int) -> None:
    ranks = np.random.default_rng(seed).integers(0, len(WORDS), 60)
    assert contexts(one_token(0, 99), *(one_token(int(rank), i) for i, rank in enumerate(ranks))) == 1
