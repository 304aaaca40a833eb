"""The label-free estimators that the default chooses among and averages: all of one window, all from one fit.

Owns their list and the weights they have before any domain has judged them. Each fails under another kind of shift,
and none is the best on all traffic (`docs/estimators.md` has the measurements).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from driftgauge.models.arrays import Float32s, Float64s
from driftgauge.models.estimate.atc import Threshold, fit_threshold
from driftgauge.models.estimate.estimators import Sample
from driftgauge.models.estimate.surprisal import SurprisalModel, above_floor, doubt_logit, fit_surprisal
from driftgauge.models.signals.features import FEATURES


PRIOR_WEIGHTS: Mapping[str, float] = {
    "forest": 2.0,
    "atc_forest": 1.0,
    "surprisal": 0.25,
    "atc_surprisal": 0.25,
    "atc_nll_mean": 0.125,
    "atc_nll_max": 0.125,
    "atc_entropy_max": 0.125,
    "atc_entropy_std": 0.125,
}
"""Two families of two, and thresholds on single features that share what one has."""

ABOVE_FLOOR = ("surprisal", "atc_surprisal")
_ATC_FEATURES = {f"atc_{name}": FEATURES.index(name) for name in ("nll_mean", "nll_max", "entropy_max", "entropy_std")}
_ENTROPY_SUM, _NLL_SUM = FEATURES.index("entropy_sum"), FEATURES.index("nll_sum")
_DOMAIN_COUNTS_AS = 50.0  # responses: what a labelled domain weighs, however many labels it has


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """Fitted candidates: thresholds by name, and the two numbers of the surprisal model."""

    thresholds: Mapping[str, Threshold]
    surprisal: SurprisalModel

    def values(self, features: Float32s, forest: Float64s, doubt: Float64s) -> dict[str, float]:
        """What each candidate says the accuracy of one window is; those that cannot tell are absent.

        Parameters
        ----------
        features : (n, d); forest : (n,) probabilities; doubt : (n,) `surprisal_logits` of the window
        """
        scores = _scores(features, forest, doubt)
        values = {name: threshold.share(scores[name]) for name, threshold in self.thresholds.items()}
        values["forest"] = float(np.mean(forest))
        sure = self.surprisal.from_logits(doubt[~np.isnan(doubt)])
        values["surprisal"] = float(np.mean(sure)) if len(sure) else float("nan")
        return {name: values[name] for name in PRIOR_WEIGHTS if np.isfinite(values.get(name, np.nan))}

    def disagreement(self, name: str) -> float:
        """How badly the score behind a candidate tells right from wrong responses, see `Threshold`."""
        threshold = self.thresholds.get(name) or self.thresholds.get(f"atc_{name}")
        return 1.0 if threshold is None else threshold.disagreement


def surprisal_logits(features: Float32s) -> Float64s:
    """(n,) logit exp(-S) of the responses of one window; S from the entropies where there is no chosen token."""
    nll, entropy = features[:, _NLL_SUM], features[:, _ENTROPY_SUM]
    return doubt_logit(above_floor(entropy if np.isnan(nll).all() else nll))


def fit_candidates(samples: Sequence[Sample], outside: Float64s) -> Candidates:
    """Fit on the labelled rows of one or more domains.

    ``outside`` (sum of n,) are out-of-bag probabilities of these rows from a forest fitted on them, in their order.
    """
    features = np.concatenate([s.features for s in samples])
    correct = np.concatenate([s.correct for s in samples])
    doubt = np.concatenate([surprisal_logits(s.features) for s in samples])
    weight = np.concatenate([np.full(len(s), _DOMAIN_COUNTS_AS / max(len(s), _DOMAIN_COUNTS_AS)) for s in samples])
    scores = _scores(features, outside, doubt)
    fitted = {name: fit_threshold(score, correct) for name, score in scores.items()}
    return Candidates(
        {name: threshold for name, threshold in fitted.items() if threshold is not None},
        fit_surprisal(doubt, correct, weight),
    )


def _scores(features: Float32s, forest: Float64s, doubt: Float64s) -> dict[str, npt.NDArray[np.floating]]:
    """What the thresholds are put on."""
    columns = {name: features[:, column] for name, column in _ATC_FEATURES.items()}
    return {"atc_forest": forest, "atc_surprisal": doubt, **columns}
