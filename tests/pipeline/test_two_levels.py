"""Two levels give the estimates of one agent; what is absent is missing in them."""

from __future__ import annotations

from tests.pipeline.two_levels import compared, estimates, log, passed_on, values, without


def test_the_newest_responses_of_each_shard_and_the_labelled_ones_give_the_same_estimates() -> None:
    found = compared(32_000, n_shards=3)
    assert found.n_passed_on < found.n_responses / 3
    assert found.whole.keys() == found.merged.keys()
    assert len(found.whole) == 20
    assert {key: values(estimate) for key, estimate in found.merged.items()} == {
        key: values(estimate) for key, estimate in found.whole.items()
    }


def test_while_a_shard_is_absent_estimates_are_those_without_its_partitions() -> None:
    events = log(18_000)
    rest = estimates(without(events, 3, [1]))
    assert {key: values(one) for key, one in estimates(passed_on(events, 3, [1])).items()} == {
        key: values(one) for key, one in rest.items()
    }
    assert len(rest) == 10
