"""The shapes of questions and answers, from which the OpenAPI document is made.

An output of the agent has the form in which its topic carries it: the type ``Annotated[Any, carried(name)]``. Its
schema is that of the event contract.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Generic, TypeVar

import msgspec
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, PlainSerializer, WithJsonSchema

from driftgauge.agent.api.problem import Problem
from driftgauge.agent.outlets.domain_report import Verdict
from driftgauge.connectors.publishing.payload import rfc3339, to_json
from driftgauge.models.outputs import AlertState, Severity, Status

T = TypeVar("T")
P = TypeVar("P")

CARRIED = "carried"
"""The key that stands for a reference to the event contract, until the document has both."""

MAX_ITEMS = 1_000
MAX_NAME = 4_096

Name = Annotated[str, Field(max_length=MAX_NAME, pattern=r"^[^\x00]*$")]
"""Text that every database can hold."""
Moment = Annotated[
    float | None,
    PlainSerializer(rfc3339, return_type=str | None),
    WithJsonSchema({"anyOf": [{"type": "string", "format": "date-time"}, {"type": "null"}]}),
]
"""UTC seconds, RFC 3339 text in the answer."""

Ratio = Annotated[float | None, Field(ge=0, le=1)]


class Question(BaseModel):
    """The parameters of a request."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, use_attribute_docstrings=True)


class Shape(BaseModel):
    """A part of an answer."""

    model_config = ConfigDict(use_attribute_docstrings=True)


class Paged(Question):
    """Which part of a list to give."""

    limit: Annotated[int, Field(ge=1, le=MAX_ITEMS)] = 100
    """Most items of the answer."""
    after: Annotated[str, Field(max_length=8_192)] = ""
    """The value of `next` in the answer before; empty: from the beginning."""


class Span(Question):
    """A span of event time, ``[from, to)``."""

    from_: Annotated[AwareDatetime | None, Field(alias="from")] = None
    """Only from this event time on."""
    to: AwareDatetime | None = None
    """Only before this event time."""

    @property
    def start(self) -> float:
        """UTC seconds."""
        return float("-inf") if self.from_ is None else seconds(self.from_)

    @property
    def end(self) -> float:
        """UTC seconds."""
        return float("inf") if self.to is None else seconds(self.to)


class Page(Shape, Generic[T]):
    """A part of a list."""

    items: list[T]
    next: str | None = None
    """Pass it as `after` for the next part; null: this is the last one."""


class Trend(Shape):
    """The accuracy over time, at the newest boundaries of all series, oldest first; null where there is none."""

    start: Moment
    end: Moment
    accuracy: list[float | None]


class OpenAlert(Shape):
    """An alert that fires."""

    number: int
    kind: str
    severity: Severity
    state: AlertState
    event_time: Moment
    message: str


class Row(Shape):
    """One series, a domain in one context, and its newest estimate."""

    domain: str
    fingerprint: str
    model: str
    verdict: Verdict
    target: float
    status: Status
    status_reason: str | None
    accuracy: Ratio
    ci_low: Ratio
    ci_high: Ratio
    confidence_level: float
    accuracy_labelled: Ratio
    n_events: int
    n_labels: int
    window_start: Moment
    window_end: Moment
    trend: Trend
    alerts: list[OpenAlert]


def carried(name: str) -> WithJsonSchema:
    """The schema of an output, or of a part of one, by its name among the components of the document."""
    return WithJsonSchema({CARRIED: name})


def as_carried(output: Any) -> Any:
    """An output as its topic carries it."""
    return msgspec.json.decode(to_json(output))


def seconds(moment: datetime) -> float:
    """UTC seconds since the epoch."""
    return moment.timestamp()


def cursor(*place: object) -> str:
    """The place after which the next page begins, as text.

    >>> place_of(cursor(3, "law"), tuple[int, str])
    (3, 'law')
    """
    return base64.urlsafe_b64encode(msgspec.json.encode(place)).decode().rstrip("=")


def place_of(after: str, form: type[P]) -> P:
    """The place that a cursor names, of this form; raises `Problem` for text that is none."""
    try:
        content = base64.b64decode(after.encode("ascii") + b"=" * (-len(after) % 4), b"-_", validate=True)
        return msgspec.json.decode(content, type=form)
    except (binascii.Error, UnicodeError, msgspec.DecodeError):
        raise Problem(422, "the query cannot be used", ["after: pass the value of `next` unchanged"]) from None


Counts = Mapping[str, int]
