"""Settings of what is computed: features, classifier, windows, labels, estimates, drift, targets and the bounds."""

from __future__ import annotations

from typing import Annotated, Literal, Self, TypeAlias

from pydantic import Field, model_validator

from driftgauge.config.section import (
    LISTED,
    Count,
    CountOrNone,
    Names,
    PositiveSeconds,
    Seconds,
    Section,
    Share,
    Shares,
)
from driftgauge.models.labels import Policy
from driftgauge.models.signals.entropy import EntropyVariant
from driftgauge.models.signals.features import SEGMENT_FEATURES

DAY_S = 86_400.0

ClassifierKind: TypeAlias = Literal[
    "logistic_regression",
    "adaptive_random_forest",
    "random_forest",
    "published_forest",
    "sparse_logistic_regression",
    "gradient_boosting",
]


class FeatureSettings(Section):
    """From log-probabilities to features. Another value means other classifiers: nothing learned carries over."""

    entropy: EntropyVariant = "published"
    """Entropy over the top k: as published, renormalised to mass one, or lower_bound with the tail as one symbol."""

    segments: bool = False
    """Whether to compute features also for reasoning and answer apart (51 instead of 17)."""

    min_coverage: Share = 0.9
    """Share of generated tokens that must have log-probabilities, in [0, 1]; below it a response is not estimated."""


class LearningSettings(Section):
    """The model that predicts correctness, and what may replace it."""

    kind: ClassifierKind = "logistic_regression"
    """The classifier that speaks at first (the champion)."""

    challengers: Annotated[tuple[ClassifierKind, ...], LISTED, Field(max_length=5)] = ()
    """Classifiers that learn beside it and replace it when they have proved better."""

    min_labels: Count = 10
    """Right and wrong labels, of each so many, before the first prediction."""

    memory_labels: CountOrNone = 5_000
    """Labels after which an old one has faded; 0: nothing is forgotten."""

    imbalance: Literal["keep", "balance"] = "keep"
    """Whether right and wrong labels count as they come or get the same total weight."""

    correct_domains: bool = True
    """Whether a domain's own labels may shift the predictions of that domain."""

    refit_every_labels: Count = 500
    """Labels between refits, for kinds that are refitted rather than updated; the first refits come sooner."""

    max_training_rows: Annotated[int, Field(ge=100, le=10_000_000)] = 5_000
    """Newest labelled responses that a refit learns from."""

    promote_after_labels: Count = 200
    """Labels that must have been predicted by both before a challenger can replace the champion."""

    promote_error: Annotated[float, Field(gt=0, lt=0.5)] = 0.01
    """Probability of a wrong replacement, per challenger and round."""

    round_labels: Count = 2_000
    """Labels after which the evidence for a replacement is collected anew."""

    gate_auroc: Annotated[float, Field(ge=0, le=1)] = 0.6
    """AUROC on domains left out below which the signal is called invalid and estimates stop; 0: never."""

    gate_min_labels: Count = 20
    """Labels a domain needs to take part in that check."""

    max_versions: Annotated[int, Field(ge=1, le=1_000)] = 20
    """Stored versions to roll back to."""

    seed: CountOrNone = 0
    """Seed of everything drawn by chance."""

    @model_validator(mode="after")
    def _each_kind_once(self) -> Self:
        if len({self.kind, *self.challengers}) <= len(self.challengers):
            raise ValueError("kind and challengers must all be different")
        return self


class WindowSettings(Section):
    """Rolling windows in event time. A window holds the fewer of its seconds and its responses."""

    window_s: PositiveSeconds = DAY_S
    """Length of a window in seconds."""

    window_events: Annotated[int, Field(ge=10, le=1_000_000)] = 2_000
    """Most responses in a window; the newest count."""

    hop_s: PositiveSeconds = 3_600.0
    """Seconds between emission boundaries: windows end at multiples of it."""

    allowed_lateness_s: Seconds = 0.0
    """Seconds that event time may run behind before a response counts as late; 0: any response out of order is."""

    emit_every_events: Count = 200
    """Responses of a domain after which its estimate is looked at between boundaries."""

    emit_every_labels: Count = 20
    """Labels of a domain after which its estimate is looked at between boundaries."""

    material_change: Share = 0.02
    """Change of accuracy, in [0, 1], that is worth an estimate between boundaries; 0: any."""

    @model_validator(mode="after")
    def _hop_fits(self) -> Self:
        if self.hop_s > self.window_s:
            raise ValueError(f"hop_s ({self.hop_s:.12g}) must not exceed window_s ({self.window_s:.12g})")
        if self.window_s / self.hop_s > 10_000:
            raise ValueError("window_s must be at most 10,000 times hop_s")
        return self


class LabelSettings(Section):
    """How labels are joined and resolved."""

    policy: Policy = "latest"
    """Which of several annotators' labels counts: latest, majority, mean, or rank (code before human before model)."""

    horizon_s: PositiveSeconds = 30 * DAY_S
    """Seconds of event time that a label may wait for its response, or come after it."""

    max_pending: Count = 1_000_000
    """Most labels waiting for their response; beyond it they become dead letters."""

    unknown_probability: Literal["weight_one", "ignore_in_estimates"] = "weight_one"
    """What a label without inclusion probability does: count as drawn evenly, or only teach the classifier."""


class EstimateSettings(Section):
    """The accuracy estimates."""

    confidence_level: Annotated[float, Field(ge=0.5, le=0.999)] = 0.9
    """Probability with which an interval should hold the true accuracy."""

    refit_every_labels: Count = 200
    """Labels of a context between refits of its estimator; more once there are many, up to 2,000."""

    max_training_rows: Annotated[int, Field(ge=100, le=10_000_000)] = 20_000
    """Newest labelled responses of a context that its estimator is fitted to."""

    min_events: Annotated[int, Field(ge=2, le=1_000_000)] = 30
    """Responses a window needs before it has an estimate."""


class DriftSettings(Section):
    """The change detectors."""

    enabled: bool = True
    """Whether they run."""

    delta: Annotated[float, Field(gt=0, lt=1)] = 0.002
    """Probability of a false change, per test and signal; smaller is quieter and slower."""

    features: Names = ("entropy_sum",)
    """Features watched beside the predicted correctness."""

    @model_validator(mode="after")
    def _known_features(self) -> Self:
        if unknown := sorted({*self.features} - {*SEGMENT_FEATURES}):
            raise ValueError(f"features has unknown names {', '.join(unknown)}; known: {', '.join(SEGMENT_FEATURES)}")
        return self


class TargetSettings(Section):
    """The accuracy that is wanted."""

    default: Share = 0.8
    """Accuracy wanted of a domain that is not named, in [0, 1]."""

    domains: Shares = Field(default_factory=dict)
    """Accuracy wanted by domain, in [0, 1]: `name: value`."""

    false_alarms: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    """Probability of any false alarm "below target", over all domains and all time; smaller needs more labels."""


class BoundSettings(Section):
    """What keeps memory finite; each has a counter, and a rule for what lies beyond."""

    max_domains: Annotated[int, Field(ge=1, le=1_000_000)] = 1_000
    """Most domains; responses of further ones go to the domain "(other)"."""

    max_in_flight: Annotated[int, Field(ge=1, le=10_000_000)] = 10_000
    """Most responses arriving in pieces at once; the longest silent gives way."""

    max_waiting_chunks: Annotated[int, Field(ge=1, le=100_000)] = 64
    """Most pieces of one response that wait for an earlier piece."""

    in_flight_expiry_s: PositiveSeconds = 600.0
    """Seconds of event time without a piece after which a response is given up."""

    max_stale_windows: Count = 10_000
    """Most past windows that late labels can ask to be estimated again at the next boundary."""


class ContextSettings(Section):
    """What happens when model, temperature or the like change: estimates of two contexts never mix."""

    warm_start: bool = False
    """Whether a new context starts from what the last one learned instead of from nothing."""

    start_from: str = ""
    """File written by `driftgauge fit` that contexts start from (with warm_start: the first one); empty: nothing."""

    max_fingerprints: Annotated[int, Field(ge=1, le=10_000)] = 16
    """Most contexts; responses of further ones become dead letters."""


class PredictionSettings(Section):
    """Predictions of single responses."""

    publish: Literal["none", "final", "all"] = "none"
    """Publish none, one per complete response, or also one per chunk while it grows."""
