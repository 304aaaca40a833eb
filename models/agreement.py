"""How far annotators agree who labelled the same responses. Pure; bounded by what is passed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations
from math import comb


@dataclass(frozen=True, slots=True)
class Agreement:
    """Agreement of annotators about right and wrong; a value of 0.5 or more is right.

    Attributes
    ----------
    n_responses : responses with the labels of two or more annotators
    n_pairs : pairs of labels of one response
    share : share of these pairs that agree, in [0, 1]; None without pairs
    kappa : the share beyond what chance would give, at most 1: Cohen's where the labels are those of two annotators,
        else Fleiss'. None without pairs, and where all labels are alike, which leaves nothing beyond chance
    """

    n_responses: int
    n_pairs: int
    share: float | None
    kappa: float | None


def agreement(verdicts: Iterable[Mapping[str, float]]) -> Agreement:
    """The agreement in the labels of responses.

    Parameters
    ----------
    verdicts : for each response the label of each annotator, in [0, 1], by the name of the annotator

    Examples
    --------
    >>> both_right, both_wrong = {"ann": 1.0, "bob": 1.0}, {"ann": 0.0, "bob": 0.0}
    >>> agreement([both_right, both_wrong, {"ann": 1.0, "bob": 0.0}, {"ann": 0.0, "bob": 1.0}, {"ann": 1.0}])
    Agreement(n_responses=4, n_pairs=4, share=0.5, kappa=0.0)
    """
    several = [{name: value >= 0.5 for name, value in each.items()} for each in verdicts if len(each) > 1]
    n_pairs = sum(comb(len(each), 2) for each in several)
    if not n_pairs:
        return Agreement(0, 0, None, None)
    agreeing = [sum(a == b for a, b in combinations(each.values(), 2)) / comb(len(each), 2) for each in several]
    share = sum(part * comb(len(each), 2) for part, each in zip(agreeing, several, strict=True)) / n_pairs
    by_chance = _by_chance(several)
    observed = sum(agreeing) / len(several)
    kappa = None if by_chance == 1 else (observed - by_chance) / (1 - by_chance)
    return Agreement(len(several), n_pairs, share, kappa)


def _by_chance(several: list[dict[str, bool]]) -> float:
    """The share of agreement by chance: of two annotators from the labels of each, of more from all labels together."""
    n_right, n_labels = Counter[str](), Counter[str]()
    for each in several:
        n_labels.update(each.keys())
        n_right.update(name for name, is_right in each.items() if is_right)
    if len(n_labels) == 2:
        first, second = (n_right[name] / n_labels[name] for name in n_labels)
    else:
        first = second = n_right.total() / n_labels.total()
    return first * second + (1 - first) * (1 - second)
