"""From outputs to messages: a CloudEvents 1.0 envelope (binary mode) in the headers, the payload in the value.

The table `driftgauge.connectors.publishing.kinds` names the topic, type, key and payload of each kind of output. The
value is JSON, except that of a dead letter: that is the original record, so that it can be sent again. The headers of a
dead letter hold the reason.
"""

from __future__ import annotations

from dataclasses import replace

from driftgauge.connectors.base import Message
from driftgauge.connectors.publishing.kinds import OUTPUT_KINDS, Headers, OutputKind
from driftgauge.connectors.publishing.payload import rfc3339
from driftgauge.models.outputs import Output

ENVELOPE = ("ce_specversion", "ce_id", "ce_source", "ce_type", "ce_time", "driftgauge-epoch")
"""The headers of every message; without ``ce_time`` where the kind of output has no event time."""


class Topics(dict[str, str]):
    """The topic of each kind of output, by the name of its setting; empty: it is stored and not published.

    Examples
    --------
    >>> topics = Topics(alerts="")
    >>> topics["alerts"], topics["estimates"]
    ('', 'driftgauge.estimates')
    """

    def __init__(self, **topics: str) -> None:
        defaults = {kind.topic: kind.default_topic for kind in OUTPUT_KINDS.values()}
        if unknown := topics.keys() - defaults.keys():
            raise TypeError(f"no kind of output goes to {', '.join(sorted(unknown))}")
        super().__init__(defaults | topics)


def encode(output: Output, topics: Topics, source: str, epoch: int, seq: int = 0) -> Message:
    """The message that carries this output; the same output and epoch always give the same bytes.

    ``source`` becomes ``ce_source``; ``epoch`` goes into the header ``driftgauge-epoch``: of two messages with the
    same key the one with the higher (epoch, revision) is valid.

    Examples
    --------
    >>> from driftgauge.models.outputs import Prediction
    >>> prediction = Prediction("r-1", "law", "f", 60.0, float("nan"), 5, 1, is_final=True)
    >>> message = encode(prediction, Topics(), "driftgauge", epoch=1)
    >>> dict(message.headers)["ce_type"]
    b'driftgauge.prediction.made.v1'
    >>> b'"event_time":"1970-01-01T00:01:00Z","p_correct":null' in message.value
    True
    """
    kind = OUTPUT_KINDS[type(output)]
    body = kind.body(output)
    further = ((name, value_of(output).encode()) for name, value_of in kind.headers.items())
    headers = (*_envelope(output, kind, source, epoch), *further, *body.headers)
    return Message(seq, topics[kind.topic], kind.key(output), body.value, headers)


def addressed(message: Message, topics: Topics) -> Message:
    """The message with the topic of its kind of output; it may have been made under other settings, and waited since.

    A message of a kind that is no more keeps its topic.
    """
    topic = _TOPICS.get(dict(message.headers).get("ce_type", b""))
    return message if topic is None else replace(message, topic=topics[topic])


_TOPICS = {kind.event_type.encode(): kind.topic for kind in OUTPUT_KINDS.values()}


def _envelope(output: Output, kind: OutputKind[Output], source: str, epoch: int) -> Headers:
    event_time = None if kind.event_time is None else rfc3339(getattr(output, kind.event_time))
    values = ("1.0", kind.event_id(output), source, kind.event_type, event_time, str(epoch))
    return tuple((name, value.encode()) for name, value in zip(ENVELOPE, values, strict=True) if value is not None)
