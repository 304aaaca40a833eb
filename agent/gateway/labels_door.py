"""Labels by HTTP: ``POST /v1/labels`` takes what an application learns about an answer to the topic of labels.

A thumbs up, a test result or a correction is a label event as docs/events.md describes it, or a list of some, in JSON.
Two fields may be left out: ``event_time``, which is then the time of receipt, and ``label_id``, which is then made of
the response and the annotator, so that a later verdict of the same annotator corrects the former.

Unknown fields do no harm, as in every event (docs/events.md); the answer names them, because they may be misspelt.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from driftgauge.agent.gateway.door import Answer, refusal, refused
from driftgauge.connectors.decoding.formats.own import LabelEvent, encode_label, to_event
from driftgauge.connectors.decoding.formats.payload import PayloadError
from driftgauge.connectors.decoding.label_scale import LabelScale
from driftgauge.connectors.labels.mapping import default_label_id
from driftgauge.models.events import Label

MAX_BYTES = 1 << 20
MAX_LABELS = 1_000
"""Largest body, and most labels, of one request."""

MAX_NAMED = 20
"""Unknown fields that an answer names."""

_FIELDS = {"type", *LabelEvent.__struct_fields__}


class LabelsDoor:
    """Checks labels and hands them to ``put``; all labels of a request, or none.

    Parameters
    ----------
    put : takes the key and the value of a message; False when it cannot
    token : what clients send as ``Authorization: Bearer <token>``; at least one character
    scale : scale of the scores

    Examples
    --------
    >>> door = LabelsDoor(lambda key, value: True, token="secret")
    >>> door.answer("Bearer secret", b'{"response_id": "r-1", "correct": true}', now=1767607200.0)
    Answer(status=202, body=b'{"accepted":1}', outcome='accepted')
    >>> door.answer("Bearer secret", b'{"response_id": "r-1", "correct": true, "anotator_id": "a"}', now=0.0).body
    b'{"accepted":1,"ignored_fields":["anotator_id"]}'
    >>> door.answer("Bearer wrong", b"{}", now=0.0).status
    401
    """

    path = "/v1/labels"
    kind = "labels"
    max_bytes = MAX_BYTES

    def __init__(self, put: Callable[[bytes, bytes], bool], *, token: str, scale: LabelScale | None = None) -> None:
        if not token:
            raise ValueError("the door needs a token")
        self._put, self._token, self._scale = put, token.encode(), scale or LabelScale()

    def answer(self, authorization: str, body: bytes, *, now: float) -> Answer:
        """Answer a request."""
        if answer := refused(
            authorization, body, token=self._token, setting="gateway.labels_token", max_bytes=self.max_bytes
        ):
            return answer
        try:
            documents = msgspec.json.decode(body)
            if isinstance(documents, list) and len(documents) > MAX_LABELS:
                return refusal(413, "too_large", f"a request has at most {MAX_LABELS} labels")
            labels = self._labels(documents, now)
        except PayloadError as error:
            return refusal(422, error.reason, str(error))
        except msgspec.ValidationError as error:
            return refusal(422, "invalid_value", str(error))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return refusal(400, "malformed", "the body is not JSON")
        for label in labels:
            if not self._put(label.response_id.encode(), encode_label(label)):
                return refusal(503, "outbox_full", "labels cannot be queued now; send all labels of the request again")
        accepted = {"accepted": len(labels), **_ignored(documents)}
        return Answer(202, msgspec.json.encode(accepted), "accepted")

    def _labels(self, documents: Any, now: float) -> list[Label]:
        if not isinstance(documents, list):
            return [self._label(documents, now)]
        labels = []
        for number, document in enumerate(documents):
            try:
                labels.append(self._label(document, now))
            except (PayloadError, msgspec.ValidationError) as error:
                reason = error.reason if isinstance(error, PayloadError) else "invalid_value"
                raise PayloadError(reason, f"label {number} of the list: {error}") from None
        return labels

    def _label(self, document: Any, now: float) -> Label:
        if isinstance(document, dict):
            document = {"type": "label", "event_time": now, "label_id": default_label_id(document), **document}
        event = to_event(msgspec.convert(document, LabelEvent), scale=self._scale)
        assert isinstance(event, Label)  # noqa: S101 - a label event gives a label
        return event


def _ignored(documents: Any) -> dict[str, list[str]]:
    """The unknown fields of accepted labels, as a part of the answer."""
    labels: list[dict[str, Any]] = documents if isinstance(documents, list) else [documents]
    names = sorted({name for label in labels for name in label.keys() - _FIELDS})
    return {"ignored_fields": names[:MAX_NAMED]} if names else {}
