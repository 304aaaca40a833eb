"""All settings of the agent. Owns their names, units, defaults and bounds; `config/load.py` reads them.

`Settings` is an immutable tree: it never changes while the agent runs. The modules `build` of the agent
(`agent/service/build.py` and two beside it) and of the other processes unpack it into constructor arguments.
"""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from driftgauge.config.annotation import AnnotationSettings
from driftgauge.config.connections import (
    DecodeSettings,
    KafkaSettings,
    LoggingSettings,
    ServerSettings,
    StoreSettings,
)
from driftgauge.config.delivery import DeliverySettings
from driftgauge.config.estimation import (
    AcquisitionSettings,
    AlertSettings,
    BoundSettings,
    ContextSettings,
    DriftSettings,
    EstimateSettings,
    FeatureSettings,
    LabelSettings,
    LearningSettings,
    PredictionSettings,
    SliceSettings,
    TargetSettings,
    WindowSettings,
)
from driftgauge.config.extraction import ExtractSettings
from driftgauge.config.gateway import GatewaySettings
from driftgauge.config.labelling import JudgeSettings, ProbeSettings
from driftgauge.config.report import ReportSettings
from driftgauge.config.selection import SelectSettings
from driftgauge.config.topics import TopicsSettings
from driftgauge.models.signals.feature_sets import FeatureSpec


class Settings(BaseSettings):
    """All settings. ``Settings()`` holds the defaults; `load_settings` adds file, environment and flags.

    Examples
    --------
    >>> Settings().windows.hop_s
    3600.0
    """

    model_config = SettingsConfigDict(
        env_prefix="DRIFTGAUGE_",
        env_nested_delimiter="__",
        enable_decoding=False,  # lists in the environment are read as flags are: `a,b`
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
    )

    kafka: KafkaSettings = Field(default_factory=KafkaSettings)
    decode: DecodeSettings = Field(default_factory=DecodeSettings)
    select: SelectSettings = Field(default_factory=SelectSettings)
    features: FeatureSettings = Field(default_factory=FeatureSettings)
    classifier: LearningSettings = Field(default_factory=LearningSettings)
    windows: WindowSettings = Field(default_factory=WindowSettings)
    labels: LabelSettings = Field(default_factory=LabelSettings)
    acquisition: AcquisitionSettings = Field(default_factory=AcquisitionSettings)
    estimates: EstimateSettings = Field(default_factory=EstimateSettings)
    slices: SliceSettings = Field(default_factory=SliceSettings)
    drift: DriftSettings = Field(default_factory=DriftSettings)
    alerts: AlertSettings = Field(default_factory=AlertSettings)
    topics: TopicsSettings = Field(default_factory=TopicsSettings)
    targets: TargetSettings = Field(default_factory=TargetSettings)
    bounds: BoundSettings = Field(default_factory=BoundSettings)
    context: ContextSettings = Field(default_factory=ContextSettings)
    predictions: PredictionSettings = Field(default_factory=PredictionSettings)
    extract: ExtractSettings = Field(default_factory=ExtractSettings)
    store: StoreSettings = Field(default_factory=StoreSettings)
    report: ReportSettings = Field(default_factory=ReportSettings)
    gateway: GatewaySettings = Field(default_factory=GatewaySettings)
    probes: ProbeSettings = Field(default_factory=ProbeSettings)
    judge: JudgeSettings = Field(default_factory=JudgeSettings)
    annotation: AnnotationSettings = Field(default_factory=AnnotationSettings)
    delivery: DeliverySettings = Field(default_factory=DeliverySettings)
    server: ServerSettings = Field(default_factory=ServerSettings)
    logging: LoggingSettings = Field(default_factory=LoggingSettings)

    @property
    def reads_features(self) -> bool:
        """Whether the agent reads the topic that extractors write."""
        return self.extract.to in self.kafka.topics.generations

    @property
    def events_topic(self) -> str:
        """The topic for new events of responses: of the agent's first one, or of its extractors."""
        first = self.kafka.topics.generations[0]
        return self.extract.topics[0] if first == self.extract.to else first

    @model_validator(mode="after")
    def _retention_covers_labels_and_windows(self) -> Self:
        needed_s = max(self.labels.horizon_s, self.windows.window_s)
        if 0 < self.store.retention_s < needed_s:
            raise ValueError(
                f"store.retention_s must be 0 or at least {needed_s:.12g}: labels and windows need the rows"
            )
        return self

    @model_validator(mode="after")
    def _selected_names_are_known(self) -> Self:
        known = {"model", "domain", *self.decode.slices}
        for name in ("only", "leave_out"):
            if unknown := sorted({*getattr(self.select, name)} - known):
                text = (
                    f"select.{name} has {', '.join(unknown)}; known are {', '.join(sorted(known))}: see decode.slices"
                )
                raise ValueError(text)
        return self

    @model_validator(mode="after")
    def _watched_features_are_computed(self) -> Self:
        computed = FeatureSpec(self.features.set, segments=self.features.segments).names
        if missing := sorted({*self.drift.features} - {*computed}):
            raise ValueError(f"drift.features has names that are not computed: {', '.join(missing)}; see `features`")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the library passes it
        init_settings: PydanticBaseSettingsSource,
        *_: PydanticBaseSettingsSource,
        **__: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Use only the values passed to the constructor: `load_settings` alone decides which source wins."""
        return (init_settings,)
