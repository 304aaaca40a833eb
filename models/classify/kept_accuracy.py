"""Which p_correct keeps a wanted accuracy: a threshold with a guarantee, from labelled responses.

Learn then test (Angelopoulos, Bates, Candès, Jordan and Lei 2021, https://arxiv.org/abs/2110.01052): each threshold of
a list that does not depend on the labels is a null hypothesis, "the responses at or above it are right less often than
wanted". A threshold whose null is rejected is safe. With the confidence level no rejection is false, so the lowest safe
threshold may be chosen.

* **p-value.** The labels of the responses at or above a threshold are a random sample of such responses. With labels
  that are 0 or 1 and have equal weights: the exact binomial test. Else: betting (Waudby-Smith and Ramdas 2024). Under
  the null nobody can expect to win by bets on right responses, so money that grew to 1 / p is evidence of level p.
* **Weights** w = 1 / inclusion probability scale the bets by w / W, where W is the largest weight that the sampling
  design allows. The mean of w (correct - accuracy) over *labelled* responses has the sign of the mean of
  (correct - accuracy) over *all*, so scaled bets stay fair for the latter.
* **Order.** From high to low, by the fallback procedure (Wiens and Dmitrienko 2005): the error 1 - confidence is
  divided among five starts, and a threshold that is rejected passes its share on to the next lower one. A single start
  would fail at the top, where labels are few.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import bdtr, expit, logit, logsumexp

from driftgauge.models.arrays import Float64s, Int64s

N_STARTS = 5
_STARTS_ABOVE = (2.0, 1.0, 0.0, -1.0)  # logit of a start less that of the wanted accuracy; the fifth start is p = 0
_BETS = np.arange(0.098, 1.0, 0.098)  # ten shares of the money; their mean is the evidence
_STEPS_PER_LOGIT, _LOWEST_LOGIT = 20, -5.0


@dataclass(frozen=True, slots=True)
class KeptAccuracy:
    """What the labels show about the responses at or above one threshold.

    Attributes
    ----------
    threshold : p_correct, in [0, 1]
    n_labels : labelled responses at or above it
    accuracy : weighted mean of their labels; None without any
    p_value : of "the accuracy at or above the threshold is lower than wanted"
    is_safe : whether that was rejected at the confidence level, all thresholds taken together
    """

    threshold: float
    n_labels: int
    accuracy: float | None
    p_value: float
    is_safe: bool


def kept_accuracies(
    p: Float64s, correct: Float64s, weight: Float64s, accuracy: float, confidence: float,
    largest_weight: float | None = None,
) -> list[KeptAccuracy]:  # fmt: skip
    """Test every threshold, from high to low; with probability ``confidence`` every safe one has the accuracy.

    Parameters
    ----------
    p, correct, weight : (n,) each, of the labelled responses: predictions that did not see the label, labels in [0, 1],
        and positive weights, 1 / inclusion probability
    accuracy, confidence : in (0, 1)
    largest_weight : of the sampling design, 1 / its smallest inclusion probability; None: the largest of ``weight``

    Examples
    --------
    >>> p = np.linspace(0.5, 1, 400)
    >>> right = (np.arange(400) % 20 != 0) | (p > 0.75)
    >>> found = kept_accuracies(p, right.astype(float), np.ones(400), accuracy=0.9, confidence=0.9)
    >>> lowest = [kept for kept in found if kept.is_safe][-1]
    >>> lowest.threshold, lowest.n_labels, lowest.accuracy
    (0.0, 400, 0.975)
    """
    order = np.argsort(-p, kind="stable")
    p, correct, weight = p[order], correct[order], weight[order]
    largest = max(largest_weight or 0.0, float(weight.max(initial=0.0)))
    listed = thresholds(accuracy)
    n_at = np.searchsorted(-p, [-threshold for threshold, _ in listed], side="right").tolist()
    accuracies = np.cumsum(weight * correct) / np.cumsum(weight)
    p_values = p_values_of_first(np.array(n_at), correct, weight / largest, accuracy)
    tested, level = [], 0.0
    for (threshold, is_start), n, p_value in zip(listed, n_at, p_values.tolist(), strict=True):
        level += (1 - confidence) / N_STARTS if is_start else 0.0
        is_safe = p_value <= level
        level = level if is_safe else 0.0
        tested.append(KeptAccuracy(threshold, n, float(accuracies[n - 1]) if n else None, p_value, is_safe))
    return tested


def p_values_of_first(n: Int64s, correct: Float64s, scale: Float64s, accuracy: float) -> Float64s:
    """p-values of "the accuracy is at most this", each from the first ``n`` of the labels.

    ``scale`` are the weights over the largest one, in (0, 1].

    >>> right = np.ones(45)
    >>> p_values_of_first(np.array([0, 45]), right, np.ones(45), 0.95).round(4).tolist()
    [1.0, 0.0994]
    >>> p_values_of_first(np.array([45]), right * 0.999, np.ones(45), 0.95).round(2).tolist()
    [0.24]
    """
    if np.all(scale == 1) and np.all((correct == 0) | (correct == 1)):
        wrong = np.concatenate([[0.0], np.cumsum(1 - correct)])[n]
        return np.asarray(np.where(n > 0, bdtr(wrong, n, 1 - accuracy), 1.0))
    won = scale * (correct - accuracy) / accuracy
    wealth = [np.concatenate([[0.0], np.cumsum(np.log1p(bet * won))])[n] for bet in _BETS]
    return np.minimum(np.exp(math.log(len(_BETS)) - logsumexp(wealth, axis=0)), 1.0)


def thresholds(accuracy: float) -> list[tuple[float, bool]]:
    """The thresholds to test, from high to low, and whether each is a start; they depend on the wanted accuracy alone.

    >>> [threshold for threshold, is_start in thresholds(0.95) if is_start]
    [0.9929, 0.981, 0.95, 0.8748, 0.0]
    """
    wanted = float(logit(accuracy))
    lowest = min(_LOWEST_LOGIT, wanted + min(_STARTS_ABOVE))
    n = math.ceil((wanted + max(_STARTS_ABOVE) - lowest) * _STEPS_PER_LOGIT) + 1
    above = [max(_STARTS_ABOVE) - i / _STEPS_PER_LOGIT for i in range(n)]
    return [*((round(float(expit(wanted + x)), 4), x in _STARTS_ABOVE) for x in above), (0.0, True)]


def labels_needed(accuracy: float, confidence: float) -> int:
    """The fewest labels that can show a threshold to be safe, all of them right: about log(error / 5) / log(accuracy).

    >>> labels_needed(0.95, 0.9)
    77
    """
    return math.ceil(math.log((1 - confidence) / N_STARTS) / math.log(accuracy))
