"""How a budget of labels is divided among domains."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftgauge.models.acquire.allocation import Budget, Need, allocate, by_width

needs_of = st.lists(
    st.builds(
        Need,
        width=st.floats(0.01, 1.0),
        n_labels=st.integers(0, 50),
        n_responses=st.integers(0, 300),
        shortfall=st.floats(0, 1),
        traffic=st.floats(0, 1),
    ),
    max_size=12,
)
budgets = st.builds(
    Budget,
    n=st.integers(0, 500),
    per_domain=st.integers(0, 30),
    base=st.integers(0, 20),
    target_width=st.sampled_from([0.0, 0.1, 0.5]),
    across=st.sampled_from(["width", "equal", "shortfall"]),
)
WIDE, NARROW = Need(width=0.4, n_labels=20, n_responses=500), Need(width=0.1, n_labels=20, n_responses=500)


@settings(deadline=None)
@given(needs_of, budgets)
def test_no_more_is_given_than_the_budget_and_than_there_are_responses(needs: list[Need], budget: Budget) -> None:
    given_ = allocate(needs, budget)
    assert given_.sum() <= budget.n
    assert all(0 <= n <= need.n_responses for n, need in zip(given_, needs, strict=True))


@settings(deadline=None)
@given(needs_of, st.integers(0, 500), st.sampled_from(["width", "equal"]))
def test_a_budget_is_used_up_where_there_are_responses(needs: list[Need], n: int, across: str) -> None:
    budget = Budget(n, across="width" if across == "width" else "equal")
    assert allocate(needs, budget).sum() == min(n, sum(need.n_responses for need in needs))


@settings(deadline=None)
@given(needs_of, budgets)
def test_every_domain_has_its_base_before_the_rest_is_divided(needs: list[Need], budget: Budget) -> None:
    if budget.per_domain or budget.target_width:
        return
    given_ = allocate(needs, budget)
    missing = [min(max(budget.base - need.n_labels, 0), need.n_responses) for need in needs]
    if sum(missing) <= budget.n:
        assert all(n >= base for n, base in zip(given_, missing, strict=True))
    else:
        short = [i for i in by_width(needs) if given_[i] < missing[i]]
        assert all(given_[i] == 0 for i in short[1:])  # the widest intervals have theirs


def test_the_rest_is_divided_by_width_equally_or_by_the_shortfall() -> None:
    assert allocate([WIDE, NARROW], Budget(100)).tolist() == [80, 20]
    assert allocate([WIDE, NARROW], Budget(100, across="equal")).tolist() == [50, 50]
    far = replace(NARROW, shortfall=1.0, traffic=0.5)
    near = replace(WIDE, shortfall=0.05, traffic=0.5)
    assert allocate([near, far], Budget(60, across="shortfall")).tolist() == [10, 50]


def test_a_domain_without_responses_leaves_its_part_to_the_others() -> None:
    assert allocate([replace(WIDE, n_responses=3), NARROW], Budget(100)).tolist() == [3, 97]


def test_each_domain_gets_the_same_number_where_that_is_asked_for() -> None:
    assert allocate([NARROW, WIDE], Budget(100, per_domain=30)).tolist() == [30, 30]
    assert allocate([NARROW, WIDE], Budget(40, per_domain=30)).tolist() == [10, 30]


def test_a_target_width_ends_the_need_and_bounds_it() -> None:
    budget = Budget(1_000, target_width=0.2)
    assert allocate([WIDE, NARROW], budget).tolist() == [60, 0]  # four times 20 labels halve the width


@pytest.mark.parametrize("n", [0, 7, 100])
def test_equal_domains_differ_by_one_label_at_most(n: int) -> None:
    assert np.ptp(allocate([WIDE] * 6, Budget(n, base=0))) <= 1
