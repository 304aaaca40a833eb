"""The members of a committee, each with its calibration and its record; and the settings of a committee."""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np

from driftgauge.models.arrays import Float32s, Float64s
from driftgauge.models.classify.calibration import Calibrator
from driftgauge.models.classify.fits import KINDS
from driftgauge.models.classify.online import OnlineRegression
from driftgauge.models.classify.prequential import Metric, Tally
from driftgauge.models.estimate.default_estimator import DEFAULT_KIND
from driftgauge.models.estimate.fold_fits import FoldFits
from driftgauge.models.learn.promotion import Evidence


@dataclass(frozen=True, slots=True)
class CommitteeSettings:
    """Settings of a committee.

    Attributes
    ----------
    champion, challengers : kinds of classifiers (`fits.KINDS`), each once; the champion predicts and estimates until a
        challenger proves better
    min_labels : right labels, and as many wrong ones, before the first prediction and before the first fit
    memory_labels : what learns from every label forgets labels older than about this many; None: never
    correct_domains : whether `Committee.predict_proba` adds the offset learned from each domain's labels
    refit_every_labels : labels between two fits at most; before that a fit comes each time the number of labels
        has grown by half, and by at least 50
    max_training_rows : the newest labelled rows that fits use
    promote_after_labels, promote_error : labels needed, and probability of a wrong promotion per round
        and challenger
    round_labels : after this many labels, evidence for promotion is collected from the start again
    smallest_inclusion_probability : of the labelling plan; None: unknown. Evidence for promotion relies on it
    gate_auroc : bound of the signal gate; 0 switches it off
    gate_min_labels : labels a domain needs to take part in the gate's check
    max_versions : stored versions for rollback, beside those in use
    max_domains : domains with metrics of their own; the others share ``(other)``
    seed : of everything drawn at random
    """

    champion: str = DEFAULT_KIND
    challengers: tuple[str, ...] = ()
    min_labels: int = 10
    memory_labels: int | None = 5_000
    correct_domains: bool = True
    refit_every_labels: int = 500
    max_training_rows: int = 10_000
    promote_after_labels: int = 200
    promote_error: float = 0.01
    round_labels: int = 2_000
    smallest_inclusion_probability: float | None = None
    gate_auroc: float = 0.6
    gate_min_labels: int = 20
    max_versions: int = 10
    max_domains: int = 1_000
    seed: int = 0

    def __post_init__(self) -> None:
        if len({self.champion, *self.challengers}) <= len(self.challengers):
            raise ValueError("each kind of classifier can sit in the committee once")
        if unknown := {self.champion, *self.challengers} - {*KINDS}:
            raise ValueError(f"no classifier of kind {min(unknown)!r}; there are {', '.join(KINDS)}")


@dataclass(frozen=True, slots=True)
class StoredVersion:
    """The record of one stored state of a member.

    Attributes
    ----------
    number : counts the stored versions of a committee from 1
    n_labels : labelled rows that it was fitted to
    reason : why it was stored
    digest : hash of its predictions of these rows, 16 hexadecimal digits
    metric : prequential metrics of its member up to then
    """

    number: int
    kind: str
    n_labels: int
    reason: str
    digest: str
    metric: Metric


class Member:
    """One kind of classifier with its newest fit, its calibration, its tally and the evidence in its favour.

    What it predicts is the mean of its fit and of the online regression, which bridges the time to the next fit.

    Attributes
    ----------
    fits : the newest fit; None before the first one
    frozen : the online regression as it was when this version was stored; None for a member that learns. A member with
        one is a stored version brought back, which predicts as it did then and learns nothing
    stored_number : number of the stored version that holds the fit; None before the first fit
    """

    def __init__(self, kind: str, memory_labels: int | None, name: str = "") -> None:
        self.kind = kind
        self.name = name or kind
        self.fits: FoldFits | None = None
        self.frozen: OnlineRegression | None = None
        self.calibrator = Calibrator(memory_labels)
        self.tally = Tally()
        self.evidence = Evidence()
        self.stored_number: int | None = None

    def raw(self, features: Float32s, online: Float64s, *, may_be_seen: bool = False) -> Float64s:
        """(n,) P(correct) before calibration, given that of the online regression; NaN while there is none.

        ``may_be_seen``: see `FoldFits.predict`.
        """
        if self.frozen is not None:
            online = self.frozen.predict_proba(features)
        if self.fits is None or not len(features):
            return online
        of_fit = self.fits.predict(features, may_be_seen=may_be_seen)
        return np.where(np.isnan(online), of_fit, (online + of_fit) / 2)

    def score_and_calibrate(self, raw: float, correct: float, weight: float, *, is_revision: bool) -> float:
        """Score the calibrated prediction, then calibrate; returns that prediction, NaN where there was none.

        Parameters
        ----------
        raw : P(correct) before calibration, from `raw`; NaN: there is none
        correct, weight : the label in [0, 1], and 1 / its inclusion probability
        is_revision : it only calibrates, because the member has learned an earlier label of the response
        """
        if math.isnan(raw):
            return raw
        p = self.calibrator.apply_one(raw)
        if not is_revision:
            self.tally.add(p, correct, weight)
        self.calibrator.update(raw, correct, weight)
        return p

    def metric(self) -> Metric:
        """Its prequential metrics over all domains."""
        return self.tally.metric(self.name, None)

    def snapshot(self) -> list[Any]:
        """State as plain values; the fit is named by the number of its stored version."""
        is_frozen, evidence = self.frozen is not None, astuple(self.evidence)
        tally = self.tally.snapshot()
        return [self.name, self.kind, is_frozen, self.stored_number, self.calibrator.snapshot(), tally, evidence]

    @classmethod
    def restore(cls, state: list[Any], memory_labels: int | None) -> Member:
        """Make the member that gave this snapshot, without its fit."""
        name, kind, _, stored_number, calibrator, tally, evidence = state
        new = cls(kind, memory_labels, name)
        new.stored_number = stored_number
        new.calibrator.restore(calibrator)
        new.tally, new.evidence = Tally.restore(tally), Evidence(*evidence)
        return new
