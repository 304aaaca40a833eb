"""The fits of one classifier version: on all labelled domains, and on all but the domains of each fold.

What predicts a response and what estimates a domain come from here, so they are one classifier. Owns the bounds: rows
of a domain, rows of all domains, folds. Deterministic: the same rows, kind and seed give the same fits. A fit is made
when it is first used.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from driftgauge.models.arrays import Float32s, Float64s
from driftgauge.models.classify.fits import Fit, fit
from driftgauge.models.estimate.estimators import Sample
from driftgauge.models.label_weights import teaching_weight
from driftgauge.models.signals.feature_sets import in_width

Domains: TypeAlias = tuple[str, ...]

MAX_ROWS = 4_000
"""Labelled rows that a fit uses at most, an equal share for each domain."""

MIN_ROWS = 10
"""Labelled rows that each domain may have in any case, and that it needs to validate estimates of left-out domains."""

_MAX_FOLDS = 4


class FoldFits:
    """Fits to the labelled rows of one or more domains.

    Attributes
    ----------
    kind, seed : of the classifier (`fits.KINDS`)
    samples : the labelled rows by domain, as `thinned` gives them; those with weight 0 teach with weight 1
    whole : all domains
    folds : the domains that are left out together; none where there is one domain only

    Examples
    --------
    >>> features = np.linspace(0, 1, 40, dtype=np.float32)[:, None].repeat(17, axis=1)
    >>> right = (features[:, 0] < 0.5).astype(float)
    >>> rows = {name: Sample(features, np.full(40, np.nan), right, np.ones(40)) for name in ("art", "law")}
    >>> fits = FoldFits(rows, "logistic_regression", seed=0)
    >>> fits.folds, fits.left_out(("art",), "law")[[0, -1]].round(1).tolist()
    ([('art',), ('law',)], [1.0, 0.0])
    """

    def __init__(self, samples: Mapping[str, Sample], kind: str, seed: int) -> None:
        self.kind = kind
        self.seed = seed
        self.samples = samples
        self.whole: Domains = tuple(samples)
        self.folds = _folds(self.whole, seed) if len(samples) > 1 else []
        self._fitted: dict[Domains, Fit] = {}
        self._outside_by_row: dict[tuple[Domains, int], dict[bytes, float]] = {}
        self._left_out: dict[Domains, dict[str, Float64s]] = {}

    def __len__(self) -> int:
        return sum(map(len, self.samples.values()))

    @cached_property
    def counting(self) -> FoldFits | None:
        """Fits to the rows whose labels count in estimates, those with a weight; None without such rows."""
        counts = {domain: sample.weight > 0 for domain, sample in self.samples.items()}
        if all(each.all() for each in counts.values()):
            return self
        kept = {domain: self.samples[domain].at(np.flatnonzero(each)) for domain, each in counts.items() if each.any()}
        return FoldFits(kept, self.kind, self.seed) if kept else None

    @cached_property
    def width(self) -> int:
        """Number of features of a row."""
        return int(next(iter(self.samples.values())).features.shape[1])

    def predict(self, features: Float32s, *, may_be_seen: bool = False) -> Float64s:
        """(n,) P(correct) of responses, by the fit to all domains.

        ``may_be_seen``: rows that the fit has seen get those of `outside`, so that they compare with new ones.
        """
        p = self._fit(self.whole).probabilities(in_width(features, self.width))
        return self._unseen(self.whole, features, p) if may_be_seen else p

    def outside(self, trained_on: Domains) -> Float64s:
        """(n,) probabilities of the rows of these domains, in order, each by a model that has not seen the row."""
        return self._fit(trained_on).outside

    def probabilities(self, trained_on: Domains, domain: str, features: Float32s) -> Float64s:
        """(n,) probabilities of rows of any domain; rows that the fit has seen get those of `outside`."""
        p = self._fit(trained_on).probabilities(in_width(features, self.width))
        return self._unseen(trained_on, features, p) if domain in trained_on else p

    def left_out(self, trained_on: Domains, domain: str) -> Float64s:
        """(n,) probabilities of the labelled rows of a domain, by the fit to these other domains."""
        if trained_on not in self._left_out:  # all at once: a call costs as much as some hundred rows
            names = self.without(trained_on)
            samples = [self.samples[name] for name in names]
            p = self._fit(trained_on).probabilities(np.concatenate([sample.features for sample in samples]))
            parts = np.split(p, np.cumsum([len(sample) for sample in samples])[:-1])
            self._left_out[trained_on] = dict(zip(names, parts, strict=True))
        return self._left_out[trained_on][domain]

    def all_left_out(self) -> Iterator[tuple[Sample, Float64s]]:
        """The labelled rows of every domain, with (n,) probabilities by the fit that left the domain out."""
        for fold in self.folds:
            others = self.without(fold)
            for domain in fold:
                yield self.samples[domain], self.left_out(others, domain)

    def without(self, domains: Domains) -> Domains:
        """All domains but these."""
        others = {*self.whole} - {*domains}
        return tuple(domain for domain in self.whole if domain in others)

    def digest(self) -> str:
        """Hash of the predictions of the rows, 16 hexadecimal digits: another version of a library may change them."""
        features = np.concatenate([sample.features for sample in self.samples.values()])
        return hashlib.blake2b(self.predict(features).tobytes(), digest_size=8).hexdigest()

    def _unseen(self, trained_on: Domains, features: Float32s, p: Float64s) -> Float64s:
        """The probabilities ``p`` (n,), with those of `outside` for rows that the fit has seen."""
        known = self._outside_of_rows(trained_on, features.shape[1])
        rows = np.ascontiguousarray(in_width(features, self.width))
        return np.array([known.get(row.tobytes(), of_fit) for row, of_fit in zip(rows, p.tolist(), strict=True)])

    def _outside_of_rows(self, trained_on: Domains, width: int) -> dict[bytes, float]:
        """The probabilities of `outside` by row, as it is when it comes with this number of features."""
        if (trained_on, width) not in self._outside_by_row:
            features = np.concatenate([self.samples[domain].features for domain in trained_on])
            rows = in_width(in_width(features, width), self.width)
            outside = self.outside(trained_on).tolist()
            self._outside_by_row[trained_on, width] = {row.tobytes(): p for row, p in zip(rows, outside, strict=True)}
        return self._outside_by_row[trained_on, width]

    def _fit(self, trained_on: Domains) -> Fit:
        if trained_on not in self._fitted:
            rows = [self.samples[domain] for domain in trained_on]
            features, correct = np.concatenate([r.features for r in rows]), np.concatenate([r.correct for r in rows])
            weight = teaching_weight(np.concatenate([r.weight for r in rows]))
            self._fitted[trained_on] = fit(self.kind, features, correct, weight, self.seed)
        return self._fitted[trained_on]


def thinned(labelled: Mapping[str, Sample]) -> dict[str, Sample]:
    """The labelled rows of each domain, in order of domain; of many rows an equal share for each, at even distances.

    Rows whose labels count in estimates go before those that only teach.

    >>> labels = np.array([1.0, np.nan, 0.0])
    >>> rows = Sample(np.zeros((3, 17), np.float32), np.full(3, np.nan), labels, np.ones(3))
    >>> thinned({"law": rows})["law"].correct.tolist()
    [1.0, 0.0]
    """
    share = max(MAX_ROWS // max(len(labelled), 1), MIN_ROWS)
    samples = {domain: _thinned(labelled[domain], share) for domain in sorted(labelled)}
    return {domain: sample for domain, sample in samples.items() if len(sample)}


def _thinned(sample: Sample, limit: int) -> Sample:
    counts = sample.weight > 0
    counting = _evenly(np.flatnonzero(sample.is_labelled & counts), limit)
    teaching = _evenly(np.flatnonzero(sample.is_labelled & ~counts), limit - len(counting))
    rows = np.sort(np.concatenate([counting, teaching]))
    return Sample(
        features=sample.features[rows],
        p_correct=sample.p_correct[rows],
        correct=sample.correct[rows],
        weight=sample.weight[rows],
        domain=sample.domain,
    )


def _evenly(rows: npt.NDArray[np.intp], limit: int) -> npt.NDArray[np.intp]:
    return rows if len(rows) <= limit else rows[np.linspace(0, len(rows) - 1, limit).astype(np.intp)]


def _folds(domains: Domains, seed: int) -> list[Domains]:
    """Domains assigned to a few folds at random."""
    order = np.random.default_rng(seed).permutation(len(domains))
    n_folds = min(len(domains), _MAX_FOLDS)
    return [tuple(sorted(domains[i] for i in order[fold::n_folds])) for fold in range(n_folds)]
