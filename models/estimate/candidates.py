"""The candidates: label-free estimators of one window that the default estimator averages, all from one fit.

Owns their list and their prior weights. Each fails under another kind of shift, and none is the best on all traffic
(`docs/estimators.md` has the measurements).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from driftgauge.models.arrays import Float32s, Float64s
from driftgauge.models.estimate.atc import Threshold, fit_threshold, mean_present
from driftgauge.models.estimate.estimators import Sample
from driftgauge.models.estimate.surprisal import SurprisalModel, above_floor, doubt_logit, fit_surprisal
from driftgauge.models.signals.feature_sets import FEATURES

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
"""Two pairs, and four thresholds on single features that together weigh as much as the surprisal pair."""

ABOVE_FLOOR = ("surprisal", "atc_surprisal")
_ATC_FEATURES = {f"atc_{name}": FEATURES.index(name) for name in ("nll_mean", "nll_max", "entropy_max", "entropy_std")}
_ENTROPY_SUM, _NLL_SUM = FEATURES.index("entropy_sum"), FEATURES.index("nll_sum")
_MAX_DOMAIN_WEIGHT = 50.0  # in responses; a labelled domain weighs at most this, however many labels it has


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """Fitted candidates: thresholds by name, and the two numbers of the surprisal model."""

    thresholds: Mapping[str, Threshold]
    surprisal: SurprisalModel

    def values(
        self, features: Float32s, of_fit: Float64s, doubt: Float64s, weight: Float64s | None = None
    ) -> dict[str, float]:
        """The accuracy of one window by each candidate; a candidate without a value is left out.

        Parameters
        ----------
        features, of_fit, doubt : (n, d), (n,) probabilities by the classifier, (n,) `surprisal_logits` of the window
        weight : (n,) of labels, where only the labelled rows of the window are known; None: all rows count alike
        """
        scores = _scores(features, of_fit, doubt)
        values = {name: threshold.share(scores[name], weight) for name, threshold in self.thresholds.items()}
        values["forest"] = mean_present(of_fit, weight)
        values["surprisal"] = mean_present(self.surprisal.from_logits(doubt), weight)
        return {name: values[name] for name in PRIOR_WEIGHTS if np.isfinite(values.get(name, np.nan))}

    def disagreement(self, name: str) -> float:
        """`Threshold.disagreement` of the score behind a candidate; 1 where it has none."""
        threshold = self.thresholds.get(name) or self.thresholds.get(f"atc_{name}")
        return 1.0 if threshold is None else threshold.disagreement


def surprisal_logits(features: Float32s, weight: Float64s | None = None) -> Float64s:
    """(n,) logit exp(-S) of the responses of one window; S from entropies when no response has chosen logprobs.

    ``weight`` (n,) is that of labels, where only the labelled rows of the window are known.
    """
    nll, entropy = features[:, _NLL_SUM], features[:, _ENTROPY_SUM]
    return doubt_logit(above_floor(entropy if np.isnan(nll).all() else nll, weight))


def fit_candidates(samples: Sequence[Sample], outside: Float64s, doubts: Sequence[Float64s]) -> Candidates:
    """Fit on the labelled rows of one or more domains, each with its (n,) `surprisal_logits`.

    ``outside`` (sum of n,) are out-of-bag probabilities of these rows by a fit to them, in their order.
    """
    features = np.concatenate([s.features for s in samples])
    correct = np.concatenate([s.correct for s in samples])
    doubt = np.concatenate(doubts)
    relative = [s.weight / s.weight.mean() for s in samples]
    weight = np.concatenate([w * _MAX_DOMAIN_WEIGHT / max(len(w), _MAX_DOMAIN_WEIGHT) for w in relative])
    scores = _scores(features, outside, doubt)
    fitted = {name: fit_threshold(score, correct, np.concatenate(relative)) for name, score in scores.items()}
    return Candidates(
        {name: threshold for name, threshold in fitted.items() if threshold is not None},
        fit_surprisal(doubt, correct, weight),
    )


def _scores(features: Float32s, of_fit: Float64s, doubt: Float64s) -> dict[str, npt.NDArray[np.floating]]:
    """The scores that the thresholds apply to, by candidate."""
    columns = {name: features[:, column] for name, column in _ATC_FEATURES.items()}
    return {"atc_forest": of_fit, "atc_surprisal": doubt, **columns}
