"""Which responses an agent takes. See docs/scaling.md, "Several agents"."""

from __future__ import annotations

from pydantic import Field

from driftgauge.config.section import NamesByPath, Section


class SelectSettings(Section):
    """Which responses this agent takes, where several agents read the same topics. See docs/scaling.md."""

    only: NamesByPath = Field(default_factory=dict)
    """Responses to take, by `model`, `domain` or a slice of `decode.slices`: `model: [llama-*]`; empty: all."""

    leave_out: NamesByPath = Field(default_factory=dict)
    """Responses to leave out of these, named alike: what another agent takes with `only`; empty: none."""
