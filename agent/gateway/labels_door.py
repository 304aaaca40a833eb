"""Labels by HTTP: ``POST /v1/labels`` takes what an application learns about an answer to the topic of labels.

A thumbs up, a test result or a correction is a label as `driftgauge.connectors.labels.posted` reads it.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from driftgauge.agent.gateway.door import Answer, refusal, refused
from driftgauge.connectors.decoding.formats.own import encode_label
from driftgauge.connectors.decoding.formats.payload import PayloadError
from driftgauge.connectors.decoding.label_scale import LabelScale
from driftgauge.connectors.labels.posted import MAX_LABELS_BYTES, posted_labels

_STATUSES = {"malformed": 400, "too_large": 413}


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
    max_bytes = MAX_LABELS_BYTES

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
            labels, ignored = posted_labels(body, self._scale, now)
        except PayloadError as error:
            return refusal(_STATUSES.get(error.reason, 422), error.reason, str(error))
        for label in labels:
            if not self._put(label.response_id.encode(), encode_label(label)):
                return refusal(503, "outbox_full", "labels cannot be queued now; send all labels of the request again")
        named = {"ignored_fields": ignored} if ignored else {}
        return Answer(202, msgspec.json.encode({"accepted": len(labels), **named}), "accepted")
