"""Which responses belong to which slice of a domain, and which slices are looked at.

A *slice* has a name such as ``language=de,tenant=acme``: values of some of the names that events carry. A response that
lacks one of these names is in none of their slices. Bounded by the numbers of a `SlicePlan`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Slices: TypeAlias = Mapping[str, str]
"""What one response carries: value by name."""
Combination: TypeAlias = tuple[str, ...]
"""Names whose values together make a slice."""
Indices: TypeAlias = npt.NDArray[np.intp]

OTHER = "(other)"
DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class SlicePlan:
    """Which slices are estimated, and how weak segments are searched.

    Attributes
    ----------
    combinations : names whose slices are estimated
    max_values : slices of one combination in one domain; the responses of the others form ``(other)``
    max_estimates : slices of one domain that are estimated; the largest are
    finds_weak : whether weak segments are searched
    weak_span_s : labels of responses of this many seconds of event time are searched
    weak_min_labels : labels that a segment needs, and that must lie outside of it
    weak_false_alarms : probability in (0, 1) that a search lists a segment which is as good as the rest of its domain
    """

    combinations: tuple[Combination, ...] = ()
    max_values: int = 20
    max_estimates: int = 50
    finds_weak: bool = True
    weak_span_s: float = 30 * DAY_S
    weak_min_labels: int = 20
    weak_false_alarms: float = 0.01


def slice_name(names: Sequence[str], values: Sequence[str]) -> str:
    """The name of a slice.

    >>> slice_name(("language", "tenant"), ("de", "acme"))
    'language=de,tenant=acme'
    """
    return ",".join(f"{name}={value}" for name, value in zip(names, values, strict=True))


def grouped(rows: Sequence[Slices], names: Combination) -> dict[tuple[str, ...], Indices]:
    """Rows by their values of these names, the largest group first; rows that lack a name are in no group.

    >>> rows = [{"language": "de"}, {"language": "en"}, {"language": "en"}, {}]
    >>> {values: at.tolist() for values, at in grouped(rows, ("language",)).items()}
    {('en',): [1, 2], ('de',): [0]}
    """
    found: dict[tuple[str, ...], list[int]] = {}
    for at, carried in enumerate(rows):
        if all(name in carried for name in names):
            found.setdefault(tuple(carried[name] for name in names), []).append(at)
    in_order = sorted(found.items(), key=lambda item: (-len(item[1]), item[0]))
    return {values: np.array(at, dtype=np.intp) for values, at in in_order}


def slices_of(rows: Sequence[Slices], plan: SlicePlan, least: int) -> tuple[dict[str, Indices], int]:
    """The slices to estimate with the rows of each, and the number of slices that `SlicePlan.max_estimates` leaves out.

    Slices with fewer than ``least`` rows are left out and not counted.

    >>> plan = SlicePlan((("language",),), max_values=1)
    >>> slices_of([{"language": language} for language in ("de", "en", "en", "fr")], plan, least=2)
    ({'language=en': array([1, 2]), 'language=(other)': array([0, 3])}, 0)
    """
    found = [item for names in plan.combinations for item in _of_combination(rows, names, plan.max_values)]
    large = sorted((item for item in found if len(item[1]) >= least), key=lambda item: -len(item[1]))
    return dict(large[: plan.max_estimates]), max(len(large) - plan.max_estimates, 0)


def _of_combination(rows: Sequence[Slices], names: Combination, most: int) -> Iterator[tuple[str, Indices]]:
    groups = list(grouped(rows, names).items())
    yield from ((slice_name(names, values), at) for values, at in groups[:most])
    if rest := [at for _, at in groups[most:]]:
        yield f"{','.join(names)}={OTHER}", np.sort(np.concatenate(rest))
