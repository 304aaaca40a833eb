"""Everything that the core can be configured with. `driftgauge.config` documents each setting for users."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from driftgauge.models.acquire.label_lists import LabelPlan
from driftgauge.models.alerts.book import AlertRules
from driftgauge.models.labels import LabelUse, Policy
from driftgauge.models.learn.committee import CommitteeSettings
from driftgauge.models.selection import Selection
from driftgauge.models.signals.assembly import AssemblySettings
from driftgauge.models.signals.feature_sets import FeatureSpec
from driftgauge.models.slices.grouping import SlicePlan
from driftgauge.models.topics.clustering import TopicSettings
from driftgauge.models.watch.seasons import Season
from driftgauge.models.windows import WindowSpec

OTHER_SIGNALS = (
    "p_correct", "n_tokens", "coverage", "accuracy_minus_predicted", "label_delay", "traffic_mix", "vanished_domain",
    "first_tokens", "estimated_accuracy",
)  # fmt: skip
"""What is watched besides the configured features; the budget of false warnings is shared by all."""


@dataclass(frozen=True, slots=True)
class PipelineSettings:
    """Settings of a `Pipeline`. Times are seconds, probabilities are in [0, 1].

    ``label_scale`` names the scale from which labels were brought to [0, 1], for people; another scale starts the
    judgement of topics again. ``drift_false_warnings`` is the number expected at most in ``drift_horizon_s`` of event
    time, over all domains and signals; ``false_alarms`` is a probability over all domains and all time.
    """

    selection: Selection = field(default_factory=Selection)
    windows: WindowSpec = field(default_factory=WindowSpec)
    committee: CommitteeSettings = field(default_factory=CommitteeSettings)
    assembly: AssemblySettings = field(default_factory=AssemblySettings)
    features: FeatureSpec = field(default_factory=FeatureSpec)
    min_coverage: float = 0.9
    allowed_lateness_s: float = 0.0
    max_ahead_s: float = 3_600.0
    max_jump_s: float = 86_400.0
    idle_after_s: float = 600.0
    emit_every_events: int = 200
    emit_every_labels: int = 20
    material_change: float = 0.02
    label_policy: Policy = "latest"
    label_use: LabelUse = field(default_factory=LabelUse)
    smallest_inclusion_probability: float | None = None
    label_horizon_s: float = 30 * 86_400.0
    max_pending_labels: int = 1_000_000
    label_scale: str = "0 to 1"
    slices: SlicePlan = field(default_factory=SlicePlan)
    confidence_level: float = 0.9
    min_events: int = 30
    detect_drift: bool = True
    drift_false_warnings: float = 1.0
    drift_horizon_s: float = 30 * 86_400.0
    drift_season: Season = "workdays"
    drift_detector: str = "rank_shift"
    drift_features: tuple[str, ...] = ("entropy_sum",)
    alerts: AlertRules = field(default_factory=AlertRules)
    alert_link: str = ""
    label_plan: LabelPlan = field(default_factory=LabelPlan)
    targets: Mapping[str, float] = field(default_factory=dict)
    default_target: float = 0.8
    false_alarms: float = 0.05
    max_domains: int = 1_000
    max_fingerprints: int = 16
    windows_at_once: int = 25
    warm_start: bool = False
    fitted: bytes | None = None
    topics: TopicSettings = field(default_factory=TopicSettings)
    predictions: str = "none"
    seed: int = 0

    @property
    def false_warnings_each(self) -> float:
        """Expected false warnings at most in a horizon about one signal, over all domains: all have the same share."""
        return self.drift_false_warnings / (len(OTHER_SIGNALS) + len(self.drift_features))
