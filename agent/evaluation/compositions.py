"""Compositions of labelled domains: training rows, estimated rows, and the forests fitted on them.

Owns the protocol of the paper: train on 80 % of k domains, estimate the held-out rows of those and all rows of the
other domains. The 80 % of a domain are drawn once, so one forest serves every use of a set of domains. Leave-one-
domain-out needs the sets without one domain, and most of those are compositions too.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
from joblib import Parallel, delayed  # type: ignore[import-untyped]  # it ships no types

from driftgauge.agent.evaluation.entropy_sentinel import Fit
from driftgauge.agent.outlets.account import account_lines
from driftgauge.connectors.base import ConnectorError
from driftgauge.connectors.files.recordings import read_recording
from driftgauge.models.account import Account
from driftgauge.models.arrays import Float32s, Float64s
from driftgauge.models.classify.regression_forest import fit_regression_forest
from driftgauge.models.estimate.estimators import MIN_EVENTS, Sample
from driftgauge.models.signals.feature_sets import DEFAULT_SPEC, FeatureSet

Domains: TypeAlias = tuple[str, ...]
Progress: TypeAlias = Callable[[str, int, int], None]
T = TypeVar("T")
R = TypeVar("R")

TRAIN_SHARE = 0.8
MIN_ROWS = 20
"""Labelled responses a domain of a recording needs to be evaluated."""

PER_DOMAIN = 2_000
"""Labelled responses of a domain that are used by default: the time of every protocol grows with them."""


@dataclass(frozen=True, slots=True, eq=False)
class Traffic:
    """The labelled responses of one recording: (n, d) features, (n,) labels in [0, 1], rows of each domain.

    ``account`` says how many responses of the recording are used, and why the others are not.
    """

    name: str
    features: Float32s
    correct: Float64s
    rows: Mapping[str, npt.NDArray[np.intp]]
    account: Account

    def sample(self, domain: str, rows: npt.NDArray[np.intp], scores: Float32s | None = None) -> Sample:
        """These rows, all of one domain, with their labels."""
        n = len(rows)
        return Sample(self.features[rows], np.full(n, np.nan), self.correct[rows], np.ones(n), scores, domain)


def unseen(what: str, done: int, total: int) -> None:
    """Discard progress."""
    del what, done, total


def read_traffic(
    path: Path, feature_set: FeatureSet = DEFAULT_SPEC.set, top_k: int | None = None, *,
    per_domain: int = PER_DOMAIN, seed: int = 0,
) -> Traffic:  # fmt: skip
    """Read a recording; responses without a label and domains with fewer than `MIN_ROWS` of them are left out.

    Parameters
    ----------
    top_k : number of alternatives of a token that are used; None: all of them (`Recording.with_top_k`)
    per_domain : labelled responses of a domain that are used, drawn by the seed where there are more

    Raises
    ------
    ConnectorError
        When the file is not a recording, has no domain with enough labels, or has fewer alternatives.
    """
    recording = read_recording(path).with_top_k(top_k)
    correct = np.asarray(recording.labels, dtype=np.float64)
    known = {str(d): np.flatnonzero((recording.domain == d) & ~np.isnan(correct)) for d in np.unique(recording.domain)}
    enough = {domain: at for domain, at in known.items() if len(at) >= MIN_ROWS}
    draw = np.random.default_rng(seed)
    rows = {domain: np.sort(draw.permutation(at)[:per_domain]) for domain, at in enough.items()}
    used, usable, labelled = (sum(map(len, group.values())) for group in (rows, enough, known))
    left_out = {
        "unlabelled": len(recording) - labelled,
        f"domain_below_{MIN_ROWS}_labels": labelled - usable,
        f"domain_beyond_{per_domain}_labels": usable - used,
    }
    account = Account(used, dead_letters=+Counter(left_out))
    if not rows:
        text = f"{path}: no domain has {MIN_ROWS} labelled responses. {' '.join(account_lines(account))}"
        raise ConnectorError(text, retriable=False)
    return Traffic(recording.name, recording.features(feature_set).astype(np.float32), correct, rows, account)


def compositions(domains: Iterable[str], k: int, limit: int, seed: int) -> list[Domains]:
    """All sets of k domains or, where there are more than ``limit``, a seeded choice of them, in order.

    >>> compositions("abc", 2, 10, seed=0)
    [('a', 'b'), ('a', 'c'), ('b', 'c')]
    """
    names = sorted(domains)
    every, count = itertools.combinations(names, k), math.comb(len(names), k)
    if count <= limit:
        return list(every)
    chosen = set(np.random.default_rng(seed).choice(count, limit, replace=False).tolist())
    return [composition for i, composition in enumerate(every) if i in chosen]


class Bench:
    """One recording to train on and one (often the same) to estimate; each domain is split once.

    ``confidence_level`` is that of all intervals.
    """

    def __init__(self, source: Traffic, target: Traffic | None, seed: int, confidence_level: float = 0.9) -> None:
        self.source = source
        self.target = target or source
        self.is_same = target is None
        self.seed = seed
        self.confidence_level = confidence_level
        draw = np.random.default_rng(seed)
        self.train: dict[str, npt.NDArray[np.intp]] = {}
        self.held_out: dict[str, npt.NDArray[np.intp]] = {}
        for domain, rows in source.rows.items():
            order = draw.permutation(rows)
            cut = round(TRAIN_SHARE * len(rows))
            self.train[domain], self.held_out[domain] = np.sort(order[:cut]), np.sort(order[cut:])

    def estimated(self, composition: Domains) -> dict[str, npt.NDArray[np.intp]]:
        """Rows of the target to estimate, by domain; domains with too few rows for an estimate are left out."""
        if not self.is_same:
            return dict(self.target.rows)
        rows = {d: self.held_out[d] if d in composition else rows for d, rows in self.source.rows.items()}
        return {domain: at for domain, at in rows.items() if len(at) >= MIN_EVENTS}

    def training(self, composition: Domains) -> tuple[Float32s, Float64s]:
        """Features and labels of the training rows of these domains."""
        rows = np.concatenate([self.train[domain] for domain in composition])
        return self.source.features[rows], self.source.correct[rows]

    def labelled(self, composition: Domains) -> dict[str, Sample]:
        """The training rows by domain, as estimators take them."""
        return {domain: self.source.sample(domain, self.train[domain]) for domain in composition}


class CachedForests:
    """Regression forests of many sets of domains, kept as their probabilities for every row of the bench."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.fitted: dict[Domains, tuple[Float32s, Float32s, Float32s]] = {}

    def fit(self, wanted: Sequence[Domains], jobs: int, progress: Progress) -> None:
        """Fit the forests of these sets of domains, without those fitted before."""
        missing = [domains for domains in dict.fromkeys(wanted) if domains not in self.fitted]
        done = in_parallel(jobs, partial(_forest, self.bench), missing)
        for i, (domains, result) in enumerate(zip(missing, done, strict=True)):
            self.fitted[domains] = result
            progress("forests", i + 1, len(missing))

    def outside(self, trained_on: Domains) -> Float64s:
        """Out-of-bag probabilities of the training rows of these domains, in their order."""
        return self.fitted[trained_on][0].astype(np.float64)

    def left_out(self, trained_on: Domains, domain: str) -> Float64s:
        """(n,) probabilities of the training rows of a domain of the source."""
        return self.fitted[trained_on][1][self.bench.train[domain]].astype(np.float64)

    def probabilities(self, trained_on: Domains, domain: str, features: Float32s) -> Float64s:
        """(n,) probabilities for the training rows of a domain of the source."""
        del features
        return self.left_out(trained_on, domain)

    def target(self, trained_on: Domains) -> Float32s:
        """Probabilities for every row of the target."""
        return self.fitted[trained_on][2]


def in_parallel(jobs: int, function: Callable[[T], R], arguments: Iterable[T]) -> Iterator[R]:
    """Results in the order of the arguments, from ``jobs`` processes."""
    results: Any = Parallel(n_jobs=jobs, return_as="generator")(delayed(function)(one) for one in arguments)
    return iter(results)


def _forest(bench: Bench, domains: Domains) -> tuple[Float32s, Float32s, Float32s]:
    features, correct = bench.training(domains)
    forest = fit_regression_forest(features, correct, np.ones(len(correct)), bench.seed)
    source = forest.probabilities(bench.source.features).astype(np.float32)
    target = source if bench.is_same else forest.probabilities(bench.target.features).astype(np.float32)
    return forest.outside.astype(np.float32), source, target


def row_model_means(bench: Bench, fits: Mapping[str, Fit], composition: Domains) -> dict[str, Float64s]:
    """Mean probability of every domain by each row model fitted on a composition: name -> (domains,)."""
    features, correct = bench.training(composition)
    means = {}
    for name, fit in fits.items():
        p = fit(features, correct, bench.seed)(bench.target.features)
        means[name] = np.array([p[rows].mean() for rows in bench.estimated(composition).values()])
    return means
