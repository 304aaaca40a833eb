"""Which responses an agent takes, where several agents read the same topics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TypeAlias

from driftgauge.models.events import Arrival, Event, Generation

Group: TypeAlias = Mapping[str, Sequence[str]]
"""Values by name: ``model``, ``domain``, or a slice. A value may have ``*`` in it, for any text."""


@dataclass(frozen=True, slots=True)
class Selection:
    """The responses that belong to one group and not to another.

    A response belongs to a group when it has one of the values of each name. With the same group in ``only`` of one
    agent and in ``leave_out`` of another, each response belongs to exactly one of the two.

    Attributes
    ----------
    only : the group to take; empty: all responses
    leave_out : the group to leave out of these; empty: none

    Examples
    --------
    >>> from driftgauge.models.events import Context, Signal
    >>> responses = [Generation("r", 0.0, domain, Context("llama-3"), Signal()) for domain in ("law", "tax")]
    >>> [Selection(only={"model": ["llama-*"], "domain": ["law"]}).takes(response) for response in responses]
    [True, False]
    >>> [Selection(leave_out={"domain": ["law"]}).takes(response) for response in responses]
    [False, True]
    """

    only: Group = field(default_factory=dict)
    leave_out: Group = field(default_factory=dict)

    @property
    def is_everything(self) -> bool:
        """Whether every response is taken."""
        return not self.only and not self.leave_out

    def takes(self, response: Generation) -> bool:
        """Whether a complete response is taken."""
        return _is_in(self.only, response) and not (self.leave_out and _is_in(self.leave_out, response))

    def passes_over(self, event: Event) -> bool:
        """Whether an event is a whole response that is not taken. Of a piece, only its complete response shows it."""
        if self.is_everything:
            return False
        response = event.generation if isinstance(event, Arrival) else event
        return isinstance(response, Generation) and not self.takes(response)


EVERYTHING = Selection()
"""The selection of an agent that has no others beside it."""


def _is_in(group: Group, response: Generation) -> bool:
    return all(any(fnmatchcase(_value(name, response), value) for value in group[name]) for name in group)


def _value(name: str, response: Generation) -> str:
    if name == "model":
        return response.context.model
    return response.domain if name == "domain" else response.slices.get(name, "")
