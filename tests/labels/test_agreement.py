"""Agreement against values that were computed by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftgauge.models.agreement import agreement


def table(both_right: int, first_only: int, second_only: int, both_wrong: int) -> list[dict[str, float]]:
    counts = {(1.0, 1.0): both_right, (1.0, 0.0): first_only, (0.0, 1.0): second_only, (0.0, 0.0): both_wrong}
    return [{"a": a, "b": b} for (a, b), n in counts.items() for _ in range(n)]


def test_two_annotators_have_cohens_kappa() -> None:
    found = agreement(table(20, 5, 10, 15))  # the example of Cohen's kappa in Wikipedia
    assert (found.n_responses, found.n_pairs, found.share) == (50, 50, 0.7)
    assert found.kappa == pytest.approx(0.4)


def test_several_annotators_have_fleiss_kappa() -> None:
    verdicts = [{"a": 1.0, "b": 1.0, "c": 0.0}, {"a": 0.0, "b": 0.0, "c": 0.0}]
    found = agreement(verdicts)  # observed (1/3 + 1) / 2, by chance (1/3)² + (2/3)²
    assert found.kappa == pytest.approx((2 / 3 - 5 / 9) / (4 / 9))
    assert found.share == pytest.approx(4 / 6)


def test_one_annotator_alone_has_no_agreement() -> None:
    assert agreement([{"a": 1.0}, {"b": 0.0}]).share is None


@given(st.lists(st.dictionaries(st.sampled_from("abcd"), st.floats(0, 1), min_size=2), min_size=1))
def test_kappa_is_one_only_where_all_agree(verdicts: list[dict[str, float]]) -> None:
    found = agreement(verdicts)
    assert found.share is not None
    assert 0 <= found.share <= 1
    if found.kappa is not None:
        assert found.kappa <= 1
        assert (found.kappa == pytest.approx(1)) == (found.share == 1)
