"""Settings of the core: features, classifiers, windows, labels, estimates, drift detection, targets and bounds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import Field, model_validator

from driftgauge.config.lookups import Lookups
from driftgauge.config.section import (
    LISTED,
    Count,
    CountOrZero,
    CountsByName,
    Names,
    NamesByPath,
    PositiveSeconds,
    ScoreScale,
    Seconds,
    SecondsByName,
    Section,
    Share,
    Shares,
    Texts,
)
from driftgauge.models.acquire.allocation import Across
from driftgauge.models.acquire.sampling import Plan
from driftgauge.models.alerts.book import UNTIL_ENDED
from driftgauge.models.labels import USE_BY_SOURCE, Policy, Use
from driftgauge.models.outputs import ALERTS
from driftgauge.models.signals.entropy import EntropyVariant
from driftgauge.models.signals.feature_sets import ALL_FEATURES, FeatureSet
from driftgauge.models.watch.seasons import Season

DAY_S = 86_400.0

ClassifierKind: TypeAlias = Literal[
    "random_forest", "logistic_regression", "neural_network", "gradient_boosting", "published_forest"
]


class FeatureSettings(Section):
    """Features from log-probabilities. Another entropy needs other classifiers: nothing learned carries over."""

    set: FeatureSet = "extended"
    """The 17 published features, or extended: 5 more of tail mass and varentropy. Rows of both can be in one store."""

    entropy: EntropyVariant = "published"
    """Entropy over the top k: as published, renormalised to mass one, or lower_bound (the tail is one symbol)."""

    segments: bool = False
    """Whether to compute the features also for reasoning and for answer alone (66 in all; 51 of the published set)."""

    min_coverage: Share = 0.9
    """Share of generated tokens, in [0, 1], that must have log-probabilities; below it a response is not used."""


class LearningSettings(Section):
    """The classifiers that predict the correctness of responses and estimate the accuracy of domains."""

    kind: ClassifierKind = "random_forest"
    """The classifier that predicts and estimates at first (the champion)."""

    challengers: Annotated[tuple[ClassifierKind, ...], LISTED, Field(max_length=5)] = ()
    """Classifiers that learn the same labels; one that is proved better replaces the champion."""

    min_labels: Count = 10
    """Number of right labels and of wrong labels that are needed before the first prediction and the first fit."""

    memory_labels: CountOrZero = 5_000
    """Number of labels after which an older label has faded from what learns from every label; 0: labels never fade."""

    correct_domains: bool = True
    """Whether the labels of a domain shift the predictions of that domain."""

    refit_every_labels: Count = 500
    """Number of labels between two fits at most; the first fit comes after 50 labels, the next ones soon."""

    max_training_rows: Annotated[int, Field(ge=100, le=10_000_000)] = 10_000
    """Number of newest labelled responses that a fit uses, thinned to 4,000 with the same share for each domain."""

    promote_after_labels: Count = 200
    """Number of labels that champion and challenger must both have predicted before the challenger can replace it."""

    promote_error: Annotated[float, Field(gt=0, lt=0.5)] = 0.01
    """Probability of replacing the champion by a worse challenger, per challenger and round."""

    round_labels: Count = 2_000
    """Number of labels in a round; each round collects the evidence for a replacement from zero."""

    gate_auroc: Annotated[float, Field(ge=0, le=1)] = 0.6
    """AUROC on held-out domains below which the signal counts as invalid and estimates stop; 0: never."""

    gate_min_labels: Count = 20
    """Number of labels that a domain needs to be held out in the check of `gate_auroc`."""

    max_versions: Annotated[int, Field(ge=1, le=1_000)] = 10
    """Number of stored versions that can be rolled back to."""

    seed: CountOrZero = 0
    """Seed of all random numbers."""

    @model_validator(mode="after")
    def _each_kind_once(self) -> Self:
        if len({self.kind, *self.challengers}) <= len(self.challengers):
            raise ValueError("kind and challengers must all be different")
        return self


class WindowSettings(Section):
    """Rolling windows in event time. A window ends at a boundary and is bounded in seconds and in responses."""

    window_s: PositiveSeconds = DAY_S
    """Longest span of a window in seconds."""

    window_events: Annotated[int, Field(ge=10, le=1_000_000)] = 2_000
    """Largest number of responses in a window; the newest are used."""

    hop_s: PositiveSeconds = 3_600.0
    """Seconds between boundaries. Windows end and estimates are emitted at multiples of it."""

    allowed_lateness_s: Seconds = 0.0
    """Seconds of event time from the end of a window until it is closed; until then no response is late; 0: none."""

    max_ahead_s: PositiveSeconds = 3_600.0
    """Seconds that an event may be dated ahead of the broker's time of its record; beyond, it is a dead letter."""

    max_jump_s: PositiveSeconds = DAY_S
    """Seconds that event time may jump ahead in a file, where no broker tells the time, before most events agree."""

    idle_after_s: Seconds = 600.0
    """Seconds of event time that a partition may be behind the furthest one and still hold event time back; 0: none."""

    emit_every_events: Count = 200
    """Number of responses of a domain after which its estimate is checked for a material change between boundaries."""

    emit_every_labels: Count = 20
    """Number of labels of a domain after which its estimate is checked for a material change between boundaries."""

    material_change: Share = 0.02
    """Change of accuracy, in [0, 1], that causes an estimate between boundaries; 0: any change."""

    @model_validator(mode="after")
    def _hop_fits(self) -> Self:
        if self.hop_s > self.window_s:
            raise ValueError(f"hop_s ({self.hop_s:.12g}) must not exceed window_s ({self.window_s:.12g})")
        if self.window_s / self.hop_s > 10_000:
            raise ValueError("window_s must be at most 10,000 times hop_s")
        return self


class LabelMappingSettings(Section):
    """Where the labels of another tool have their fields: docs/labels_from_tools.md."""

    preset: str = ""
    """Preset to start from, such as `langfuse`; what is set here goes before it. Empty: none."""

    prefix: str = ""
    """Beginning of every `label_id`, so that two tools never give the same one."""

    records: Names = ()
    """Paths to lists of records in a document, such as `items.*`; the first that is there; none: it is one record."""

    each: Names = ()
    """Paths to lists of labels in a record, such as `annotations.*`; the first that is there; none: one label."""

    fields: Lookups = Field(default_factory=dict)
    """Paths of the fields of a label, each found as a domain is: `response_id: metadata.id`, `correct: score`."""

    scale: ScoreScale | None = None
    """Scale of the scores, as in `labels.scale`; null: that one."""

    names: Names = ()
    """Values of the field `name` that are labels; empty: all."""

    skip: NamesByPath = Field(default_factory=dict)
    """Values by path that mark a record as no label: `status: [draft]`."""

    withdraw: NamesByPath = Field(default_factory=dict)
    """Values by path that withdraw the label with the id of the record: `status: [deleted]`."""

    defaults: Texts = Field(default_factory=dict)
    """Values of fields that a record lacks: `annotator_kind: model`."""


class LabelSettings(Section):
    """Joining labels to responses, and resolving several labels of one response."""

    scale: ScoreScale = (0.0, 1.0)
    """Scores of labels: worst and best (`[1, 5]`, `[-1, 1]`), or words with their values (`good: 1, bad: 0`)."""

    policy: Policy = "latest"
    """Resolution of labels by several annotators: latest, majority, mean, or rank (code before human before model)."""

    horizon_s: PositiveSeconds = 30 * DAY_S
    """Longest time in seconds, in event time, that a label may wait for its response or come after it."""

    max_pending: Count = 1_000_000
    """Largest number of labels that wait for their response; further labels become dead letters."""

    unknown_probability: Literal["weight_one", "ignore_in_estimates"] = "weight_one"
    """Use of labels without inclusion probability: with weight one in estimates, or only to train the classifier."""

    sources: Annotated[dict[str, Use], LISTED] = Field(default_factory=lambda: dict(USE_BY_SOURCE))
    """Use of labels by their source: count (in estimates too), teach (the classifier alone) or ignore."""

    smallest_inclusion_probability: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Smallest inclusion probability of the labelling plan, for alarms and promotions; 0: the smallest so far."""

    mapping: LabelMappingSettings = Field(default_factory=LabelMappingSettings)


class AcquisitionSettings(Section):
    """Label lists: at the end of each period, which responses to label."""

    labels_per_period: CountOrZero = 200
    """Number of responses to label in a period, over all domains; 0: no label lists."""

    labels_in_all: CountOrZero = 0
    """Number of responses to label over the life of the store; 0: any number."""

    labels_per_domain: CountOrZero = 0
    """Number of responses to label in a period for each domain, the widest interval first; 0: divided by `across`."""

    target_width: Share = 0.0
    """Width of an interval, in [0, 1], at which a domain needs no more labels; 0: there is always need."""

    base_labels: CountOrZero = 10
    """Number of labels that every domain gets before the rest is divided, those in its window included; 0: none."""

    across: Across = "width"
    """Division of the rest among domains: by width (of the interval), equal, or by traffic x shortfall x width."""

    within: Plan = "systematic"
    """Draws in a domain: systematic (in the order of surprisal), uniform, or uncertainty (sqrt(p (1 - p)))."""

    period_s: PositiveSeconds = DAY_S
    """Seconds from one list to the next; if `windows.hop_s` is longer, that. A list is made at the next boundary."""

    expires_after: Annotated[int, Field(ge=1, le=100)] = 7
    """Number of periods until a request without a label is given up and newer responses take its place."""

    link: str = ""
    """Link of a request to your own tools, with {response_id} and {domain} in it; empty: none."""


class EstimateSettings(Section):
    """The accuracy estimates."""

    confidence_level: Annotated[float, Field(ge=0.5, le=0.999)] = 0.9
    """Probability with which an interval contains the true accuracy."""

    min_events: Annotated[int, Field(ge=2, le=1_000_000)] = 30
    """Number of responses that a window needs for an estimate."""


class SliceSettings(Section):
    """Slices of domains by what events carry: estimates of those asked for, and a search for weak ones."""

    estimate: Annotated[tuple[str, ...], LISTED, Field(max_length=10)] = ()
    """Names whose slices are estimated, several together with commas between: `[language, "language,tenant"]`."""

    max_values: Annotated[int, Field(ge=1, le=1_000)] = 20
    """Largest number of slices of one entry of `estimate` in one domain; the rest of the responses are "(other)"."""

    max_estimates: Annotated[int, Field(ge=1, le=1_000)] = 50
    """Largest number of slices of one domain that are estimated; the largest ones are."""

    weak_segments: bool = True
    """Whether weak segments are searched at the end of each period of `acquisition.period_s`."""

    weak_span_s: PositiveSeconds = 30 * DAY_S
    """Seconds of event time whose labels the search compares."""

    weak_min_labels: Annotated[int, Field(ge=5, le=100_000)] = 20
    """Number of labels that a segment needs, and that the rest of its domain needs."""

    weak_false_alarms: Annotated[float, Field(ge=0.002, lt=0.5)] = 0.01
    """Probability that one search lists a segment that is as good as the rest of its domain."""

    @model_validator(mode="after")
    def _combinations_are_names(self) -> Self:
        for combination in self.combinations:
            if not all(combination) or len({*combination}) < len(combination) or len(combination) > 3:
                raise ValueError("estimate must have entries of one to three different names, with commas between")
        return self

    @property
    def combinations(self) -> tuple[tuple[str, ...], ...]:
        """The names of each entry of ``estimate``."""
        return tuple(tuple(name.strip() for name in entry.split(",")) for entry in self.estimate)


class DriftSettings(Section):
    """Detection of change in predictions and features."""

    enabled: bool = True
    """Whether change detectors run."""

    false_warnings: Annotated[float, Field(gt=0, le=1_000)] = 1.0
    """Largest expected number of false warnings in `horizon_s`, over all domains and signals. Smaller: found later."""

    horizon_s: PositiveSeconds = 2_592_000.0
    """Seconds of event time (30 days) in which `false_warnings` are expected at most."""

    season: Season = "workdays"
    """Values are compared with those of the same hour: of the day, of the week, or of the day with weekends apart."""

    detector: Literal["rank_shift", "adwin", "page_hinkley", "kswin"] = "rank_shift"
    """What finds changes of signals. Only `rank_shift` keeps to `false_warnings`; the others are those of river."""

    features: Names = ("entropy_sum",)
    """Features to watch in addition to the predicted correctness."""

    @model_validator(mode="after")
    def _known_features(self) -> Self:
        if unknown := sorted({*self.features} - {*ALL_FEATURES}):
            raise ValueError(f"features has unknown names {', '.join(unknown)}; known: {', '.join(ALL_FEATURES)}")
        return self


def _known_kinds(kinds: Mapping[str, object]) -> None:
    if unknown := sorted({*kinds} - {*ALERTS}):
        raise ValueError(f"no such kind of alert: {', '.join(unknown)}; there are {', '.join(ALERTS)}")


class AlertSettings(Section):
    """The life of alerts: when each fires, is repeated, and ends. All times are event time. See docs/alerts.md."""

    sustained_s: SecondsByName = Field(default_factory=dict)
    """Seconds that the evidence must hold before an alert fires, by kind: `drift: 3600`; absent: it fires at once."""

    min_sample: CountsByName = Field(default_factory=dict)
    """Responses or labels that must be behind the evidence, by kind: `drift: 100`; absent: any number."""

    resolve_after_s: PositiveSeconds = DAY_S
    """Seconds without new evidence after which an alert ends, unless something else ends it."""

    repeat_s: Seconds = DAY_S
    """Seconds from one message to the next while an alert fires; 0: it is told once."""

    no_data_s: PositiveSeconds = 7 * DAY_S
    """Seconds that an alert may lack data before it is closed."""

    link: str = ""
    """Link to the rows behind an alert, with {kind}, {domain}, {fingerprint}, {slice}, {since} in it; empty: none."""

    @model_validator(mode="after")
    def _of_known_kinds(self) -> Self:
        _known_kinds({**self.sustained_s, **self.min_sample})
        if late := sorted(k for k, s in self.sustained_s.items() if s >= self.resolve_after_s and k not in UNTIL_ENDED):
            raise ValueError(f"sustained_s of {', '.join(late)} must be less than resolve_after_s: it would never fire")
        return self


class TargetSettings(Section):
    """Targets of accuracy."""

    default: Share = 0.8
    """Target of all domains that `domains` does not name, in [0, 1]."""

    domains: Shares = Field(default_factory=dict)
    """Targets of single domains, in [0, 1]: `name: value`."""

    false_alarms: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    """Probability of any false alarm "below target", over all domains and all time. Smaller values need more labels."""


class BoundSettings(Section):
    """Bounds that keep memory finite. Each has a counter and a rule for what exceeds it."""

    max_domains: Annotated[int, Field(ge=1, le=1_000_000)] = 1_000
    """Largest number of live domains; a new one takes the place of the one silent longest, or of none: "(other)"."""

    max_open_alerts: Annotated[int, Field(ge=1, le=100_000)] = 1_000
    """Largest number of open alerts; an alert beyond it is told once, and its end is not told."""

    max_in_flight: Annotated[int, Field(ge=1, le=10_000_000)] = 10_000
    """Largest number of incomplete responses; beyond it the response that was silent longest is evicted."""

    max_waiting_chunks: Annotated[int, Field(ge=1, le=100_000)] = 64
    """Largest number of pieces of one response that wait for an earlier piece."""

    in_flight_expiry_s: PositiveSeconds = 600.0
    """Seconds of event time without a piece after which an incomplete response is evicted."""

    windows_at_once: Annotated[int, Field(ge=1, le=10_000)] = 25
    """Largest number of live windows that are estimated at once, and of past windows beside them; the others wait.

    A slice counts as a window; with slices, a fifth as many past windows are estimated at once."""


class ContextSettings(Section):
    """Contexts: a change of model, temperature or the like starts a new one. Estimates of two contexts never mix."""

    warm_start: bool = False
    """Whether a new context starts with a copy of the learner of the last context."""

    start_from: str = ""
    """File by `driftgauge fit` that new contexts start from (with warm_start: only the first); empty: untrained."""

    max_fingerprints: Annotated[int, Field(ge=1, le=10_000)] = 16
    """Largest number of live contexts; a new one takes the place of the one that is silent longest."""


class PredictionSettings(Section):
    """Publication of predictions of single responses."""

    publish: Literal["none", "final", "all"] = "none"
    """Predictions to publish: none, one per complete response (final), or also one after every chunk (all).

    Beyond 1,024 tokens, the quantiles behind the prediction of an unfinished response are off by up to 0.002 nats."""
