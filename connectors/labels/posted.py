"""Labels that a client posts: a label event as docs/events.md describes it, or a list of some, in JSON.

Two fields may be left out: ``event_time``, which is then the time of receipt, and ``label_id``, which is then made of
the response and the annotator, so that a later verdict of the same annotator corrects the former. A field that is null
counts as left out, but for ``correct``.

Unknown fields do no harm, as in every event; they are named, because they may be misspelt.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from driftgauge.connectors.decoding.formats.own import LabelEvent, to_event
from driftgauge.connectors.decoding.formats.payload import PayloadError
from driftgauge.connectors.decoding.label_scale import LabelScale
from driftgauge.connectors.labels.mapping import default_label_id
from driftgauge.models.events import Label

MAX_LABELS_BYTES = 1 << 20
MAX_LABELS = 1_000
"""Largest body, and most labels, of one request."""

MAX_NAMED = 20
"""Unknown fields that are named."""

_STEP_S = 1e-6
"""Seconds between the labels of a list that have no time: of two about one response the later one counts."""

_FIELDS = {"type", *LabelEvent.__struct_fields__}


class PostedLabels(NamedTuple):
    """The labels of a request, and the names of unknown fields."""

    labels: list[Label]
    ignored_fields: list[str]


def posted_labels(body: bytes, scale: LabelScale, now: float) -> PostedLabels:
    """The labels of a request: all, or none.

    Parameters
    ----------
    now : the time of receipt, UTC seconds

    Raises
    ------
    PayloadError
        With the reason ``malformed`` (no JSON), ``too_large`` (too many labels), or what is wrong with a label.

    Examples
    --------
    >>> posted_labels(b'{"response_id": "r-1", "correct": true, "anotator": "a"}', LabelScale(), 0.0).ignored_fields
    ['anotator']
    """
    try:
        documents = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise PayloadError("malformed", "the body is not JSON") from None
    listed = documents if isinstance(documents, list) else [documents]
    if len(listed) > MAX_LABELS:
        raise PayloadError("too_large", f"a request has at most {MAX_LABELS} labels")
    labels = [
        _label(document, scale, now + number * _STEP_S, f"label {number} of the list: " if listed is documents else "")
        for number, document in enumerate(listed)
    ]
    return PostedLabels(labels, sorted({name for label in listed for name in label.keys() - _FIELDS})[:MAX_NAMED])


def _label(document: Any, scale: LabelScale, now: float, place: str) -> Label:
    try:
        if isinstance(document, dict):  # many clients write null for what they leave out
            given = {name: value for name, value in document.items() if value is not None or name == "correct"}
            document = {"type": "label", "event_time": now, "label_id": default_label_id(given), **given}
        event = to_event(msgspec.convert(document, LabelEvent), scale=scale)
    except (PayloadError, msgspec.ValidationError) as error:
        reason = error.reason if isinstance(error, PayloadError) else "invalid_value"
        raise PayloadError(reason, f"{place}{error}") from None
    assert isinstance(event, Label)  # noqa: S101 - a label event gives a label
    return event
