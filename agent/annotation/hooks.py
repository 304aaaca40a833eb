"""Webhooks of annotation tools: who may send them, and the labels in them. Pure: bytes in, labels and an answer out.

Label Studio signs nothing, so a secret header is all that tells its webhooks from others. Argilla signs each webhook
as `Standard Webhooks <https://www.standardwebhooks.com>`_ describes. To send one again does no harm: label ids and
times are those of the tool.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import msgspec

from driftgauge.agent.gateway.door import Answer, is_allowed, refusal
from driftgauge.connectors.base import ConnectorError
from driftgauge.connectors.decoding.label_scale import LabelScale
from driftgauge.connectors.labels.mapping import LabelMapping, Refusal
from driftgauge.models.events import Label

MAX_BYTES = 4 << 20
"""Largest webhook; one that is larger is refused, and polling finds its labels."""

TOLERANCE_S = 300.0
"""Seconds by which the time of a signed webhook may differ from ours."""

Check: TypeAlias = Callable[[Mapping[str, str], bytes, float], bool]
"""Whether a webhook comes from the tool: its headers by lower-case name, its body, and the time, UTC seconds."""


def bearer_secret(secret: str) -> Check:
    """The check for the header ``Authorization: Bearer <secret>``.

    >>> check = bearer_secret("s3cret")
    >>> check({"authorization": "Bearer s3cret"}, b"", 0.0), check({}, b"", 0.0)
    (True, False)
    """
    return lambda headers, _body, _now: is_allowed(headers.get("authorization", ""), secret.encode())


def standard_webhooks(secret: str) -> Check:
    """The check for signatures with this secret, which is base64 text, perhaps after ``whsec_``.

    >>> key = base64.b64encode(b"key").decode()
    >>> sign = lambda text: base64.b64encode(hmac.digest(b"key", text, "sha256")).decode()
    >>> headers = {"webhook-id": "m-1", "webhook-timestamp": "1767607200"}
    >>> headers["webhook-signature"] = "v1,other v1," + sign(b"m-1.1767607200.{}")
    >>> check = standard_webhooks(key)
    >>> check(headers, b"{}", 1767607201.0), check(headers, b"[]", 1767607201.0), check(headers, b"{}", 1767609999.0)
    (True, False, False)
    """
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except binascii.Error:
        raise ConnectorError("the secret of webhooks of Argilla must be base64 text", retriable=False) from None

    def is_signed(headers: Mapping[str, str], body: bytes, now: float) -> bool:
        name, moment = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
        if not re.fullmatch("[0-9]{1,12}", moment) or abs(now - int(moment)) > TOLERANCE_S:
            return False
        expected = hmac.digest(key, f"{name}.{moment}.".encode("utf-8", "surrogateescape") + body, hashlib.sha256)
        given = [_decoded(part.removeprefix("v1,")) for part in headers.get("webhook-signature", "").split()]
        return any(hmac.compare_digest(expected, one) for one in given)

    return is_signed


class Hook:
    """Takes the webhooks of one tool on the path ``/<name>``.

    Parameters
    ----------
    name : of the tool, which is also the preset of its records
    put : takes labels to be published; False when it cannot
    wake : called for a webhook that names an annotation but not its response: only the tool knows more

    Examples
    --------
    >>> from driftgauge.connectors.labels.presets import PRESETS
    >>> hook = Hook("label-studio", bearer_secret("s"), PRESETS["label-studio"], lambda labels: True)
    >>> hook.answer({"authorization": "Bearer s"}, b'{"action": "TASKS_CREATED"}', 0.0).body
    b'{"labels":0}'
    >>> hook.answer({}, b"{}", 0.0).status
    401
    """

    def __init__(
        self,
        name: str,
        check: Check,
        mapping: LabelMapping,
        put: Callable[[Sequence[Label]], bool],
        *,
        wake: Callable[[], object] = lambda: None,
        scale: LabelScale | None = None,
    ) -> None:
        self.path = f"/{name}"
        self._check, self._mapping, self._put, self._wake, self._scale = check, mapping, put, wake, scale

    def answer(self, headers: Mapping[str, str], body: bytes, now: float) -> Answer:
        """Answer a webhook; its labels are only queued, because Label Studio waits no longer than a second."""
        if len(body) > MAX_BYTES:
            return refusal(413, "too_large", f"a webhook has at most {MAX_BYTES} bytes")
        if not self._check(headers, body, now):
            return refusal(401, "unauthorized", "the secret or the signature is missing or wrong, or the time is")
        try:
            document = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return refusal(400, "malformed", "the body is not JSON")
        found = self._mapping.read(document, self._scale)
        labels = [one for one in found if not isinstance(one, Refusal)]
        if labels and not self._put(labels):
            return refusal(503, "outbox_full", "labels cannot be queued now")
        if any(isinstance(one, Refusal) and one.reason == "no_response_id" for one in found):
            self._wake()
        return Answer(200, msgspec.json.encode({"labels": len(labels)}), "accepted")


def _decoded(signature: str) -> bytes:
    try:
        return base64.b64decode(signature, validate=True)
    except (binascii.Error, ValueError):
        return b""
