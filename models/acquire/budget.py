"""How far a budget of labels reaches into label lists, and what that does to inclusion probabilities.

The requests of a list are in random order, so its first ones are a fair sample of the list, and of its responses.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice

from driftgauge.models.outputs import LabelList, LabelRequest


def within_budget(
    lists: Sequence[LabelList], budget: int | None = None, least: Mapping[str, int] | None = None
) -> list[tuple[LabelList, LabelRequest]]:
    """The requests that a budget reaches, with the inclusion probabilities that they then have.

    The first request of every list comes first, in the order of the lists' ranks, then every second one, and so on. Of
    a list with n requests of which m are reached, each request was chosen with m / n of its probability.

    Parameters
    ----------
    budget : number of requests; None: all
    least : number of requests of a list, by its key, that are reached in any case: those that annotators have already

    Examples
    --------
    >>> def made(domain: str, rank: int, n: int) -> LabelList:
    ...     requests = tuple(LabelRequest(i + 1, f"{domain}-{i}", 0.0, 0.5, None) for i in range(n))
    ...     return LabelList(domain, "0a", "m", 0.0, 60.0, 90.0, rank, "equal", "", 9, 0, 0, 0, None, None, requests)
    >>> reached = within_budget([made("law", 2, 4), made("math", 1, 4)], budget=3)
    >>> [(request.response_id, request.inclusion_probability) for _, request in reached]
    [('math-0', 0.25), ('law-0', 0.125), ('math-1', 0.25)]
    """
    in_order = list(_round_robin(sorted(lists, key=lambda found: (found.rank, found.key))))
    reached = Counter(found.key for found, _ in islice(in_order, budget))
    n = {found.key: max(reached[found.key], (least or {}).get(found.key, 0)) for found in lists}
    return [
        (found, _with_share(request, n[found.key] / len(found.requests)))
        for found, request in in_order
        if request.rank <= n[found.key]
    ]


def _round_robin(lists: Sequence[LabelList]) -> Iterator[tuple[LabelList, LabelRequest]]:
    for place in range(max((len(found.requests) for found in lists), default=0)):
        for found in lists:
            if place < len(found.requests):
                yield found, found.requests[place]


def _with_share(request: LabelRequest, share: float) -> LabelRequest:
    return replace(request, inclusion_probability=request.inclusion_probability * share)
