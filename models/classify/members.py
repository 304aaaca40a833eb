"""The members of a committee, each with its calibration and its record; and the settings of a committee."""

from __future__ import annotations

import hashlib
from dataclasses import astuple, dataclass, field
from typing import Any

from driftgauge.models.arrays import Float32s
from driftgauge.models.classify.calibration import Calibrator
from driftgauge.models.classify.catalogue import new_classifier, restore_classifier
from driftgauge.models.classify.classifier import Classifier, ClassifierSettings, Imbalance
from driftgauge.models.classify.prequential import Metric, Tally
from driftgauge.models.classify.promotion import Evidence
from driftgauge.models.classify.refitted import Refitted


@dataclass(frozen=True, slots=True)
class CommitteeSettings:
    """Settings of a committee.

    Attributes
    ----------
    champion, challengers : kinds of classifiers (`catalogue.KINDS`), each once; the champion predicts until a
        challenger proves better
    min_labels : right labels, and as many wrong ones, before the first prediction
    memory_labels : labels older than about this many fade; None: never
    imbalance : ``balance`` teaches as if there were as many right as wrong labels (calibration takes it back)
    correct_domains : whether `Committee.predict_proba` adds the offset learned from each domain's labels
    refit_every_labels : labels between two refits at most; before that a refit comes each time the number of labels
        has grown by half, and by at least 50
    max_training_rows : the newest labelled rows that refits and the signal gate use
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

    champion: str = "logistic_regression"
    challengers: tuple[str, ...] = ()
    min_labels: int = 10
    memory_labels: int | None = 5_000
    imbalance: Imbalance = "keep"
    correct_domains: bool = True
    refit_every_labels: int = 500
    max_training_rows: int = 5_000
    promote_after_labels: int = 200
    promote_error: float = 0.01
    round_labels: int = 2_000
    smallest_inclusion_probability: float | None = None
    gate_auroc: float = 0.6
    gate_min_labels: int = 20
    max_versions: int = 20
    max_domains: int = 1_000
    seed: int = 0

    def __post_init__(self) -> None:
        if len({self.champion, *self.challengers}) <= len(self.challengers):
            raise ValueError("each kind of classifier can sit in the committee once")

    @property
    def classifier(self) -> ClassifierSettings:
        """Settings of every classifier of the committee."""
        return ClassifierSettings(self.min_labels, self.memory_labels, self.imbalance, self.seed)


@dataclass(frozen=True, slots=True)
class StoredVersion:
    """The record of one stored state of a member.

    Attributes
    ----------
    number : counts the stored versions of a committee from 1
    n_labels : labels that its parameters were learned from
    reason : why it was stored
    digest : identifies its parameters (for a refitted kind: training rows and predictions), 16 hexadecimal digits
    metric : prequential metrics of its member up to then
    """

    number: int
    kind: str
    n_labels: int
    reason: str
    digest: str
    metric: Metric


@dataclass(slots=True)
class JudgedLabel:
    """One label, and the prediction of each member for its response (NaN: the member was not ready).

    ``is_revision``: members have learned an earlier label of the response.
    """

    features: Float32s
    correct: float
    weight: float
    domain: str
    predicted: dict[str, float] = field(default_factory=dict)
    is_revision: bool = False


class Member:
    """One classifier with its calibration, its tally and, for a challenger, the evidence in its favour.

    Attributes
    ----------
    is_frozen : whether this is a stored version brought back, which predicts as it did then and learns nothing
    stored_number : number of the stored version that holds the present fit; None for a member that learns from every
        label, and before the first fit
    """

    def __init__(self, kind: str, settings: ClassifierSettings, memory_labels: int | None) -> None:
        self.name = kind
        self.classifier: Classifier = new_classifier(kind, settings)
        self.calibrator = Calibrator(memory_labels)
        self.tally = Tally()
        self.evidence = Evidence()
        self.is_frozen = False
        self.stored_number: int | None = None

    @property
    def is_online(self) -> bool:
        """Whether it learns from every label."""
        return not self.is_frozen and not isinstance(self.classifier, Refitted)

    def judge(self, raw: float, label: JudgedLabel) -> float:
        """Score the calibrated prediction, then calibrate; returns that prediction (NaN: there was none).

        A revision only calibrates.
        """
        p = raw
        if raw == raw:
            p = self.calibrator.apply_one(raw)
            if not label.is_revision:
                self.tally.add(p, label.correct, label.weight)
            self.calibrator.update(raw, label.correct, label.weight)
        label.predicted[self.name] = p
        return p

    def metric(self) -> Metric:
        """Its prequential metrics over all domains."""
        return self.tally.metric(self.name, None)

    def stored_version(self, number: int, reason: str) -> tuple[StoredVersion, list[Any]]:
        """The record of its present state, and the plain values that `bring_back` takes."""
        blob = self.classifier.snapshot()
        digest = hashlib.blake2b(blob, digest_size=8).hexdigest()
        version = StoredVersion(number, self.classifier.kind, self.classifier.n_labels, reason, digest, self.metric())
        return version, [blob, self.calibrator.snapshot()]

    def bring_back(self, number: int, saved: list[Any]) -> None:
        """Become the frozen copy of a stored version."""
        self.classifier = restore_classifier(saved[0])
        self.calibrator.restore(saved[1])
        self.name = f"{self.classifier.kind}@{number}"
        self.is_frozen, self.stored_number = True, number

    def snapshot(self) -> list[Any]:
        """State as plain values; a fit that does not change with every label is named by its number, not repeated."""
        blob = self.classifier.snapshot() if self.is_online else None
        evidence = astuple(self.evidence)
        return [
            self.name,
            self.is_frozen,
            self.stored_number,
            blob,
            self.calibrator.snapshot(),
            self.tally.snapshot(),
            evidence,
        ]

    def restore(self, state: list[Any], settings: ClassifierSettings, fit: bytes | None) -> None:
        """Take over a `snapshot`; ``fit`` is the stored fit that the snapshot names by number."""
        self.name, self.is_frozen, self.stored_number, blob, calibrator, tally, evidence = state
        if blob is not None:
            self.classifier = restore_classifier(blob, settings)
        elif fit is not None:
            self.classifier = restore_classifier(fit)
        self.calibrator.restore(calibrator)
        self.tally, self.evidence = Tally.restore(tally), Evidence(*evidence)
