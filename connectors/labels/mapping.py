"""Foreign labels to label events: a mapping says where the fields of a label are in the records of a tool.

Owns the mapping and how it is applied to one decoded document (an exported object, a page of an API, the body of a
webhook, the row of a table). It is pure, so files, listeners and pollers can use it. The values that are found become
a label event, which the decoder's own contract reads: scales, times and bounds are checked there. Nothing is kept
between documents.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec

from driftgauge.connectors.decoding.formats.own import LabelEvent, to_event
from driftgauge.connectors.decoding.formats.payload import PayloadError, in_seconds, moment_of
from driftgauge.connectors.decoding.label_scale import LabelScale
from driftgauge.connectors.decoding.lookup import Lookup, Path, walk
from driftgauge.connectors.decoding.names import name_of
from driftgauge.models.events import Label
from driftgauge.models.names import shown

FIELDS = ("response_id", "label_id", "correct", "event_time", "annotator_kind", "annotator_id",
          "inclusion_probability", "source", "name")  # fmt: skip
"""Fields of a label that a mapping finds; ``name`` is that of the question or the score."""

_TEXTS = ("annotator_kind", "annotator_id", "source")
_NOTHING = Lookup()


class Refusal(NamedTuple):
    """Why a record gives no label: a snake_case word, and a sentence for people."""

    reason: str
    detail: str


def paths_of(*texts: str) -> tuple[Path, ...]:
    """Paths into a record. It has no header and no topic, so the first part is always a field of the record."""
    return tuple(("payload", *filter(None, text.split("."))) for text in texts)


@dataclass(frozen=True)
class LabelMapping:
    """Where the fields of a label are.

    A path is written ``feedback_source.type``. In a path ``*`` stands for the element that ``each`` is at, and
    ``{name}`` for each of ``names``, of which the first with a value counts.

    Attributes
    ----------
    prefix : beginning of every ``label_id``, so that two tools never give the same one
    records : paths to lists of records in a document, such as ``items.*``; the first that is there counts, and without
        one the document is the record
    each : paths to lists of labels in a record, such as ``annotations.*.result.*``; the first that is there counts
    fields : by name in `FIELDS`. Where several choices may be made at once, ``correct`` leads to their list; choices
        that say different things are no label, and withdraw an earlier one
    scale : of the scores; None: that of the settings
    names : questions or scores that are labels; empty: all. A record without a name is not asked for one
    skip : values by path; a record with one of them is no label
    withdraw : values by path; a record with one of them withdraws the label with its ``label_id``
    defaults : values of fields that a record lacks

    Examples
    --------
    >>> at = lambda path: Lookup(paths_of(path))
    >>> fields = {"response_id": at("run"), "correct": at("score"), "event_time": at("at")}
    >>> [label] = LabelMapping(fields=fields).read({"run": "r-17", "score": 1, "at": "2026-01-26T09:00:00Z"})
    >>> label.label_id, label.correct
    ('r-17/human/', 1.0)
    >>> LabelMapping(fields=fields).read({"run": "r-17"})
    [Refusal(reason='no_value', detail='no value at the path of correct')]
    """

    prefix: str = ""
    records: tuple[str, ...] = ()
    each: tuple[str, ...] = ()
    fields: Mapping[str, Lookup] = field(default_factory=dict)
    scale: LabelScale | None = None
    names: tuple[str, ...] = ()
    skip: Mapping[str, Sequence[str]] = field(default_factory=dict)
    withdraw: Mapping[str, Sequence[str]] = field(default_factory=dict)
    defaults: Mapping[str, str] = field(default_factory=dict)

    def read(self, document: object, scale: LabelScale | None = None) -> list[Label | Refusal]:
        """The labels and withdrawals of a document, and a refusal for each record that gives none.

        Scores are on ``scale`` where the mapping has none.
        """
        return [_label(found, self.scale or scale) for found in self.documents(document)]

    def documents(self, document: object) -> list[dict[str, Any] | Refusal]:
        """The same as label events that are not checked, as in docs/events.md."""
        return [
            found
            for record in self._records_in(document)
            for place in _places_of_labels(record, self.each)
            for found in self._events(_Item(record, place, self.names))
        ]

    def _records_in(self, document: object) -> list[Any]:
        if isinstance(document, list):
            return document
        for path in self.records:
            parts = path.split(".")
            if isinstance(walk(document, parts[: parts.index("*")]), list):
                found = (walk(document, _filled(parts, place)) for place in _places(document, parts))
                return [record for record in found if record is not None]
        return [document]

    def _events(self, item: _Item) -> Iterator[dict[str, Any] | Refusal]:
        name = self._find("name").name(item)
        if _holds(self.skip, item):
            yield Refusal("skipped", "the tool marks it as no label, or as a draft")
        elif name and self.names and name not in self.names:
            yield Refusal("other_name", f"{shown(name)} is none of the names that are labels: {', '.join(self.names)}")
        elif not _holds(self.withdraw, item):
            event = self._event(item, name, is_withdrawn=False)
            yield event
            if isinstance(event, Refusal) and event.reason == "ambiguous_value":  # nor does an earlier choice hold
                yield self._event(item, name, is_withdrawn=True)
        elif name:
            yield self._event(item, name, is_withdrawn=True)
        else:
            for withdrawn in (self.names if "name" in self.fields else ()) or ("",):
                yield self._event(item, withdrawn, is_withdrawn=True)

    def _event(self, item: _Item, name: str, *, is_withdrawn: bool) -> dict[str, Any] | Refusal:
        event: dict[str, Any] = {"type": "label", **self.defaults}
        event |= {text: value for text in _TEXTS if (value := self._find(text).name(item))}
        if not (response_id := self._find("response_id").id(item)):
            return Refusal("no_response_id", "no value at the path of response_id")
        choices = self._find("correct").names(item)
        if not (choices or is_withdrawn):
            return Refusal("no_value", "no value at the path of correct")
        if len(choices) > 1 and not is_withdrawn:
            return Refusal("ambiguous_value", f"several choices that differ: {shown(', '.join(sorted(choices)))}")
        event_time = _time_at(self._find("event_time"), item) or _time_of(event.get("event_time"))
        if event_time is None:
            given = self._find("event_time").name(item)
            hint = f"{shown(given)}, write it as 2026-01-26T09:00:00Z" if given else "no value at its path"
            return Refusal("invalid_time", f"no time between the years 2000 and 2100: {hint}")
        probability = self._find("inclusion_probability").name(item) or event.get("inclusion_probability")
        event |= {"response_id": response_id, "event_time": event_time, "correct": min(choices, default="")}
        event["inclusion_probability"] = None if probability is None else _number(probability)
        event["label_id"] = self._label_id(item, event, name)
        return event | {"correct": None, "supersedes": event["label_id"]} if is_withdrawn else event

    def _label_id(self, item: _Item, event: Mapping[str, Any], name: str) -> str:
        """The tool's own key, which stays when a label changes. Only the first of the names is not part of it."""
        further = f"/{name}" if name and name not in self.names[:1] else ""
        return f"{self.prefix}{self._find('label_id').id(item) or default_label_id(event)}{further}"

    def _find(self, name: str) -> Lookup:
        return self.fields.get(name, _NOTHING)


def default_label_id(event: Mapping[str, Any]) -> str:
    """The id of a label that has none: a later verdict of the same annotator on the response corrects the former.

    >>> default_label_id({"response_id": "r-17", "annotator_kind": "code"})
    'r-17/code/'
    """
    names = (("response_id", ""), ("annotator_kind", "human"), ("annotator_id", ""))
    return "/".join(str(event.get(name, default)) for name, default in names)


@dataclass(frozen=True, slots=True)
class _Item:
    """One label in a record: ``place`` has the numbers that stand for ``*`` in paths."""

    record: Any
    place: tuple[str, ...]
    names: tuple[str, ...]

    def value(self, path: Path) -> object:
        parts = _filled(path[1:], self.place)
        if not any("{name}" in part for part in parts):
            return walk(self.record, parts)
        named = ([part.replace("{name}", name) for part in parts] for name in self.names)
        return next((value for each in named if (value := walk(self.record, each)) is not None), None)


def _filled(parts: Sequence[str], place: Sequence[str]) -> list[str]:
    numbers = iter(place)
    return [next(numbers, "") if part == "*" else part for part in parts]


def _places_of_labels(record: object, each: Sequence[str]) -> list[tuple[str, ...]]:
    for path in each:
        parts = path.split(".")
        if isinstance(walk(record, parts[: parts.index("*")]), list):
            return [*_places(record, parts)]
    return [()]


def _places(value: object, parts: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """The numbers that ``*`` stands for, a tuple for each element; "" where a list is missing or empty."""
    if "*" not in parts:
        yield ()
        return
    before, after = parts[: parts.index("*")], parts[parts.index("*") + 1 :]
    listed = walk(value, before)
    if not isinstance(listed, list) or not listed:
        yield ("",) * parts.count("*")
        return
    for number, element in enumerate(listed):
        for rest in _places(element, after):
            yield (str(number), *rest)


def _holds(conditions: Mapping[str, Sequence[str]], item: _Item) -> bool:
    return any(name_of(item.value(path)) in values for text, values in conditions.items() for path in paths_of(text))


def _time_at(lookup: Lookup, item: _Item) -> float | None:
    values = (item.value(path) for path in lookup.paths)
    return next((_time_of(value) for value in values if moment_of(value) is not None), None)


def _time_of(value: object) -> float | None:
    moment = moment_of(value)
    return None if moment is None else in_seconds(moment)


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text  # refused by the contract of label events


def _label(found: dict[str, Any] | Refusal, scale: LabelScale | None) -> Label | Refusal:
    if isinstance(found, Refusal):
        return found
    try:
        event = to_event(msgspec.convert(found, LabelEvent), scale=scale)
    except PayloadError as error:
        return Refusal(error.reason, str(error))
    except msgspec.ValidationError as error:
        return Refusal("invalid_value", str(error))
    assert isinstance(event, Label)  # noqa: S101 - a label event gives a label
    return event
