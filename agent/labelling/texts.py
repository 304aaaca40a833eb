"""Responses with their texts, from the documents of a file. Pure."""

from __future__ import annotations

from typing import Any

from driftgauge.agent.labelling.judge import Item
from driftgauge.connectors.decoding.names import problem_of_id
from driftgauge.connectors.labels.mapping import Refusal


def item_in(content: Any) -> Item | str:
    """The response of a document, or a word for why it holds none.

    >>> item_in({"response_id": "r-1", "prompt": "2 + 2?", "response": "4"})
    Item(response_id='r-1', prompt='2 + 2?', response='4')
    >>> item_in({"response_id": "r-1"}), item_in({"response": "4"}), item_in([])
    ('no_response', 'no_response_id', 'malformed')
    """
    if isinstance(content, Refusal):
        return content.reason
    if not isinstance(content, dict):
        return "malformed"
    name, prompt, response = (content.get(key) for key in ("response_id", "prompt", "response"))
    if isinstance(name, int) and not isinstance(name, bool):
        name = str(name)
    if not isinstance(name, str) or not name or problem_of_id(name):
        return "no_response_id"
    if not isinstance(response, str):
        return "no_response"
    if prompt is not None and not isinstance(prompt, str):
        return "no_prompt"
    return Item(name, prompt or "", response)
