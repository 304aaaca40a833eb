"""Settings of topics: domains of traffic that comes without domains."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from driftgauge.config.section import Names, PositiveSeconds, Section


class TopicsSettings(Section):
    """Topics: responses without a domain whose prompts are alike become a domain, `topic-1` and so on."""

    enabled: bool = False
    """Whether responses without a domain that have an embedding of their prompt get the domain of its topic."""

    max_topics: Annotated[int, Field(ge=1, le=1_000)] = 50
    """Largest number of topics at a time; a new one takes the place of one that was silent for `silent_s`, or none."""

    similarity: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Smallest cosine of a prompt and the centre of its topic. It depends on the encoder: see docs/topics.md."""

    min_responses: Annotated[int, Field(ge=2, le=100)] = 20
    """Number of prompts like each other, among the newest 1,024 without a topic, that make a new one."""

    silent_s: PositiveSeconds = 604_800.0
    """Seconds of event time without a response after which a topic may leave for a new one."""

    embedding: Names = ()
    """Paths to an embedding in payloads of other formats: `metadata.embedding`; own events have a field for it."""

    encoder: Literal["none", "wordllama"] = "none"
    """Encoder of prompts of requests without a domain, in the gateway, and in the agent where `prompt` finds them.

    wordllama needs `pip install 'driftgauge[topics]'`.
    """

    prompt: Names = ()
    """Paths to the prompt that the agent encodes: `request.messages`, `request.prompt`; it is not kept."""
