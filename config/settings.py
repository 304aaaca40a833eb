"""All settings of the agent. Owns their names, units, defaults and bounds; `config/load.py` reads them.

`Settings` is an immutable tree that never changes while the agent runs. It is unpacked into constructor
arguments by `agent/service/build.py`, the only module that knows both sides.
"""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from driftgauge.config.connections import Decode, Kafka, Logging, Report, Server, Store
from driftgauge.config.estimation import (
    Bounds,
    Classifier,
    Contexts,
    Drift,
    Estimates,
    Features,
    Labels,
    Predictions,
    Targets,
    Windows,
)


class Settings(BaseSettings):
    """Everything that can be set. ``Settings()`` holds the defaults; `load_settings` adds file, environment, flags.

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

    kafka: Kafka = Field(default_factory=Kafka)
    decode: Decode = Field(default_factory=Decode)
    features: Features = Field(default_factory=Features)
    classifier: Classifier = Field(default_factory=Classifier)
    windows: Windows = Field(default_factory=Windows)
    labels: Labels = Field(default_factory=Labels)
    estimates: Estimates = Field(default_factory=Estimates)
    drift: Drift = Field(default_factory=Drift)
    targets: Targets = Field(default_factory=Targets)
    bounds: Bounds = Field(default_factory=Bounds)
    context: Contexts = Field(default_factory=Contexts)
    predictions: Predictions = Field(default_factory=Predictions)
    store: Store = Field(default_factory=Store)
    report: Report = Field(default_factory=Report)
    server: Server = Field(default_factory=Server)
    logging: Logging = Field(default_factory=Logging)

    @model_validator(mode="after")
    def _keeps_what_labels_need(self) -> Self:
        needed_s = max(self.labels.horizon_s, self.windows.window_s)
        if 0 < self.store.retention_s < needed_s:
            raise ValueError(
                f"store.retention_s must be 0 or at least {needed_s:.12g}: labels and windows need the rows"
            )
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the library passes it
        init_settings: PydanticBaseSettingsSource,
        *_: PydanticBaseSettingsSource,
        **__: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take what is given and nothing else: `load_settings` alone decides which source wins."""
        return (init_settings,)
