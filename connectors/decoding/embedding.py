"""Where the embedding of a prompt comes from, besides the field of own events: a path to it, or to the prompt.

Only the direction of an embedding is kept, in 64 numbers; a prompt is encoded at once and kept nowhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import msgspec
from msgspec.structs import replace

from driftgauge.connectors.decoding.formats.own import Embedding, with_embedding
from driftgauge.connectors.decoding.lookup import Path, Values
from driftgauge.models.arrays import Float32s
from driftgauge.models.events import NO_DOMAIN, Generation
from driftgauge.models.topics.projection import reduced

Encoder: TypeAlias = Callable[[str], Float32s]
"""A text in, (d,) float32 out."""


@dataclass(frozen=True, slots=True)
class EmbeddingRules:
    """How responses without a domain get an embedding; the first way that gives one counts.

    Attributes
    ----------
    paths : to an embedding: numbers, or little-endian float32 as base64
    prompts : to the text of a prompt, or to the messages of a chat
    encoder : makes the embedding of a prompt; None: prompts are not looked at
    """

    paths: tuple[Path, ...] = ()
    prompts: tuple[Path, ...] = ()
    encoder: Encoder | None = None

    def embedded(self, generation: Generation, sources: Values) -> Generation:
        """The response with its embedding, if it needs one and there is one."""
        if generation.embedding is not None or NO_DOMAIN not in generation.problems:
            return generation
        for path in self.paths:
            if (value := sources.value(path)) is not None:
                return _with_value(generation, value)
        direction = self.of_prompt(sources)
        return generation if direction is None else replace(generation, embedding=direction)

    def of_prompt(self, sources: Values) -> Float32s | None:
        """The direction of the encoded prompt, (64,) float32; None without a prompt or an encoder."""
        if self.encoder is None:
            return None
        text = next(filter(None, (prompt_text(sources.value(path)) for path in self.prompts)), "")
        return reduced(self.encoder(text)) if text else None


def _with_value(generation: Generation, value: object) -> Generation:
    try:
        return with_embedding(generation, msgspec.convert(value, Embedding | bytes, strict=True))
    except msgspec.ValidationError:
        return with_embedding(generation, [])


def prompt_text(value: object) -> str:
    """The text of a prompt: a text as it is; of the messages of a chat the last one of the user.

    >>> chat = [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}, {"role": "tool", "content": "42"}]
    >>> prompt_text("Hi"), prompt_text(chat)
    ('Hi', 'Hi')
    >>> prompt_text({"role": "user"}), prompt_text(None)
    ('', '')
    """
    if isinstance(value, str):
        return value
    if not isinstance(value, list):
        return ""
    messages = [message for message in value if isinstance(message, dict) and message.get("role") == "user"]
    content = messages[-1].get("content") if messages else ""
    if isinstance(content, list):
        parts = (part.get("text") for part in content if isinstance(part, dict))
        return "\n".join(part for part in parts if isinstance(part, str))
    return content if isinstance(content, str) else ""
