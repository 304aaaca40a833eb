"""The accuracy by a judge, corrected by labels of people: unbiased, and covered as often as promised."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from scipy.stats import binom

from driftgauge.models.arrays import Float64s
from driftgauge.models.estimate.judged import MIN_OVERLAP, JudgedAccuracy, judged_accuracy

RUNS, LEVEL = 400, 0.9
JUDGES = {  # share of right responses, of those found right, of wrong responses found wrong
    "lenient": (0.8, 0.95, 0.4),
    "strict": (0.8, 0.7, 0.95),
    "perfect": (0.9, 1.0, 1.0),
    "finds all right": (0.7, 1.0, 0.0),
    "guesses": (0.6, 0.5, 0.5),
    "good": (0.95, 0.98, 0.8),
}


def judged(rng: np.random.Generator, n: int, accuracy: Float64s | float, kind: str) -> tuple[Float64s, Float64s]:
    _, finds_right, finds_wrong = JUDGES[kind]
    truth = rng.random(n) < accuracy
    return truth.astype(float), np.where(truth, rng.random(n) < finds_right, rng.random(n) >= finds_wrong).astype(float)


class Simulated(NamedTuple):
    """Mean error of the judge; mean error of the corrected accuracy and its standard deviation; coverage; widths."""

    by_judge: float
    bias: float
    deviation: float
    covered: int
    width: float
    width_of_labels_alone: float


def simulated(kind: str, n: int, m: int = 500) -> Simulated:
    """Responses of which m are judged and n of those labelled by people, ``RUNS`` times."""
    rng, (accuracy, *_) = np.random.default_rng(6), JUDGES[kind]
    errors, raw, covered, widths = [], [], 0, []
    for _ in range(RUNS):
        truth, verdict = judged(rng, m, accuracy, kind)
        labels = np.where(np.isin(np.arange(m), rng.choice(m, n, replace=False)), truth, np.nan)
        found, alone = (judged_accuracy(v, np.ones(m), labels, np.ones(m), LEVEL) for v in (verdict, np.ones(m)))
        low, middle, high = interval(found)
        assert 0 <= low <= middle <= high <= 1
        errors.append(middle - accuracy)
        raw.append(found.by_judge - accuracy)
        covered += low <= accuracy <= high
        widths.append((high - low, interval(alone)[2] - interval(alone)[0]))
    return Simulated(
        float(np.mean(raw)), float(np.mean(errors)), float(np.std(errors)), covered, *np.mean(widths, axis=0)
    )


def interval(found: JudgedAccuracy) -> tuple[float, float, float]:
    assert found.ci_low is not None
    assert found.accuracy is not None
    assert found.ci_high is not None
    return found.ci_low, found.accuracy, found.ci_high


@pytest.mark.parametrize("n", [20, 60])
@pytest.mark.parametrize("kind", JUDGES)
def test_it_is_unbiased_and_covers_however_wrong_the_judge_is(kind: str, n: int) -> None:
    found = simulated(kind, n)
    assert abs(found.bias) < 4 * found.deviation / np.sqrt(RUNS) + 0.003  # the bound at 1 costs a little
    assert found.covered >= binom.ppf(1e-4, RUNS, LEVEL - 0.03)
    if kind in ("lenient", "strict", "finds all right"):
        assert abs(found.by_judge) > 0.05


def test_unequal_probabilities_of_both_draws_are_weighted() -> None:
    """Half of the responses are hard; the judge sees fewer of them, and people are sent most of them."""
    rng, m, errors, unweighted, covered = np.random.default_rng(7), 2_000, [], [], 0
    for _ in range(RUNS):
        hard = rng.random(m) < 0.5
        truth, verdict = judged(rng, m, np.where(hard, 0.5, 0.95), "guesses")
        by_judge, by_people = np.where(hard, 0.3, 0.6), np.where(hard, 0.9, 0.15)
        seen = rng.random(m) < by_judge
        labels = np.where(rng.random(m) < by_people, truth, np.nan)[seen]
        found = judged_accuracy(verdict[seen], 1 / by_judge[seen], labels, 1 / by_people[seen], LEVEL)
        plain = judged_accuracy(verdict[seen], np.ones(seen.sum()), labels, np.ones(seen.sum()), LEVEL)
        assert found.accuracy is not None
        assert plain.accuracy is not None
        assert found.ci_low is not None
        assert found.ci_high is not None
        errors.append(found.accuracy - 0.725)
        unweighted.append(plain.accuracy - 0.725)
        covered += found.ci_low <= 0.725 <= found.ci_high
    assert abs(np.mean(errors)) < 4 * np.std(errors) / np.sqrt(RUNS)
    assert covered >= binom.ppf(1e-4, RUNS, LEVEL - 0.03)
    assert abs(np.mean(unweighted)) > 0.05


def test_a_good_judge_narrows_the_interval_and_a_useless_one_does_not_widen_it() -> None:
    rng, m, n = np.random.default_rng(8), 2_000, 100
    truth = (rng.random(m) < 0.7).astype(float)
    labels = np.where(np.arange(m) < n, truth, np.nan)

    def width(verdict: Float64s) -> float:
        found = judged_accuracy(verdict, np.ones(m), labels, np.ones(m))
        assert found.ci_low is not None
        assert found.ci_high is not None
        return found.ci_high - found.ci_low

    nothing, noise = width(np.ones(m)), width((rng.random(m) < 0.5).astype(float))
    assert width(np.where(rng.random(m) < 0.95, truth, 1 - truth)) < 0.7 * nothing
    assert noise < 1.02 * nothing


def test_too_few_labels_give_the_judges_word_and_the_agreement_alone() -> None:
    verdict, n = np.array([1.0] * 30 + [0.0] * 10), MIN_OVERLAP - 1
    labels = np.where(np.arange(40) < n, 1.0, np.nan)
    found = judged_accuracy(verdict, np.ones(40), labels, np.ones(40))
    assert (found.n_judged, found.by_judge, found.n_overlap, found.agreement) == (40, 0.75, n, 1.0)
    assert (found.accuracy, found.ci_low, found.ci_high) == (None, None, None)
    nobody = judged_accuracy(verdict, np.ones(40), np.full(40, np.nan), np.ones(40))
    assert (nobody.n_overlap, nobody.agreement, nobody.accuracy) == (0, None, None)


def test_a_judge_who_was_never_wrong_is_not_taken_to_be_perfect() -> None:
    verdict = np.ones(1_000)
    labels = np.where(np.arange(1_000) < 30, 1.0, np.nan)
    found = judged_accuracy(verdict, np.ones(1_000), labels, np.ones(1_000))
    assert found.accuracy == pytest.approx(1.0)
    assert found.ci_low is not None
    assert 0.85 < found.ci_low < 0.95


def test_where_people_labelled_everything_their_labels_are_the_answer() -> None:
    truth = np.array([1.0] * 60 + [0.0] * 40)
    found = judged_accuracy(np.ones(100), np.ones(100), truth, np.ones(100))
    assert found.accuracy == pytest.approx(0.6)
    assert found.ci_high is not None
    assert found.ci_high > 0.65  # 100 responses are a sample of their source


if __name__ == "__main__":  # the table of docs/judges_and_probes.md
    for kind, (accuracy, *_) in JUDGES.items():
        for n in (20, 60, 150):
            found = simulated(kind, n)
            cells = [
                kind, f"{accuracy:.2f}", f"{n}", f"{found.by_judge:+.3f}", f"{found.bias:+.3f}",
                f"{found.covered / RUNS:.2f}", f"{found.width:.2f}", f"{found.width_of_labels_alone:.2f}",
            ]  # fmt: skip
            print(f"| {' | '.join(cells)} |")
