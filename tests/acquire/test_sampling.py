"""Which responses are drawn for labels, and with which probabilities."""

from typing import get_args

import numpy as np
import pytest
from scipy.stats import chi2

from driftgauge.models.acquire.sampling import Plan, draw

PLANS: tuple[Plan, ...] = get_args(Plan)
N, DRAWS = 30, 10_000
SURPRISAL = np.where(np.arange(N) < 5, np.nan, np.round(np.linspace(-3, 3, N)))  # with ties
P_CORRECT = np.where(np.arange(N) < 3, np.nan, np.linspace(0, 1, N) ** 4)


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("n", [7, 24])
def test_responses_are_drawn_as_often_as_their_inclusion_probability_says(plan: Plan, n: int) -> None:
    counts = np.zeros(N)
    _, probability = draw(plan, n, surprisal=SURPRISAL, p_correct=P_CORRECT, seed=0)
    for seed in range(DRAWS):
        indices, _ = draw(plan, n, surprisal=SURPRISAL, p_correct=P_CORRECT, seed=seed)
        assert len(set(indices.tolist())) == n
        counts[indices] += 1
    assert probability.sum() == pytest.approx(n)
    assert (counts[probability == 1] == DRAWS).all()
    drawn = probability < 1
    variance = DRAWS * probability[drawn] * (1 - probability[drawn])
    statistic = float(((counts[drawn] - DRAWS * probability[drawn]) ** 2 / variance).sum())
    assert statistic < chi2.ppf(0.9999, drawn.sum())


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("n", [N, N + 5])
def test_with_enough_labels_every_response_is_drawn_with_probability_one(plan: Plan, n: int) -> None:
    indices, probability = draw(plan, n, surprisal=SURPRISAL, p_correct=P_CORRECT, seed=0)
    assert (indices.tolist(), probability.tolist()) == (list(range(N)), [1.0] * N)


@pytest.mark.parametrize("n", [1, 7, 10, 29])
@pytest.mark.parametrize("p", [0.5, np.nan])
def test_systematic_draws_are_even_in_every_prefix_of_the_order_of_surprisal(n: int, p: float) -> None:
    surprisal = np.random.default_rng(0).permutation(N).astype(float)
    for seed in range(50):
        indices, _ = draw("systematic", n, surprisal=surprisal, p_correct=np.full(N, p), seed=seed)
        taken = np.isin(np.argsort(surprisal), indices).cumsum()
        assert np.abs(taken - n / N * np.arange(1, N + 1)).max() < 1 + 1e-9


def test_systematic_draws_are_even_in_strata_of_the_probability_and_in_each_in_the_order_of_surprisal() -> None:
    n, n_strata, total = 16, 4, 80
    rng = np.random.default_rng(0)
    surprisal, p = rng.permutation(total).astype(float), rng.permutation(total) / total
    stratum = np.floor(p * n_strata)
    for seed in range(50):
        indices, _ = draw("systematic", n, surprisal=surprisal, p_correct=p, seed=seed)
        for k in range(n_strata):
            inside = np.flatnonzero(stratum == k)
            taken = np.isin(inside[np.argsort(surprisal[inside])], indices).cumsum()
            assert taken[-1] == n / n_strata
            assert np.abs(taken - n / total * np.arange(1, len(inside) + 1)).max() < 1 + 1e-9


@pytest.mark.parametrize("plan", PLANS)
def test_weighted_labels_are_unbiased_though_labels_depend_on_the_signal(plan: Plan) -> None:
    correct = (P_CORRECT > 0.3).astype(float)
    found = []
    for seed in range(4_000):
        indices, probability = draw(plan, 7, surprisal=SURPRISAL, p_correct=P_CORRECT, seed=seed)
        found.append((correct[indices] / probability[indices]).sum() / N)
    assert abs(np.mean(found) - correct.mean()) < 4 * np.std(found) / np.sqrt(len(found)) + 1e-9


def test_a_plan_is_a_function_of_its_seed_and_bad_input_is_refused() -> None:
    one, two = (draw("uniform", 7, surprisal=SURPRISAL, p_correct=P_CORRECT, seed=3)[0] for _ in range(2))
    assert one.tolist() == two.tolist()
    with pytest.raises(ValueError, match="cannot draw"):
        draw("uniform", -1, surprisal=SURPRISAL, p_correct=P_CORRECT, seed=0)
    with pytest.raises(ValueError, match="29 probabilities"):
        draw("uniform", 7, surprisal=SURPRISAL, p_correct=P_CORRECT[:-1], seed=0)
