"""Whether the agent runs and how far it is, as the API tells it."""

from __future__ import annotations

from importlib.metadata import version

import msgspec
from pydantic import BaseModel

from driftgauge.agent.api.agent_pages import Ask, asked_agent
from driftgauge.agent.outlets.health import STATUS


class AgentHealth(BaseModel):
    """What the running agent says of itself."""

    alive: bool
    """Its loop goes on, also while it waits for a broker or a database."""
    ready: bool
    """It processes events."""
    reason: str | None
    """Why it is not ready."""
    watermark: str | None
    """Event time, less the allowed lateness; null before the first event."""
    lag: dict[str, int]
    """Records that are not read yet, by `topic/partition`."""


class Health(BaseModel):
    """The API itself and the agent behind it."""

    version: str
    """Of driftgauge."""
    agent: AgentHealth | None
    """Null: the API was started on a store, without an agent."""


async def health(ask: Ask | None) -> Health:
    """Ask the agent, if there is one."""
    found = msgspec.json.decode((await asked_agent(ask, STATUS)).body) if ask else None
    return Health(version=version("driftgauge"), agent=found)
