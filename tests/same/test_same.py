"""A small form of ``make same``: extractors that are killed, suspended, stopped and joined change no result."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import partial

import pytest

from driftgauge.models.account import Account
from tests.same.failures import extract
from tests.same.log import lines
from tests.same.side_by_side import Way, problems, raw, side_by_side

N_RESPONSES, SEED = 600, 3


@pytest.mark.kafka
@pytest.mark.timeout(900)
@pytest.mark.parametrize("n_partitions", [1, 3])
def test_extractors_under_every_failure_change_nothing(broker: str, n_partitions: int) -> None:
    ways: dict[str, Way] = {"agent alone": raw, "extractors + agent": partial(extract, seed=SEED, rounds=1)}
    runs = side_by_side(broker, SEED, N_RESPONSES, n_partitions, ways)
    alone, extracted = runs
    assert problems(runs) == []
    assert extracted.n_repeated > 0 == alone.n_repeated
    assert extracted.is_ordered_as(alone) or n_partitions > 1
    assert alone.sets["responses"].total() > 0.98 * N_RESPONSES
    assert alone.account.tombstones
    assert {"malformed", "id_conflict", "event_time_ahead", "unknown_format"} <= alone.account.dead_letters.keys()
    assert {"unmatched_label", "incomplete_response"} <= alone.account.given_up.keys()
    assert any(accuracy is not None for accuracy in alone.estimates.values())
    wrong = replace(alone, account=Account(), different={"state": 1}, estimates={})
    assert len(problems([alone, replace(wrong, sets={name: Counter() for name in alone.sets})])) == 4


def test_a_log_is_that_of_its_seed() -> None:
    assert [*lines(1, 200)] == [*lines(1, 200)] != [*lines(2, 200)]
