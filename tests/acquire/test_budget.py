"""How far a budget of labels reaches, and whether the inclusion probabilities that it states are true."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from driftgauge.models.acquire.budget import within_budget
from driftgauge.models.outputs import LabelList
from tests.annotation.agents import label_list

LAW, TAX, ART = label_list("law", 9, rank=2), label_list("tax", 2, rank=1), label_list("art", 5, rank=3)


def reached(budget: int | None, least: dict[str, int] | None = None) -> list[str]:
    return [request.response_id for _, request in within_budget([LAW, TAX, ART], budget, least)]


def test_a_budget_takes_the_first_row_of_every_list_then_the_second() -> None:
    assert reached(4) == ["tax-0", "law-0", "art-0", "tax-1"]
    assert reached(9) == ["tax-0", "law-0", "art-0", "tax-1", "law-1", "art-1", "law-2", "art-2", "law-3"]
    assert len(reached(None)) == len(reached(100)) == 16


def test_rows_that_annotators_have_are_taken_in_any_case() -> None:
    assert reached(3, {ART.key: 3}) == ["tax-0", "law-0", "art-0", "art-1", "art-2"]


def test_a_response_is_reached_as_often_as_its_probability_says() -> None:
    """Lists of 6 of 20 and 3 of 10 responses are drawn again and again, and a budget of 5 takes some of each."""
    rng, n_draws = np.random.default_rng(0), 4_000
    counts, stated = dict[str, int](), dict[str, set[float]]()
    for _ in range(n_draws):
        lists = [drawn(rng, "law", 6, 20), drawn(rng, "tax", 3, 10)]
        for found, request in within_budget(lists, 5):
            counts[request.response_id] = counts.get(request.response_id, 0) + 1
            stated.setdefault(found.domain, set()).add(request.inclusion_probability)
    assert {domain: len(found) for domain, found in stated.items()} == {"law": 1, "tax": 1}
    assert [*stated["law"], *stated["tax"]] == pytest.approx([3 / 20, 2 / 10])
    for name, n in counts.items():
        [probability] = stated[name.partition("-")[0]]
        assert abs(n - n_draws * probability) < 4 * (n_draws * probability * (1 - probability)) ** 0.5


def drawn(rng: np.random.Generator, domain: str, n: int, n_responses: int) -> LabelList:
    made = label_list(domain, n)
    numbers = rng.permutation(n_responses)[:n]
    requests = [
        replace(request, response_id=f"{domain}-{number}", inclusion_probability=n / n_responses)
        for request, number in zip(made.requests, numbers, strict=True)
    ]
    return replace(made, requests=tuple(requests))


def test_a_list_without_requests_is_passed_over() -> None:
    assert within_budget([replace(LAW, requests=())], 3) == []
