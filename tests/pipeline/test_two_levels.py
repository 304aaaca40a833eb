"""Two levels give the estimates of one agent; what is absent is missing in them."""

from __future__ import annotations

from tests.pipeline.two_levels import compared, values


def test_the_newest_responses_of_each_shard_and_the_labelled_ones_give_the_same_estimates() -> None:
    found = compared(32_000, n_shards=3)
    assert found.n_passed_on < found.n_responses / 3
    assert found.whole.keys() == found.merged.keys()
    assert len(found.whole) == 20
    assert {key: values(estimate) for key, estimate in found.merged.items()} == {
        key: values(estimate) for key, estimate in found.whole.items()
    }


def test_labels_of_an_absent_shard_are_missing_in_the_estimates() -> None:
    found = compared(18_000, n_shards=3, absent=[1])
    missing = [found.whole[key].n_labels - estimate.n_labels for key, estimate in found.merged.items()]
    assert min(missing) >= 0 < sum(missing)
