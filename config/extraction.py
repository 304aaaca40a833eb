"""Settings of extractors, `driftgauge extract`. See docs/scaling.md."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from driftgauge.config.section import Names, Port, Section


class ExtractSettings(Section):
    """Extractors, `driftgauge extract`: processes that reduce responses to their features. See docs/scaling.md."""

    topics: Names = ("generations",)
    """Topics with raw records of responses that extractors read. At least one."""

    to: str = "driftgauge.features"
    """Topic that extractors write. The agent reads it when `kafka.topics.generations` names it."""

    group_id: str = "driftgauge-extract"
    """Consumer group of the extractors; its offsets say how far they are."""

    member_id: Annotated[str, Field(pattern="^[A-Za-z0-9._-]{0,249}$")] = ""
    """Name of this extractor in the group: one that comes back in time keeps its partitions; empty: a new name."""

    rebalance: Literal["cooperative", "eager"] = "cooperative"
    """How partitions move: cooperative moves only those that must, eager stops all extractors for a moment."""

    session_timeout_s: Annotated[float, Field(ge=6, le=1_800)] = 45.0
    """Seconds without a sign of life after which the others take over the partitions of an extractor."""

    status_port: Port = 0
    """Port of the pages `/metrics`, `/healthz` and `/readyz`, on `server.host`; 0: none."""

    @model_validator(mode="after")
    def _no_loop(self) -> Self:
        if not self.topics or not self.to:
            raise ValueError("topics must name at least one topic, and to must name one")
        if self.to in self.topics:
            raise ValueError(f"{self.to} would be both read and written")
        return self
