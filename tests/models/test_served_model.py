"""Recurring prompts tell a change of the model from noise and from a change of the traffic."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftgauge.models.arrays import Float32s
from driftgauge.models.events import Signal
from driftgauge.models.signals.opening import WIDTH, distance, opening
from driftgauge.models.watch.served_model import MAX_PROMPTS, ModelChange, RecurringPrompts

N_PROMPTS = 20
RUN_LENGTH = 1e5


def openings(rng: np.random.Generator, noise: float, moved_by: float, n: int, skew: float = 1.0) -> list[Float32s]:
    """Openings of some prompts, each with its own level, all with this noise."""
    levels = np.random.default_rng(7).normal(-3, 1, (N_PROMPTS, WIDTH))
    other = np.random.default_rng(8).normal(0, 1, (N_PROMPTS, WIDTH))
    share = np.arange(1, N_PROMPTS + 1) ** -skew
    which = rng.choice(N_PROMPTS, n, p=share / share.sum())
    noises = noise * (1 + which % 5)[:, None]  # some prompts are noisier than others
    values = levels[which] + moved_by * other[which] + rng.normal(0, 1, (n, WIDTH)) * noises
    return [np.append(row, i).astype(np.float32) for row, i in zip(values, which, strict=True)]


def found(
    prompts: RecurringPrompts, stream: list[Float32s], run_length: float = RUN_LENGTH
) -> list[tuple[int, ModelChange]]:
    each = 1 / run_length
    seen = (prompts.see(str(int(row[-1])), row[:-1], float(i), each, is_greedy=False) for i, row in enumerate(stream))
    return [(i, change) for i, change in enumerate(seen) if change]


@pytest.mark.parametrize("noise", [0.0, 0.001, 0.05])
@pytest.mark.parametrize("seed", range(3))
def test_another_model_is_found_within_forty_answers_and_told_with_its_beginning(noise: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    stream = openings(rng, noise, 0.0, 600) + openings(rng, noise, 0.5, 200)
    [(at, change)] = found(RecurringPrompts(), stream)
    assert 600 <= at < 640
    assert 540 <= change.since <= 610
    assert change.after > change.before + 0.1


@pytest.mark.parametrize("seed", range(10))
def test_the_same_model_is_left_alone_when_the_traffic_turns_to_other_prompts(seed: int) -> None:
    rng = np.random.default_rng(seed)
    stream = openings(rng, 0.02, 0.0, 1_000) + openings(rng, 0.02, 0.0, 1_000, skew=-2.0)
    assert found(RecurringPrompts(), stream) == []


def test_a_difference_too_small_to_matter_is_not_told() -> None:
    rng = np.random.default_rng(0)
    assert found(RecurringPrompts(), openings(rng, 0.0, 0.0, 600) + openings(rng, 0.0, 0.005, 600)) == []


def test_a_second_change_is_found_too() -> None:
    rng = np.random.default_rng(0)
    parts = [openings(rng, 0.01, moved, 400) for moved in (0.0, 0.5, 0.0)]
    assert len(found(RecurringPrompts(), [*parts[0], *parts[1], *parts[2]])) == 2


def test_false_detections_keep_to_the_run_length() -> None:
    run_length, n, n_streams = 500.0, 400, 200
    n_false = 0
    for seed in range(n_streams):
        prompts = RecurringPrompts()
        n_false += len(found(prompts, openings(np.random.default_rng(seed), 0.05, 0.0, n), run_length))
    expected = n_streams * n / run_length  # at most, on average
    assert n_false < expected + 4 * np.sqrt(expected)


def test_prompts_are_bounded_and_a_restart_changes_nothing() -> None:
    rng = np.random.default_rng(0)
    stream = openings(rng, 0.02, 0.0, 300) + openings(rng, 0.02, 0.4, 60)
    whole, first = RecurringPrompts(), RecurringPrompts()
    expected = found(whole, stream)
    early = found(first, stream[:310])
    saved = msgspec.msgpack.decode(msgspec.msgpack.encode(first.snapshot()))
    resumed = RecurringPrompts().restore(saved)
    later = [
        (i, change)
        for i, row in enumerate(stream[310:], 310)
        if (change := resumed.see(str(int(row[-1])), row[:-1], float(i), 1 / RUN_LENGTH, is_greedy=False))
    ]
    assert early + later == expected
    assert expected
    many = RecurringPrompts()
    for i in range(3 * MAX_PROMPTS):
        many.see(str(i), stream[0][:-1], 0.0, 1e-6, is_greedy=False)
    assert len(many.snapshot()[0]) == MAX_PROMPTS


@given(st.integers(1, 12), st.lists(st.integers(1, 5), max_size=6), st.sampled_from([0, 1, 2, 8]))
def test_the_opening_of_pieces_is_that_of_the_whole(n: int, cuts: list[int], k: int) -> None:
    top = -np.sort(np.random.default_rng(n).exponential(size=(n, k)), axis=1).astype(np.float32)
    chosen = np.linspace(-3, 0, n, dtype=np.float32)
    signal = Signal(chosen_logprobs=chosen, top_logprobs=top if k else None)
    found, start = None, 0
    for stop in [*np.minimum(np.cumsum(cuts), n).tolist(), n]:
        piece = Signal(chosen_logprobs=chosen[start:stop], top_logprobs=top[start:stop] if k else None)
        if stop > start:
            found, start = opening(piece, found, start), stop
    assert found is not None
    assert np.array_equal(found, opening(signal), equal_nan=True)


def test_what_is_sampled_is_not_compared() -> None:
    one, other = np.full(WIDTH, -1.0, np.float32), np.full(WIDTH, -1.0, np.float32)
    other[5:] = -4.0
    assert distance(one, other, is_greedy=False) == 0.0
    assert distance(one, other, is_greedy=True) > 1.0
    assert np.isnan(distance(np.full(WIDTH, np.nan, np.float32), one, is_greedy=True))
