"""Who sits in a committee, each with its calibration and its record; and what a committee can be told."""

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
    """Everything a committee can be told.

    Attributes
    ----------
    champion, challengers : kinds of classifiers (`catalogue.KINDS`), each once; the champion predicts until a
        challenger proves better
    min_labels : labels of each kind before the first prediction
    memory_labels : labels older than about this many fade; None: never
    imbalance : ``balance`` teaches as if there were as many right as wrong labels (calibration takes it back)
    correct_domains : use the offset that each domain's labels taught where `Committee.predict_proba` is told domains
    refit_every_labels : labels between two refits; early refits come after half as many labels again, at least 50
    max_training_rows : the newest labelled rows that refits and the signal gate use
    promote_after_labels, promote_error : labels needed, and chance of a wrong promotion per round and challenger
    round_labels : evidence for promotion is collected anew after this many labels
    gate_auroc : bound of the signal gate; 0 switches it off
    gate_min_labels : labels a domain needs to be judged by the gate
    max_versions : stored versions for rollback, beside those in use
    max_domains : domains with metrics of their own; the others share ``(other)``
    seed : of everything drawn by chance
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
        """What every classifier is told."""
        return ClassifierSettings(self.min_labels, self.memory_labels, self.imbalance, self.seed)


@dataclass(frozen=True, slots=True)
class Version:
    """A stored version: what it was, what stood behind it, and how it had done.

    ``digest`` names its parameters (for a refitted kind its training rows and predictions), ``n_labels`` says how many
    labels made them, ``metric`` is the prequential record of its member up to then, ``reason`` why it was stored.
    """

    number: int
    kind: str
    n_labels: int
    reason: str
    digest: str
    metric: Metric


@dataclass(slots=True)
class JudgedLabel:
    """One label, and what each member had predicted for its response (NaN: nothing yet)."""

    features: Float32s
    correct: float
    weight: float
    domain: str
    predicted: dict[str, float] = field(default_factory=dict)


class Member:
    """One classifier with its calibration, its record, and (challengers) what speaks for it.

    A frozen member is a stored version brought back: it predicts as it did then, and learns nothing. ``stored`` is
    the number of the version that holds the present fit of a member that does not learn from every label.
    """

    def __init__(self, kind: str, settings: ClassifierSettings, memory_labels: int | None) -> None:
        self.name = kind
        self.classifier: Classifier = new_classifier(kind, settings)
        self.calibrator = Calibrator(memory_labels)
        self.tally = Tally()
        self.evidence = Evidence()
        self.is_frozen = False
        self.stored: int | None = None

    @property
    def is_online(self) -> bool:
        """Whether it learns from every label."""
        return not self.is_frozen and not isinstance(self.classifier, Refitted)

    def judge(self, raw: float, label: JudgedLabel) -> float:
        """Score the calibrated prediction, then calibrate; returns that prediction (NaN: it made none)."""
        p = raw
        if raw == raw:
            p = self.calibrator.apply_one(raw)
            self.tally.add(p, label.correct, label.weight)
            self.calibrator.update(raw, label.correct, label.weight)
        label.predicted[self.name] = p
        return p

    def metric(self) -> Metric:
        """Its prequential record over all domains."""
        return self.tally.metric(self.name, None)

    def version(self, number: int, reason: str) -> tuple[Version, list[Any]]:
        """Its present state as a version: the record, and what `bring_back` needs."""
        blob = self.classifier.snapshot()
        digest = hashlib.blake2b(blob, digest_size=8).hexdigest()
        record = Version(number, self.classifier.kind, self.classifier.n_labels, reason, digest, self.metric())
        return record, [blob, self.calibrator.snapshot()]

    def bring_back(self, number: int, kept: list[Any]) -> None:
        """Become the frozen copy of a stored version."""
        self.classifier = restore_classifier(kept[0])
        self.calibrator.restore(kept[1])
        self.name = f"{self.classifier.kind}@{number}"
        self.is_frozen, self.stored = True, number

    def snapshot(self) -> list[Any]:
        """State as plain values; a fit that does not change from label to label is named, not repeated."""
        blob = self.classifier.snapshot() if self.is_online else None
        evidence = astuple(self.evidence)
        return [
            self.name,
            self.is_frozen,
            self.stored,
            blob,
            self.calibrator.snapshot(),
            self.tally.snapshot(),
            evidence,
        ]

    def restore(self, state: list[Any], settings: ClassifierSettings, fit: bytes | None) -> None:
        """Take over what `snapshot` gave; ``fit`` is the stored fit it names."""
        self.name, self.is_frozen, self.stored, blob, calibrator, tally, evidence = state
        if blob is not None:
            self.classifier = restore_classifier(blob, settings)
        elif fit is not None:
            self.classifier = restore_classifier(fit)
        self.calibrator.restore(calibrator)
        self.tally, self.evidence = Tally.restore(tally), Evidence(*evidence)
